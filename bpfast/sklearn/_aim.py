"""What an estimator's network is trained for, and how scikit-learn counts the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from bpfast.layers.base import Layer
from bpfast.losses import Loss

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Aim:
    """Targets as the network reads them, its loss, and what ends it.

    Attributes
    ----------
    target : ndarray (rows,) of class labels, or (rows, outputs)
    loss : Loss
    head : sequence of Layer
        The last layers.
    out_activation : str
        scikit-learn's name of the output's activation.
    scale : float
        scikit-learn's gradient over that of `loss`: it sums over outputs where some of ours take
        the mean.
    shown : float
        The loss that it reports over `loss`.
    offset : float
        A constant that it reports in addition.
    """

    target: Array
    loss: Loss
    head: Sequence[Layer]
    out_activation: str
    scale: float = 1.0
    shown: float = 1.0
    offset: float = 0.0

    def report(self, loss: float) -> float:
        """Return a value of `loss` as scikit-learn would report it."""
        return self.shown * loss + self.offset
