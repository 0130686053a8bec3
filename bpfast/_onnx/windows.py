"""Convolution and pooling of an ONNX model as layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bpfast import layers as ours
from bpfast._check import show
from bpfast._onnx.steps import Array, Nodes, Step, error, layer_of, number
from bpfast.export.operators import FIRST
from bpfast.export.protobuf import Node
from bpfast.layers.base import Layer
from bpfast.layers.shapes import Shape
from bpfast.layers.window import Window


def check_window(node: Node, source: Step) -> None:
    """Raise unless a window can slide over these rows."""
    if len(source.shape) not in (2, 3):
        raise error(node, f"needs images or sequences, got rows of shape {source.theirs}")
    if source.layout != FIRST:
        raise error(node, f"needs channels first, got rows of shape {source.shape}, channels last")


class Frame(NamedTuple):
    """A node's window over positions, and what it adds before and behind, axis by axis."""

    node: Node
    size: list[int]
    strides: list[int]
    dilations: list[int]
    lengths: Shape
    outside: list[tuple[int, int]]

    @classmethod
    def of(cls, node: Node, source: Step, size: Sequence[int]) -> Frame:
        """Return the frame of a window of this size."""
        check_window(node, source)
        axes = len(source.shape) - 1

        def numbers(name: str, default: Sequence[int], low: int = 1) -> list[int]:
            found = node.attributes.get(name, list(default))
            if not isinstance(found, list) or len(found) != len(default) or min(found) < low:
                expected = f"{len(default)} numbers of {low} or more"
                raise error(node, f"must have {expected} as {name}, got {show(found)}")
            return found

        ones = [1] * axes
        frame = cls(
            node,
            numbers("kernel_shape", size),
            numbers("strides", ones),
            numbers("dilations", ones),
            source.shape[:-1],
            [],
        )
        pads = numbers("pads", [0] * 2 * axes, 0)
        outside = list(zip(pads[:axes], pads[axes:], strict=True))
        auto = node.attributes.get("auto_pad", "NOTSET")
        if auto == "VALID":
            outside = [(0, 0)] * axes
        elif auto == "SAME_UPPER":
            outside = frame.added_by("same")
        elif auto == "SAME_LOWER":
            outside = [(behind, before) for before, behind in frame.added_by("same")]
        elif auto != "NOTSET":
            raise error(node, f"must have an auto_pad that ONNX knows, got {show(auto)}")
        return frame._replace(outside=outside)

    def added_by(self, padding: Any) -> list[tuple[int, int]]:
        """Return what our padding adds before and behind."""
        axes = len(self.lengths)
        size, strides = plain(self.size), plain(self.strides)
        window = Window.of(axes, size, strides, plain(self.dilations), padding)
        lengths = (1, *self.lengths)[-2:]
        return [window.outside(axis, lengths[axis]) for axis in range(2 - axes, 2)]

    def layer(self, make: Callable[..., Layer]) -> Layer:
        """Return the layer that `make` makes of size, strides and the padding that does the same.

        ONNX has pads for each side; here they are the same on both sides, or those of "same".
        """
        if self.node.attributes.get("ceil_mode"):
            for i, outside in enumerate(self.outside):
                reach = self.dilations[i] * (self.size[i] - 1) + 1
                if (self.lengths[i] + sum(outside) - reach) % self.strides[i]:
                    raise error(self.node, "must have ceil_mode=0 where windows do not fit in")
        paddings: list[Any] = ["same"]
        if not any(map(sum, self.outside)):
            paddings = ["valid"]
        elif all(before == behind for before, behind in self.outside):
            paddings = [plain([before for before, _ in self.outside]), "same"]
        reason = "pads must be the same before and behind, or those of SAME_UPPER"
        for padding in paddings:
            if self.added_by(padding) == self.outside:
                try:
                    return make(plain(self.size), strides=plain(self.strides), padding=padding)
                except ValueError as problem:
                    reason = str(problem)
        raise error(self.node, f"has no counterpart: {reason}, got {self.outside}")


def plain(values: Sequence[int]) -> Any:
    """Return one number, or a pair."""
    return int(values[0]) if len(values) == 1 else (int(values[0]), int(values[1]))


def conv(nodes: Nodes, node: Node, bias: tuple[str, Array] | None = None) -> Step:
    """Conv, over images and sequences. `bias` is that of an Add behind it."""
    source = nodes.step(node)
    weight = nodes.needed(node, 1)
    check_window(node, source)
    axes = len(source.shape) - 1
    if weight.ndim != axes + 2 or weight.dtype.kind != "f" or not weight.size:
        raise error(node, f"needs a weight of {axes + 2} axes, got shape {weight.shape}")
    groups, filters = number(node, "group", 1), weight.shape[0]
    if groups < 1 or weight.shape[1] * groups != source.shape[-1]:
        raise error(
            node, f"has a weight {weight.shape} and group={groups}, got {source.shape[-1]} channels"
        )
    frame = Frame.of(node, source, weight.shape[2:])
    if frame.size != list(weight.shape[2:]):
        raise error(node, f"must have the kernel_shape of its weight, got {frame.size}")
    names, given = nodes.bias(node, filters, bias)
    cls: Any = ours.Conv1D if axes == 1 else ours.Conv2D
    fixed = {"groups": groups, "use_bias": given is not None, "dilation": plain(frame.dilations)}
    layer = frame.layer(lambda size, **how: cls(filters, size, **fixed, **how))
    kernel = weight.transpose(*range(2, axes + 2), 1, 0)
    return nodes.unary(
        node, source, layer, constants=names, arrays={"kernel": kernel, "bias": given}
    )


def pool(nodes: Nodes, node: Node) -> Step:
    """MaxPool and AveragePool."""
    source = nodes.step(node)
    check_window(node, source)
    frame = Frame.of(node, source, [0] * (len(source.shape) - 1))  # the attribute must be there
    if set(frame.dilations) != {1}:
        raise error(node, f"must have dilations=1, got {frame.dilations}")
    if node.attributes.get("count_include_pad") and any(map(sum, frame.outside)):
        raise error(node, "must have count_include_pad=0: means are over positions inside")
    kind = "MaxPool" if node.op == "MaxPool" else "AvgPool"
    cls: Any = ours.TABLE[f"{kind}{len(source.shape) - 1}D"]
    return nodes.unary(node, source, frame.layer(cls))


def global_pool(nodes: Nodes, node: Node) -> Step:
    """GlobalAveragePool and GlobalMaxPool: a window over all positions, which stay as one."""
    source = nodes.step(node)
    check_window(node, source)
    kind = "AvgPool" if node.op == "GlobalAveragePool" else "MaxPool"
    cls: Any = ours.TABLE[f"{kind}{len(source.shape) - 1}D"]
    return nodes.unary(node, source, layer_of(node, cls, plain(source.shape[:-1])))


def reduce_mean(nodes: Nodes, node: Node) -> Step:
    """ReduceMean over all positions."""
    source = nodes.step(node)
    rank = len(source.shape) + 1
    axes = nodes.numbers(node, "axes", 1)
    positions = set(range(1, rank)) - {source.channels_axis}
    if rank < 3 or axes is None or {axis % rank for axis in axes} != positions:
        raise error(
            node,
            "must be over all positions of images or sequences, "
            f"got axes {axes} of rows of shape {source.theirs}",
        )
    if not node.attributes.get("keepdims", 1):
        return nodes.unary(node, source, ours.GlobalAvgPool())
    cls: Any = ours.TABLE[f"AvgPool{rank - 2}D"]
    return nodes.unary(node, source, layer_of(node, cls, plain(source.shape[:-1])))
