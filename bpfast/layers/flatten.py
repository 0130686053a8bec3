"""From images and sequences to vectors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from bpfast.layers.base import Layer
from bpfast.layers.shapes import core_shape

if TYPE_CHECKING:
    from bpfast.layers.shapes import Shape


class Flatten(Layer):
    """Lay the values of each row out as one vector, positions row by row, channels innermost.

    Parameters
    ----------
    name : str, optional
        Name of the layer.

    Notes
    -----
    Input shape (height, width, channels), output shape (height * width * channels,): the order of
    NumPy's ``reshape`` and of Keras, channels last (PyTorch has them first, so that a `Dense`
    behind it has other rows). A sequence (length, channels) alike; a vector stays. No parameters.
    """

    kind: ClassVar[str] = "reshape"

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the number of values."""
        return (math.prod(input_shape),)

    def spec(self, input_shape: Shape) -> dict[str, Any]:
        """Return what the core reads."""
        return {"kind": self.kind, "shape": core_shape(self.output_shape(input_shape))}
