"""ONNX's own cases for single nodes, as its package makes them: read as networks, computed alike.

A case is one node on one input; its other inputs become constants. Behind it stands a product with
the identity, since a network has parameters and gives vectors. What no network expresses is listed,
with the reason that the reader gives.
"""

from __future__ import annotations

import importlib
import warnings
from functools import cache
from typing import Any

import numpy as np
from onnx_models import helper, onnx

import bpfast as bp
from bpfast.convert import from_onnx

#: The modules of onnx.backend.test.case.node for the operators that are read.
MODULES = [
    "add", "averagepool", "batch_normalization", "concat", "conv", "div", "dropout", "elu",
    "flatten", "gelu", "gemm", "globalaveragepool", "globalmaxpool", "hardsigmoid", "hardswish",
    "identity", "layernormalization", "leakyrelu", "matmul", "maxpool", "mish", "mul", "reducemean",
    "relu", "reshape", "rmsnormalization", "selu", "sigmoid", "slice", "softmax", "softplus",
    "softsign", "squeeze", "sub", "swish", "tanh", "transpose", "unsqueeze",
]  # fmt: skip


@cache
def cases() -> dict[str, Any]:
    """All cases of these modules but those where a node is written out as others."""
    node = importlib.import_module("onnx.backend.test.case.node")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for name in MODULES:
            importlib.import_module(f"onnx.backend.test.case.node.{name}")
    found = {case.name: case for case in node._NodeTestCases}
    return {name: case for name, case in found.items() if "expanded" not in name}


def network(case: Any, layout: bool | None) -> bp.Network:
    """The network of a case and the product behind it."""
    proto = onnx.ModelProto()
    proto.CopyFrom(case.model)
    inputs, outputs = case.data_sets[0]
    graph = proto.graph
    for given, array in list(zip(graph.input, inputs, strict=True))[1:]:
        graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), given.name))
    del graph.input[1:]
    size = outputs[0].size // max(len(inputs[0]), 1) if outputs[0].size < 10_000 else 1
    eye = np.eye(size, dtype=np.float32)
    graph.initializer.append(onnx.numpy_helper.from_array(eye, "eye"))
    graph.node.append(helper.make_node("Flatten", [graph.output[0].name], ["flat"]))
    graph.node.append(helper.make_node("MatMul", ["flat", "eye"], ["end"]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("end", 1, ["rows", size]))
    return from_onnx(proto, channels_last=layout)


def outcome(case: Any) -> str | None:
    """None where some layout of the input gives a network that computes the case, else why not."""
    inputs, outputs = case.data_sets[0]
    reasons = []
    for layout in (False, True):
        try:
            net = network(case, layout)
        except ValueError as error:
            reasons.append(str(error))
            continue
        x = inputs[0]
        found = net.predict(x if layout else np.moveaxis(x, 1, -1) if x.ndim > 2 else x)
        wanted = outputs[0].reshape(len(x), -1)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
        return None
    return reasons[0]
