"""`bpfast.convert.from_onnx`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bpfast._check import bad_value, check_bool, check_text, listed, show
from bpfast._data import check_finite
from bpfast._onnx.chains import Chains
from bpfast._onnx.nodes import read
from bpfast._onnx.steps import Nodes, Step, error
from bpfast.export.operators import FIRST, LAST, LAYOUT_KEY
from bpfast.export.protobuf import Model, Node, load
from bpfast.layers.base import join
from bpfast.layers.shapes import KINDS, Shape, check_shape
from bpfast.network import Network


def from_onnx(
    source: Any,
    *,
    input_shape: int | Sequence[int] | None = None,
    output: str | None = None,
    channels_last: bool | None = None,
    dtype: str | None = None,
    rng: int | np.random.Generator | None = None,
) -> Network:
    """Return the network that an ONNX model is, with its weights and statistics.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
        Opset 7 to the newest that the installed onnx knows; weights within the file.
    input_shape : int or tuple of int, optional
        Of an input row as bpfast has it, channels last; needed where the model leaves sizes open.
    output : str, optional
        The tensor to compute; None means the only output, or that called ``probabilities``.
    channels_last : bool, optional
        Whether the model's images come with channels last. None: where the model says so (what
        `Network.to_onnx` writes) or transposes its input to channels first; else they come first,
        as ONNX's windows have them. The network's are always channels last.
    dtype : {"float32", "float64"}, optional
        None means that of the model's input, float32 for shorter ones.
    rng : int, numpy.random.Generator or None, default None
        Seed of the network: of what later fits draw.

    Returns
    -------
    Network
        `predict` gives what the model gives; ``metadata`` is the model's. Nodes that the output
        does not need are left out.

    Raises
    ------
    ImportError
        The extra ``onnx`` is not installed.
    OSError
        The file cannot be read.
    TypeError
        An argument is of the wrong type.
    ValueError
        The source is no valid model, or a node has an operator, an attribute or an input that no
        layer stands for; the message names node and operator.

    Notes
    -----
    Read are Gemm, MatMul and Add, Conv (1-D, 2-D), BatchNormalization, LayerNormalization and
    RMSNormalization (over channels), MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool,
    ReduceMean over positions, the activations of `bpfast.activations` in one node or, as exporters
    write them, in several, Flatten, Reshape, Squeeze, Unsqueeze, Transpose between layouts, Slice
    and Concat of channels, Dropout, Identity, Cast, Sub, Div, Add and Mul of constants at the input
    (`Standardize`), Add of a tensor and what is made of it (`Residual`), and |f(a) - f(b)|
    (`Siamese`). Nodes that use the same weights become one layer.

    References
    ----------
    https://onnx.ai/onnx/operators

    Examples
    --------
    >>> net = bpfast.convert.from_onnx("model.onnx")  # doctest: +SKIP
    """
    if output is not None:
        check_text("output", output)
    if channels_last is not None:
        check_bool("channels_last", channels_last)
    given = None if input_shape is None else check_shape("input_shape", input_shape)
    model = load(source)
    if len(model.inputs) != 1:
        names = listed(each.name for each in model.inputs)
        raise bad_value("source", f"a model with one input, beside weights: it has {names}", source)
    (tensor,) = model.inputs
    if tensor.dtype not in ("float16", "float32", "float64"):
        raise ValueError(
            f"input {show(tensor.name)} must be of floats, got {tensor.dtype or 'another type'}"
        )
    layout = LAST if _says_last(model, channels_last) else FIRST
    shape = _row(tensor.shape, layout, given)
    start = Step(shape, layout, scaling=(np.zeros(()), np.ones(())))
    nodes = Nodes(model, start)
    with np.errstate(all="ignore"):  # what overflows is found when it is copied
        end = _walk(nodes, _output(model, output))
    layers = Chains(nodes).between(start, end)
    if end.order is not None:
        raise ValueError(
            "the model must not end with images flattened, whose channels come first there and "
            "last here"
        )
    wide = "float64" if tensor.dtype == "float64" else "float32"
    net = Network(layers, input_shape=shape, dtype=wide if dtype is None else dtype, rng=rng)
    _fill(net, nodes)
    net.metadata = {k: note for k, note in model.metadata.items() if k != LAYOUT_KEY}
    return net


def _says_last(model: Model, given: bool | None) -> bool:
    """Whether the input's channels come last."""
    if given is not None:
        return given
    name, rank = model.inputs[0].name, len(model.inputs[0].shape)
    first = [0, rank - 1, *range(1, rank - 1)]
    return model.metadata.get(LAYOUT_KEY) == LAST or any(
        node.op == "Transpose" and name in node.inputs and node.attributes.get("perm") == first
        for node in model.nodes
    )


def _row(sizes: tuple[int | None, ...], layout: str, given: Shape | None) -> Shape:
    """Return the shape of a row of the input, as bpfast has it."""
    if len(sizes) - 1 not in KINDS:
        raise ValueError(f"the input must have 2 to 4 axes, the batch first, got {len(sizes)}")
    row = sizes[1:]
    row = (*row[1:], row[0]) if layout == FIRST else row
    if given is None:
        known = [size for size in row if size is not None]
        if len(known) < len(row):
            raise ValueError(f"input_shape must be given: the model leaves sizes open, {list(row)}")
        return check_shape("the input's shape", known)
    if len(given) != len(row) or any(n not in (None, m) for n, m in zip(row, given, strict=True)):
        raise ValueError(f"input_shape must fit the model's {list(row)}, got {given}")
    return given


def _output(model: Model, wanted: str | None) -> str:
    """Return the name of the tensor to compute."""
    names = [tensor.name for tensor in model.outputs]
    made = {name for node in model.nodes for name in node.outputs}
    if wanted is not None:
        if wanted not in made:
            raise bad_value("output", f"a tensor of the model, such as {listed(names)}", wanted)
        return wanted
    if len(names) > 1 and "probabilities" in names:
        return "probabilities"
    if len(names) != 1:
        raise ValueError(f"output must be given: the model has {listed(names)}")
    return names[0]


def _walk(nodes: Nodes, output: str) -> Step:
    """Read all nodes that the output needs; return its step."""
    needed, waiting = set[int](), [output]
    while waiting:
        node = nodes.makers.get(waiting.pop())
        if node is not None and id(node) not in needed:
            needed.add(id(node))
            waiting.extend(node.inputs)
    for node in nodes.model.nodes:
        if id(node) not in needed or _folded(nodes, node):
            continue
        value: Step | ValueError
        try:
            value = read(nodes, node)
        except ValueError as problem:  # some are within what a later node is read as
            value = problem
        for i, name in enumerate(node.outputs):
            nodes.values[name] = value if i == 0 else error(node, f"must not be asked for {name!r}")
    return nodes.step(Node("output", output, (output,), (), {}))


def _folded(nodes: Nodes, node: Node) -> bool:
    """Whether a node only moves a constant, which becomes one."""
    constants = nodes.model.constants
    if node.op not in ("Identity", "Transpose") or node.inputs[0] not in constants:
        return False
    array = constants[node.inputs[0]]
    perm = node.attributes.get("perm", range(array.ndim)[::-1])
    if node.op == "Transpose" and sorted(perm) == list(range(array.ndim)):
        array = array.transpose(*perm)
    constants[node.outputs[0]] = array
    return True


def _fill(net: Network, nodes: Nodes) -> None:
    """Copy the arrays of all layers that the network has."""
    paths = {id(use.layer): use.path for use in net._plan.uses if use.first is None}
    views = {**net.params, **net.buffers}
    for layer, arrays in nodes.arrays:
        if id(layer) in paths:
            for role, array in arrays.items():
                name = join(paths[id(layer)], role)
                check_finite(f"the model's {name}", np.ascontiguousarray(array), net.dtype.itemsize)
                views[name][...] = array
    net._measured = bool(net._plan.measured_buffers())
