"""What the pooling layers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bpfast.layers.base import Layer
from bpfast.layers.window import Extent, Window, check_extent, check_padding

if TYPE_CHECKING:
    from bpfast.layers.shapes import Shape


class Pool(Layer):
    """Base of the layers that make one value of each channel's values in a window.

    Parameters
    ----------
    pool_size : int or (int, int), default 2
    strides : int or (int, int), optional
        None means `pool_size`: windows side by side.
    padding : "valid", "same", int or (int, int), default "valid"
    name : str, optional
    """

    axes: ClassVar[int]

    def __init__(
        self,
        pool_size: int | tuple[int, int] = 2,
        *,
        strides: int | tuple[int, int] | None = None,
        padding: str | int | tuple[int, int] = "valid",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.pool_size: Extent = check_extent("pool_size", pool_size, self.axes)
        self.strides: Extent | None = (
            None if strides is None else check_extent("strides", strides, self.axes)
        )
        self.padding: str | Extent = check_padding(padding, self.axes)
        self._window().check(share=2)

    def _window(self) -> Window:
        strides = self.pool_size if self.strides is None else self.strides
        return Window.of(self.axes, self.pool_size, strides, 1, self.padding)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the steps of the window, and the channels."""
        return self._window().output_shape(input_shape, input_shape[-1])

    def spec(self, input_shape: Shape) -> dict[str, Any]:
        """Return what the core reads."""
        return {"kind": self.kind, **self._window().spec(input_shape)}
