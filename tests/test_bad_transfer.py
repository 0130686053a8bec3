"""A table of malformed calls around weights from elsewhere, frozen layers and other heads."""

from __future__ import annotations

import pytest
from malformed import Row, X, check, fit, make

import bpfast as bp


@pytest.fixture(scope="module")
def net() -> bp.Network:
    return make()


CALLS: dict[str, Row] = {
    "no weights": (
        lambda net: net.load_weights({}),
        ValueError,
        "missing 1.kernel, .*; nor in order: src has 0 layers with weights, the network 2",
    ),
    "weights in another order": (
        lambda net: net.load_weights({"a.weight": X, "b.weight": X}),
        ValueError,
        "missing .*; unexpected a.weight, b.weight; nor in order: 'a' has weight, layer 1 ker",
    ),
    "weights of other shapes": (
        lambda net: net.load_weights(
            {f"a.{i}.{part}": X for i in range(2) for part in ("weight", "bias")}
        ),
        ValueError,
        r"nor in order: 'a.0.weight' has shape \(19, 37\), 1.kernel \(19, 7\)",
    ),
    "freeze None": (
        lambda net: net.freeze(None),
        TypeError,
        r"layers\[0\] must be a layer, its path or its index, got None",
    ),
    "freeze True": (
        lambda net: net.freeze(0, True),
        TypeError,
        r"layers\[1\] must be a layer, its path or its index, got True",
    ),
    "freeze an unknown path": (
        lambda net: net.freeze("1", "hidden"),
        ValueError,
        r"layers\[1\] must be the path of a layer, one of 0, 1, 2, 3, got 'hidden'",
    ),
    "freeze a projection": (
        lambda net: bp.Network([bp.Residual([bp.Dense(3)])], input_shape=2).freeze("0.projection"),
        ValueError,
        r"layers\[0\]: 0.projection is frozen and thawed with what it is part of",
    ),
    "freeze past the end": (
        lambda net: net.freeze(4),
        ValueError,
        r"layers\[0\] must be an int in \[-4, 3\], got 4",
    ),
    "unfreeze another's layer": (
        lambda net: net.unfreeze(bp.Dense(3)),
        ValueError,
        r"layers\[0\] must be a layer of this network, got an object of type Dense",
    ),
    "a head of no units": (
        lambda net: net.replace_head(0),
        ValueError,
        "layers must be an int >= 1, got 0",
    ),
    "a head of half a unit": (
        lambda net: net.replace_head(0.5),
        TypeError,
        "layers must be a list of layers, got 0.5",
    ),
    "a head of no layers": (
        lambda net: net.replace_head([]),
        ValueError,
        "layers must be at least one layer, got list of length 0",
    ),
    "a head that is no vector": (
        lambda net: net.replace_head([bp.Reshape((7, 1))]),
        bp.ShapeError,
        r"the output must be a vector, got shape \(7, 1\)",
    ),
    "a head with a name twice": (
        lambda net: net.replace_head([bp.Dense(3, name="1")]),
        ValueError,
        r"layers\[3\].name '1' is already that of layers\[1\]",
    ),
    "a head, freeze 1": (
        lambda net: net.replace_head(3, freeze=1),
        TypeError,
        "freeze must be True or False, got 1",
    ),
    "a head's rng": (
        lambda net: net.replace_head(3, rng=-1),
        ValueError,
        "rng must be from 0 to .*, got -1",
    ),
    "groups of another network": (
        fit(callbacks=[bp.GradualUnfreezing([0, ["1", bp.Dense(3)]])]),
        ValueError,
        r"groups\[1\]\[1\] must be a layer of this network",
    ),
    "convert None": (
        lambda net: bp.convert.from_torch(None, input_shape=3),
        TypeError,
        "module must be a torch.nn.Module, got None",
    ),
    "convert a network": (
        lambda net: bp.convert.from_sklearn(net),
        TypeError,
        "estimator must be an MLPClassifier or MLPRegressor .*, got an object of type Network",
    ),
    "ONNX in a type that is none": (
        lambda net: net.to_onnx("unused", dtype="float16"),
        ValueError,
        "dtype must be one of float32, float64, got 'float16'",
    ),
    "ONNX, path None": (
        lambda net: net.to_onnx(None),
        TypeError,
        "path must be a str or a path, got None",
    ),
    "ONNX, classifier 1": (
        lambda net: net.to_onnx("unused", classifier=1),
        TypeError,
        "classifier must be True or False, got 1",
    ),
    "ONNX, a classifier that is none": (
        lambda net: net.to_onnx("unused", classifier=True),
        ValueError,
        "classifier must be False or None for this network",
    ),
    "ONNX, classes of a quantity": (
        lambda net: net.to_onnx("unused", classes=["a", "b", "c"]),
        ValueError,
        "classes must be None where the outputs are no probabilities, got list of length 3",
    ),
    "from ONNX, output 1": (
        lambda net: bp.convert.from_onnx("unused", output=1),
        TypeError,
        "output must be a string, got 1",
    ),
    "from ONNX, channels_last 1": (
        lambda net: bp.convert.from_onnx("unused", channels_last=1),
        TypeError,
        "channels_last must be True or False, got 1",
    ),
    "from ONNX, rows of no shape": (
        lambda net: bp.convert.from_onnx("unused", input_shape=()),
        ValueError,
        "input_shape must be one of .*, got tuple of length 0",
    ),
}


@pytest.mark.parametrize("what", CALLS)
def test_malformed_calls(net: bp.Network, what: str) -> None:
    check(net, CALLS[what])
