"""ONNX's files as plain values: the one place that imports onnx."""

from __future__ import annotations

import math
import os
import stat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpfast._check import bad_type, check_path, listed, one_line, show
from bpfast.export.operators import IR_VERSION, OLDEST_OPSET, OPSET

if TYPE_CHECKING:
    from types import ModuleType

Array = NDArray[Any]

#: The most bytes of a file: protobuf counts them in an int32.
MOST_BYTES: Final = 2**31 - 1


class Node(NamedTuple):
    """An operator with its inputs and outputs, tensors by name; "" is an input left out.

    `op` begins with the domain and a dot where that is not ONNX's own. When read, `attributes` has
    the operator's defaults too.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    def __str__(self) -> str:
        return f"node {show(self.name or ', '.join(self.outputs))} ({self.op})"


class Tensor(NamedTuple):
    """What goes in or out: its name, NumPy's name of its type, and its sizes, the batch's first.

    None stands for a size, or a type, that the model leaves open.
    """

    name: str
    dtype: str | None
    shape: tuple[int | None, ...]


class Model(NamedTuple):
    """A model."""

    nodes: list[Node]
    constants: dict[str, Array]
    inputs: list[Tensor]
    outputs: list[Tensor]
    metadata: dict[str, str]
    opset: int = OPSET


def _onnx() -> ModuleType:
    """Import onnx."""
    try:
        import onnx
        import onnx.checker
        import onnx.defs
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise ImportError(
            f"ONNX needs the package onnx: pip install 'bpfast[onnx]' ({one_line(error)})"
        ) from None
    module: ModuleType = onnx
    return module


# ---- writing ------------------------------------------------------------------------------------


def to_proto(model: Model, producer_version: str) -> Any:
    """Return the ModelProto.

    Raises
    ------
    ImportError
        onnx is not there.
    ValueError
        No file could hold the constants.
    """
    onnx = _onnx()
    size = sum(array.nbytes for array in model.constants.values())
    if size > MOST_BYTES - 2**20:
        raise ValueError(f"a file of ONNX must hold less than 2 GB, got {size:,} bytes of weights")
    helper = onnx.helper
    graph = helper.make_graph(
        [
            helper.make_node(n.op, n.inputs, n.outputs, name=n.name, **n.attributes)
            for n in model.nodes
        ],
        "bpfast",
        [_value(helper, tensor) for tensor in model.inputs],
        [_value(helper, tensor) for tensor in model.outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in model.constants.items()],
    )
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", model.opset)],
        ir_version=IR_VERSION,
        producer_name="bpfast",
        producer_version=producer_version,
    )
    helper.set_model_props(proto, model.metadata)
    return proto


def _value(helper: Any, tensor: Tensor) -> Any:
    """Return the description of what goes in or out; an open size is the batch's."""
    dtype = np.dtype(object) if tensor.dtype == "str" else np.dtype(tensor.dtype)
    sizes = ["rows" if size is None else size for size in tensor.shape]
    return helper.make_tensor_value_info(tensor.name, helper.np_dtype_to_tensor_dtype(dtype), sizes)


# ---- reading ------------------------------------------------------------------------------------

#: Bytes of an element of the types that are read, by NumPy's name of them.
_SIZES: Final = {"float16": 2, "float32": 4, "float64": 8, "int32": 4, "int64": 8}


def load(source: Any) -> Model:
    """Return the model of a path, of a file's bytes, or of a ModelProto.

    Raises
    ------
    ImportError
        onnx is not there.
    OSError
        The file cannot be read.
    TypeError, ValueError
        It is no valid model, or its weights are in another file.
    """
    onnx = _onnx()
    if isinstance(source, onnx.ModelProto):
        what, proto = "source", source
    elif isinstance(source, (bytes, bytearray, memoryview)):
        what, proto = "source", _parsed(onnx, "source", bytes(source))
    elif isinstance(source, (str, os.PathLike)):
        path = check_path("source", source)
        what = str(path)
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ValueError(f"{path} is no model of ONNX: it is a device, pipe or socket")
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{path} is no model of ONNX: it has more than 2 GB")
        proto = _parsed(onnx, what, path.read_bytes())
    else:
        raise bad_type("source", "a path, bytes or an onnx.ModelProto", source)
    graph = proto.graph
    _check_data(onnx, what, graph)
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, UnicodeDecodeError) as error:
        raise ValueError(f"{what} is no valid model of ONNX: {one_line(error)}") from None
    opset = max((each.version for each in proto.opset_import if _is_own(each.domain)), default=0)
    if opset < OLDEST_OPSET:
        raise ValueError(f"{what} must use opset {OLDEST_OPSET} or newer of ONNX, got {opset}")
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in _readable(onnx, graph)}
    nodes = []
    for proto_node in graph.node:
        node = _node(onnx, proto_node, opset)
        value = _constant(node)
        if value is None:
            nodes.append(node)
        else:
            constants[node.outputs[0]] = value
    return Model(
        nodes,
        constants,
        [_tensor(onnx, each) for each in graph.input if each.name not in constants],
        [_tensor(onnx, each) for each in graph.output],
        {each.key: each.value for each in proto.metadata_props},
        opset,
    )


def _parsed(onnx: Any, what: str, data: bytes) -> Any:
    """Return the ModelProto of a file's bytes."""
    try:
        return onnx.ModelProto.FromString(data)
    except Exception as error:  # DecodeError of protobuf, whose module onnx does not show
        raise ValueError(f"{what} is no model of ONNX: {one_line(error)}") from None


def _is_own(domain: str) -> bool:
    """Whether operators of this domain are ONNX's own."""
    return domain in ("", "ai.onnx")


def _tensors(graph: Any) -> list[Any]:
    """Return all constants of the graph itself."""
    held = [a.t for node in graph.node if node.op_type == "Constant" for a in node.attribute]
    return [*graph.initializer, *held]


def _dtype(onnx: Any, number: int) -> str | None:
    """Return NumPy's name of an element type that is read, or None."""
    try:
        name = str(onnx.helper.tensor_dtype_to_np_dtype(number).name)
    except (KeyError, TypeError, ValueError):
        return None
    return name if name in _SIZES else None


def _check_data(onnx: Any, what: str, graph: Any) -> None:
    """Raise unless each constant has its data within the file, as much as its sizes say."""
    if len(graph.sparse_initializer):
        raise ValueError(f"{what} must not have sparse constants")
    for tensor in _tensors(graph):
        name = show(tensor.name)
        if tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data):
            raise ValueError(f"{what}: constant {name} must be within the file, not in another one")
        dtype = _dtype(onnx, tensor.data_type)
        if dtype is None:
            continue
        if any(size < 0 for size in tensor.dims):
            raise ValueError(f"{what}: constant {name} must not have a negative size")
        count = math.prod(tensor.dims)
        if tensor.HasField("raw_data"):
            held = len(tensor.raw_data) / _SIZES[dtype]
        else:
            field = onnx.helper.tensor_dtype_to_field(tensor.data_type)
            held = len(getattr(tensor, field))
        if held != count:
            raise ValueError(f"{what}: constant {name} must have {count} values, got {held:g}")


def _readable(onnx: Any, graph: Any) -> list[Any]:
    """Return the named constants of the types that are read."""
    return [each for each in graph.initializer if _dtype(onnx, each.data_type) is not None]


def _node(onnx: Any, proto: Any, opset: int) -> Node:
    """Return a node, its attributes with the operator's defaults."""
    own = _is_own(proto.domain)
    found: dict[str, Any] = {}
    if own and onnx.defs.has(proto.op_type):
        try:
            schema = onnx.defs.get_schema(proto.op_type, opset, "")
        except onnx.defs.SchemaError:
            raise ValueError(
                f"operator {listed([proto.op_type])} is not of opset {opset}"
            ) from None
        for name, attribute in schema.attributes.items():
            if attribute.default_value.type:
                found[name] = _plain(onnx, attribute.default_value)
    for attribute in proto.attribute:
        found[attribute.name] = _plain(onnx, attribute)
    op = proto.op_type if own else f"{proto.domain}.{proto.op_type}"
    return Node(op, proto.name, tuple(proto.input), tuple(proto.output), found)


def _plain(onnx: Any, attribute: Any) -> Any:
    """Return an attribute's value: a number, text, a list of either, an array; others as None."""
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, onnx.TensorProto):
        readable = _dtype(onnx, value.data_type) is not None
        return onnx.numpy_helper.to_array(value) if readable else None
    types = onnx.AttributeProto
    return list(value) if attribute.type in (types.INTS, types.FLOATS) else None


def _constant(node: Node) -> Array | None:
    """Return the value of a Constant of a type that is read, or None."""
    if node.op == "Constant":
        for name, dtype in _CONSTANTS.items():
            value = node.attributes.get(name)
            if value is not None:
                return np.asarray(value, dtype)
    return None


#: The attributes that hold a Constant's value, and its type.
_CONSTANTS: Final = {
    "value": None,
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def _tensor(onnx: Any, proto: Any) -> Tensor:
    """Return what goes in or out."""
    kind = proto.type.tensor_type
    sizes = tuple(
        size.dim_value if size.HasField("dim_value") and size.dim_value > 0 else None
        for size in kind.shape.dim
    )
    return Tensor(proto.name, _dtype(onnx, kind.elem_type), sizes)
