"""ONNX files that are not to be trusted: errors in one line, before memory is taken."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from onnx_models import helper, lively, model, onnx, proto_of

import bpfast as bp
from bpfast.convert import from_onnx

node = helper.make_node
IMAGE, VECTOR = (None, 2, 8, 6), (None, 5)
W, CONV = np.ones((5, 3), np.float32), np.ones((4, 2, 3, 3), np.float32)


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
