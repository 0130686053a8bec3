"""The base of the initializers, and those that hand over numbers instead of drawing them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from bpfast._check import check_callable, check_non_negative, check_number, check_positive, show
from bpfast._value import Value, value
from bpfast.errors import ShapeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.floating[Any]]

#: What the core is told: the kind of draw and its two numbers.
Spec = tuple[str, float, float]


@value
class Initializer(Value):
    """Base class: `spec` says what to draw, `values` what was given."""

    checks: ClassVar[Mapping[str, Callable[[str, object], object]]] = {
        "low": check_number,
        "high": check_number,
        "mean": check_number,
        "std": check_non_negative,
        "gain": check_positive,
        "value": check_number,
    }

    def spec(self, fan_in: int, fan_out: int) -> Spec:
        """Return one of the draws of the core.

        Parameters
        ----------
        fan_in, fan_out : int
            Inputs that feed one unit, and units that one input feeds; 1 or more.

        Returns
        -------
        tuple
            ``("uniform", low, high)``, ``("normal", mean, std)``, ``("constant", value, 0.0)``,
            ``("orthogonal", gain, 0.0)``, or ``("given", 0.0, 0.0)``: take `values`.
        """
        raise NotImplementedError

    def values(self, shape: tuple[int, ...]) -> Array | None:
        """Return the array to start from, of `shape`, or None when the core draws it."""
        return None


class Given(Initializer):
    """Stands in a model file for an array or a function, whose result the file holds as weights.

    A network made from that description starts at 0 until those weights are read.
    """

    kind: ClassVar[str] = "given"

    def spec(self, fan_in: int, fan_out: int) -> Spec:
        """Return the constant 0."""
        return "constant", 0.0, 0.0


class FromArray(Initializer):
    """Start from a copy of an array.

    Parameters
    ----------
    value : array_like
        Finite real numbers; the shape must be the parameter's: (inputs, units) for a kernel,
        (units,) for a bias.

    Raises
    ------
    TypeError, ValueError
        The values are not real numbers, or one is NaN or infinite.
    """

    kind: ClassVar[str] = "given"
    value: Array

    def __init__(self, value: ArrayLike) -> None:
        object.__setattr__(self, "value", real_array("value", value))

    def spec(self, fan_in: int, fan_out: int) -> Spec:
        """Say that `values` has them."""
        return "given", 0.0, 0.0

    def values(self, shape: tuple[int, ...]) -> Array:
        """Return the array, read-only; a ShapeError when its shape is not `shape`."""
        return _of_shape("the initial array", self.value, shape)

    def config(self) -> dict[str, Any]:
        """Return the config of `Given`: a model file keeps the weights themselves."""
        return Given().config()

    def __repr__(self) -> str:
        """Show the shape, not the numbers."""
        return f"FromArray(<{show(self.value)}>)"

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class FromCallable(Initializer):
    """Start from what a function returns.

    Parameters
    ----------
    function : callable
        Called with the shape, a tuple of ints; returns an array_like of that shape. Any random
        numbers are its own: the network's seed does not reach it.
    """

    kind: ClassVar[str] = "given"
    function: Callable[[tuple[int, ...]], ArrayLike]

    def __init__(self, function: Callable[[tuple[int, ...]], ArrayLike]) -> None:
        checked = check_callable("function", function, "of the shape")
        object.__setattr__(self, "function", checked)

    def spec(self, fan_in: int, fan_out: int) -> Spec:
        """Say that `values` has them."""
        return "given", 0.0, 0.0

    def values(self, shape: tuple[int, ...]) -> Array:
        """Call the function; an error when its result is not finite or not of `shape`."""
        argument = "the initializer's result"
        return _of_shape(argument, real_array(argument, self.function(shape)), shape)

    def config(self) -> dict[str, Any]:
        """Return the config of `Given`: a model file keeps the weights themselves."""
        return Given().config()

    def __repr__(self) -> str:
        """Show the function's name."""
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return f"FromCallable({name})"

    def __reduce__(self) -> tuple[type[Given], tuple[()]]:
        """Pickle as `Given`, as in a model file: many functions cannot be pickled."""
        return Given, ()

    def __copy__(self) -> Self:
        """Return itself, which is immutable."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself, which is immutable."""
        return self

    __eq__ = object.__eq__
    __hash__ = object.__hash__


def real_array(argument: str, value: object) -> Array:
    """Return a read-only copy in float64 (float32 stays); refuse what is not finite and real."""
    import numpy as np

    try:
        array = np.array(value)
    except ValueError:
        raise ShapeError(f"{argument} must be rectangular, got rows of other lengths") from None
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{argument} must be an array of real numbers, got dtype {array.dtype}")
    if array.ndim == 0:
        raise ShapeError(f"{argument} must be an array, got one number: use Constant({array})")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{argument} must be finite, got NaN or infinity")
    array.flags.writeable = False
    return array


def _of_shape(argument: str, array: Array, shape: tuple[int, ...]) -> Array:
    if array.shape != shape:
        raise ShapeError(f"{argument} must have shape {shape}, got {array.shape}")
    return array
