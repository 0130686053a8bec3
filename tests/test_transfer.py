"""Weights by name, by order, by PyTorch's axes: what matches, what does not, and why."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from cases import everything, same_bits
from safetensors.numpy import save_file

import bpfast as bp
from bpfast import _transfer

RNG = np.random.default_rng(2)


def cnn() -> list[bp.Layer]:
    """What a Sequential of the same layers has, with a Flatten between images and vectors."""
    return [
        bp.Conv2D(6, 3, padding=1, use_bias=False),
        bp.BatchNorm(),
        bp.Activation("relu"),
        bp.MaxPool2D(2),
        bp.Flatten(),
        bp.Dropout(0.3),
        bp.LayerNorm(),
        bp.Dense(8, "relu"),
        bp.Dense(3),
    ]


def make(layers: list[bp.Layer] | None = None, shape=(6, 4, 2), rng: int = 0) -> bp.Network:
    return bp.Network(layers or cnn(), input_shape=shape, dtype="float64", rng=rng)


def foreign(net: bp.Network, renamed: dict[str, str] | None = None) -> dict[str, np.ndarray]:
    """The network's values under PyTorch's names and axes, channels first where they are flat."""
    found = {}
    for name, view in (*net.params.items(), *net.buffers.items()):
        path, _, role = name.rpartition(".")
        array = view.copy()
        if path == "6" or (path, role) == (
            "7",
            "kernel",
        ):  # the features of 3 x 2 positions, 6 maps
            array = np.moveaxis(array.reshape(3, 2, 6, -1), 2, 0).reshape(array.shape)
        if role == "kernel":
            array = array.transpose(array.ndim - 1, array.ndim - 2, *range(array.ndim - 2))
        role = {"kernel": "weight", "gamma": "weight", "beta": "bias"}.get(role, role)
        role = "running_var" if role == "running_variance" else role
        found[f"{(renamed or {}).get(path, path)}.{role}"] = np.ascontiguousarray(array)
    return found


def trained() -> bp.Network:
    """A network all of whose values differ."""
    net = make(rng=5)
    for view in (*net.params.values(), *net.buffers.values()):
        view[...] = RNG.uniform(0.1, 1.0, size=view.shape)
    return net


def same(net: bp.Network, other: bp.Network) -> bool:
    return same_bits(net.parameters, other.parameters) and same_bits(net._buffers, other._buffers)


# ---- names, axes, order of features -------------------------------------------------------------


@pytest.mark.parametrize("way", ["dict", "file"])
def test_by_name(way, tmp_path):
    net, other = make(), trained()
    source = foreign(other) | {"1.num_batches_tracked": np.array(3)}
    if way == "file":
        save_file(source, tmp_path / "weights.safetensors")
    found = net.load_weights(source if way == "dict" else tmp_path / "weights.safetensors")
    assert same(net, other)
    assert found.by == "name"
    assert found.sources["1.running_variance"] == "1.running_var"
    assert not found.reasons


#: Numbers with gaps, as of a Sequential that has its activations apart; and past 9, which text
#: sorts before 2.
GAPS = {"0": "0", "1": "1", "6": "7", "7": "9", "8": "12"}


@pytest.mark.parametrize("way", ["dict", "file"])
def test_in_order(way, tmp_path):
    net, other = make(), trained()
    source = foreign(other, {k: f"net.{v}" for k, v in GAPS.items()})
    if way == "file":
        save_file(source, tmp_path / "weights.safetensors")
    found = net.load_weights(source if way == "dict" else tmp_path / "weights.safetensors")
    assert same(net, other)
    assert found.by == "order"
    assert found.sources["8.bias"] == "net.12.bias"
    assert found[1:4] == ([], [], [])


def test_names_are_no_order_in_a_file(tmp_path):
    net, other = make(), trained()
    source = foreign(other, {"7": "hidden", "8": "head"})
    before = everything(net)
    save_file(source, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"a file keeps no order, and '.*' and '.*' tell none"):
        net.load_weights(tmp_path / "weights.safetensors")
    assert everything(net) == before
    assert net.load_weights(source).by == "order"
    assert same(net, other)


def test_our_own_names_in_order():
    layers = [bp.Dense(4, "relu", name="in"), bp.Dense(3, name="out")]
    net = bp.Network([5, 4, 3], rng=0)
    other = bp.Network(layers, input_shape=5, rng=1)
    assert net.load_weights(other.params).by == "order"
    assert same_bits(net.parameters, other.parameters)


#: What is changed in a dict that fits in order, and what is said then.
SPOILED = {
    "shape": ("net.9.weight", np.ones((8, 9)), r"'net.9.weight' has shape \(9, 8\), 7.kernel \("),
    "transposed": ("net.12.weight", np.ones((8, 3)), r"has shape \(8, 3\)|has shape \(3, 8\)"),
    "bias gone": ("net.9.bias", None, "'net.9' has weight, layer 7 kernel, bias"),
    "bias too much": ("net.0.bias", np.ones(6), "'net.0' has weight, bias, layer 0 kernel"),
    "statistics of no norm": (
        "net.9.running_mean",
        np.ones(8),
        "'net.9' has weight, bias, running_mean, layer 7",
    ),
    "layer gone": ("net.9.", None, "src has 4 layers with weights, the network 5"),
    "layer too much": ("net.13.weight", np.ones(3), "src has 6 layers with weights, the network 5"),
}


@pytest.mark.parametrize("what", SPOILED)
def test_in_order_all_or_nothing(what):
    net = make()
    source = foreign(trained(), {k: f"net.{v}" for k, v in GAPS.items()})
    key, value, message = SPOILED[what]
    source = {k: v for k, v in source.items() if not k.startswith(key)}
    if value is not None:
        source[key] = value
    source = dict(sorted(source.items(), key=lambda item: int(item[0].split(".")[1])))
    before = everything(net)
    with pytest.raises(ValueError, match=message):
        net.load_weights(source)
    assert everything(net) == before
    found = net.load_weights(source, strict=False)
    assert (found.by, found.matched) == ("name", [])
    assert "nor in order: " in found.reasons["8.kernel"]
    assert everything(net) == before


def test_partial_by_name():
    """The body alone; the order of features too."""
    net, other = make(), trained()
    source = {k: v for k, v in foreign(other).items() if not k.startswith("8.")}
    found = net.load_weights(source, strict=False)
    assert found.missing_keys == ["8.kernel", "8.bias"]
    assert same_bits(net.params["7.kernel"], other.params["7.kernel"])


def test_statistics_may_be_missing_in_order():
    net, other = make(), trained()
    source = foreign(other, {k: f"net.{v}" for k, v in GAPS.items()})
    found = net.load_weights({k: v for k, v in source.items() if "running" not in k})
    assert "1.running_mean" not in found.matched
    assert same_bits(net.parameters, other.parameters)


# ---- where PyTorch has each feature -------------------------------------------------------------

#: Layers behind images of 2 x 3 positions and 2 channels; what a vector is made of at the end.
FLAT = [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]  # position p, channel c: 6 c + p there
ORDERS = {
    "flatten": ([bp.Flatten()], FLAT),
    "through elementwise layers": (
        [bp.Flatten(), bp.Dropout(0.1), bp.BatchNorm(), bp.Activation("relu"), bp.RMSNorm()], FLAT
    ),
    "behind a convolution": ([bp.Conv2D(2, 1), bp.Flatten()], FLAT),
    "one channel": ([bp.Conv2D(1, 1), bp.Flatten()], None),
    "one position": ([bp.GlobalAvgPool()], None),
    "one position, flattened": ([bp.AvgPool2D((2, 3)), bp.Flatten()], None),
    "standardized": ([bp.Standardize(), bp.Flatten()], FLAT),
    "behind a dense layer": ([bp.Flatten(), bp.Dense(12)], None),
    "side by side": (
        [bp.Concatenate([[bp.Flatten()], [bp.GlobalAvgPool(), bp.Dense(2)]])], [*FLAT, 12, 13]
    ),
    "a sum of equals": ([bp.Flatten(), bp.Residual([bp.Dropout(0.1)])], FLAT),
    "a sum of others": ([bp.Flatten(), bp.Residual([bp.Dense(12)])], None),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERS)
def test_orders(name):
    layers, expected = ORDERS[name]
    net = bp.Network([*layers, bp.Dense(2)], input_shape=(2, 3, 2), rng=0)
    *_, order = _transfer.input_orders(net._plan)
    assert (None if order is None else list(order)) == expected
    assert _transfer.output_order(net._plan) is None


def test_sequences_are_turned_too():
    net = bp.Network([bp.Flatten(), bp.Dense(2)], input_shape=(4, 3), rng=0)
    W = np.arange(24.0).reshape(2, 12)
    net.load_weights({"1.weight": W, "1.bias": np.zeros(2)})
    x = RNG.normal(size=(5, 4, 3)).astype(np.float32)
    expected = x.transpose(0, 2, 1).reshape(5, 12) @ W.T
    np.testing.assert_allclose(net.predict(x), expected, rtol=1e-4, atol=1e-4)


def test_other_libraries_are_not_imported():
    code = "import sys, bpfast; bpfast.convert; print({'torch', 'sklearn'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
