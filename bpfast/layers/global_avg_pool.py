"""The mean over all positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bpfast.layers.base import Layer
from bpfast.layers.shapes import check_rank, core_shape

if TYPE_CHECKING:
    from bpfast.layers.shapes import Shape


class GlobalAvgPool(Layer):
    """Take the mean of each channel over all positions.

    Between convolutions and a final `Dense` it makes a vector of an image or sequence, with far
    fewer features than `Flatten`, whatever the size.

    Parameters
    ----------
    name : str, optional
        Name of the layer.

    Notes
    -----
    Input shape (rows, height, width, channels) or (rows, length, channels), output shape (rows,
    channels). No parameters.

    References
    ----------
    Lin, Chen & Yan 2014, Network in network.
    """

    kind: ClassVar[str] = "avgpool"

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (channels,)."""
        check_rank(input_shape, 2, 3)
        return input_shape[-1:]

    def spec(self, input_shape: Shape) -> dict[str, Any]:
        """Return what the core reads: one window over all positions."""
        window = core_shape(input_shape)[:2]
        return {
            "kind": self.kind,
            "window": window,
            "stride": window,
            "dilation": (1, 1),
            "outside_y": (0, 0),
            "outside_x": (0, 0),
        }
