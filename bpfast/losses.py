"""What training makes small.

z is the network's output, t the target. Every loss is a mean over samples: with sample weights,
the weighted sum divided by the sum of the weights. The two cross-entropies read logits, that is
values before softmax or sigmoid; after a softmax or sigmoid output layer they take its input.

A loss may also be a function ``(y, output) -> (value, gradient)``, the gradient of the value with
respect to `output` and of its shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from bpfast._check import bad_type, check_fraction, check_open_fractions, check_positive
from bpfast._value import Value, resolve, value

#: A loss of the user's own.
LossFunction = Callable[[Any, Any], tuple[float, Any]]


@value
class Loss(Value):
    """Base class."""

    checks: ClassVar[Mapping[str, Callable[[str, object], object]]] = {
        "delta": check_positive,
        "tau": check_open_fractions,
        "label_smoothing": check_fraction,
    }

    def spec(self) -> dict[str, Any]:
        """Return what the core reads: ``kind``, and ``parameter`` (0.0 when it has none)."""
        parameters = [float(value) for value in self.arguments().values()]
        return {"kind": self.kind, "parameter": parameters[0] if parameters else 0.0}

    def check_outputs(self, outputs: int) -> None:
        """Raise a ValueError where the loss does not go with so many outputs."""


class HalfSquaredError(Loss):
    """1/2 sum over outputs of (z - t)^2: the error of classic backpropagation.

    Its gradient is z - t. As scikit-learn's MLPRegressor, whose reported loss takes the mean over
    outputs but whose gradient is that of the sum.

    References
    ----------
    Rumelhart, Hinton & Williams 1986, Learning representations by back-propagating errors,
    equation 3.
    """

    kind: ClassVar[str] = "half_squared_error"


class MeanSquaredError(Loss):
    """Mean over outputs of (z - t)^2, as PyTorch's ``MSELoss`` and Keras."""

    kind: ClassVar[str] = "mse"


class MeanAbsoluteError(Loss):
    """Mean over outputs of abs(z - t); the gradient at z = t is 0."""

    kind: ClassVar[str] = "mae"


@value
class Huber(Loss):
    """Mean over outputs of r^2/2 where abs(r) <= delta, else delta (abs(r) - delta/2); r = z - t.

    As PyTorch's ``HuberLoss`` and Keras' ``Huber``.

    Parameters
    ----------
    delta : float, default 1
        Where squares turn into lines, in units of the target, > 0; PyTorch's and Keras'.

    References
    ----------
    Huber 1964, Robust estimation of a location parameter.
    """

    kind: ClassVar[str] = "huber"
    delta: float = 1.0


@value
class Quantile(Loss):
    """Mean over outputs of max(tau (t - z), (tau - 1) (t - z)): the pinball loss.

    Least when z is the tau-quantile of t given the input; tau = 0.5 is half of the mean absolute
    error. As scikit-learn's ``mean_pinball_loss``.

    Parameters
    ----------
    tau : float or tuple of float, default 0.5
        The quantile, in (0, 1); or one for each output.

    References
    ----------
    Koenker & Bassett 1978, Regression quantiles.
    """

    kind: ClassVar[str] = "quantile"
    tau: float | tuple[float, ...] = 0.5

    def spec(self) -> dict[str, Any]:
        """Return what the core reads: ``each`` has a quantile for each output."""
        if isinstance(self.tau, tuple):
            return {"kind": self.kind, "parameter": 0.0, "each": self.tau}
        return super().spec()

    def check_outputs(self, outputs: int) -> None:
        """Raise a ValueError unless there is one quantile for all, or one for each output."""
        if isinstance(self.tau, tuple) and len(self.tau) != outputs:
            raise ValueError(
                f"tau must have one quantile for each of {outputs} outputs, got {self.tau}"
            )


@value
class CrossEntropy(Loss):
    """-sum_k t_k log softmax(z)_k, for one class of K per sample.

    Targets are integers, or rows of K probabilities (one-hot or soft). The gradient is
    softmax(z) - t. As PyTorch's ``CrossEntropyLoss``; Keras' needs ``from_logits=True``.

    Parameters
    ----------
    label_smoothing : float, default 0
        s in [0, 1): t becomes (1 - s) t + s / K, as in PyTorch and Keras.

    References
    ----------
    Szegedy et al. 2016, Rethinking the Inception architecture, section 7 (label smoothing).
    """

    kind: ClassVar[str] = "cross_entropy"
    label_smoothing: float = 0.0


@value
class BinaryCrossEntropy(Loss):
    """Mean over outputs of -t log p - (1 - t) log(1 - p), p = sigmoid(z): yes-or-no targets.

    One output for two classes, more for several labels at once. The gradient is (p - t) / outputs.
    As PyTorch's ``BCEWithLogitsLoss``; Keras' needs ``from_logits=True``.

    Parameters
    ----------
    label_smoothing : float, default 0
        s in [0, 1): t becomes (1 - s) t + s / 2, as in Keras (PyTorch has none).
    """

    kind: ClassVar[str] = "binary_cross_entropy"
    label_smoothing: float = 0.0


class Poisson(Loss):
    """Mean over outputs of exp(z) - t z: counts t >= 0 with the rate exp(z).

    The negative log-likelihood without the term of t alone. As PyTorch's ``PoissonNLLLoss`` with
    ``log_input=True``, its default; Keras' ``Poisson`` reads the rate itself.
    """

    kind: ClassVar[str] = "poisson"


#: Every loss that a name or a model file can ask for.
TABLE: Final[dict[str, type[Loss]]] = {
    cls.kind: cls
    for cls in (
        HalfSquaredError,
        MeanSquaredError,
        MeanAbsoluteError,
        Huber,
        Quantile,
        CrossEntropy,
        BinaryCrossEntropy,
        Poisson,
    )
}


def get(value: object, argument: str = "loss") -> Loss | LossFunction:
    """Return the loss that a name, config or object stands for; a function as it is.

    Raises
    ------
    TypeError, ValueError
        `value` is none of these, or a parameter is out of range.
    """
    if isinstance(value, (str, Loss, type, Mapping)):
        return resolve(argument, value, TABLE, Loss)
    if callable(value):
        function: LossFunction = value
        return function
    raise bad_type(argument, "a name, a Loss, or a function (y, output)", value)
