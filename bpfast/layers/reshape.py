"""Another shape for the same values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from bpfast.errors import ShapeError
from bpfast.layers.base import Layer
from bpfast.layers.shapes import check_shape, core_shape

if TYPE_CHECKING:
    from bpfast.layers.shapes import Shape


class Reshape(Layer):
    """Give the values of each row another shape, in the order of NumPy's ``reshape``.

    Parameters
    ----------
    shape : tuple of int
        Of a row, without the batch: (n,), (length, channels) or (height, width, channels); as many
        values as come in.
    name : str, optional
        Name of the layer.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range.

    Notes
    -----
    Input of any shape, output of `shape`; no parameters. ``Reshape((28, 28, 1))`` makes images of
    rows of 784 pixels.
    """

    kind: ClassVar[str] = "reshape"

    def __init__(self, shape: tuple[int, ...], *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.shape = check_shape("shape", shape)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape that was asked for."""
        if math.prod(input_shape) != math.prod(self.shape):
            raise ShapeError(
                f"cannot make {self.shape}, {math.prod(self.shape)} values, of an input of shape "
                f"{input_shape}, {math.prod(input_shape)} values"
            )
        return self.shape

    def spec(self, input_shape: Shape) -> dict[str, Any]:
        """Return what the core reads."""
        return {"kind": self.kind, "shape": core_shape(self.shape)}
