"""ONNX models that are no network, or not to be trusted: errors, before memory is taken."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from onnx_models import array, helper, lively, model, onnx, proto_of, scalar

import bpfast as bp
from bpfast.convert import from_onnx

node = helper.make_node
IMAGE, VECTOR = (None, 2, 8, 6), (None, 5)
W, CONV = array(5, 3), array(4, 2, 3, 3)


# ---- what no layer stands for -------------------------------------------------------------------

REFUSED = [
    (
        [node("Cos", ["x"], ["y"], name="turn")],
        VECTOR,
        {},
        r"node 'turn' \(Cos\) is an operator that",
    ),
    ([node("Cos", ["x"], ["y"])], VECTOR, {}, r"node 'y' \(Cos\)"),
    (
        [node("LSTM", ["x", "w", "r"], ["y"], hidden_size=1)],
        (2, 3, 4),
        {"w": array(1, 4, 4), "r": array(1, 4, 1)},
        r"\(LSTM\)",
    ),
    (
        [node("LeakyRelu", ["x"], ["y"], alpha=0.2)],
        VECTOR,
        {},
        r"must have alpha=0.01, to be leaky_relu, got alpha=0.2",
    ),
    (
        [node("Elu", ["x"], ["y"], alpha=2.0)],
        VECTOR,
        {},
        "must have alpha=1.0, to be elu, got alpha=2.0",
    ),
    (
        [node("HardSigmoid", ["x"], ["y"])],
        VECTOR,
        {},
        "must have alpha=0.16.*, to be hard_sigmoid, got alpha=0.2",
    ),
    (
        [node("Softmax", ["x"], ["y"], axis=-1)],
        IMAGE,
        {},
        "must be over the channels, axis 1, got 3",
    ),
    ([node("Gemm", ["x", "w"], ["y"], transA=1)], (5, 5), {"w": W}, "must have transA=0, got 1"),
    (
        [node("Gemm", ["x", "w", "b"], ["y"])],
        (3, 5),
        {"w": W, "b": array(3, 3)},
        "needs 3 numbers, got float32 of shape",
    ),
    (
        [node("Gemm", ["x", "w", "b"], ["y"])],
        (3, 5),
        {"w": W, "b": array(3, 1)},
        r"needs 3 numbers, got float32 of shape \(3, 1\)",
    ),
    (
        [node("MatMul", ["w", "x"], ["y"])],
        (5, 5),
        {"w": W},
        "needs what the model computes as input 0, got 'w'",
    ),
    (
        [node("MatMul", ["x", "x"], ["y"])],
        (5, 5),
        {},
        "needs a constant of numbers as input 1, got 'x'",
    ),
    (
        [node("MatMul", ["x", "w"], ["y"])],
        IMAGE,
        {"w": array(6, 3)},
        r"needs vectors, got rows of shape \(2, 8, 6\)",
    ),
    (
        [node("Conv", ["x", "k"], ["y"], pads=[0, 1, 2, 1])],
        IMAGE,
        {"k": CONV},
        "pads must be the same before and behind",
    ),
    (
        [node("Conv", ["x", "k"], ["y"], pads=[3, 3, 3, 3])],
        IMAGE,
        {"k": CONV},
        "padding must be at most 2",
    ),
    (
        [node("Conv", ["x", "k"], ["y"])],
        (None, 2, 4, 4, 4),
        {"k": array(4, 2, 1, 1, 1)},
        "input must have 2 to 4 axes, .* got 5",
    ),
    (
        [node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)],
        IMAGE,
        {},
        "must have ceil_mode=0",
    ),
    (
        [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], dilations=[2, 2])],
        IMAGE,
        {},
        r"must have dilations=1, got \[2, 2\]",
    ),
    (
        [node("MaxPool", ["x"], ["a", "y"], kernel_shape=[2, 2])],
        IMAGE,
        {},
        "must not be asked for 'y'",
    ),
    (
        [node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)],
        IMAGE,
        {},
        "must have count_include_pad=0",
    ),
    ([node("Flatten", ["x"], ["y"], axis=2)], IMAGE, {}, "must have axis=1, got 2"),
    (
        [node("Reshape", ["x", "s"], ["y"])],
        IMAGE,
        {"s": np.array([2, -1])},
        r"must keep the batch .* got \[2, -1\]",
    ),
    (
        [node("Reshape", ["x", "s"], ["y"])],
        IMAGE,
        {"s": np.array([0, 4, 24])},
        "must not mix channels and positions",
    ),
    (
        [node("Transpose", ["x"], ["y"], perm=[0, 1, 3, 2])],
        IMAGE,
        {},
        r"must have perm=\[0, 2, 3, 1\], to channels last",
    ),
    (
        [node("Slice", ["x", "s", "e", "a"], ["y"])],
        IMAGE,
        {"s": np.array([0]), "e": np.array([2]), "a": np.array([2])},
        r"axis 1, got \[2\]",
    ),
    (
        [node("Add", ["x", "x"], ["y"])],
        VECTOR,
        {},
        r"node 'y' \(Add\) must not add a tensor to itself",
    ),
    (
        [node("MatMul", ["x", "w"], ["a"]), node("Add", ["a", "x"], ["y"])],
        VECTOR,
        {"w": W},
        r"\(Add\) needs rows of the same shape, got \(3,\), \(5,\)",
    ),
    (
        [node("Tanh", ["x"], ["a"]), node("Mul", ["a", "c"], ["y"])],
        VECTOR,
        {"c": array(5)},
        r"\(Mul\) must be with a constant at the input",
    ),
    (
        [node("Mul", ["x", "c"], ["y"])],
        VECTOR,
        {"c": scalar(0)},
        "must scale by finite numbers other than 0",
    ),
    (
        [node("Sub", ["c", "x"], ["y"])],
        VECTOR,
        {"c": array(5)},
        "must not be of a constant by what the model computes",
    ),
    ([node("Sub", ["x", "c"], ["y"])], VECTOR, {"c": array(4)}, None),
    ([node("Cast", ["x"], ["y"], to=7)], VECTOR, {}, "must be to float or double"),
    ([node("Abs", ["x"], ["y"])], VECTOR, {}, r"\(Abs\) is an operator"),
    ([node("Sub", ["a", "b"], ["c"]), node("Abs", ["c"], ["y"])], VECTOR, {}, None),
    (
        [node("Conv", ["x", "k"], ["a"]), node("Flatten", ["a"], ["y"])],
        IMAGE,
        {"k": CONV},
        "must not end with images flattened",
    ),
    ([node("Relu", ["x"], ["y"])], VECTOR, {}, "at least one with parameters"),
    (
        [node("MatMul", ["x", "w"], ["y"])],
        VECTOR,
        {"w": np.full((5, 3), np.nan, np.float32)},
        "the model's 0.kernel must be finite",
    ),
    (
        [node("BatchNormalization", ["x", "g", "g", "g", "v"], ["y"])],
        VECTOR,
        {"g": array(5), "v": -np.ones(5, np.float32)},
        "must not have a negative variance, got -1",
    ),
]


@pytest.mark.parametrize("index", range(len(REFUSED)))
def test_refused(index):
    nodes, shape, constants, message = REFUSED[index]
    with pytest.raises(ValueError, match=message) as caught:
        from_onnx(model(nodes, shape, constants))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_arguments():
    proto = model([node("MatMul", ["x", "w"], ["y"])], VECTOR, {"w": W})
    for change, error, message in [
        (
            {"source": None},
            TypeError,
            "source must be a path, bytes or an onnx.ModelProto, got None",
        ),
        ({"source": ""}, ValueError, "source must be a string that is not empty"),
        ({"output": 1}, TypeError, "output must be a string, got 1"),
        ({"channels_last": 1}, TypeError, "channels_last must be True or False, got 1"),
        ({"input_shape": 0}, ValueError, "input_shape must be an int >= 1, got 0"),
        ({"dtype": "int8"}, ValueError, "dtype must be one of"),
        ({"rng": -1}, ValueError, "rng must be from 0"),
    ]:
        options = {"source": proto, **change}
        with pytest.raises(error, match=message):
            from_onnx(options.pop("source"), **options)


# ---- files that are not to be trusted -----------------------------------------------------------


def test_files(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        from_onnx(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        from_onnx(tmp_path)
    with pytest.raises(ValueError, match="is a device, pipe or socket"):
        from_onnx("/dev/zero")
    for data in (b"", b"no model", b"\x08\x09" * 1000):
        with pytest.raises(ValueError, match=r"source is no (valid )?model of ONNX"):
            from_onnx(data)


def test_sizes_are_checked_before_memory_is_taken():
    """A file of a few hundred bytes that asks for terabytes."""

    def spoiled(change) -> str:
        proto = model([node("MatMul", ["x", "w"], ["y"])], VECTOR, {"w": W})
        change(proto.graph)
        with pytest.raises(ValueError, match=r".") as caught:
            from_onnx(proto)
        return str(caught.value)

    def more_values(graph):
        graph.initializer[0].dims[:] = [2**40, 2**20]

    def negative(graph):
        graph.initializer[0].dims[:] = [-5, -3]

    def elsewhere(graph):
        graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
        graph.initializer[0].external_data.add(key="location", value="/etc/passwd")

    def sparse(graph):
        graph.sparse_initializer.add()

    assert "constant 'w' must have 1152921504606846976 values, got 15" in spoiled(more_values)
    assert "constant 'w' must not have a negative size" in spoiled(negative)
    assert "constant 'w' must be within the file, not in another one" in spoiled(elsewhere)
    assert "must not have sparse constants" in spoiled(sparse)
    huge = (None, 3, 2**20, 2**20)
    nodes = [node("Div", ["x", "s"], ["a"]), node("Flatten", ["a"], ["y"])]
    with pytest.raises(ValueError, match="a row must have at most 16,777,216 values"):
        from_onnx(model(nodes, huge, {"s": np.array(2, np.float32)}))
    pads = [node("Conv", ["x", "k"], ["y"], pads=[2**60] * 4)]
    with pytest.raises(ValueError, match="padding must be at most 2"):
        from_onnx(model(pads, IMAGE, {"k": CONV}))


def test_branches_that_would_multiply():
    """Fibonacci's numbers of ways through few nodes end in an error, not in hours."""
    nodes = [
        node("Concat", ["x", "x"], ["v0"], axis=1),
        node("Concat", ["x", "v0"], ["v1"], axis=1),
    ]
    for i in range(2, 17):
        nodes.append(node("Relu", [f"v{i - 2}"], [f"a{i}"]))
        nodes.append(node("Concat", [f"v{i - 1}", f"a{i}"], [f"v{i}"], axis=1))
    with pytest.raises(ValueError, match=r"at most 10,000 steps|is within 16 others"):
        from_onnx(model(nodes, (None, 1), output="v16"))


def test_spoiled_bytes_never_do_worse_than_an_error():
    """Each of some hundreds of changed files is read, or refused by a one-line error."""
    layers = [bp.Conv2D(2, 2, "silu"), bp.Residual([bp.BatchNorm()]), bp.Flatten(), bp.Dense(2)]
    good = proto_of(lively(bp.Network(layers, input_shape=(3, 4, 1), rng=0))).SerializeToString()
    chance = random.Random(4)
    refused: list[str] = []
    for _ in range(400):
        data = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            from_onnx(bytes(data))
        except (ValueError, TypeError, MemoryError) as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert not any("\n" in text for text in refused)
