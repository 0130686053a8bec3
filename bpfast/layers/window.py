"""Windows that slide over positions: what convolution and pooling share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bpfast._check import bad_type, bad_value, check_choice, check_count, check_index
from bpfast.errors import ShapeError
from bpfast.layers.shapes import Shape, check_rank

#: A number for both directions, or one for the height and one for the width.
Extent = int | tuple[int, int]

PADDINGS = ("valid", "same")
#: Positions; sums of a few such numbers fit any integer.
MOST_REACH = 2**31 - 1


def check_extent(
    name: str, value: object, axes: int, check: Callable[[str, object], int] = check_count
) -> Extent:
    """Return an int, or of two axes a pair of ints; a pair of equals as one."""
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and axes == 2:
        if len(value) != 2:
            raise bad_value(name, "an int or two", value)
        pair = check(f"{name}[0]", value[0]), check(f"{name}[1]", value[1])
        return pair[0] if pair[0] == pair[1] else pair
    if isinstance(value, (Sequence, dict, set)):
        raise bad_type(name, "an int or two" if axes == 2 else "an int", value)
    return check(name, value)


def check_padding(value: object, axes: int) -> str | Extent:
    """Return "valid", "same", or the positions to add on each side of each axis."""
    if isinstance(value, str):
        return check_choice("padding", value, PADDINGS)
    return check_extent("padding", value, axes, check_index)


class Window(NamedTuple):
    """A window and its way over a row's positions, along height and width.

    Sequences have height 1. Padding "same" is that of Keras: ceil(length / stride) steps, what is
    missing added half before and half, the larger one, behind.
    """

    axes: int
    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: str | tuple[int, int]

    @classmethod
    def of(
        cls, axes: int, size: Extent, stride: Extent, dilation: Extent, padding: str | Extent
    ) -> Window:
        """Make a window of what the checks above returned."""

        def pair(value: Extent, other: int) -> tuple[int, int]:
            if isinstance(value, tuple):
                return value
            return (value, value) if axes == 2 else (other, value)

        around = padding if isinstance(padding, str) else pair(padding, 0)
        return cls(axes, pair(size, 1), pair(stride, 1), pair(dilation, 1), around)

    def reach(self, axis: int) -> int:
        """Return how many positions the window spans, those between its own included."""
        return self.dilation[axis] * (self.size[axis] - 1) + 1

    def check(self, share: int = 1) -> None:
        """Raise a ValueError unless padding is less than the reach, or at most a share of it."""
        for axis in range(2):
            reach = self.reach(axis)
            if max(reach, self.stride[axis]) > MOST_REACH:
                raise ValueError(
                    f"windows must span, and step over, at most {MOST_REACH} positions, got "
                    f"{reach} and {self.stride[axis]}"
                )
            most = reach - 1 if share == 1 else reach // share
            if not isinstance(self.padding, str) and self.padding[axis] > most:
                raise bad_value(
                    "padding",
                    f"at most {most} for windows over {reach} positions",
                    self.padding[axis],
                )

    def outside(self, axis: int, length: int) -> tuple[int, int]:
        """Return how many positions are added before and behind."""
        if self.padding == "valid":
            return 0, 0
        if isinstance(self.padding, tuple):
            return self.padding[axis], self.padding[axis]
        steps = -(-length // self.stride[axis])
        missing = max((steps - 1) * self.stride[axis] + self.reach(axis) - length, 0)
        return missing // 2, missing - missing // 2

    def output_shape(self, input_shape: Shape, channels: int) -> Shape:
        """Return the shape of what has so many channels at each step of the window."""
        hint = ": Reshape makes one" if len(input_shape) == 1 else ""
        check_rank(input_shape, self.axes + 1, hint=hint)
        lengths = (1, *input_shape)[-3:-1]
        steps = []
        for axis, length in enumerate(lengths):
            room = length + sum(self.outside(axis, length)) - self.reach(axis)
            if room < 0:
                raise ShapeError(
                    f"has windows over {self.reach(axis)} positions, got an input of shape "
                    f"{input_shape} with {length} and padding {self.padding!r}"
                )
            steps.append(room // self.stride[axis] + 1)
        return (*steps[2 - self.axes :], channels)

    def spec(self, input_shape: Shape) -> dict[str, Any]:
        """Return what the core reads."""
        height, width = (1, *input_shape)[-3:-1]
        return {
            "window": self.size,
            "stride": self.stride,
            "dilation": self.dilation,
            "outside_y": self.outside(0, height),
            "outside_x": self.outside(1, width),
        }
