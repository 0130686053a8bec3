"""How weights start.

An initializer says which distribution the compiled core draws from; the draws depend on the
network's seed and on nothing else, so that one seed gives the same bits on every machine. The
fan-in and fan-out of a dense layer are its numbers of inputs and of units. Normal distributions
are not truncated (as in PyTorch; those of Keras' glorot, he and lecun are).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Final

from bpfast._check import bad_type, bad_value
from bpfast._initializer import (
    FromArray,
    FromCallable,
    Given,
    Initializer,
    Spec,
    real_array,
)
from bpfast._value import build, resolve, value


@value
class Uniform(Initializer):
    """Uniform in [low, high).

    Parameters
    ----------
    low, high : float, default -1 and 1
        Bounds, low <= high. The defaults are those of classic backpropagation examples.
    """

    kind: ClassVar[str] = "uniform"
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        """Check the order of the bounds too."""
        super().__post_init__()
        if self.low > self.high:
            raise bad_value("high", f"at least low = {self.low:g}", self.high)

    def spec(self, fan_in: int, fan_out: int) -> Spec:
        """Return the uniform draw."""
        return "uniform", self.low, self.high


@value
class Normal(Initializer):
    """Normal with the given mean and standard deviation, not truncated.

    Parameters
    ----------
    mean : float, default 0
    std : float, default 0.1
        Standard deviation, >= 0.
    """

    kind: ClassVar[str] = "normal"
    mean: float = 0.0
    std: float = 0.1

    def spec(self, fan_in: int, fan_out: int) -> Spec:
        """Return the normal draw."""
        return "normal", self.mean, self.std


class GlorotUniform(Initializer):
    """Uniform in [-a, a) with a = sqrt(6 / (fan_in + fan_out)).

    Keeps the variance of activations and gradients about the same from layer to layer where the
    activation is near linear around 0: tanh, sigmoid, softsign.

    References
    ----------
    Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural
    networks, equation 16.
    """

    kind: ClassVar[str] = "glorot_uniform"

    def spec(self, fan_in: int, fan_out: int) -> Spec:
        """Return the uniform draw."""
        return _uniform(6.0 / (fan_in + fan_out))


class GlorotNormal(Initializer):
    """Normal with mean 0 and std sqrt(2 / (fan_in + fan_out)).

    References
    ----------
    Glorot & Bengio 2010, equation 12.
    """

    kind: ClassVar[str] = "glorot_normal"

    def spec(self, fan_in: int, fan_out: int) -> Spec:
        """Return the normal draw."""
        return "normal", 0.0, math.sqrt(2.0 / (fan_in + fan_out))


class HeUniform(Initializer):
    """Uniform in [-a, a) with a = sqrt(6 / fan_in): the variance of `HeNormal`.

    References
    ----------
    He et al. 2015, Delving deep into rectifiers, equation 10.
    """

    kind: ClassVar[str] = "he_uniform"

    def spec(self, fan_in: int, fan_out: int) -> Spec:
        """Return the uniform draw."""
        return _uniform(6.0 / fan_in)


class HeNormal(Initializer):
    """Normal with mean 0 and std sqrt(2 / fan_in), for relu and activations like it.

    References
    ----------
    He et al. 2015, Delving deep into rectifiers, equation 10.
    """

    kind: ClassVar[str] = "he_normal"

    def spec(self, fan_in: int, fan_out: int) -> Spec:
        """Return the normal draw."""
        return "normal", 0.0, math.sqrt(2.0 / fan_in)


class LecunUniform(Initializer):
    """Uniform in [-a, a) with a = sqrt(3 / fan_in): the variance of `LecunNormal`."""

    kind: ClassVar[str] = "lecun_uniform"

    def spec(self, fan_in: int, fan_out: int) -> Spec:
        """Return the uniform draw."""
        return _uniform(3.0 / fan_in)


class LecunNormal(Initializer):
    """Normal with mean 0 and std sqrt(1 / fan_in); the one that selu was derived for.

    References
    ----------
    LeCun et al. 1998, Efficient BackProp, equation 16. Klambauer et al. 2017 (selu).
    """

    kind: ClassVar[str] = "lecun_normal"

    def spec(self, fan_in: int, fan_out: int) -> Spec:
        """Return the normal draw."""
        return "normal", 0.0, math.sqrt(1.0 / fan_in)


@value
class Orthogonal(Initializer):
    """A random matrix whose rows or columns, the fewer of them, are orthonormal, times `gain`.

    Parameters
    ----------
    gain : float, default 1
        Length of each of those rows or columns, > 0.

    References
    ----------
    Saxe et al. 2014, Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks, section 3.
    """

    kind: ClassVar[str] = "orthogonal"
    gain: float = 1.0

    def spec(self, fan_in: int, fan_out: int) -> Spec:
        """Return the orthogonal draw."""
        return "orthogonal", self.gain, 0.0


class Zeros(Initializer):
    """All 0. For biases; units whose weights all start at 0 never differ from each other."""

    kind: ClassVar[str] = "zeros"

    def spec(self, fan_in: int, fan_out: int) -> Spec:
        """Return the constant 0."""
        return "constant", 0.0, 0.0


class Ones(Initializer):
    """All 1."""

    kind: ClassVar[str] = "ones"

    def spec(self, fan_in: int, fan_out: int) -> Spec:
        """Return the constant 1."""
        return "constant", 1.0, 0.0


@value
class Constant(Initializer):
    """All `value`.

    Parameters
    ----------
    value : float
        Any finite number.
    """

    kind: ClassVar[str] = "constant"
    value: float

    def spec(self, fan_in: int, fan_out: int) -> Spec:
        """Return the constant."""
        return "constant", self.value, 0.0


#: Every initializer that a name can ask for.
TABLE: Final[dict[str, type[Initializer]]] = {
    cls.kind: cls
    for cls in (
        Uniform,
        Normal,
        GlorotUniform,
        GlorotNormal,
        HeNormal,
        HeUniform,
        LecunNormal,
        LecunUniform,
        Orthogonal,
        Zeros,
        Ones,
        Constant,
    )
}


def get(value: object, argument: str = "weight_init") -> Initializer:
    """Return the initializer that a name, config, object, array or function stands for.

    Raises
    ------
    TypeError, ValueError
        `value` is none of these; the message names `argument`.
    """
    if isinstance(value, Mapping):
        return build(argument, value, {**TABLE, Given.kind: Given})
    if isinstance(value, Initializer | str | type):
        return resolve(argument, value, TABLE, Initializer)
    if callable(value):
        return FromCallable(value)
    if hasattr(value, "__array__") or isinstance(value, list | tuple | memoryview):
        return FromArray(real_array(argument, value))
    raise bad_type(argument, "a name, an Initializer, an array or a function of the shape", value)


def _uniform(square: float) -> Spec:
    """Return the uniform draw in [-limit, limit); its variance is limit^2 / 3."""
    limit = math.sqrt(square)
    return "uniform", -limit, limit
