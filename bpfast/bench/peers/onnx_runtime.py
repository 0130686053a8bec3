"""onnxruntime: predicts with a graph of Gemm and activation nodes."""

from __future__ import annotations

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from bpfast.bench import data
from bpfast.bench.data import Array
from bpfast.bench.workloads import Workload

ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh"}
#: What older runtimes still read.
OPSET, IR_VERSION = 17, 8


def model(workload: Workload) -> bytes:
    """Return the workload's network as an ONNX file."""
    nodes, weights, name = [], [], "x"
    start = data.start(workload)
    layers = len(start) // 2
    for i, (kernel, bias) in enumerate(zip(start[::2], start[1::2], strict=True)):
        weights += [
            numpy_helper.from_array(kernel, f"w{i}"),
            numpy_helper.from_array(bias, f"b{i}"),
        ]
        last = i == layers - 1
        nodes.append(helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], ["y" if last else f"z{i}"]))
        if not last:
            kind = ACTIVATIONS[workload.activation]
            nodes.append(helper.make_node(kind, [f"z{i}"], [f"a{i}"]))
            name = f"a{i}"
    ends = [
        helper.make_tensor_value_info(end, TensorProto.FLOAT, [workload.batch, size])
        for end, size in (("x", workload.sizes[0]), ("y", workload.sizes[-1]))
    ]
    graph = helper.make_graph(nodes, "dense", ends[:1], ends[1:], weights)
    opsets = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return bytes(made.SerializeToString())


class Predictor:
    """Predicts; see `bpfast.bench.peers.Predictor`."""

    def __init__(self, workload: Workload, X: Array, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            model(workload), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = {"x": X}
        self.run = session.run

    def __call__(self) -> Array:
        (outputs,) = self.run(["y"], self.inputs)
        return np.asarray(outputs)
