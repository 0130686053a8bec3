"""What the tests of ONNX share: models made by hand, and what onnxruntime makes of one."""

from __future__ import annotations

from typing import Any

import numpy as np
from peers import require

import bpfast as bp

onnx = require("onnx")
runtime = require("onnxruntime")
helper = onnx.helper
_draw = np.random.default_rng(1)


def proto_of(net: bp.Network, **options: Any) -> Any:
    """The model that `to_onnx` writes, found valid by ONNX's own checker, shapes inferred."""
    from bpfast.export.onnx import model_proto

    proto = model_proto(net, **options)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def run(proto: Any, x: np.ndarray) -> dict[str, Any]:
    """The outputs of a model by name, as onnxruntime computes them in one thread."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    session = runtime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (given,) = session.get_inputs()
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, {given.name: x}), strict=True))


def lively(net: bp.Network, seed: int = 3) -> bp.Network:
    """The network with parameters and statistics that all differ."""
    draw = np.random.default_rng(seed)
    for name, view in (*net.params.items(), *net.buffers.items()):
        if name.endswith(("running_variance", "scale")):
            view[...] = draw.uniform(0.5, 2.0, view.shape)
        elif name.endswith("gamma"):
            view[...] = draw.normal(1.0, 0.3, view.shape)
        elif not name.endswith("kernel"):
            view[...] = draw.normal(0.0, 0.3, view.shape)
    net._measured = bool(net._plan.measured_buffers())
    return net


def rows(shape: tuple[int, ...], count: int = 7) -> np.ndarray:
    """Rows of this shape in float32."""
    draw = np.random.default_rng(5)
    return draw.normal(size=(count, *shape)).astype(np.float32)


def array(*shape: int) -> np.ndarray:
    """A constant of this shape, another one each time."""
    return _draw.normal(size=shape).astype(np.float32)


def scalar(value: float) -> np.ndarray:
    """A constant of one number."""
    return np.array(value, np.float32)


def model(
    nodes: list[Any],
    shape: tuple[Any, ...],
    constants: dict[str, np.ndarray] | None = None,
    *,
    opset: int = 20,
    output: str = "y",
    **options: Any,
) -> Any:
    """A model of these nodes from x, whose shape has the batch, to y."""
    floats = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", options.pop("kind", floats), shape)],
        [helper.make_tensor_value_info(output, floats, ["rows", "values"])],
        [onnx.numpy_helper.from_array(a, name) for name, a in (constants or {}).items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9, **options
    )
