"""A part of the features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bpfast._check import check_index, check_int
from bpfast.errors import ShapeError
from bpfast.layers.base import Layer

if TYPE_CHECKING:
    from bpfast.layers.shapes import Shape


class Slice(Layer):
    """Take the features, or channels at each position, start .. stop - 1: y = x[..., start:stop].

    Parameters
    ----------
    start, stop : int
        0 <= start < stop, at most the number of features.
    name : str, optional
        Name of the layer.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range.

    Notes
    -----
    Input shape (..., features), output shape (..., stop - start); no parameters. At the head of a
    branch of `Concatenate` it gives the branch its part of the inputs.
    """

    kind: ClassVar[str] = "slice"

    def __init__(self, start: int, stop: int, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.start = check_index("start", start)
        self.stop = check_int("stop", stop, self.start + 1)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape with fewer features."""
        if self.stop > input_shape[-1]:
            raise ShapeError(
                f"takes features {self.start} to {self.stop - 1}, got an input of shape "
                f"{input_shape}, whose last is {input_shape[-1] - 1}"
            )
        return (*input_shape[:-1], self.stop - self.start)

    def spec(self, input_shape: Shape) -> dict[str, Any]:
        """Return what the core reads."""
        return {"kind": self.kind, "first": self.start, "count": self.stop - self.start}
