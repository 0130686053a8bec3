"""Normalisation by the root mean square."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bpfast._check import check_bool, check_positive
from bpfast.layers.base import Layer
from bpfast.layers.parameters import Parameter, scale_and_shift

if TYPE_CHECKING:
    from bpfast.layers.shapes import Shape


class RMSNorm(Layer):
    """Divide each row by its root mean square: y = gamma x / sqrt(mean(x^2) + epsilon).

    The mean is over the row's channels, at each position of an image or sequence apart. Training
    and inference are the same.

    Parameters
    ----------
    epsilon : float, default 1e-6
        Added to the mean square, > 0 (the default is Keras'; PyTorch's is the spacing of numbers at
        1 in the dtype, 1.2e-7 of float32).
    scale : bool, default True
        False leaves out gamma.
    name : str, optional
        Name of the layer.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range.

    Notes
    -----
    Input and output have the same shape. Parameter ``name.gamma`` (channels,) starts at 1.

    References
    ----------
    Zhang & Sennrich 2019, Root mean square layer normalization.
    """

    kind: ClassVar[str] = "rmsnorm"

    def __init__(
        self, epsilon: float = 1e-6, *, scale: bool = True, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        self.epsilon = check_positive("epsilon", epsilon)
        self.scale = check_bool("scale", scale)

    def spec(self, input_shape: Shape) -> dict[str, Any]:
        """Return what the core reads."""
        return {
            "kind": self.kind,
            "epsilon": self.epsilon,
            "use_kernel": self.scale,
            "use_bias": False,
        }

    def weights(self, input_shape: Shape) -> dict[str, Parameter]:
        """Return gamma."""
        return scale_and_shift(input_shape[-1], self.scale, center=False)
