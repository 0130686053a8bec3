"""What moves the values of an ONNX model and leaves them as they are."""

from __future__ import annotations

import math

from bpfast import layers as ours
from bpfast._onnx.steps import Nodes, Step, error, layer_of, number
from bpfast._transfer import channels_first
from bpfast.export.operators import FIRST, LAST
from bpfast.export.protobuf import Node
from bpfast.layers.shapes import Shape, check_shape


def flatten(nodes: Nodes, node: Node) -> Step:
    """Flatten behind the batch."""
    source = nodes.step(node)
    rank = len(source.shape) + 1
    if number(node, "axis", 1) not in (1, 1 - rank):
        raise error(node, f"must have axis=1, got {node.attributes['axis']}")
    return flat(nodes, node, source)


def flat(nodes: Nodes, node: Node, source: Step) -> Step:
    """Return the rows as vectors."""
    if len(source.shape) == 1:
        return source.again(node)
    order = channels_first(source.shape) if source.layout == FIRST else None
    return nodes.unary(node, source, ours.Flatten(), order=order)


def reshape(nodes: Nodes, node: Node) -> Step:
    """Reshape of each row."""
    source = nodes.step(node)
    wanted = nodes.numbers(node, "shape", 1)
    size = math.prod(source.shape)
    batch = nodes.model.inputs[0].shape[0]
    empty = node.attributes.get("allowzero") and 0 in (wanted or ())
    if not wanted or wanted[0] not in (0, -1, batch) or empty:
        raise error(node, f"must keep the batch as its first axis, got {wanted}")
    row = list(wanted[1:])
    theirs = source.theirs
    row = [theirs[i] if n == 0 and i < len(theirs) else n for i, n in enumerate(row)]
    if row.count(-1) == 1 and wanted[0] != -1:
        rest = math.prod(n for n in row if n != -1)
        row[row.index(-1)] = size // rest if rest > 0 else 0
    if not row or min(row) < 1 or math.prod(row) != size:
        raise error(node, f"cannot make {wanted} of rows of shape {theirs}")
    return reshaped(nodes, node, source, tuple(row))


def reshaped(nodes: Nodes, node: Node, source: Step, row: Shape) -> Step:
    """Return rows of this shape, which is the model's, of the same values."""
    if row == source.theirs:
        return source.again(node)
    if len(row) == 1:
        return flat(nodes, node, source)
    try:
        check_shape("shape", row)
    except ValueError as problem:
        raise error(node, str(problem)) from None
    layout = source.layout if len(source.shape) > 1 else nodes.source.layout
    shape = row if layout == LAST else (*row[1:], row[0])
    orders = [channels_first(each) for each in (source.shape, shape) if len(each) > 1]
    moved = layout == FIRST and any(order is not None for order in orders)
    if moved or source.order is not None:
        raise error(node, f"must not mix channels and positions: {source.theirs} to {row}")
    step = nodes.unary(node, source, ours.Reshape(shape))
    step.layout = layout
    return step


def squeeze(nodes: Nodes, node: Node) -> Step:
    """Squeeze and Unsqueeze of axes of one position."""
    source = nodes.step(node)
    axes = nodes.numbers(node, "axes", 1)
    theirs = source.theirs
    if axes is None:
        raise error(node, "must name its axes")
    if node.op == "Squeeze":
        rank = len(theirs) + 1
        gone = {axis % rank for axis in axes}
        if any(axis == 0 or theirs[axis - 1] != 1 for axis in gone):
            raise error(node, f"must be of axes of size 1 behind the batch, got {axes}")
        row = tuple(n for i, n in enumerate(theirs) if i + 1 not in gone)
    else:
        rank = len(theirs) + 1 + len(axes)
        new = {axis % rank for axis in axes}
        if 0 in new or len(new) != len(axes):
            raise error(node, f"must make axes behind the batch, got {axes}")
        rest = iter(theirs)
        row = tuple(1 if i in new else next(rest) for i in range(1, rank))
    if not row:
        raise error(node, "must leave an axis behind the batch")
    return reshaped(nodes, node, source, row)


def transpose(nodes: Nodes, node: Node) -> Step:
    """Transpose from one layout to the other."""
    source = nodes.step(node)
    rank = len(source.shape) + 1
    perm = node.attributes.get("perm", list(range(rank))[::-1])
    if perm == list(range(rank)):
        return source.again(node)
    moves = {
        FIRST: ([0, *range(2, rank), 1], LAST),
        LAST: ([0, rank - 1, *range(1, rank - 1)], FIRST),
    }
    wanted, layout = moves[source.layout]
    if rank < 3 or perm != wanted:
        raise error(node, f"must have perm={wanted}, to {layout}, got {perm}")
    return source.again(node, layout)


def slice_(nodes: Nodes, node: Node) -> Step:
    """Slice of the channels."""
    source = nodes.step(node)
    rank = len(source.shape) + 1
    starts, ends = nodes.numbers(node, "starts", 1), nodes.numbers(node, "ends", 2)
    axes, steps = nodes.numbers(node, "axes", 3), nodes.numbers(node, "steps", 4)
    if axes is None or [axis % rank for axis in axes] != [source.channels_axis]:
        raise error(node, f"must be of the channels, axis {source.channels_axis}, got {axes}")
    if not (starts and ends and len(starts) == len(ends) == 1) or steps not in (None, [1]):
        raise error(
            node, f"must be of neighbouring channels, got {starts} to {ends} in steps of {steps}"
        )
    first, stop, _ = slice(starts[0], ends[0]).indices(source.shape[-1])
    if source.order is not None:
        raise error(node, "must not be of flattened images with channels first")
    return nodes.unary(node, source, layer_of(node, ours.Slice, first, stop))
