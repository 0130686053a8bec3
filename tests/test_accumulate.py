"""Accumulated gradients: the steps of larger batches, to the bit where no bias is added."""

from __future__ import annotations

import numpy as np
import pytest
from cases import sha256
from reference import network as reference

import bpfast as bp
from bpfast import _core, schedules

pytestmark = pytest.mark.usefixtures("exact_threads")

RNG = np.random.default_rng(5)
X, Y, LABELS = RNG.normal(size=(90, 9)), RNG.normal(size=(90, 3)), RNG.integers(3, size=90)
WEIGHTS = RNG.uniform(0, 2, size=90) * (RNG.random(90) < 0.7)


def layers(use_bias: bool = True) -> list[bp.Layer]:
    return [
        bp.Dense(40, "tanh", use_bias=use_bias, weight_regularizer=bp.ElasticNet(1e-3, 1e-2)),
        bp.Dense(3, use_bias=use_bias),
    ]


def trained(
    n_threads: int = 1, made: list[bp.Layer] | None = None, **options: object
) -> bp.Network:
    given = {"X": X, "y": Y, "loss": "mse", "epochs": 3, "optimizer": bp.Adam(0.01), **options}
    net = bp.Network(
        layers() if made is None else made,
        input_shape=9,
        dtype="float64",
        rng=1,
        n_threads=n_threads,
    )
    net.fit(**given)
    return net


# Steps of 24 rows, the last of an epoch of 18: 8 + 8 + 2, or 12 + 6, or 5 + 5 + 5 + 3
SPLITS = [(8, 3), (12, 2), (5, 5), (24, 1)]
WAYS = {
    "plain": {},
    "labels": {"y": LABELS, "loss": "cross_entropy"},
    "weights": {"sample_weight": WEIGHTS},
    "clipped": {"optimizer": bp.SGD(0.1, momentum=0.9, clip_norm=0.3)},
    "a rate for each step": {"schedule": schedules.OneCycle(3)},
    "in order": {"shuffle": False},
    "own loss": {"loss": lambda y, out: (float(((out - y) ** 2).mean()), 2 * (out - y) / y.size)},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("batch_size", "accumulate"), SPLITS)
def test_steps_are_those_of_the_larger_batch(way, batch_size, accumulate):
    rows = 25 if batch_size == 5 else 24
    whole = trained(batch_size=rows, **WAYS[way])
    parts = trained(batch_size=batch_size, accumulate=accumulate, **WAYS[way])
    assert parts._core.counters() == whole._core.counters()
    # Sums of rows are rounded in another order: some units of each, over 12 steps of Adam, whose
    # first divides by the gradient's own size.
    np.testing.assert_allclose(parts.parameters, whole.parameters, rtol=1e-10, atol=1e-11)
    for key in ("loss", "learning_rate"):
        np.testing.assert_allclose(
            parts.history.history[key], whole.history.history[key], rtol=1e-12
        )


@pytest.mark.parametrize(("batch_size", "accumulate"), SPLITS)
def test_bits_without_a_bias(batch_size, accumulate):
    rows = 25 if batch_size == 5 else 24
    whole = trained(made=layers(False), batch_size=rows)
    parts = trained(made=layers(False), batch_size=batch_size, accumulate=accumulate)
    assert sha256(parts) == sha256(whole)


def test_numpy_in_float64():
    made = layers()
    net = bp.Network(made, input_shape=9, dtype="float64", rng=1)
    params = {name: value.copy() for name, value in net.params.items()}
    seed = net._core.counters()["seed"]
    net.fit(X, Y, loss="mse", optimizer=bp.SGD(0.1), epochs=2, batch_size=8, accumulate=3)
    for epoch in range(2):
        order = np.asarray(_core.permutation(90, seed, 1, epoch))
        for start in range(0, 90, 24):
            rows = order[start : start + 24]
            total = {name: np.zeros_like(value) for name, value in params.items()}
            for first in range(0, len(rows), 8):  # each batch's mean, by its share of the rows
                part = rows[first : first + 8]
                plain = [bp.Dense(40, "tanh"), bp.Dense(3)]
                _, g = reference.loss_and_gradient(plain, params, X[part], Y[part], "mse")
                for name in total:
                    total[name] += g[name] * len(part) / len(rows)
            kernel = params["0.kernel"]
            total["0.kernel"] += 1e-3 * np.sign(kernel) + 1e-2 * kernel
            params = {name: value - 0.1 * total[name] for name, value in params.items()}
    for name, value in params.items():
        np.testing.assert_allclose(net.params[name], value, rtol=1e-12, atol=1e-14)


NETWORKS = {
    "dense": lambda: layers(),
    "batch norm": lambda: [bp.Dense(33), bp.BatchNorm(), bp.Activation("relu"), bp.Dense(3)],
    "dropout": lambda: [bp.Dense(33, "relu"), bp.Dropout(0.4), bp.Dense(3)],
    "drop connect": lambda: [bp.Dense(20, "relu", weight_dropout=0.3), bp.Dense(3)],
    "images": lambda: [
        bp.Reshape((3, 3, 1)), bp.Conv2D(5, 2, activation="relu"), bp.Flatten(), bp.Dense(3)
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_same_bits_on_any_number_of_threads(name):
    found = [sha256(trained(n, NETWORKS[name](), batch_size=8, accumulate=3)) for n in (1, 2, 3, 4)]
    assert found == found[:1] * 4


def mse(y: np.ndarray, out: np.ndarray) -> tuple[float, np.ndarray]:
    return float(((out - y) ** 2).mean()), 2 * (out - y) / y.size


@pytest.mark.parametrize("loss", ["mse", mse], ids=["by name", "own"])
def test_masks_of_the_batches_of_a_step_differ(loss):
    """Of one row repeated, each unit's gradient counts the batches in which it was kept."""
    net = bp.Network([bp.Dense(64, "relu"), bp.Dropout(0.5), bp.Dense(1)], input_shape=2, rng=0)
    before = net.params["2.kernel"].copy()
    hidden = np.maximum(np.ones(2) @ net.params["0.kernel"], 0)
    net.fit(
        np.ones((6, 2)), np.full((6, 1), 1e4), loss=loss, epochs=1, batch_size=1, accumulate=6,
        optimizer=bp.SGD(1e-4),
    )  # fmt: skip
    moved = (net.params["2.kernel"] - before)[hidden > 0, 0] / hidden[hidden > 0]
    kept = moved / (2e-4 * 1e4 / 6 * 2)  # outputs are small beside the target
    np.testing.assert_allclose(kept, np.round(kept), atol=0.02)
    assert len(set(np.round(kept))) >= 4


def test_looking_and_averaging_change_no_bit():
    monitor, ema = bp.WeightMonitor(), bp.EMA(0.9, use_at_end=False)
    plain = trained(batch_size=8, accumulate=3)
    assert sha256(trained(batch_size=8, accumulate=3, callbacks=[monitor, ema])) == sha256(plain)
    whole = bp.WeightMonitor()
    trained(batch_size=24, callbacks=[whole])
    for a, b in zip(monitor.looks, whole.looks, strict=True):
        parts, rows = a.tensors["0.kernel"], b.tensors["0.kernel"]
        assert parts.gradient_norm == pytest.approx(rows.gradient_norm, rel=1e-9)
        assert parts.update_ratio == pytest.approx(rows.update_ratio, rel=1e-9)


def test_callbacks_and_schedules_count_steps():
    seen: list[int] = []
    record = bp.LambdaCallback(on_batch_end=lambda batch, logs: seen.append(batch))
    net = trained(batch_size=8, accumulate=3, epochs=2, callbacks=[record])
    assert seen == [0, 1, 2, 3] * 2
    assert net._core.counters()["step"] == 8


@pytest.mark.parametrize("stop", [1, 2, 5])
def test_resumed(stop, tmp_path):
    options = {"X": X, "y": Y, "loss": "mse", "epochs": 3, "batch_size": 8, "accumulate": 3}
    count = iter(range(1, 100))
    halt = bp.LambdaCallback(on_batch_end=lambda batch, logs: next(count) == stop)
    whole, half = (bp.Network(layers(), input_shape=9, rng=1) for _ in range(2))
    whole.fit(**options)
    half.fit(**options, callbacks=[halt])
    half.save(tmp_path / "half.safetensors")
    half = bp.load(tmp_path / "half.safetensors")
    with pytest.raises(ValueError, match="batch_size 24 of before, got 90 and 8"):
        half.fit(**{**options, "accumulate": 1}, resume=True)
    half.fit(**options, resume=True)
    assert sha256(half) == sha256(whole)


def test_more_batches_than_there_are():
    whole = trained(batch_size=90, made=layers(False))
    assert sha256(trained(batch_size=32, accumulate=10**9, made=layers(False))) == sha256(whole)


def test_fault_within_a_step_restores_the_weights():
    net = bp.Network([bp.Dense(8, "relu"), bp.Dense(3)], input_shape=9, rng=1)
    before = net.parameters.copy()
    spoiled = X.copy()
    spoiled[70] = 1e38
    with pytest.raises(bp.DivergenceError):
        net.fit(spoiled, Y, loss="mse", batch_size=8, accumulate=12, shuffle=False)
    np.testing.assert_array_equal(net.parameters, before)
    net.fit(X, Y, loss="mse", batch_size=8, accumulate=12, epochs=1)
    assert np.isfinite(net.parameters).all()
