"""Networks as ONNX models: a node or a few for each core layer, from the table of operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

import bpfast
from bpfast._check import bad_type, bad_value, check_bool, check_choice, check_path
from bpfast._graph import CoreLayer, Graph
from bpfast._inference import head_of, noted_classes, yes_or_no
from bpfast._spec import DTYPES
from bpfast.export.operators import (
    ACTIVATIONS,
    DISTANCE,
    FIRST,
    LAST,
    LAYERS,
    LAYOUT_KEY,
    NOTHING,
    OTHER,
    RMS_NORM,
    STANDARDIZE,
    Op,
    X,
    channels_axis,
)
from bpfast.export.protobuf import Model, Node, Tensor, to_proto
from bpfast.io import write_atomically
from bpfast.layers.base import join

if TYPE_CHECKING:
    from bpfast.layers.shapes import Shape
    from bpfast.network import Network

Array = NDArray[Any]


def write(
    net: Network,
    path: object,
    *,
    dtype: str = "float32",
    classifier: bool | None = None,
    classes: Sequence[int] | Sequence[str] | None = None,
) -> None:
    """Write a file; see `Network.to_onnx`."""
    target = check_path("path", path)
    proto = model_proto(net, dtype=dtype, classifier=classifier, classes=classes)
    write_atomically(target, proto.SerializeToString())


def model_proto(
    net: Network,
    *,
    dtype: str = "float32",
    classifier: bool | None = None,
    classes: Sequence[int] | Sequence[str] | None = None,
) -> Any:
    """Return the onnx.ModelProto that `Network.to_onnx` writes."""
    check_choice("dtype", dtype, DTYPES)
    head = head_of(net) if classifier is None or check_bool("classifier", classifier) else None
    if head is None and classifier:
        raise ValueError(
            "classifier must be False or None for this network, whose outputs are no probabilities"
        )
    if head is None and classes is not None:
        raise bad_value("classes", "None where the outputs are no probabilities", classes)
    net._lock.check_idle("to_onnx")
    writer = _Writer(net, np.dtype(dtype))
    output = writer.network()
    if head is None:
        output = writer.node("Identity", [output], name="output")
        outputs = [Tensor("output", dtype, (None, net.outputs))]
    else:
        outputs = writer.classifier(output, head, _labels(net, classes))
    model = Model(
        writer.nodes,
        writer.constants,
        [Tensor("input", dtype, (None, *net.input_shape))],
        outputs,
        {**net.metadata, LAYOUT_KEY: LAST},
    )
    return to_proto(model, bpfast.__version__)


# ---- classifiers --------------------------------------------------------------------------------


def _labels(net: Network, classes: object) -> Array | None:
    """Return what the labels are, int64 or text; None for 0, 1, ..."""
    several = net.outputs > 1 and yes_or_no(net)
    if classes is None:
        noted = None if several else noted_classes(net)
        if noted is None:
            return None
        whole = all(type(label) is int for label in noted)
        classes = noted if whole else [str(label) for label in noted]
    elif several:
        raise bad_value("classes", "None where each output is a yes or no of its own", classes)
    if isinstance(classes, (str, bytes)) or not isinstance(classes, (Sequence, np.ndarray)):
        raise bad_type("classes", "a list of ints or of text", classes)
    labels: list[Any] = np.asarray(classes, object).tolist()
    wanted = max(net.outputs, 2)
    if len(labels) != wanted:
        raise bad_value("classes", f"{wanted} labels", classes)
    if all(isinstance(label, int) and not isinstance(label, bool) for label in labels):
        if any(not -(2**63) <= label < 2**63 for label in labels):
            raise bad_value("classes", "ints of 64 bits", classes)
        return np.array(labels, np.int64)
    if all(isinstance(label, str) for label in labels):
        return np.array(labels, object)
    raise bad_type("classes", "all ints or all text", classes)


# ---- nodes --------------------------------------------------------------------------------------


class _Writer:
    """Nodes and constants under construction.

    Each value of the graph has a tensor for one layout of images, and one for the other when a
    layer asked for that: a Transpose of the first.
    """

    def __init__(self, net: Network, dtype: np.dtype[Any]) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self.dtype = dtype
        self._net = net
        self._arrays = {**net.params, **net.buffers}
        self._graph = Graph(net.input_shape)
        self._last = self._graph.chain(net.layers, 0)
        self._tensors: list[dict[str, str]] = [{LAST: "input"}]
        self._path = ""
        self._names = {"input"}

    def network(self) -> str:
        """Write all layers; return the tensor of the output."""
        for layer in self._graph.layers:
            self._path = layer.path
            if layer.kind in NOTHING:
                self._tensors.append(self._tensors[layer.inputs[0]])
                continue
            layout = self._layout(layer)
            inputs = [self._tensor(value, layout) for value in layer.inputs]
            name = _KINDS[layer.kind](self, layer, inputs, layout)
            self._tensors.append({layout: name})
        self._path = ""
        return self._tensor(self._last, LAST)

    def classifier(self, output: str, head: str, labels: Array | None) -> list[Tensor]:
        """Write probabilities, if they are not there, and labels; return both outputs."""
        columns = self._net.outputs
        if self._net._plan.activation != head:
            options = _axis(head, (columns,), LAST)
            output = self.expression(ACTIVATIONS[head], {X: output}, **options)
        output = self.node("Identity", [output], name="probabilities")
        name = "index" if labels is not None else "label"
        if columns > 1 and not yes_or_no(self._net):
            self.node("ArgMax", [output], name=name, axis=1, keepdims=0)
        else:
            half = self.constant("half", np.array(0.5, self.dtype))
            yes = self.node("Greater", [output, half])
            if columns == 1:
                yes = self.node("Squeeze", [yes, self.constant("axes", np.array([1]))])
            self.node("Cast", [yes], name=name, to=7)  # TensorProto.INT64
        if labels is not None:
            self.node("Gather", [self.constant("classes", labels), name], name="label")
        kind = "str" if labels is not None and labels.dtype == object else "int64"
        shape = (None, columns) if columns > 1 and yes_or_no(self._net) else (None,)
        return [
            Tensor("label", kind, shape),
            Tensor("probabilities", self.dtype.name, (None, columns)),
        ]

    def node(self, op: str, inputs: list[str], *, name: str | None = None, **options: Any) -> str:
        """Add a node; return its output, which has the node's name."""
        name = self._named(op) if name is None else name
        self.nodes.append(Node(op, name, tuple(inputs), (name,), options))
        return name

    def constant(self, name: str, array: Array) -> str:
        """Add a constant, numbers in the model's type; return its name."""
        if array.dtype.kind == "f":
            array = np.array(array, self.dtype, order="C")
        known = self.constants.setdefault(name, array)
        if known.dtype != array.dtype or not np.array_equal(known, array):
            name = self._named(name)
            self.constants[name] = array
        return name

    def expression(self, op: Op, tensors: dict[str, str], **options: Any) -> str:
        """Add the nodes of an expression; return its output."""
        inputs = []
        for each in op.inputs:
            if isinstance(each, Op):
                inputs.append(self.expression(each, tensors))
            elif isinstance(each, str):
                inputs.append(tensors[each])
            else:
                inputs.append(self.constant(f"{each:g}", np.array(each, self.dtype)))
        return self.node(op.op, inputs, **op.attributes, **options)

    def array(self, layer: CoreLayer, role: str) -> tuple[str, Array]:
        """Return an array of a layer, wherever it lives, and its name."""
        owner = layer
        if layer.shares is not None and (not layer.tied or role == "kernel"):
            owner = self._graph.layers[layer.shares]
        name = join(owner.path, role)
        return name, self._arrays[name]

    def arrays(self, layer: CoreLayer, missing: dict[str, float], size: int) -> list[str]:
        """Return constants for the inputs of a layer's row of the table.

        `missing`: what stands for an array of this size that the layer has not; those that are not
        named there are left out.
        """
        names = []
        for role in LAYERS[layer.kind].arrays:
            if role in (*layer.weights, *layer.buffers):
                names.append(self.constant(*self.array(layer, role)))
            elif role in missing:
                filled = np.full(size, missing[role], self.dtype)
                names.append(self.constant(f"{size} x {missing[role]:g}", filled))
        return names

    def _named(self, name: str) -> str:
        """Return a name that no tensor has yet, which begins with the layer's path."""
        first = name = f"{self._path}/{name}" if self._path else name
        count = 1
        while name in self._names:
            count += 1
            name = f"{first}_{count}"
        self._names.add(name)
        return name

    def _layout(self, layer: CoreLayer) -> str:
        """Return the layout in which a layer works: what it needs, or what its input has."""
        row = LAYERS.get(layer.kind)
        if layer.kind in ("rmsnorm", "standardize"):
            return LAST
        return (row.layout if row else None) or next(iter(self._tensors[layer.inputs[0]]))

    def _tensor(self, value: int, layout: str) -> str:
        """Return the tensor of a value in a layout."""
        known = self._tensors[value]
        rank = len(self._graph.shapes[value])
        if layout not in known:
            (name,) = known.values()
            if rank > 1:
                last_first = (0, rank, *range(1, rank))
                first_last = (0, *range(2, rank + 1), 1)
                perm = last_first if layout == FIRST else first_last
                name = self.node("Transpose", [name], perm=perm)
            known[layout] = name
        return known[layout]


def _axis(activation: str, shape: Shape, layout: str) -> dict[str, int]:
    """Return the axis of the channels where an activation is over them."""
    return {"axis": channels_axis(shape, layout)} if activation == "softmax" else {}


def _activated(writer: _Writer, layer: CoreLayer, name: str, layout: str) -> str:
    """Add a layer's activation behind it."""
    activation = layer.spec.get("activation", "identity")
    if activation == "identity":
        return name
    options = _axis(activation, layer.shape, layout)
    return writer.expression(ACTIVATIONS[activation], {X: name}, **options)


def _dense(writer: _Writer, layer: CoreLayer, inputs: list[str], layout: str) -> str:
    if layer.tied:
        name, kernel = writer.array(layer, "kernel")
        names = [writer.constant(f"{name}.transposed", kernel.T)]
        if "bias" in layer.weights:
            names.append(writer.constant(*writer.array(layer, "bias")))
    else:
        names = writer.arrays(layer, {}, 0)
    return _activated(writer, layer, writer.node("Gemm", [*inputs, *names]), layout)


def _conv(writer: _Writer, layer: CoreLayer, inputs: list[str], layout: str) -> str:
    name, kernel = writer.array(layer, "kernel")  # (window..., channels / groups, filters)
    axes = kernel.ndim - 2
    weight = writer.constant(f"{name}.first", kernel.transpose(axes + 1, axes, *range(axes)))
    names = [weight]
    if "bias" in layer.weights:
        names.append(writer.constant(*writer.array(layer, "bias")))
    options = {**_window(layer), "group": layer.spec["groups"]}
    out = writer.node("Conv", [*inputs, *names], **options)
    return _activated(writer, layer, out, layout)


def _window(layer: CoreLayer) -> dict[str, Any]:
    """Return ONNX's attributes of a window."""
    axes = len(layer.input_shape) - 1
    outside = layer.spec["outside_y"], layer.spec["outside_x"]
    here = slice(2 - axes, 2)
    pads = [before for before, _ in outside[here]] + [behind for _, behind in outside[here]]
    return {
        "kernel_shape": list(layer.spec["window"][here]),
        "strides": list(layer.spec["stride"][here]),
        "dilations": list(layer.spec["dilation"][here]),
        "pads": pads,
    }


def _pool(writer: _Writer, layer: CoreLayer, inputs: list[str], layout: str) -> str:
    if len(layer.shape) == 1:
        return writer.node("Flatten", [writer.node("GlobalAveragePool", inputs)])
    options = _window(layer)
    if layer.kind == "avgpool":
        options |= {"count_include_pad": 0}
        del options["dilations"]  # 1: older runtimes do not know it here
    return writer.node(LAYERS[layer.kind].op, inputs, **options)


def _batch_norm(writer: _Writer, layer: CoreLayer, inputs: list[str], layout: str) -> str:
    missing = {"gamma": 1.0, "beta": 0.0}
    names = writer.arrays(layer, missing, layer.shape[-1])
    momentum = 1.0 - float(layer.spec["momentum"])  # ONNX's is the weight of the old value
    options = {"epsilon": layer.spec["epsilon"], "momentum": momentum}
    return writer.node("BatchNormalization", [*inputs, *names], **options)


def _layer_norm(writer: _Writer, layer: CoreLayer, inputs: list[str], layout: str) -> str:
    names = writer.arrays(layer, {"gamma": 1.0}, layer.shape[-1])
    options = {"axis": -1, "epsilon": layer.spec["epsilon"]}
    return writer.node("LayerNormalization", [*inputs, *names], **options)


def _rms_norm(writer: _Writer, layer: CoreLayer, inputs: list[str], layout: str) -> str:
    epsilon = float(layer.spec["epsilon"])
    tensors = {
        X: inputs[0],
        "axes": writer.constant("last", np.array([-1])),
        "epsilon": writer.constant(f"{epsilon:g}", np.array(epsilon, writer.dtype)),
    }
    out = writer.expression(RMS_NORM, tensors)
    if "gamma" not in layer.weights:
        return out
    return writer.node("Mul", [out, writer.constant(*writer.array(layer, "gamma"))])


def _standardize(writer: _Writer, layer: CoreLayer, inputs: list[str], layout: str) -> str:
    tensors = {
        role: writer.constant(name, array.reshape(layer.shape))
        for role in ("mean", "scale")
        for name, array in [writer.array(layer, role)]
    }
    return writer.expression(STANDARDIZE, {X: inputs[0], **tensors})


def _reshape(writer: _Writer, layer: CoreLayer, inputs: list[str], layout: str) -> str:
    if len(layer.shape) == 1:
        return writer.node("Flatten", inputs)
    shape = np.array([0, *layer.shape])  # 0: as it is
    return writer.node("Reshape", [*inputs, writer.constant(f"{layer.path}.shape", shape)])


def _slice(writer: _Writer, layer: CoreLayer, inputs: list[str], layout: str) -> str:
    first, axis = layer.spec["first"], channels_axis(layer.shape, layout)
    ends = (first, first + layer.spec["count"], axis)
    names = [writer.constant(f"{number}", np.array([number])) for number in ends]
    return writer.node("Slice", [*inputs, *names])


def _concat(writer: _Writer, layer: CoreLayer, inputs: list[str], layout: str) -> str:
    return writer.node("Concat", inputs, axis=channels_axis(layer.shape, layout))


#: What writes each kind of core layer.
_KINDS: Final[dict[str, Callable[[_Writer, CoreLayer, list[str], str], str]]] = {
    "dense": _dense,
    "conv": _conv,
    "activation": lambda w, layer, inputs, layout: _activated(w, layer, inputs[0], layout),
    "batchnorm": _batch_norm,
    "layernorm": _layer_norm,
    "rmsnorm": _rms_norm,
    "standardize": _standardize,
    "maxpool": _pool,
    "avgpool": _pool,
    "reshape": _reshape,
    "slice": _slice,
    "concat": _concat,
    "add": lambda w, layer, inputs, layout: w.node("Add", inputs),
    "distance": lambda w, layer, inputs, layout: w.expression(
        DISTANCE, dict(zip((X, OTHER), inputs, strict=True))
    ),
}
