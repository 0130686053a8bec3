"""A fit that was interrupted, saved, loaded and resumed ends as if nothing had happened."""

from __future__ import annotations

import time

import numpy as np
import pytest
from cases import OPTIMIZERS, sha256

import bpfast as bp
from bpfast import schedules

pytestmark = [
    pytest.mark.usefixtures("exact_threads"),
    pytest.mark.filterwarnings("ignore:Rprop needs full batches"),
]


LAYERS = {
    "dropout": lambda: [bp.Standardize(), bp.Dense(30, "relu"), bp.Dropout(0.3), bp.Dense(4)],
    "drop_connect": lambda: [bp.Dense(20, "tanh", weight_dropout=0.4), bp.Dense(4)],
    "max_norm": lambda: [bp.Dense(20, "tanh", weight_constraint=bp.MaxNorm(1)), bp.Dense(4)],
}


def make(layers: str = "dropout", n_threads: int = 1) -> bp.Network:
    return bp.Network(LAYERS[layers](), input_shape=9, rng=4, n_threads=n_threads)


def problem() -> dict:
    rng = np.random.default_rng(7)
    return {
        "X": rng.normal(size=(90, 9)),
        "y": rng.normal(size=(90, 4)),
        "loss": "mse",
        "metrics": ["mae", "mse", "r2"],
        "epochs": 4,
        "batch_size": 16,
        "validation_split": 0.2,
    }


def numbers(net: bp.Network) -> dict[str, list[float]]:
    """The history without the times."""
    return {k: v for k, v in net.history.history.items() if k != "seconds"}


def stop_at(epoch: int, batch: int) -> bp.Callback:
    """A callback that stops a fit after this batch."""
    seen = {"epoch": -1}
    return bp.LambdaCallback(
        on_epoch_begin=lambda e, logs: seen.update(epoch=e),
        on_batch_end=lambda b, logs: (seen["epoch"], b) == (epoch, batch),
    )


# Five batches an epoch: within the first, at its end, at the start and in the middle of others
STOPS = [(0, 0), (0, 2), (0, 4), (1, 0), (2, 3), (3, 3)]


@pytest.mark.parametrize("place", STOPS, ids=str)
@pytest.mark.parametrize("through", ["memory", "file"])
def test_stopped_by_a_callback(place, through, tmp_path):
    whole, halves = make(), make()
    options = problem()
    whole.fit(**options)
    halves.fit(**options, callbacks=[stop_at(*place)])
    assert sha256(halves) != sha256(whole)
    if through == "file":
        halves.save(tmp_path / "half.safetensors")
        halves = bp.load(tmp_path / "half.safetensors", n_threads=3)
    halves.fit(**options, resume=True)
    assert sha256(halves) == sha256(whole)
    assert numbers(halves) == numbers(whole)
    assert halves.history.epoch == [0, 1, 2, 3]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_every_optimizer(optimizer, tmp_path):
    whole, half = make(), make(n_threads=2)
    options = {**problem(), "optimizer": optimizer}
    whole.fit(**options)
    half.fit(**options, callbacks=[stop_at(1, 2)])
    half.save(tmp_path / "half.safetensors")
    other = bp.load(tmp_path / "half.safetensors", n_threads=3)
    other.fit(**options, resume=True)
    assert sha256(other) == sha256(whole)
    assert numbers(other) == numbers(whole)


@pytest.mark.parametrize("layers", LAYERS)
def test_every_kind_of_layer(layers, tmp_path):
    whole, half = make(layers), make(layers, 2)
    whole.fit(**problem())
    half.fit(**problem(), callbacks=[stop_at(2, 1)])
    half.save(tmp_path / "half.safetensors")
    other = bp.load(tmp_path / "half.safetensors")
    other.fit(**problem(), resume=True)
    assert sha256(other) == sha256(whole)


SCHEDULES = [
    schedules.InverseTime(0.3),
    schedules.Cosine(4, warmup_epochs=0.5),
    schedules.OneCycle(4),
    schedules.ReduceOnPlateau("val_loss", patience=1, min_delta=0.02),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.kind)
def test_schedules_and_callbacks_go_on(schedule, tmp_path):
    def options() -> dict:
        stopping = bp.EarlyStopping(patience=2, min_delta=0.03, restore_best_weights=False)
        return {**problem(), "schedule": schedule, "callbacks": [stopping], "epochs": 8}

    whole, half = make(), make()
    whole.fit(**options())
    first = options()
    first["callbacks"].append(stop_at(1, 3))
    half.fit(**first)
    half.save(tmp_path / "half.safetensors")
    other = bp.load(tmp_path / "half.safetensors")
    other.fit(**options(), resume=True)
    assert sha256(other) == sha256(whole)
    assert numbers(other) == numbers(whole)


def test_stopped_by_the_clock(tmp_path):
    """Interrupted by `max_seconds` in the middle of epochs, on one to three threads in turn."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(6000, 40))
    options = {"X": X, "y": X[:, :3] ** 2, "loss": "mse", "epochs": 3, "metrics": "r2"}
    layers = [bp.Dense(200, "gelu"), bp.Dropout(0.2), bp.Dense(200, "gelu"), bp.Dense(3)]
    whole = bp.Network(layers, input_shape=40, rng=0, n_threads=1)
    start = time.perf_counter()
    whole.fit(**options)
    share = (time.perf_counter() - start) / 7
    net = bp.Network(layers, input_shape=40, rng=0, n_threads=1)
    stops = 0
    path = tmp_path / "run.safetensors"
    while net.history is None or len(net.history.epoch) < 3:
        net.fit(**options, max_seconds=share, resume=True)
        stops += 1
        assert stops < 200
        if len(net.history.epoch) < 3:
            net.save(path)
            net = bp.load(path, n_threads=1 + stops % 3)
            net.history = None
    assert stops > 2
    assert sha256(net) == sha256(whole)
    assert numbers(net) == numbers(whole)


def test_a_checkpoint_is_resumed(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    whole, half = make(), make()
    whole.fit(**problem())
    half.fit(**problem(), callbacks=[stop_at(2, 1), bp.Checkpoint(path)])
    other = bp.load(path)  # the end of the second epoch
    other.fit(**problem(), callbacks=[bp.Checkpoint(path)], resume=True)
    assert sha256(other) == sha256(whole)
    assert numbers(other) == numbers(whole)
    assert sha256(bp.load(path)) == sha256(whole)


def test_two_fits_are_not_one_resumed():
    """Without `resume` a fit starts anew with the next order of rows."""
    once, again = make(), make()
    once.fit(**problem(), callbacks=[stop_at(1, 2)])
    once.fit(**problem())
    again.fit(**problem(), callbacks=[stop_at(1, 2)])
    again.fit(**problem(), resume=True)
    assert sha256(once) != sha256(again)
    assert once.history.epoch == [0, 1, 2, 3]


def test_resume_without_an_interrupted_fit_is_a_fit():
    one, other = make(), make()
    one.fit(**problem())
    other.fit(**problem(), resume=True)
    assert sha256(one) == sha256(other)


def test_a_finished_fit_is_not_resumed():
    once, again = make(), make()
    for _ in range(2):
        once.fit(**problem())
        again.fit(**problem(), resume=True)
    assert sha256(once) == sha256(again)
    assert again.history.epoch == [0, 1, 2, 3]


def test_other_callbacks_are_refused_and_nothing_is_lost():
    whole, half = make(), make()
    whole.fit(**problem())
    half.fit(**problem(), callbacks=[stop_at(1, 2), bp.EarlyStopping(restore_best_weights=False)])
    before = sha256(half)
    with pytest.raises(ValueError, match=r"callbacks .* 1 with a state, got 0"):
        half.fit(**problem(), resume=True)
    assert sha256(half) == before
    half.fit(**problem(), callbacks=[bp.EarlyStopping(restore_best_weights=False)], resume=True)
    assert sha256(half) == sha256(whole)


def test_a_callable_loss_resumes(tmp_path):
    def loss(target, output):
        return float(((output - target) ** 2).mean()), 2 * (output - target) / output.size

    options = {**problem(), "loss": loss}
    whole, half = make(), make()
    whole.fit(**options)
    half.fit(**options, callbacks=[stop_at(1, 3)])
    half.save(tmp_path / "half.safetensors")
    other = bp.load(tmp_path / "half.safetensors")
    other.fit(**options, resume=True)
    assert sha256(other) == sha256(whole)
    assert numbers(other) == numbers(whole)
