"""WeightMonitor: its figures are NumPy's, and no bit of the training knows of it."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import everything

import bpfast as bp
from bpfast import _core, activations
from bpfast.weight_monitor import CAN_DIE, SATURATED, Look

D = bp.Dense
RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(150, 6)), RNG.normal(size=(150, 3))
LABELS = RNG.integers(3, size=150)
IMAGES = RNG.normal(size=(70, 6, 5, 2))


def monitored(net: bp.Network, **options: Any) -> bp.WeightMonitor:
    """A monitor of a short fit."""
    monitor = bp.WeightMonitor(bins=16)
    options = {"X": X, "y": Y, "loss": "mse", "epochs": 2, "batch_size": 32, **options}
    net.fit(**{**options, "callbacks": [monitor, *options.get("callbacks", [])]})
    return monitor


def network(*layers: bp.Layer, **options: Any) -> bp.Network:
    options = {"input_shape": 6, "rng": 0, **options}
    return bp.Network(list(layers) or [D(40, "relu"), D(70, "tanh"), D(3)], **options)


# ---- figures ------------------------------------------------------------------------------------


def agrees(array: np.ndarray, figures: tuple[float, ...], counts: Any, edges: Any) -> None:
    """Mean, std, norm, min, max and histogram are those of NumPy in double."""
    w = array.astype(np.float64).ravel()
    expected = w.mean(), w.std(), np.linalg.norm(w), w.min(), w.max()
    size = np.abs(w).max()
    np.testing.assert_allclose(figures, expected, rtol=1e-12, atol=1e-14 * size)
    numbers, lines = np.histogram(w, len(counts))
    assert (counts.dtype, edges.dtype) == (np.int64, np.float64)
    np.testing.assert_array_equal(counts, numbers)
    np.testing.assert_array_equal(edges, lines)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 7, 8, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("kind", ["normal", "far from zero", "whole", "equal"])
def test_summaries_are_those_of_numpy(dtype: str, n: int, kind: str) -> None:
    rng = np.random.default_rng(n)
    draws = {
        "normal": rng.normal(size=n),
        "far from zero": 1e4 + rng.normal(size=n),
        "whole": rng.integers(-5, 6, size=n),  # on the edges
        "equal": np.full(n, 0.1),
    }
    values = draws[kind].astype(dtype)
    before = (draws[kind] + rng.normal(size=n)).astype(dtype)
    figures, counts, edges = _core.summaries([(values, before)], [n], 10)
    agrees(values, figures[0][:5], counts[0], edges[0])
    change = np.linalg.norm(values.astype(float) - before.astype(float))
    assert math.isclose(figures[0][5], change, rel_tol=1e-12)


@pytest.mark.parametrize("value", [1e30, -3e38, 1e-44, 1e300, -1.7e308])
def test_summaries_of_very_large_and_small_numbers(value: float) -> None:
    dtype = "f4" if abs(value) < 1e39 else "f8"
    for n in (1, 5, 3000):
        for bins in (1, 7, 64):
            _, counts, edges = _core.summaries([(np.full(n, value, dtype), None)], [n], bins)
            known = abs(value) < 1e308
            assert counts.sum() == (n if known else 0)
            assert (np.diff(edges) > 0).all() == known


def test_summaries_of_what_is_not_finite() -> None:
    for bad in (math.nan, math.inf):
        figures, counts, edges = _core.summaries([(np.array([1.0, bad, 2.0]), None)], [3], 4)
        assert not math.isfinite(figures[0][0])
        assert np.isnan(edges).all()
        assert not counts.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_gradients_and_updates(dtype: str) -> None:
    """The gradient is the last batch's, the update what its step changed."""
    net = network(dtype=dtype)
    states: list[np.ndarray] = []
    note = bp.LambdaCallback(on_batch_end=lambda b, logs: states.append(net.parameters.copy()))
    monitor = monitored(net, shuffle=False, callbacks=[note], optimizer=bp.Adam(0.01))
    look = monitor.looks[-1]
    twin = net.clone()
    twin.parameters[...] = states[-2]
    twin.loss_and_gradient(X[128:], Y[128:], loss="mse")
    assert list(look.tensors) == list(net.params)
    for name, seen in look.tensors.items():
        w, before, g = net.params[name], twin.params[name], twin.grads[name]
        agrees(w, (seen.mean, seen.std, seen.norm, seen.min, seen.max), seen.histogram, seen.edges)
        figures = seen.gradient_mean, seen.gradient_std, seen.gradient_norm, g.min(), g.max()
        agrees(g, figures, seen.gradient_histogram, seen.gradient_edges)
        change = np.linalg.norm(w.astype(float) - before) / np.linalg.norm(w.astype(float))
        assert math.isclose(seen.update_ratio, change, rel_tol=1e-10)
        assert seen.count == w.size
    np.testing.assert_array_equal(net.gradients, twin.gradients)


def outputs_agree(look: Look, path: str, layers: list[bp.Layer], net: bp.Network, x: Any) -> None:
    """A layer's figures are those of what a network that ends there predicts."""
    short = bp.Network(layers, input_shape=net.input_shape, dtype=net.dtype.name, rng=1)
    for name, view in short.params.items():
        view[...] = net.params[name]
    for name, view in short.buffers.items():
        view[...] = net.buffers[name]
    seen = look.layers[path]
    y = short.predict(x).astype(np.float64)
    y = y.reshape(-1, seen.units)
    np.testing.assert_allclose((seen.mean, seen.std), (y.mean(), y.std()), rtol=1e-6, atol=1e-9)
    dead = (y <= 0).all(axis=0).mean() if seen.activation in CAN_DIE else math.nan
    low, high = SATURATED.get(seen.activation, (math.nan, math.nan))
    saturated = ((y <= low) | (y >= high)).mean() if seen.activation in SATURATED else math.nan
    if seen.activation == "softmax":
        saturated = (y >= high).any(axis=1).mean()
    np.testing.assert_allclose((seen.dead, seen.saturated), (dead, saturated), rtol=1e-12)


@pytest.mark.parametrize("activation", activations.NAMES)
def test_outputs_of_each_activation(activation: str) -> None:
    wide = bp.initializers.Normal(0, 2.0)
    biased = bp.initializers.Normal(-4, 8.0)
    first = [D(37, activation, weight_init=wide, bias_init=biased, name="hidden")]
    net = network(*first, D(3))
    look = monitored(net, optimizer=bp.SGD(1e-4)).looks[-1]
    outputs_agree(look, "hidden", first, net, X[::4][:32])
    seen = look.layers["hidden"]
    assert (seen.activation, seen.units) == (activation, 37)
    assert math.isnan(seen.dead) == (activation not in CAN_DIE)
    assert math.isnan(seen.saturated) == (activation not in SATURATED)
    if activation == "relu":
        assert 0 < seen.dead < 1
    if activation in SATURATED:
        assert 0 < seen.saturated < 1


def test_outputs_of_images_and_normalised_layers() -> None:
    """Also of an activation behind a BatchNorm, of a sum, and of what a pooling passes on."""
    first = [bp.Conv2D(20, 3, "relu", name="c"), bp.MaxPool2D(2), bp.Flatten()]
    then = [D(9, name="d"), bp.BatchNorm(), bp.Activation("tanh", name="t"), bp.Dropout(0.3)]
    last = [bp.Residual([D(9, "relu", name="inner")], name="r"), D(3)]
    net = network(*first, *then, *last, input_shape=IMAGES.shape[1:])
    monitor = monitored(net, X=IMAGES, y=Y[:70])
    look = monitor.looks[-1]
    assert set(look.layers) >= {"c", "d", "t", "r.inner"}
    seen = IMAGES[::2][:32]
    outputs_agree(look, "c", first, net, seen)
    outputs_agree(look, "t", [*first, *then[:3]], net, seen)
    outputs_agree(look, "d", [*first, then[0]], net, seen)


@pytest.mark.usefixtures("exact_threads")
@pytest.mark.parametrize("rows", [1, 31, 32, 33, 200])
def test_any_number_of_rows_and_threads(rows: int) -> None:
    """Groups of rows are added in order: one answer."""
    x = np.random.default_rng(rows).normal(size=(rows, 6))
    net = network(D(45, "tanh"), D(3))
    wanted = [(0, -0.9, 0.9), (1, math.nan, 0.5)]
    first = _core.outputs(net._core, x, wanted)
    assert all(_core.outputs(net._core, x, wanted, n, True) == first for n in (2, 3, 5))
    hidden = np.tanh(x.astype("f4") @ net.params["0.kernel"] + net.params["0.bias"]).astype(float)
    units, values, mean, std, silent, lows, highs = first[0]
    assert (units, values, silent) == (45, hidden.size, (hidden <= 0).all(axis=0).sum())
    assert (lows, highs) == ((hidden <= -0.9).sum(), (hidden >= 0.9).sum())
    np.testing.assert_allclose((mean, std), (hidden.mean(), hidden.std()), rtol=1e-4, atol=1e-6)


# ---- the training -------------------------------------------------------------------------------

HALF = np.r_[np.ones(128), np.zeros(22)]


def square(y: Any, output: Any) -> tuple[float, Any]:
    return float(np.mean((output - y) ** 2)), 2 * (output - y) / output.size


FITS: dict[str, tuple[Callable[[], bp.Network], dict[str, Any]]] = {
    "plain": (network, {}),
    "float64": (lambda: network(dtype="float64"), {"optimizer": bp.SGD(0.1, momentum=0.9)}),
    "dropout and noise": (
        lambda: network(bp.GaussianNoise(0.1), D(30, "relu"), bp.Dropout(0.4), D(3)),
        {"validation_split": 0.2, "metrics": ["r2"]},
    ),
    "dropconnect": (lambda: network(D(30, "gelu", weight_dropout=0.5), D(3)), {}),
    "batchnorm": (lambda: network(bp.Standardize(), D(30), bp.BatchNorm(), D(3)), {}),
    "clipped": (network, {"optimizer": bp.Adam(clip_norm=0.01, clip_value=0.001)}),
    "penalty": (lambda: network(D(30, "elu", weight_regularizer=bp.L2(1e-2)), D(3)), {}),
    "labels": (network, {"y": LABELS, "loss": "cross_entropy", "class_weight": "balanced"}),
    "nothing learnt last": (network, {"sample_weight": HALF, "shuffle": False}),
    "one batch": (network, {"batch_size": 150}),
    "own loss": (network, {"loss": square}),
}


@pytest.mark.parametrize(("make", "options"), FITS.values(), ids=FITS)
@pytest.mark.usefixtures("exact_threads")
def test_training_keeps_its_bits_on_any_number_of_threads(
    make: Callable[[], bp.Network], options: dict[str, Any]
) -> None:
    options = {"X": X, "y": Y, "loss": "mse", "epochs": 3, "batch_size": 32, **options}
    plain = make()
    plain.fit(**options)
    records = []
    for threads in (1, 2, 3, 4):
        net = make()
        net.n_threads = threads
        monitor = monitored(net, **options)
        assert everything(net) == everything(plain)
        records.append(json.dumps(monitor.as_dict()))
    assert len(set(records)) == 1
    if "sample_weight" in options:
        assert all(t.gradient_norm == 0 for t in monitor.looks[-1].tensors.values())
        assert all(t.update_ratio in (0, math.nan) for t in monitor.looks[-1].tensors.values())


def test_frozen_layers_have_no_gradient() -> None:
    net = network()
    net.layers[0].trainable = False
    seen = monitored(net).looks[-1].tensors["0.kernel"]
    assert (seen.gradient_norm, seen.update_ratio) == (0, 0)


def test_stopped_and_resumed_fit_keeps_bits_and_record() -> None:
    """Stopped after a batch, the fit goes on; the record too, where the object is the same."""
    plain = network()
    plain.fit(X, Y, loss="mse", epochs=4, batch_size=32)
    for last in (6, 8):  # in mid-epoch, and before the last batch
        net, monitor, seen = network(), bp.WeightMonitor(), []

        def stop(batch: int, logs: Any, seen: list[int] = seen, last: int = last) -> bool:
            seen.append(batch)
            return len(seen) == last + 1

        options = {"loss": "mse", "epochs": 4, "batch_size": 32}
        halting = bp.LambdaCallback(on_batch_end=stop)
        net.fit(X, Y, **options, callbacks=[monitor, halting])
        assert monitor.epochs == [0]
        net.fit(X, Y, **options, callbacks=[monitor], resume=True)
        assert monitor.epochs == [0, 1, 2, 3]
        assert everything(net)[:2] == everything(plain)[:2]
        assert monitor.looks[1].tensors["0.kernel"].update_ratio > 0


# ---- the object ---------------------------------------------------------------------------------


def test_every_and_new_fits() -> None:
    net, monitor = network(), bp.WeightMonitor(every=2, bins=5)
    for _ in range(2):
        net.fit(X, Y, loss="mse", epochs=5, callbacks=[monitor, bp.WeightMonitor()])
        assert monitor.epochs == [1, 3] == [look.epoch for look in monitor.looks]
    assert monitor.looks[0].tensors["0.bias"].histogram.shape == (5,)
    assert monitor.looks[0].tensors["0.bias"].update_ratio > 0
    assert repr(monitor) == "<WeightMonitor of 2 looks>"


def test_record_as_json_and_text_and_copies() -> None:
    net = network(D(8, "relu", name="hidden"), D(3))
    monitor = monitored(net)
    record = json.loads(json.dumps(monitor.as_dict(), allow_nan=False))
    assert record["epochs"] == [0, 1]
    assert (record["every"], record["bins"]) == (1, 16)
    hidden = record["looks"][1]["tensors"]["hidden.kernel"]
    assert sum(hidden["histogram"]) == 48 == sum(hidden["gradient_histogram"])
    assert record["looks"][1]["layers"]["1"]["dead"] is None
    text = monitor.table()
    assert text.splitlines()[0] == "epoch 1"
    assert "hidden.kernel" in text
    assert monitor.table(0).startswith("epoch 0\n")
    for twin in (copy.deepcopy(monitor), pickle.loads(pickle.dumps(monitor))):
        assert twin.as_dict() == monitor.as_dict()


def test_errors() -> None:
    for options, error in (({"every": 0}, ValueError), ({"bins": 2.5}, TypeError)):
        with pytest.raises(error, match=f"{next(iter(options))} must be an int"):
            bp.WeightMonitor(**options)
    with pytest.raises(ValueError, match="look must be the index of one of 0 looks, got -1"):
        bp.WeightMonitor().table()
    with pytest.raises(TypeError, match="look must be an int, got 'last'"):
        bp.WeightMonitor().table("last")


def test_no_memory_for_a_look() -> None:
    net = network()
    for nth in (1, 2):
        _core.fail_allocation(nth)
        with pytest.raises(MemoryError, match="cannot allocate"):
            _core.outputs(net._core, X, [(0, 0.0, 1.0)])
    assert len(_core.outputs(net._core, X, [(0, 0.0, 1.0)])) == 1
