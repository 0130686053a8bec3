"""ONNX's own cases for single nodes, as its package makes them: read as networks, computed alike.

A case is one node on one input; its other inputs become constants, but for Concat, which joins
parts of one input. Behind it stands a product with the identity, since a network has parameters and
gives vectors. A vector is taken for a batch of one row, or of one feature. Images are tried with
channels first and last. What no network expresses is listed with the reason that the reader gives.
"""

from __future__ import annotations

import importlib
import re
import warnings
from functools import cache
from typing import Any

import numpy as np
from onnx_models import helper, onnx

from bpfast.convert import from_onnx

#: The modules of onnx.backend.test.case.node for the operators that are read.
MODULES = [
    "add", "averagepool", "batch_normalization", "concat", "conv", "div", "dropout", "elu",
    "flatten", "gelu", "gemm", "globalaveragepool", "globalmaxpool", "hardsigmoid", "hardswish",
    "identity", "layernormalization", "leakyrelu", "matmul", "maxpool", "mish", "mul", "reducemean",
    "relu", "reshape", "rmsnormalization", "selu", "sigmoid", "slice", "softmax", "softplus",
    "softsign", "squeeze", "sub", "swish", "tanh", "transpose", "unsqueeze",
]  # fmt: skip

#: Cases that no network expresses: what their names match in full, and the reader's reason.
BEYOND = [
    (r"(add|div|mul|sub)_u?int\d+(_trunc)?|maxpool_2d_uint8", "must be of floats"),
    (r"(averagepool|maxpool)_3d_.*", "the input must have 2 to 4 axes"),
    (r"(add|div|mul|sub)", "has a constant .*, got rows"),  # one for each row of the batch
    (r"(averagepool|maxpool)_2d_same_lower", "pads must be the same before and behind"),
    (r"(averagepool|maxpool)_2d_pads", "padding must be at most 1 for windows over 3"),
    (r"averagepool_2d_.*count_include_pad|averagepool_2d_ceil_last.*", "must have count_include"),
    (r"(averagepool|maxpool)_2d_ceil.*", "must have ceil_mode=0"),
    (r"(averagepool|maxpool)_2d_dilations", "must have dilations=1"),
    (r"batchnorm_.*_training_mode", "must have training_mode=0"),
    (r"training_dropout.*", "needs a constant of numbers as input 2|must not be in training"),
    (r"concat_1d_.*", "needs what the model computes"),  # joins batches
    (r"concat_\dd_axis_(0|negative_[23])", "must be of the channels"),
    (r"elu|elu_example", "must have alpha=1.0, to be elu"),
    (r"flatten_(axis[023]|negative_axis[124])", "must have axis=1"),
    (r"gemm_default_matrix_bias", r"needs 4 numbers, got float32 of shape \(3, 4\)"),
    (r"gemm_(transposeA|all_attributes)", "must have transA=0"),
    (r"hardsigmoid.*", "must have alpha=0.1.*, to be hard_sigmoid"),
    (r"identity_(sequence|opt)", "no array"),
    (r"(layer|rms)_normalization_.*", "must be over the channels alone"),
    (r"leakyrelu|leakyrelu_example", "must have alpha=0.01, to be leaky_relu"),
    (r"matmul_(3d|4d|bcast|4d_1d|1d_3d|1d_1d)", "needs vectors|needs a matrix|no array"),
    (r"reduce_mean_default_axes_.*", "must be over all positions"),
    (r"reshape_(reordered_all_dims|one_dim|allowzero_.*)", "must keep the batch"),
    (r"reshape_negative_extended_dims", "cannot make"),
    (r"selu|selu_example", "must have alpha=1.6.*, to be selu"),
    (r"slice(|_default.*|_neg.*)", "must be of the channels"),
    (r"slice_start_out_of_bounds", "stop must be an int >= 11, got 10"),  # nothing is left
    (r"softmax_axis_0", "must be over the channels"),
    (r"squeeze", "must be of axes of size 1 behind the batch"),
    (r"transpose_.*", "must have perm="),
    (r"unsqueeze_.*", "must make axes behind the batch|shape must be one of"),
]  # fmt: skip


@cache
def cases() -> dict[str, Any]:
    """All cases of these modules but those where a node is written out as others."""
    node = importlib.import_module("onnx.backend.test.case.node")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for name in MODULES:
            importlib.import_module(f"onnx.backend.test.case.node.{name}")
    found = {case.name.removeprefix("test_"): case for case in node._NodeTestCases}
    return {name: case for name, case in found.items() if "expanded" not in name}


def wrapped(case: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """A case's model with one input and a product behind it, the input, and what is expected."""
    proto = onnx.ModelProto()
    proto.CopyFrom(case.model)
    inputs, outputs = case.data_sets[0]
    if not all(isinstance(array, np.ndarray) for array in (*inputs[:1], *outputs[:1])):
        raise ValueError("no array")
    graph, (x, wanted) = proto.graph, (inputs[0], outputs[0])
    first = graph.input[0].name
    if graph.node[0].op_type == "Concat" and x.ndim > 1:
        axis = graph.node[0].attribute[0].i % x.ndim
        ends = np.cumsum([0, *(part.shape[axis] for part in inputs)])
        for i, part in enumerate(graph.input):
            bounds = {"s": ends[i : i + 1], "e": ends[i + 1 : i + 2], "a": np.array([axis])}
            names = [f"{part.name}.{key}" for key in bounds]
            for name, bound in zip(names, bounds.values(), strict=True):
                graph.initializer.append(onnx.numpy_helper.from_array(bound, name))
            graph.node.insert(0, helper.make_node("Slice", ["whole", *names], [part.name]))
        first, x = "whole", np.concatenate(inputs, axis)
    else:
        for given, array in list(zip(graph.input, inputs, strict=True))[1:]:
            graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), given.name))
    if x.ndim == 1:
        x = x[None] if len(inputs) > 1 else x[:, None]
    del graph.input[:]
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph.input.append(helper.make_tensor_value_info(first, kind, x.shape))
    size = max(wanted.size // max(len(x), 1), 1) if wanted.size <= 10_000 else 1
    eye = onnx.numpy_helper.from_array(np.eye(size, dtype=np.float32), "eye")
    graph.initializer.append(eye)
    graph.node.append(helper.make_node("Flatten", [graph.output[0].name], ["flat"]))
    graph.node.append(helper.make_node("MatMul", ["flat", "eye"], ["end"]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("end", 1, ["rows", size]))
    return proto, x, wanted.reshape(-1, size) if wanted.size % size == 0 else wanted


def refusal(case: Any) -> str | None:
    """None where one layout of the input gives a network that computes the case, else why not."""
    try:
        proto, x, wanted = wrapped(case)
    except ValueError as error:
        return str(error)
    reasons = []
    for last in (False, True):
        try:
            net = from_onnx(proto, channels_last=last)
        except ValueError as error:
            reasons.append(str(error))
            continue
        found = net.predict(x if last else np.moveaxis(x, 1, -1) if x.ndim > 2 else x)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
        return None
    return reasons[0]


def test_every_case():
    """Computed to 1e-5 of each value, or refused for its reason; each reason is of some case."""
    computed, used = [], set()
    for name, case in cases().items():
        reason = refusal(case)
        if reason is None:
            computed.append(name)
            continue
        rows = [row for row in BEYOND if re.fullmatch(row[0], name) and re.search(row[1], reason)]
        assert rows, f"{name}: {reason}"
        used.add(rows[0])
    assert used == set(BEYOND)
    assert len(computed) >= 100
    ops = {case.model.graph.node[0].op_type for case in map(cases().get, computed)}
    assert len(ops) == len(MODULES) - 1  # no case of HardSigmoid has PyTorch's slope
