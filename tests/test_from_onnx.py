"""ONNX models of others as networks: how they write things."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import array, helper, model, onnx, rows, run, scalar

import bpfast as bp
from bpfast.convert import from_onnx

node = helper.make_node
W, B = array(5, 3), array(3)
CONV = array(4, 2, 3, 3)
HEAD = array(96, 3)
#: Nodes from x to "h", the shape of x, constants: how other exporters write what a layer does.
SPELLINGS = {
    "MatMul, Add": (
        [node("MatMul", ["x", "w"], ["a"]), node("Add", ["b", "a"], ["h"])],
        (None, 5),
        {"w": W, "b": B},
    ),
    "Gemm of PyTorch": (
        [node("Gemm", ["x", "w", "b"], ["h"], transB=1)],
        (2, 5),
        {"w": W.T.copy(), "b": B},
    ),
    "Gemm, alpha and beta": (
        [node("Gemm", ["x", "w", "b"], ["h"], alpha=0.5, beta=2.0)],
        ("n", 5),
        {"w": W, "b": B[:1]},
    ),
    "a transposed constant": (
        [node("Transpose", ["wt"], ["w"], perm=[1, 0]), node("MatMul", ["x", "w"], ["h"])],
        (None, 5),
        {"wt": W.T.copy()},
    ),
    "a constant node": (
        [
            node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(W)),
            node("MatMul", ["x", "w"], ["h"]),
        ],
        (None, 5),
        {},
    ),
    "gelu by erf": (
        [
            node("Div", ["x", "r"], ["a"]),
            node("Erf", ["a"], ["b"]),
            node("Add", ["b", "one"], ["c"]),
            node("Mul", ["x", "c"], ["d"]),
            node("Mul", ["d", "half"], ["h"]),
        ],
        (None, 5),
        {"r": scalar(2**0.5), "one": scalar(1), "half": scalar(0.5)},
    ),
    "softplus of PyTorch": (
        [
            node("Softplus", ["x"], ["a"]),
            node("Greater", ["x", "most"], ["b"]),
            node("Where", ["b", "x", "a"], ["h"]),
        ],
        (None, 5),
        {"most": scalar(20)},
    ),
    "softsign by abs": (
        [
            node("Abs", ["x"], ["a"]),
            node("Add", ["a", "one"], ["b"]),
            node("Div", ["x", "b"], ["h"]),
        ],
        (None, 5),
        {"one": scalar(1)},
    ),
    "mish by softplus": (
        [
            node("Softplus", ["x"], ["a"]),
            node("Tanh", ["a"], ["b"]),
            node("Mul", ["b", "x"], ["h"]),
        ],
        (None, 5),
        {},
    ),
    "hard swish by hard sigmoid": (
        [node("HardSigmoid", ["x"], ["a"], alpha=1 / 6), node("Mul", ["x", "a"], ["h"])],
        (None, 5),
        {},
    ),
    "RMSNorm of PyTorch": (
        [
            node("Pow", ["x", "two"], ["a"]),
            node("ReduceMean", ["a", "axes"], ["b"]),
            node("Add", ["b", "e"], ["c"]),
            node("Sqrt", ["c"], ["d"]),
            node("Reciprocal", ["d"], ["f"]),
            node("Mul", ["x", "f"], ["g"]),
            node("Mul", ["g", "w"], ["h"]),
        ],
        (None, 5),
        {"two": scalar(2), "axes": np.array([-1]), "e": scalar(1e-6), "w": array(5)},
    ),
    "scaled by Mul, then Add": (
        [node("Mul", ["x", "s"], ["a"]), node("Add", ["a", "m"], ["h"])],
        (None, 5),
        {"s": scalar(1 / 255), "m": array(5)},
    ),
    "images scaled by channel": (
        [node("Sub", ["x", "m"], ["a"]), node("Div", ["a", "s"], ["h"])],
        (None, 2, 8, 6),
        {"m": array(2, 1, 1), "s": np.abs(array(1, 2, 1, 1)) + 1},
    ),
    "Conv, Add of its bias": (
        [
            node("Conv", ["x", "k"], ["a"], pads=[1, 1, 1, 1]),
            node("Add", ["a", "c"], ["r"]),
            node("Relu", ["r"], ["h"]),
        ],
        (None, 2, 8, 6),
        {"k": CONV, "c": array(4, 1, 1)},
    ),
    "Conv, same": (
        [node("Conv", ["x", "k"], ["h"], auto_pad="SAME_UPPER", strides=[2, 2])],
        (None, 2, 8, 6),
        {"k": CONV},
    ),
    "MaxPool, uneven pads of same": (
        [node("MaxPool", ["x"], ["h"], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])],
        (None, 2, 8, 6),
        {},
    ),
    "MaxPool, ceil that is floor": (
        [node("MaxPool", ["x"], ["h"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)],
        (None, 2, 8, 6),
        {},
    ),
    "GlobalAveragePool, Reshape": (
        [node("GlobalAveragePool", ["x"], ["a"]), node("Reshape", ["a", "s"], ["h"], allowzero=1)],
        (None, 2, 8, 6),
        {"s": np.array([-1, 2])},
    ),
    "GlobalMaxPool, Squeeze": (
        [node("GlobalMaxPool", ["x"], ["a"]), node("Squeeze", ["a", "s"], ["h"])],
        (None, 2, 8, 6),
        {"s": np.array([2, -1])},
    ),
    "ReduceMean of positions": (
        [node("ReduceMean", ["x", "s"], ["a"]), node("Flatten", ["a"], ["h"])],
        (None, 2, 8, 6),
        {"s": np.array([2, 3])},
    ),
    "BatchNormalization behind Flatten": (
        [
            node("Flatten", ["x"], ["a"]),
            node("BatchNormalization", ["a", "g", "o", "m", "v"], ["h"]),
        ],
        (None, 2, 4, 6),
        {"g": array(48), "o": array(48), "m": array(48), "v": np.abs(array(48)) + 0.1},
    ),
    "channels last, of TensorFlow": (
        [
            node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]),
            node("Conv", ["a", "k"], ["b"]),
            node("Transpose", ["b"], ["c"], perm=[0, 2, 3, 1]),
            node("Reshape", ["c", "s"], ["h"]),
        ],
        (None, 8, 6, 2),
        {"k": CONV, "s": np.array([-1, 96])},
    ),
    "a block, its sum the other way": (
        [
            node("MatMul", ["x", "w"], ["a"]),
            node("Tanh", ["a"], ["b"]),
            node("Add", ["b", "x"], ["h"]),
        ],
        (None, 5),
        {"w": array(5, 5)},
    ),
    "a block with a projection": (
        [
            node("Conv", ["x", "k"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["b"]),
            node("Conv", ["x", "p"], ["c"], strides=[2, 2]),
            node("Add", ["b", "c"], ["h"]),
        ],
        (None, 2, 8, 6),
        {"k": CONV, "p": array(4, 2, 1, 1)},
    ),
    "a block, both ways with layers": (
        [
            node("MatMul", ["x", "w"], ["a"]),
            node("Tanh", ["a"], ["b"]),
            node("MatMul", ["x", "v"], ["c"]),
            node("Sigmoid", ["c"], ["d"]),
            node("Add", ["b", "d"], ["h"]),
        ],
        (None, 5),
        {"w": W, "v": array(5, 3)},
    ),
    "a block of ResNet, its shortcut normalised": (
        [
            node("Conv", ["x", "k"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["a", "g", "o", "m", "v"], ["b"]),
            node("Relu", ["b"], ["c"]),
            node("Conv", ["c", "k2"], ["d"], pads=[1, 1, 1, 1]),
            node("Conv", ["x", "p", "q"], ["e"], strides=[2, 2]),
            node("BatchNormalization", ["e", "g", "o", "m", "v"], ["f"]),
            node("Add", ["d", "f"], ["s"]),
            node("Relu", ["s"], ["h"]),
        ],
        (None, 2, 8, 6),
        {
            "k": CONV,
            "k2": array(4, 4, 3, 3),
            "p": array(4, 2, 1, 1),
            "q": array(4),
            "g": array(4),
            "o": array(4),
            "m": array(4),
            "v": np.abs(array(4)) + 0.1,
        },
    ),
    "three branches": (
        [
            node("Conv", ["x", "k"], ["a"], pads=[1, 1, 1, 1]),
            node("Sigmoid", ["a"], ["b"]),
            node("Concat", ["x", "b", "a"], ["h"], axis=1),
        ],
        (None, 2, 8, 6),
        {"k": CONV},
    ),
    "flattened branches": (
        [
            node("Conv", ["x", "k"], ["a"]),
            node("Flatten", ["a"], ["b"]),
            node("Flatten", ["x"], ["c"]),
            node("Concat", ["b", "c"], ["h"], axis=-1),
        ],
        (None, 2, 8, 6),
        {"k": CONV},
    ),
    "vectors of one channel made images": (
        [node("Reshape", ["x", "s"], ["a"]), node("Conv", ["a", "k"], ["h"])],
        (None, 48),
        {"s": np.array([-1, 1, 8, 6]), "k": array(4, 1, 3, 3)},
    ),
    "sequences": (
        [
            node("Conv", ["x", "k"], ["a"], dilations=[2], group=2),
            node("Relu", ["a"], ["b"]),
            node("AveragePool", ["b"], ["h"], kernel_shape=[2]),
        ],
        (None, 4, 12),
        {"k": array(6, 2, 3)},
    ),
    "dropout, identity, cast": (
        [
            node("Dropout", ["x"], ["a"]),
            node("Identity", ["a"], ["b"]),
            node("Cast", ["b"], ["h"], to=1),
        ],
        (None, 5),
        {},
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_how_others_write(name):
    """Behind each stands a product; onnxruntime computes the same."""
    nodes, shape, constants = SPELLINGS[name]
    given = [n if isinstance(n, int) else None for n in shape][1:]
    x = rows(tuple(given), 2)
    size = run(model([*nodes, node("Flatten", ["h"], ["y"])], shape, constants), x)["y"].shape[1]
    ends = [node("Flatten", ["h"], ["flat"]), node("MatMul", ["flat", "head"], ["y"])]
    proto = model([*nodes, *ends], shape, {**constants, "head": array(size, 3)})
    net = from_onnx(proto)
    last = name == "channels last, of TensorFlow"
    found = net.predict(x if last or x.ndim == 2 else np.moveaxis(x, 1, -1))
    wanted = run(proto, x)["y"]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())
    assert not name.startswith("a block") or isinstance(net.layers[0], bp.Residual)


def test_open_sizes_and_other_outputs():
    nodes = [
        node("GlobalAveragePool", ["x"], ["a"]),
        node("Flatten", ["a"], ["b"]),
        node("MatMul", ["b", "w"], ["y"]),
    ]
    proto = model(nodes, (None, 2, None, "width"), {"w": array(2, 3)})
    with pytest.raises(ValueError, match=r"input_shape must be given: .* \[None, None, 2\]"):
        from_onnx(proto)
    with pytest.raises(ValueError, match=r"input_shape must fit .* got \(6, 5, 3\)"):
        from_onnx(proto, input_shape=(6, 5, 3))
    assert from_onnx(proto, input_shape=(6, 5, 2)).input_shape == (6, 5, 2)
    two = [node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["a", "v"], ["y"])]
    proto = model(two, (None, 5), {"w": W, "v": array(3, 2)})
    assert from_onnx(proto, output="a", dtype="float64").outputs == 3
    proto.graph.output.append(helper.make_tensor_value_info("a", 1, ["rows", 3]))
    with pytest.raises(ValueError, match="output must be given: the model has y, a"):
        from_onnx(proto)
    with pytest.raises(
        ValueError, match="output must be a tensor of the model, such as y, a, got 'q'"
    ):
        from_onnx(proto, output="q")
