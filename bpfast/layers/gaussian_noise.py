"""Noise on activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bpfast._check import check_non_negative
from bpfast.layers.base import Layer

if TYPE_CHECKING:
    from bpfast.layers.shapes import Shape


class GaussianNoise(Layer):
    """In training, add noise: y = x + std e, e standard normal.

    e is drawn anew for every value, row and step, and for each place where the layer stands. The
    gradient passes as it is. At inference y = x. On inputs it is a form of data augmentation: for
    small noise, of a penalty on the square of the network's slope (Bishop 1995).

    Parameters
    ----------
    std : float
        Standard deviation of the noise, >= 0, in the units of x (Keras' stddev).
    name : str, optional
        Name of the layer.

    Notes
    -----
    Input and output have the same shape, whatever it is; no parameters.

    References
    ----------
    Bishop 1995, Training with noise is equivalent to Tikhonov regularization.
    """

    kind: ClassVar[str] = "noise"

    def __init__(self, std: float, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.std = check_non_negative("std", std)

    def spec(self, input_shape: Shape) -> dict[str, Any]:
        """Return what the core reads."""
        return {"kind": self.kind, "rate": self.std}
