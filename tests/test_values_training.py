"""Schedules, metrics and callbacks, with a network that is only a parameter vector."""

from __future__ import annotations

import copy
import functools
import json
import math
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from bpfast import metrics, schedules
from bpfast.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    History,
    LambdaCallback,
    Progress,
    check_callbacks,
    check_monitors,
)
from bpfast.schedules import Cosine, Exponential, InverseTime, OneCycle, ReduceOnPlateau, Step

NAN, INF = math.nan, math.inf
EXACT = 4 * np.finfo(float).eps  # a few roundings of one product or quotient


class Net:
    """What callbacks use of a network."""

    def __init__(self):
        self.parameters = np.zeros(3)
        self.saved = []

    def save(self, path):
        self.saved.append((path, self.parameters.copy()))

    def _state(self):
        return self.parameters.copy()

    def _set_state(self, state):
        self.parameters[:] = state


def train(callback, rows, net=None):
    """Run the epochs of `rows` (dicts of logs); epoch e leaves the weights at e + 1."""
    net = net or Net()
    callback.net = net
    callback.on_train_begin({"epochs": len(rows)})
    logs = {}
    for epoch, logs in enumerate(rows):
        callback.on_epoch_begin(epoch, {})
        net.parameters[...] = epoch + 1
        if callback.on_epoch_end(epoch, logs):
            break
    callback.on_train_end(logs)
    return net


def losses_of(*values, key="val_loss"):
    return [{"loss": 0.0, key: float(value)} for value in values]


# ---- schedules ------------------------------------------------------------------------------


@pytest.fixture
def core(monkeypatch):
    """Stand in for the compiled cosine."""
    monkeypatch.setitem(sys.modules, "bpfast._core", SimpleNamespace(cos=math.cos))


def test_schedules_by_the_epoch():
    assert [InverseTime(0.5).rate(1.0, e) for e in (0, 1, 2, 6)] == [1, 1 / 1.5, 0.5, 0.25]
    assert InverseTime(0).rate(0.3, 100) == 0.3
    assert [Step(2, 0.5).rate(8.0, e) for e in range(6)] == [8, 8, 4, 4, 2, 2]
    assert [Exponential(0.5).rate(8.0, e) for e in range(4)] == [8, 4, 2, 1]
    assert Exponential(0.9).rate(1.0, 50) == pytest.approx(0.9**50, rel=60 * EXACT)
    for schedule in (InverseTime(0.1), Step(3), Exponential(0.9), ReduceOnPlateau()):
        assert schedule.per_step is False
        assert schedule.rate(0.25, 0.0) == 0.25


def test_cosine(core):
    schedule = Cosine(10)
    assert schedule.per_step
    assert schedule.rate(2.0, 0.0) == 2.0
    assert schedule.rate(2.0, 5.0) == pytest.approx(1.0, rel=EXACT)
    assert schedule.rate(2.0, 2.5) == pytest.approx(1 + math.cos(math.pi / 4), rel=EXACT)
    assert schedule.rate(2.0, 10.0) == schedule.rate(2.0, 99.0) == 0.0


def test_cosine_with_warmup_and_minimum(core):
    schedule = Cosine(10, warmup_epochs=2, minimum=0.5)
    assert [schedule.rate(2.5, e) for e in (0, 0.5, 1, 1.5, 2)] == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert schedule.rate(2.5, 6) == pytest.approx(1.5, rel=EXACT)
    assert schedule.rate(2.5, 10) == 0.5
    with pytest.raises(ValueError, match=r"minimum must be at most the learning rate 0\.1"):
        schedule.rate(0.1, 0)


def test_one_cycle(core):
    schedule = OneCycle(10, warmup_fraction=0.5, start_divisor=4, end_divisor=10)
    assert schedule.per_step
    assert schedule.rate(1.0, 0) == pytest.approx(0.25, rel=EXACT)
    assert schedule.rate(1.0, 2.5) == pytest.approx(0.625, rel=EXACT)
    assert schedule.rate(1.0, 5) == 1.0
    assert schedule.rate(1.0, 7.5) == pytest.approx(0.5125, rel=EXACT)
    assert schedule.rate(1.0, 10) == schedule.rate(1.0, 11) == 0.025
    rates = [OneCycle(10).rate(1.0, e / 100) for e in range(1001)]
    peak = rates.index(max(rates))
    assert rates[0] == pytest.approx(1 / 25, rel=EXACT)
    assert peak == 300
    assert rates[-1] == 1 / 25 / 1e4
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_reduce_on_plateau():
    schedule = ReduceOnPlateau(factor=0.5, patience=2, minimum=0.2)
    rates = []
    for epoch, logs in enumerate(losses_of(3, 2, 2, 2, 1, NAN, 1, 5, 5, 5, 5, 5)):
        rates.append(schedule.rate(1.0, epoch))
        schedule.on_epoch_end(epoch, logs)
    assert rates == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2]
    assert schedule.rate(0.1, 0) == 0.1  # a minimum above the rate does not raise it
    schedule.reset()
    assert schedule.rate(1.0, 0) == 1.0
    assert schedule.get_state() == {"best": None, "wait": 0, "reductions": 0}


def test_reduce_on_plateau_maximises_accuracy_and_resumes():
    rows = losses_of(0.5, 0.6, 0.6, 0.55, 0.7, 0.7, key="val_accuracy")
    whole, first = (ReduceOnPlateau("val_accuracy", patience=2) for _ in range(2))
    for epoch, logs in enumerate(rows):
        whole.on_epoch_end(epoch, logs)
    for epoch, logs in enumerate(rows[:3]):
        first.on_epoch_end(epoch, logs)
    second = ReduceOnPlateau("val_accuracy", patience=2)
    second.reset()
    second.set_state(json.loads(json.dumps(first.get_state(), allow_nan=False)))
    for epoch, logs in enumerate(rows[3:], 3):
        second.on_epoch_end(epoch, logs)
    assert whole.get_state() == second.get_state() == {"best": 0.7, "wait": 1, "reductions": 1}


def test_get_schedule():
    assert schedules.get(None) is None
    schedule = Step(3)
    assert schedules.get(schedule) is schedule
    assert schedules.get("reduce_on_plateau").monitor == "val_loss"
    own = schedules.get(lambda epoch, initial: initial / (epoch + 1))
    assert [own.rate(6.0, e) for e in (0.0, 1.0, 2.0)] == [6, 3, 2]
    assert (own.per_step, own.monitor, own.get_state()) == (False, None, {})
    own.reset()
    own.set_state({})
    own.on_epoch_end(0, {})
    for bad in (-1.0, NAN, INF):
        with pytest.raises(ValueError, match="the schedule's rate must be"):
            schedules.get(lambda epoch, initial, bad=bad: bad).rate(1.0, 0)
    for value, error, message in [
        (3, TypeError, "schedule must be None, a Schedule"),
        (Step, TypeError, "call it"),
        ("step", ValueError, "schedule 'step' needs every"),
        ("nonsense", ValueError, "schedule must be one of inverse_time"),
    ]:
        with pytest.raises(error, match=message):
            schedules.get(value)


@pytest.mark.parametrize(
    "schedule",
    [InverseTime(0.5), Step(3, 0.2), Cosine(9, warmup_epochs=0.5), OneCycle(4), ReduceOnPlateau()],
    ids=repr,
)
def test_schedule_configs_survive_json(schedule):
    config = json.loads(json.dumps(schedule.config()))
    assert schedules.get(config).config() == config
    assert pickle.loads(pickle.dumps(schedule)).config() == config
    assert copy.deepcopy(schedule).config() == config


BAD_SCHEDULES = [
    (InverseTime, {"decay": -1}, ValueError, "decay"),
    (InverseTime, {"decay": "1"}, TypeError, "decay"),
    (Step, {"every": 0}, ValueError, "every must be an int >= 1, got 0"),
    (Step, {"every": 1.5}, TypeError, "every"),
    (Step, {"every": 1, "factor": 1}, ValueError, "factor"),
    (Exponential, {"factor": 0}, ValueError, "factor"),
    (Cosine, {"epochs": 0}, ValueError, "epochs"),
    (Cosine, {"epochs": 5, "warmup_epochs": 5}, ValueError, r"warmup_epochs .* \[0, 5\), got 5"),
    (Cosine, {"epochs": 5, "minimum": -1}, ValueError, "minimum"),
    (OneCycle, {"epochs": True}, TypeError, "epochs"),
    (OneCycle, {"epochs": 5, "warmup_fraction": 0}, ValueError, "warmup_fraction"),
    (OneCycle, {"epochs": 5, "start_divisor": 0.5}, ValueError, "start_divisor"),
    (OneCycle, {"epochs": 5, "end_divisor": INF}, ValueError, "end_divisor"),
    (ReduceOnPlateau, {"monitor": 3}, TypeError, "monitor"),
    (ReduceOnPlateau, {"patience": 0}, ValueError, "patience"),
    (ReduceOnPlateau, {"factor": 1.0}, ValueError, "factor"),
    (ReduceOnPlateau, {"min_delta": -1}, ValueError, "min_delta"),
    (ReduceOnPlateau, {"minimum": NAN}, ValueError, "minimum"),
    (EarlyStopping, {"monitor": ""}, ValueError, "monitor"),
    (EarlyStopping, {"patience": -1}, ValueError, "patience"),
    (EarlyStopping, {"patience": 2.0}, TypeError, "patience"),
    (EarlyStopping, {"min_delta": NAN}, ValueError, "min_delta"),
    (EarlyStopping, {"restore_best_weights": 1}, TypeError, "restore_best_weights"),
    (Checkpoint, {"path": 3}, TypeError, "path must be a str or a path, got 3"),
    (Checkpoint, {"path": ""}, ValueError, "path"),
    (Checkpoint, {"path": "x", "every": 0}, ValueError, "every"),
    (Checkpoint, {"path": "x", "save_best_only": True}, TypeError, "monitor must be a string"),
    (Checkpoint, {"path": "x", "monitor": "loss"}, ValueError, "monitor must be None unless"),
    (LambdaCallback, {"on_epoch_end": 3}, TypeError, r"on_epoch_end .*\(epoch, logs\), got 3"),
    (Progress, {"verbose": 3}, ValueError, r"verbose must be an int in \[0, 2\], got 3"),
    (Progress, {"verbose": True}, TypeError, "verbose"),
]


@pytest.mark.parametrize(("cls", "arguments", "error", "message"), BAD_SCHEDULES)
def test_bad_arguments_are_named(cls, arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        cls(**arguments)
    assert "\n" not in str(caught.value)


# ---- metrics --------------------------------------------------------------------------------


def test_metrics():
    def own(y, output):
        return 0.0

    assert metrics.NAMES == ("accuracy", "mse", "mae", "r2")
    assert metrics.get(()) == []
    assert metrics.get("r2") == metrics.get(iter(["r2"])) == [("r2", None)]
    assert metrics.get(["accuracy", own]) == [("accuracy", None), ("own", own)]
    assert metrics.get(own) == [("own", own)]


def named(name):
    def metric(y, output):
        return 0.0

    metric.__name__ = name
    return metric


BAD_METRICS = [
    (["acc"], ValueError, r"metrics\[0\] must be one of accuracy, mse, mae, r2, got 'acc'"),
    (["mse", "mse"], ValueError, r"metrics\[1\] must be a metric whose name is free, got 'mse'"),
    (["mse", 3], TypeError, r"metrics\[1\]"),
    (3, TypeError, "metrics must be a sequence"),
    (None, TypeError, "metrics must be a sequence"),
    ([functools.partial(max)], TypeError, "__name__"),
    ([named("loss")], ValueError, "free, got 'loss'"),
    ([named("val_own")], ValueError, "free"),
]


@pytest.mark.parametrize(("value", "error", "message"), BAD_METRICS)
def test_bad_metrics(value, error, message):
    with pytest.raises(error, match=message):
        metrics.get(value)


# ---- callbacks ------------------------------------------------------------------------------


def test_the_base_does_nothing():
    class Batches(Callback):
        def on_batch_end(self, batch, logs):
            return True

    callback = Callback()
    assert not any(
        (
            callback.on_train_begin({}),
            callback.on_epoch_begin(0, {}),
            callback.on_batch_end(0, {}),
            callback.on_epoch_end(0, {}),
            callback.on_train_end({}),
            callback.uses_batches,
            callback.monitor,
        )
    )
    assert Batches().uses_batches


def test_early_stopping_stops_and_restores():
    stopping = EarlyStopping(patience=2)
    net = train(stopping, losses_of(3, 2, 2.5, 2, 1))
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (2.0, 1, 3)
    assert net.parameters.tolist() == [2.0] * 3


def test_early_stopping_restores_without_stopping_and_can_be_told_not_to():
    stopping = EarlyStopping(patience=10)
    assert train(stopping, losses_of(3, 1, 2)).parameters[0] == 2
    assert stopping.stopped_epoch is None
    kept = EarlyStopping(patience=1, restore_best_weights=False)
    assert train(kept, losses_of(3, 1, 2, 0)).parameters[0] == 3
    assert train(kept, losses_of(9, 8)).parameters[0] == 2  # another fit starts anew
    assert kept.best == 8


@pytest.mark.parametrize(
    ("monitor", "values", "best"),
    [
        ("val_loss", (1, 3, 2), 1),
        ("loss_of_mine", (1, 3, 2), 1),
        ("val_accuracy", (1, 3, 2), 3),
        ("accuracy", (1, 3, 2), 3),
        ("val_r2", (-1, -3, NAN), -1),
        ("val_loss", (NAN, 5, NAN), 5),
        ("val_loss", (NAN, NAN), None),
        ("val_loss", (INF, 5), 5),
    ],
)
def test_the_direction_follows_the_name(monitor, values, best):
    stopping = EarlyStopping(monitor)
    train(stopping, losses_of(*values, key=monitor))
    assert stopping.best == best


def test_min_delta_and_patience():
    stopping = EarlyStopping(min_delta=0.5, patience=2)
    train(stopping, losses_of(3, 2.6, 2.5, 0))
    assert (stopping.best, stopping.stopped_epoch) == (3.0, 2)
    for patience in (0, 1):
        stopping = EarlyStopping(patience=patience)
        train(stopping, losses_of(3, 2, 2, 1))
        assert stopping.stopped_epoch == 2


def test_early_stopping_resumes_from_json():
    whole = EarlyStopping(patience=3)
    train(whole, losses_of(3, 2, 4, 4, 4, 1))
    first, second = EarlyStopping(patience=3), EarlyStopping(patience=3)
    train(first, losses_of(3, 2, 4))
    state = json.loads(json.dumps(first.get_state(), allow_nan=False))
    assert state == {"best": 2.0, "wait": 1, "best_epoch": 1}
    second.net = Net()
    second.on_train_begin({})
    second.set_state(state)
    assert [second.on_epoch_end(e, {"val_loss": 4.0}) for e in (3, 4)] == [False, True]
    second.on_train_end({})
    assert second.stopped_epoch == whole.stopped_epoch == 4
    assert second.net.parameters.tolist() == [0.0] * 3  # no better epoch since: nothing restored
    infinite = EarlyStopping()
    train(infinite, losses_of(INF))
    assert infinite.get_state()["best"] is None
    for bad, error in [
        (None, TypeError),
        ({"best": "x", "wait": 0}, TypeError),
        ({"best": 1.0, "wait": -1}, ValueError),
        ({}, TypeError),
        ({"best": 1.0, "wait": 1, "best_epoch": 1.5}, TypeError),
    ]:
        with pytest.raises(error, match="state"):
            second.set_state(bad)


def test_checkpoint(tmp_path):
    every = train(Checkpoint(tmp_path / "a", every=2), losses_of(1, 2, 3, 4, 5))
    assert [weights[0] for _, weights in every.saved] == [2, 4]
    assert every.saved[0][0] == str(tmp_path / "a")
    best = Checkpoint("b", monitor="val_loss", save_best_only=True)
    net = train(best, losses_of(3, 4, 2, NAN, 2, 1))
    assert [weights[0] for _, weights in net.saved] == [1, 3, 6]
    state = json.loads(json.dumps(best.get_state()))
    best.on_train_begin({})
    best.set_state(state)
    best.on_epoch_end(0, {"val_loss": 1.5})
    assert len(net.saved) == 3
    assert Checkpoint("c").get_state() == {}


def test_lambda_callback():
    seen = []
    callback = LambdaCallback(
        on_train_begin=lambda logs: seen.append("begin"),
        on_epoch_end=lambda epoch, logs: np.bool_(epoch == 1),
        on_train_end=lambda logs: seen.append("end"),
    )
    train(callback, losses_of(1, 2, 3))
    assert seen == ["begin", "end"]
    assert callback.on_epoch_end(1, {}) is True
    assert callback.on_epoch_begin(0, {}) is None
    assert not callback.uses_batches
    assert LambdaCallback(on_batch_end=lambda batch, logs: None).uses_batches


def test_history():
    history = History()
    train(history, losses_of(2, 1, NAN))
    assert history.epoch == [0, 1, 2]
    assert history.history["val_loss"][:2] == [2.0, 1.0]
    assert repr(History()) == "<History of 0 epochs>"
    assert "val_loss: 2 -> nan" in repr(history)
    other = pickle.loads(pickle.dumps(history))
    assert other.epoch == [0, 1, 2]
    assert not hasattr(other, "net")
    again = History()
    again.set_state(json.loads(json.dumps(history.get_state())))
    assert repr(again) == repr(history)


def test_progress_writes_lines_to_standard_error(capsys):
    train(Progress(1), losses_of(2, 1))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "epoch 1/2  loss 0  val_loss 2\nepoch 2/2  loss 0  val_loss 1\n"
    train(Progress(0), losses_of(2, 1))
    assert capsys.readouterr().err == ""


def test_progress_uses_tqdm_on_a_terminal(monkeypatch):
    calls = []

    class Bar:
        def __init__(self, **arguments):
            calls.append(arguments["total"])

        def set_postfix_str(self, text, refresh):
            calls.append(text)

        def update(self, count):
            calls.append(count)

        def close(self):
            calls.append("closed")

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(tqdm=Bar))
    train(Progress(1), losses_of(2))
    assert calls == [1, "loss 0  val_loss 2", 1, "closed"]


def test_progress_without_tqdm_or_standard_error(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "tqdm", None)  # makes the import fail
    train(Progress(1), losses_of(2))
    assert capsys.readouterr().err.startswith("epoch 1/1")
    monkeypatch.setattr(sys, "stderr", None)
    train(Progress(1), losses_of(2))


def test_callbacks_are_checked():
    callback = Callback()
    assert check_callbacks([callback]) == (callback,)
    assert check_callbacks(()) == ()
    for value, name in [
        (callback, "callbacks"),
        ("x", "callbacks"),
        (None, "callbacks"),
        ([callback, 3], r"callbacks\[1\]"),
        ([EarlyStopping], r"callbacks\[0\]"),
    ]:
        with pytest.raises(TypeError, match=f"{name} must be a"):
            check_callbacks(value)


def test_unrecorded_monitors_are_refused():
    watchers = [Callback(), None, EarlyStopping("loss"), ReduceOnPlateau("val_loss"), Step(3)]
    check_monitors(watchers, ["loss", "val_loss"])
    with pytest.raises(ValueError, match="ReduceOnPlateau must be one of loss, got 'val_loss'; pa"):
        check_monitors(watchers, ["loss"])
    with pytest.raises(ValueError, match=r"monitor of EarlyStopping .* got 'accuracy'$"):
        check_monitors([EarlyStopping("accuracy")], ["loss", "val_loss"])
    with pytest.raises(ValueError, match="monitor must be one of loss, got 'val_loss'"):
        train(EarlyStopping(), [{"loss": 1.0}])
