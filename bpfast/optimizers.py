"""How a gradient becomes a step.

An optimizer is an immutable value: it holds the numbers, the network holds the state (moments and
counters). g is the gradient of loss and penalty after clipping, W the weights, lr the learning
rate of the moment (a schedule may change it), t the number of the step from 1.

All take these two; with both, the norm comes first:

clip_norm : float, optional
    When the Euclidean norm of all gradients together exceeds it, they are scaled down to it
    (Pascanu et al. 2013; PyTorch's ``clip_grad_norm_``, Keras' ``global_clipnorm``).
clip_value : float, optional
    Each gradient element is limited to [-clip_value, clip_value] (Keras' ``clipvalue``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, ClassVar, Final

from bpfast._check import (
    bad_value,
    check_bool,
    check_fraction,
    check_non_negative,
    check_optional_positive,
    check_pair,
    check_positive,
)
from bpfast._value import Value, resolve, value


@value
class Optimizer(Value):
    """Base class.

    Parameters
    ----------
    clip_norm, clip_value : float, optional
        Limits of the gradient, > 0; see the module. None means no limit.
    """

    checks: ClassVar[Mapping[str, Callable[[str, object], object]]] = {
        "learning_rate": check_positive,
        "momentum": check_fraction,
        "nesterov": check_bool,
        "beta_1": check_fraction,
        "beta_2": check_fraction,
        "epsilon": check_positive,
        "bias_correction": check_bool,
        "weight_decay": check_non_negative,
        "rho": check_fraction,
        "etas": check_pair,
        "step_limits": check_pair,
        "clip_norm": check_optional_positive,
        "clip_value": check_optional_positive,
    }
    if TYPE_CHECKING:
        learning_rate: float  # the first field of every rule
    _: KW_ONLY
    clip_norm: float | None = None
    clip_value: float | None = None

    def spec(self) -> dict[str, float | str | bool]:
        """Return what the core reads: ``kind`` and the numbers, 0.0 for a limit that is off."""
        fields = self.arguments()
        limits = {key: fields.pop(key) or 0.0 for key in ("clip_norm", "clip_value")}
        return {"kind": self.kind, **fields, **limits}


@value
class SGD(Optimizer):
    """Gradient descent, with momentum if asked.

    - plain: W -= lr g
    - momentum mu: v = mu v + lr g; W -= v
    - nesterov: v = mu v + lr g; W -= mu v + lr g

    The learning rate is inside v, as in Keras, scikit-learn and the papers. PyTorch keeps it
    outside (v = mu v + g; W -= lr v), which differs only when the rate changes during training.

    Parameters
    ----------
    learning_rate : float, default 0.01
        lr > 0; the default is Keras'.
    momentum : float, default 0
        mu in [0, 1).
    nesterov : bool, default False
        Take the gradient as if v had been applied already; needs momentum > 0.
    clip_norm, clip_value : float, optional
        Limits of the gradient; see the module.

    References
    ----------
    Polyak 1964 (momentum). Sutskever et al. 2013, On the importance of initialization and
    momentum in deep learning, equations 3 and 4 (Nesterov), in the form of Bengio et al. 2013,
    Advances in optimizing recurrent networks, section 3.5.
    """

    kind: ClassVar[str] = "sgd"
    learning_rate: float = 0.01
    _: KW_ONLY
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        """Check that Nesterov's form has a momentum to look ahead with."""
        super().__post_init__()
        if self.nesterov and self.momentum == 0.0:
            raise bad_value("momentum", "> 0 with nesterov=True", self.momentum)


@value
class Adam(Optimizer):
    """Adaptive moments: steps of about lr, whatever the gradient's scale.

    m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
    W -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    Here eps is outside the bias-corrected root, as in the paper's Algorithm 1 and in PyTorch.
    Keras and scikit-learn use the form of the paper's section 2, W -= lr sqrt(1 - b2^t) /
    (1 - b1^t) m / (sqrt(v) + eps), in which eps weighs more in early steps; Keras' eps is 1e-7.

    Parameters
    ----------
    learning_rate : float, default 1e-3
        lr > 0.
    beta_1, beta_2 : float, default 0.9 and 0.999
        b1 and b2 in [0, 1): how much of each moment stays per step. The defaults, those of lr
        and eps too, are the paper's.
    epsilon : float, default 1e-8
        eps > 0.
    bias_correction : bool, default True
        False leaves out the divisions by 1 - b^t: W -= lr m / (sqrt(v) + eps).
    clip_norm, clip_value : float, optional
        Limits of the gradient; see the module.

    References
    ----------
    Kingma & Ba 2014, Adam: a method for stochastic optimization, Algorithm 1.
    """

    kind: ClassVar[str] = "adam"
    learning_rate: float = 1e-3
    _: KW_ONLY
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    bias_correction: bool = True


@value
class AdamW(Optimizer):
    """Adam with weight decay that does not pass through the moments.

    W -= lr weight_decay W, then Adam's step with the moments of g alone. As in PyTorch and Keras
    lr scales the decay too (the paper separates the two), and biases decay like kernels.

    Parameters
    ----------
    learning_rate : float, default 1e-3
        lr > 0.
    weight_decay : float, default 1e-2
        Decay per step in units of lr, >= 0; the default is PyTorch's (Keras: 0.004).
    beta_1, beta_2, epsilon, bias_correction
        As in `Adam`.
    clip_norm, clip_value : float, optional
        Limits of the gradient; see the module.

    References
    ----------
    Loshchilov & Hutter 2019, Decoupled weight decay regularization, Algorithm 2.
    """

    kind: ClassVar[str] = "adamw"
    learning_rate: float = 1e-3
    _: KW_ONLY
    weight_decay: float = 1e-2
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    bias_correction: bool = True


@value
class RMSprop(Optimizer):
    """Divide the gradient by a running root mean square.

    v = rho v + (1 - rho) g^2;  W -= lr g / (sqrt(v) + eps)

    As PyTorch's RMSprop, eps is outside the root (Keras: inside, 1e-7); its rho, named alpha, is
    0.99 and its lr 1e-2.

    Parameters
    ----------
    learning_rate : float, default 1e-3
        lr > 0; the default is Keras'.
    rho : float, default 0.9
        How much of v stays per step, in [0, 1); the source's.
    epsilon : float, default 1e-8
        eps > 0; PyTorch's.
    clip_norm, clip_value : float, optional
        Limits of the gradient; see the module.

    References
    ----------
    Tieleman & Hinton 2012, Neural networks for machine learning, lecture 6.5.
    """

    kind: ClassVar[str] = "rmsprop"
    learning_rate: float = 1e-3
    _: KW_ONLY
    rho: float = 0.9
    epsilon: float = 1e-8


@value
class Adagrad(Optimizer):
    """Divide the gradient by the root of the sum of all squares so far.

    s = s + g^2, from 0;  W -= lr g / (sqrt(s) + eps)

    As in PyTorch, whose defaults these are. Keras starts s at 0.1, with eps inside the root.

    Parameters
    ----------
    learning_rate : float, default 1e-2
        lr > 0.
    epsilon : float, default 1e-10
        eps > 0.
    clip_norm, clip_value : float, optional
        Limits of the gradient; see the module.

    References
    ----------
    Duchi, Hazan & Singer 2011, Adaptive subgradient methods, figure 1 (diagonal form).
    """

    kind: ClassVar[str] = "adagrad"
    learning_rate: float = 1e-2
    _: KW_ONLY
    epsilon: float = 1e-10


@value
class Rprop(Optimizer):
    """Resilient propagation: each weight has its own step size, driven by signs alone.

    Each step size d starts at lr. Where g has the sign it had before, d = min(eta_plus d,
    step_max) and W -= sign(g) d. Where the sign changed, d = max(eta_minus d, step_min), W stays,
    and the sign counts as 0 next time. Where either is 0, W -= sign(g) d.

    For full batches: with noisy signs (batch_size below the number of rows) d shrinks to nothing.
    As in PyTorch, a change of sign does not take back the last step, as the paper's first form
    does (this is Rprop- with the gradient forgotten, iRprop-). Keras and scikit-learn have none.

    Parameters
    ----------
    learning_rate : float, default 1e-2
        First step size > 0; PyTorch's (the paper's: 0.1).
    etas : tuple of float, default (0.5, 1.2)
        (eta_minus, eta_plus) with 0 < eta_minus < 1 < eta_plus; the paper's.
    step_limits : tuple of float, default (1e-6, 50)
        (step_min, step_max) with 0 < step_min <= step_max; the paper's.
    clip_norm, clip_value : float, optional
        Limits of the gradient; without effect on its signs.

    References
    ----------
    Riedmiller & Braun 1993, A direct adaptive method for faster backpropagation learning.
    Igel & Huesken 2000, Improving the Rprop learning algorithm (iRprop-).
    """

    kind: ClassVar[str] = "rprop"
    learning_rate: float = 1e-2
    _: KW_ONLY
    etas: tuple[float, float] = (0.5, 1.2)
    step_limits: tuple[float, float] = (1e-6, 50.0)

    def __post_init__(self) -> None:
        """Check the two pairs."""
        super().__post_init__()
        eta_minus, eta_plus = self.etas
        if not 0.0 < eta_minus < 1.0 < eta_plus:
            raise ValueError(f"etas must be two numbers, 0 < eta[0] < 1 < eta[1], got {self.etas}")
        low, high = self.step_limits
        if not 0.0 < low <= high:
            raise ValueError(
                f"step_limits must be two numbers, 0 < low <= high, got {self.step_limits}"
            )

    def spec(self) -> dict[str, float | str | bool]:
        """Return what the core reads, with the pairs under four names."""
        spec = super().spec()
        for pair, names in (
            ("etas", ("eta_minus", "eta_plus")),
            ("step_limits", ("step_min", "step_max")),
        ):
            del spec[pair]
            spec.update(zip(names, getattr(self, pair), strict=True))
        return spec


@value
class Lion(Optimizer):
    """Evolved sign momentum: every weight moves by lr, in the direction of a momentum's sign.

    c = b1 m + (1 - b1) g;  W -= lr (sign(c) + weight_decay W);  m = b2 m + (1 - b2) g

    As in the paper and in Keras. Steps are larger than Adam's at the same lr: the paper advises a
    third to a tenth of Adam's rate, and a weight decay larger by as much.

    Parameters
    ----------
    learning_rate : float, default 1e-4
        lr > 0; the paper's.
    beta_1, beta_2 : float, default 0.9 and 0.99
        b1 and b2 in [0, 1); the paper's.
    weight_decay : float, default 0
        >= 0, in units of lr; biases decay like kernels, as in Keras.
    clip_norm, clip_value : float, optional
        Limits of the gradient; see the module.

    References
    ----------
    Chen et al. 2023, Symbolic discovery of optimization algorithms, Algorithm 2.
    """

    kind: ClassVar[str] = "lion"
    learning_rate: float = 1e-4
    _: KW_ONLY
    beta_1: float = 0.9
    beta_2: float = 0.99
    weight_decay: float = 0.0


#: Every optimizer that a name or a model file can ask for.
TABLE: Final[dict[str, type[Optimizer]]] = {
    cls.kind: cls for cls in (SGD, Adam, AdamW, RMSprop, Adagrad, Rprop, Lion)
}


def get(value: object, argument: str = "optimizer") -> Optimizer:
    """Return the optimizer that a name, config or object stands for.

    Raises
    ------
    TypeError, ValueError
        `value` is none of these, or a hyper-parameter is out of range.
    """
    return resolve(argument, value, TABLE, Optimizer)
