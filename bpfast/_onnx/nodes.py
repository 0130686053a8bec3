"""What reads each operator of ONNX: a function, or an expression of the table of operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from bpfast import layers as ours
from bpfast._check import show
from bpfast._onnx import layers, shapes, windows
from bpfast._onnx.steps import Array, Nodes, Step, error, layer_of, number
from bpfast._transfer import joined_orders
from bpfast.export.operators import (
    ACTIVATIONS,
    DISTANCE,
    FIRST,
    OTHER,
    OTHER_RMS_NORM,
    OTHER_SPELLINGS,
    RMS_NORM,
    Op,
    X,
)
from bpfast.export.protobuf import Node

#: Products, behind which an Add of a constant is the bias.
PRODUCTS: Final = {"Gemm": layers.gemm, "MatMul": layers.gemm, "Conv": windows.conv}
#: Operators whose two inputs may change places.
_COMMUTE: Final = ("Add", "Mul")


def read(nodes: Nodes, node: Node) -> Step:
    """Return the step that a node is.

    Raises
    ------
    ValueError
        It is none; the message names the node and its operator.
    """
    step = _expression(nodes, node)
    if step is not None:
        return step
    if node.op in READERS:
        try:
            return READERS[node.op](nodes, node)
        except (TypeError, IndexError, ArithmeticError) as problem:
            raise error(node, f"has arguments that do not fit: {problem}") from None
    for name, op in ACTIVATIONS.items():
        if op.op == node.op:
            wanted = ", ".join(f"{key}={value!r}" for key, value in op.attributes.items())
            came = ", ".join(f"{key}={show(node.attributes.get(key))}" for key in op.attributes)
            raise error(node, f"must have {wanted}, to be {name}, got {came}")
    raise error(node, "is an operator that bpfast has no layer for")


# ---- expressions --------------------------------------------------------------------------------


def _expression(nodes: Nodes, node: Node) -> Step | None:
    """Return the step of the last node of an expression, or None."""
    for name, op in (*ACTIVATIONS.items(), *OTHER_SPELLINGS):
        if op.op == node.op and (found := _match(nodes, op, node, {})):
            source = _bound(nodes, node, found[X])
            if name == "softmax":
                _check_softmax(nodes, node, source)
            return nodes.unary(node, source, ours.Activation(name), order=source.order)
    for op in (RMS_NORM, OTHER_RMS_NORM):
        for scale in (True, False):
            whole = Op("Mul", (op, "gamma"), {}) if scale else op
            if whole.op == node.op and (found := _match(nodes, whole, node, {})):
                return _rms_norm(nodes, node, found)
    if DISTANCE.op == node.op and (found := _match(nodes, DISTANCE, node, {})):
        steps = [_bound(nodes, node, found[name]) for name in (X, OTHER)]
        return joined(node, "distance", steps)
    return None


def _match(nodes: Nodes, op: Op, node: Node | None, bound: dict[str, str]) -> dict[str, str]:
    """Return the tensors that an expression's names stand for; empty where it does not fit."""
    if node is None or node.op != op.op or len(node.inputs) != len(op.inputs):
        return {}
    for key, wanted in op.attributes.items():
        value = node.attributes.get(key)
        if isinstance(wanted, float) and isinstance(value, float):
            if not math.isclose(value, wanted, rel_tol=1e-6):  # a float32 there
                return {}
        elif value != wanted:
            return {}
    ways = [node.inputs, node.inputs[::-1]] if op.op in _COMMUTE else [node.inputs]
    for inputs in ways:
        found: dict[str, str] | None = dict(bound)
        for each, name in zip(op.inputs, inputs, strict=True):
            found = None if found is None else _match_input(nodes, each, name, found)
        if found:
            return found
    return {}


def _match_input(
    nodes: Nodes, each: Op | float | str, name: str, bound: dict[str, str]
) -> dict[str, str] | None:
    """Return `bound` with what an input adds to it, or None where it does not fit."""
    if isinstance(each, Op):
        return _match(nodes, each, nodes.makers.get(name), bound) or None
    constant = nodes.model.constants.get(name)
    if isinstance(each, float):
        if constant is None or constant.size != 1:
            return None
        return bound if np.isclose(constant, each, rtol=1e-5).all() else None
    if bound.get(each, name) != name or (constant is None) != (each in (X, OTHER)):
        return None
    return {**bound, each: name}


def _bound(nodes: Nodes, node: Node, name: str) -> Step:
    """Return the step of a tensor that an expression's name stands for."""
    return nodes.step(node._replace(inputs=(name,)))


def _check_softmax(nodes: Nodes, node: Node, source: Step) -> None:
    """Raise unless a softmax is over the channels alone."""
    rank = len(source.shape) + 1
    axis = number(node, "axis", -1) % rank
    if axis != source.channels_axis or (nodes.model.opset < 13 and rank > 2):
        raise error(node, f"must be over the channels, axis {source.channels_axis}, got {axis}")


def _rms_norm(nodes: Nodes, node: Node, found: dict[str, str]) -> Step:
    """Return the step of a normalisation by the root mean square."""
    source = _bound(nodes, node, found[X])
    constants = nodes.model.constants
    axes, epsilon = constants[found["axes"]], constants[found["epsilon"]]
    rank = len(source.shape) + 1
    if axes.size != 1 or int(axes.ravel()[0]) % rank != rank - 1 or source.channels_axis < rank - 1:
        raise error(node, f"must be over the channels alone, got axes {axes.tolist()}")
    if epsilon.size != 1:
        raise error(node, f"needs one number to add, got shape {epsilon.shape}")
    gamma = found.get("gamma")
    layer = layer_of(node, ours.RMSNorm, float(epsilon.ravel()[0]), scale=gamma is not None)
    if gamma is None:
        return nodes.unary(node, source, layer, order=source.order)
    array = nodes.vector(node._replace(inputs=(gamma,)), 0, source)
    return nodes.unary(
        node,
        source,
        layer,
        order=source.order,
        constants=("RMSNorm", gamma),
        arrays={"gamma": array},
    )


# ---- several inputs -----------------------------------------------------------------------------


def joined(node: Node, kind: str, steps: Sequence[Step]) -> Step:
    """Return several steps put together, of the same layout and order of features."""
    first = steps[0]
    for other in steps[1:]:
        positions = other.shape[:-1] == first.shape[:-1]
        if (len(first.shape) > 1 and other.layout != first.layout) or not positions:
            raise error(node, f"cannot join {first.theirs} and {other.theirs}")
        if kind != "concat" and other.shape != first.shape:
            raise error(node, f"needs rows of the same shape, got {first.shape}, {other.shape}")
        if kind != "concat" and not _equal(first.order, other.order):
            raise error(node, "needs features in the same order: one is a flattened image")
    shape, order = first.shape, first.order
    if kind == "concat":
        widths = [step.shape[-1] for step in steps]
        shape = (*shape[:-1], sum(widths))
        orders = [step.order for step in steps]
        order = joined_orders(orders, widths) if any(o is not None for o in orders) else None
    return Step(shape, first.layout, tuple(steps), join=kind, node=node, order=order)


def _equal(one: Array | None, other: Array | None) -> bool:
    """Whether two orders are the same."""
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def concat(nodes: Nodes, node: Node) -> Step:
    """Concat of the channels."""
    steps = [nodes.step(node, i) for i in range(len(node.inputs))]
    rank, axis = len(steps[0].shape) + 1, number(node, "axis")
    if axis % rank != steps[0].channels_axis:
        raise error(node, f"must be of the channels, axis {steps[0].channels_axis}, got {axis}")
    return joined(node, "concat", steps) if len(steps) > 1 else steps[0]


def arithmetic(nodes: Nodes, node: Node) -> Step:
    """Add of two tensors; of a constant behind a product, its bias; Sub, Div, ... at the input."""
    given = [name for name in node.inputs if name in nodes.model.constants]
    if len(node.inputs) != 2:
        raise error(node, f"needs two inputs, got {len(node.inputs)}")
    if not given:
        if node.op != "Add":
            raise error(node, "must be with a constant")
        return joined(node, "add", [nodes.step(node, 0), nodes.step(node, 1)])
    place = node.inputs.index(given[0])
    if place == 0 and node.op in ("Sub", "Div"):
        raise error(node, "must not be of a constant by what the model computes")
    source, constant = nodes.step(node, 1 - place), nodes.needed(node, place)
    if source.scaling is not None:
        return _scaled(nodes, node, source, constant)
    made = source.node
    if node.op == "Add" and made is not None and made.op in PRODUCTS and source.layers:
        (layer,) = source.layers
        if not getattr(layer, "use_bias", True) and _is_bias(constant, source):
            return PRODUCTS[made.op](nodes, made, (given[0], constant))
    raise error(node, "must be with a constant at the input, or add the bias of a product")


def _is_bias(array: Array, source: Step) -> bool:
    """Whether a constant broadcasts along the channels alone."""
    if array.size == 1:
        return array.ndim <= len(source.shape) + 1
    shape = (1, *[1] * (len(source.shape) + 1 - array.ndim), *array.shape)[-len(source.shape) - 1 :]
    here = [n for i, n in enumerate(shape) if i != source.channels_axis]
    return array.ndim <= len(source.shape) + 1 and set(here) <= {1} and array.dtype.kind == "f"


def _scaled(nodes: Nodes, node: Node, source: Step, constant: Array) -> Step:
    """Return the input shifted or scaled by constants: (x - mean) scale."""
    theirs = source.theirs
    try:
        given = np.broadcast_to(constant, (1, *theirs))[0].astype(np.float64)
    except ValueError:
        raise error(node, f"has a constant {constant.shape}, got rows {theirs}") from None
    given = np.moveaxis(given, 0, -1) if source.layout == FIRST else given
    assert source.scaling is not None
    mean, scale = source.scaling
    if node.op == "Sub":
        mean = mean + given / scale
    elif node.op == "Add":
        mean = mean - given / scale
    else:
        scale = scale / given if node.op == "Div" else scale * given
    if not (np.isfinite(mean).all() and np.isfinite(scale).all() and scale.all()):
        raise error(node, "must scale by finite numbers other than 0")
    layer = ours.Standardize()
    scaling = np.broadcast_to(mean, source.shape), np.broadcast_to(scale, source.shape)
    nodes.hold(layer, dict(zip(("mean", "scale"), scaling, strict=True)))
    return Step(source.shape, source.layout, (nodes.source,), (layer,), node=node, scaling=scaling)


def nothing(nodes: Nodes, node: Node) -> Step:
    """Identity, and Cast among floats."""
    source = nodes.step(node)
    if node.op == "Cast" and (to := number(node, "to")) not in (1, 11):
        raise error(node, f"must be to float or double, types 1 and 11, got {to}")
    return source


def dropout(nodes: Nodes, node: Node) -> Step:
    """Dropout, which inference leaves out."""
    source = nodes.step(node)
    training = nodes.array(node, 2)
    if training is not None and training.any():
        raise error(node, "must not be in training mode")
    rate = nodes.array(node, 1) if len(node.inputs) > 1 else node.attributes.get("ratio")
    rate = 0.5 if rate is None else float(np.asarray(rate).ravel()[0])
    layer = layer_of(node, ours.Dropout, rate)
    return nodes.unary(node, source, layer, order=source.order)


#: What reads each operator that is not an expression of the table of operators.
READERS: Final[dict[str, Callable[[Nodes, Node], Step]]] = {
    "Add": arithmetic,
    "AveragePool": windows.pool,
    "BatchNormalization": layers.batch_norm,
    "Cast": nothing,
    "Concat": concat,
    "Conv": windows.conv,
    "Div": arithmetic,
    "Dropout": dropout,
    "Flatten": shapes.flatten,
    "Gemm": layers.gemm,
    "GlobalAveragePool": windows.global_pool,
    "GlobalMaxPool": windows.global_pool,
    "Identity": nothing,
    "LayerNormalization": layers.layer_norm,
    "MatMul": layers.gemm,
    "MaxPool": windows.pool,
    "Mul": arithmetic,
    "RMSNormalization": layers.layer_norm,
    "ReduceMean": windows.reduce_mean,
    "Reshape": shapes.reshape,
    "Slice": shapes.slice_,
    "Squeeze": shapes.squeeze,
    "Sub": arithmetic,
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.squeeze,
}
