"""Dropout on activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bpfast._check import check_fraction
from bpfast.layers.base import Layer

if TYPE_CHECKING:
    from bpfast.layers.shapes import Shape


class Dropout(Layer):
    """In training, set each value to 0 with probability `rate`, and scale the others up.

    y = x mask / (1 - rate), the mask drawn anew for every row and step, and for each place where
    the layer stands; the gradient passes through the same mask. At inference y = x. This is the
    inverted form, as in PyTorch and Keras; the paper scales at inference instead.

    Parameters
    ----------
    rate : float
        Probability of dropping, in [0, 1) (PyTorch's p, Keras' rate).
    name : str, optional
        Name of the layer.

    Notes
    -----
    Input and output have the same shape, whatever it is; no parameters.

    References
    ----------
    Srivastava et al. 2014, Dropout: a simple way to prevent neural networks from overfitting.
    """

    kind: ClassVar[str] = "dropout"

    def __init__(self, rate: float, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.rate = check_fraction("rate", rate)

    def spec(self, input_shape: Shape) -> dict[str, Any]:
        """Return what the core reads."""
        return {"kind": self.kind, "rate": self.rate}
