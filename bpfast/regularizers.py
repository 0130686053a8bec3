"""Penalties on the size of weights, added to the loss.

A penalty is taken on the weights as they are, before weight dropout masks them. It stands beside
the data terms in the history, as ``penalty``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import ClassVar, Final

from bpfast._check import check_non_negative
from bpfast._value import Value, resolve, value


@value
class Regularizer(Value):
    """Base class: a penalty of l1 sum abs(w) + l2/2 sum w^2.

    Attributes
    ----------
    l1, l2 : float
        The two strengths, 0 for the one a subclass has not.
    """

    checks: ClassVar[Mapping[str, Callable[[str, object], object]]] = {
        "l1": check_non_negative,
        "l2": check_non_negative,
    }
    l1: float = field(default=0.0, init=False)
    l2: float = field(default=0.0, init=False)


@value
class L1(Regularizer):
    """Penalty l1 sum abs(w), which drives weights to 0 (the lasso).

    The gradient is l1 sign(w), with 0 at w = 0. scikit-learn's MLP has no such penalty; Keras'
    ``L1`` has the same formula.

    Parameters
    ----------
    l1 : float
        Strength, >= 0.

    References
    ----------
    Tibshirani 1996, Regression shrinkage and selection via the lasso.
    """

    kind: ClassVar[str] = "l1"
    l1: float = field()


@value
class L2(Regularizer):
    """Penalty l2/2 sum w^2, which shrinks weights (ridge, weight decay).

    The gradient is l2 w, as with PyTorch's ``weight_decay``. Keras' ``L2(c)`` penalises
    c sum w^2: its c is l2/2. scikit-learn's ``alpha`` is divided by the batch's rows: its alpha
    is l2 times those.

    Parameters
    ----------
    l2 : float
        Strength, >= 0.

    References
    ----------
    Krogh & Hertz 1991, A simple weight decay can improve generalization.
    """

    kind: ClassVar[str] = "l2"
    l2: float = field()


@value
class ElasticNet(Regularizer):
    """Penalty l1 sum abs(w) + l2/2 sum w^2.

    Parameters
    ----------
    l1, l2 : float
        Strengths, >= 0.

    References
    ----------
    Zou & Hastie 2005, Regularization and variable selection via the elastic net.
    """

    kind: ClassVar[str] = "elastic_net"
    l1: float = field()
    l2: float = field()


#: Every regularizer that a model file can ask for.
TABLE: Final[dict[str, type[Regularizer]]] = {cls.kind: cls for cls in (L1, L2, ElasticNet)}


def get(value: object, argument: str = "weight_regularizer") -> Regularizer | None:
    """Return None as it is, else the regularizer that an object or config stands for.

    Raises
    ------
    TypeError, ValueError
        `value` is neither, or a name alone: strengths have no default.
    """
    return None if value is None else resolve(argument, value, TABLE, Regularizer)
