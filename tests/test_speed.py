"""explain(speed=True): what a training step spends its time on. No test depends on a duration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cases import same_bits

import bpfast as bp
from bpfast import _core, _speed, _speed_text, config, io
from bpfast._score import Scorer
from bpfast.losses import CrossEntropy, MeanSquaredError

D = bp.Dense
OPENMP = bool(bp.show_config()["openmp"])


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_speed, "SECONDS", 0.0)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Teams of two, however small the work and the machine."""
    config.exact_threads = True
    yield
    config.exact_threads = False


def frozen() -> bp.Network:
    net = bp.Network([D(20, "tanh"), D(18, "relu"), D(3)], input_shape=5, rng=0)
    net.layers[0].trainable = False
    return net


def network(*layers: bp.Layer, **options: Any) -> Callable[[], bp.Network]:
    return lambda: bp.Network(list(layers), input_shape=5, rng=0, **options)


NETWORKS = {
    "plain": network(D(20, "tanh"), D(3)),
    "one layer": network(D(3)),
    "standardize and dropout": network(
        bp.Standardize(), D(20, "relu"), bp.Dropout(0.3), D(40, "silu"), D(3)
    ),
    "dropconnect": network(D(20, "gelu", weight_dropout=0.5), D(3)),
    "max-norm": network(D(20, weight_constraint=bp.MaxNorm(1.0)), D(3)),
    "penalty": network(D(20, "elu", weight_regularizer=bp.L2(1e-3)), D(3)),
    "float64": network(D(20, "softmax"), D(3), dtype="float64"),
    "frozen": frozen,
    "no bias": network(D(20, "sigmoid", use_bias=False), D(3)),
}
OPTIMIZERS = [bp.SGD(0.1, momentum=0.9), bp.Adam(clip_norm=0.1)]
each_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def state(net: bp.Network) -> tuple[dict[str, np.ndarray], Any]:
    """All that a network holds."""
    tensors, description = io.to_parts(net)
    memory = {"gradients": net.gradients, "buffers": net._buffers, "all": net.parameters}
    copies = {name: a.copy() for name, a in {**tensors, **memory}.items()}
    return copies, (description, net._core.counters(), net._batch_size, net.history)


def wanted(net: bp.Network, sweep: bool) -> set[tuple[str, int | None]]:
    """The pieces that a step must have, but for activations."""
    found: set[tuple[str, int | None]] = {("gather", None), ("loss", None), ("prepare", None)}
    first = next(
        i for i, layer in enumerate(net.layers) if isinstance(layer, D) and layer.trainable
    )
    for i, layer in enumerate(net.layers):
        if isinstance(layer, bp.Standardize):
            continue
        found.add(("forward", i))
        slope = isinstance(layer, D) and layer.activation != "identity"
        if i >= first:  # no gradient goes back past the first layer that is trained
            found.add(("derivative" if i == first and slope else "backward", i))
        if isinstance(layer, D) and layer.trainable:
            found |= {("update", i)} | ({("gradient", i)} if sweep else set())
        if isinstance(layer, D) and layer.weight_dropout:
            found.add(("mask", None))
    return found | ({("norm", None)} if sweep else set())


# ---- the measurement ----------------------------------------------------------------------------


@each_network
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["fused", "swept"])
@pytest.mark.parametrize("rows", [1, 33])
def test_every_piece_is_timed_and_the_network_stays(make, optimizer, rows) -> None:
    net = make()
    X = np.random.default_rng(0).normal(size=(50, 5))
    net.fit(X, np.arange(50) % 3, loss="cross_entropy", optimizer=optimizer, epochs=1)
    before = state(net)
    speed = _speed.measure(net, batch_size=rows)
    after = state(net)
    assert before[1] == after[1]
    assert all(same_bits(before[0][name], after[0][name]) for name in before[0])
    assert before[0].keys() == after[0].keys()

    found = {(piece.what, piece.layer) for piece in speed.pieces}
    assert wanted(net, optimizer.clip_norm is not None) <= found
    assert len(found) == len(speed.pieces)
    assert sum(speed.share(piece) for piece in speed.pieces) == pytest.approx(1.0)
    assert all(piece.seconds >= 0 for piece in speed.pieces)
    assert speed.step_seconds > 0
    assert min(speed.product_rate, speed.gradient_rate) > 0
    assert (speed.batch_size, speed.loss, speed.optimizer) == (rows, CrossEntropy(), optimizer)
    products = [piece.flops for piece in speed.pieces if piece.flops]
    assert set(products) <= {2.0 * rows * v.size for v in net.params.values()}


@each_network
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["fused", "swept"])
def test_timed_steps_have_the_bits_of_plain_ones(make, optimizer, two_threads) -> None:
    results = []
    for timed in (False, True):
        net = make()
        rows = _speed._made_up(net, 70, MeanSquaredError())
        with net._lock:
            net._set_optimizer(optimizer)
        objective = Scorer(net, MeanSquaredError(), (), rows).objective
        run = _core.Run(net._core, rows.core(), None, objective, 32, 1 + timed, True)
        run.begin_epoch(np.array([0.01]), {})
        if timed:
            seconds = np.zeros((9, run.threads, len(_core.pieces(run))))
            assert _core.profile(run, 9, seconds) == (3, 2 if OPENMP else 1)
            assert (seconds[:3, : 1 + OPENMP].sum(axis=2) > 0).all()
            assert not seconds[3:].any()
        else:
            run.steps(9, 1.0, float("inf"), float)
        scores = run.cursor()
        run.end_epoch()
        results.append((net.parameters, scores, net._core.counters()))
    assert same_bits(results[0][0], results[1][0])
    assert results[0][1:] == results[1][1:]


@pytest.mark.skipif(not OPENMP, reason="a serial build")
def test_two_threads(two_threads) -> None:
    net = bp.Network([40, 64, 64, 3], rng=0, n_threads=2)
    speed = _speed.measure(net, batch_size=64)
    assert speed.threads == speed.allowed == 2
    assert len(speed.busy) == 2
    assert all(0 <= part <= 1 for part in speed.busy)
    assert all(0 <= piece.balance <= 1 for piece in speed.pieces)
    assert speed.pieces[-1].what == "wait"
    lines = _speed_text.report(net, speed).splitlines()
    assert any(line.endswith("of kernel  threads") for line in lines)
    assert max(map(len, lines)) < 100


def test_sum_of_parts_is_near_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loosely: a machine that does other things at the same time disturbs one or the other."""
    monkeypatch.setattr(_speed, "SECONDS", 0.1)
    speed = _speed.measure(bp.Network([64, 128, 10], rng=0, n_threads=1), batch_size=64)
    assert 0.05 < speed.sum_seconds / speed.step_seconds < 20


def test_defaults_are_those_of_the_last_fit() -> None:
    net = bp.Network([4, 8, 2], rng=0)
    fresh = _speed.measure(net)
    assert (fresh.batch_size, fresh.loss, type(fresh.optimizer)) == (
        32,
        MeanSquaredError(),
        bp.Adam,
    )
    net.fit(np.eye(4), np.eye(4)[:, :2], loss="huber", optimizer=bp.SGD(0.5), batch_size=3)
    fitted = _speed.measure(net)
    assert (fitted.batch_size, fitted.loss.kind, fitted.optimizer) == (3, "huber", bp.SGD(0.5))
    assert "one step of 3 rows" in net.explain()
    given = _speed.measure(net, batch_size=5, loss="mae", optimizer="rprop")
    assert (given.batch_size, given.loss.kind) == (5, "mae")
    for last, kind in (("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy")):
        net = bp.Network([D(8, "tanh"), D(2, last)], input_shape=4, rng=0)
        assert _speed.measure(net).loss.kind == kind


@pytest.mark.parametrize("loss", list(bp.losses.TABLE))
def test_targets_fit_every_loss(loss: str) -> None:
    assert _speed.measure(bp.Network([4, 8, 2], rng=0), loss=loss).loss.kind == loss


# ---- the text -----------------------------------------------------------------------------------


def test_text() -> None:
    net = NETWORKS["standardize and dropout"]()
    text = net.explain(16, speed=True, optimizer=bp.Adam(clip_norm=1.0))
    lines = text.splitlines()
    assert lines[0].startswith("one training step of 16 rows: ")
    assert "5-20-40-3 float32, MeanSquaredError(), Adam(clip_norm=1.0)" in text
    for expected in ("20 -> 40", "  silu'  ", "Dropout", "20 x 40, adam", "all gradients", "100%"):
        assert expected in text
    assert max(map(len, lines)) < 100
    assert not any(line.endswith(" ") for line in lines)


def test_long_names_and_large_layers_fit() -> None:
    hidden = D(1200, "softplus", name="a_name_that_nobody_would_give")
    net = bp.Network([hidden, D(1000)], input_shape=1500, rng=0)
    speed = _speed.measure(net, batch_size=1, optimizer=bp.SGD(momentum=0.9, nesterov=True))
    lines = _speed_text.report(net, replace(speed, threads=2, busy=(1.0, 0.5))).splitlines()
    assert max(map(len, lines)) < 100
    assert "a_name_th..." in "".join(lines)


def made(**changes: Any) -> _speed.Speed:
    """A measurement as one might be."""
    pieces = (
        _speed.Piece("gather", None, 1e-6),
        _speed.Piece("forward", 0, 10e-6, 1e6),
        _speed.Piece("activation", 0, 2e-6),
        _speed.Piece("loss", None, 1e-6),
        _speed.Piece("backward", 1, 10e-6, 1e6),
        _speed.Piece("update", 0, 20e-6, 1e6),
        _speed.Piece("prepare", None, 1e-6),
    )
    speed = _speed.Speed(
        batch_size=32,
        loss=MeanSquaredError(),
        optimizer=bp.Adam(),
        threads=1,
        allowed=1,
        step_seconds=45e-6,
        pieces=pieces,
        busy=(1.0,),
        interrupted=0.0,
        product_rate=100e9,
        gradient_rate=100e9,
        update_seconds=1e-6,
        trained_bytes=10**5,
        l2_bytes=10**6,
    )
    return replace(speed, **changes)


def with_seconds(what: str, seconds: float) -> tuple[_speed.Piece, ...]:
    pieces = made().pieces
    known = any(piece.what == what for piece in pieces)
    extra = () if known else (_speed.Piece(what, None, seconds),)
    return (*(replace(p, seconds=seconds) if p.what == what else p for p in pieces), *extra)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {},
            "44% of the step goes to weight gradients and updates, at 50.0 GFLOP/s; the kernel "
            "alone reaches 100.",
        ),
        (
            {"pieces": with_seconds("update", 90e-6)},
            "gradients and updates of layer hidden, at 11.1",
        ),
        ({"allowed": 2}, "The step is too short for a second thread to gain anything."),
        ({"pieces": with_seconds("activation", 12e-6)}, "22% goes to activations: relu would be"),
        (
            {"pieces": with_seconds("activation", 90e-6)},
            "68% of the step goes to activations of layer",
        ),
        ({"pieces": with_seconds("loss", 30e-6)}, "Gather, loss and the work between steps take"),
        (
            {},
            "updates' 20.0 us their products at kernel speed would take 10.0 us and the rule 1.00",
        ),
        ({}, "which leaves 9.00 us for tiles that are not full"),
        ({"trained_bytes": 10**7}, "optimizer state (10 MB; an L2 cache holds 1 MB)"),
        ({"product_rate": 4e11, "gradient_rate": 60e9}, "too small to fill the tiles"),
        (
            {"pieces": with_seconds("update", 10e-6), "step_seconds": 35e-6},
            "at 100% of their kernels' speed: less",
        ),
        (
            {
                "threads": 2,
                "allowed": 2,
                "busy": (0.8, 0.7),
                "pieces": with_seconds("wait", 9e-6),
            },
            "17% goes to waiting at barriers: a larger batch, or n_threads=1, wastes less.",
        ),
        ({"interrupted": 0.5}, "us for tiles"),
        (
            {"interrupted": 0.5, "pieces": with_seconds("loss", 2e-3)},
            "Other processes used the CPUs meanwhile",
        ),
        ({"step_seconds": 1e-3}, "Other processes used the CPUs meanwhile"),
    ],
)
def test_sentences(changes: dict[str, Any], sentence: str) -> None:
    assert sentence in " ".join(_speed_text.sentences(made(**changes), ["hidden", "last"]))


def test_l2_is_a_size_or_unknown() -> None:
    assert _speed._l2_bytes() == 0 or _speed._l2_bytes() >= 2**15


# ---- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be an int >= 1, got 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be an int >= 1, got 2.5"),
        ({"speed": 1}, TypeError, "speed must be True or False, got 1"),
        ({"loss": "mse", "speed": False}, ValueError, "loss must be None without speed=True"),
        ({"optimizer": "adam", "speed": False}, ValueError, "optimizer must be None without"),
        ({"loss": "mean"}, ValueError, "loss must be"),
        ({"loss": len}, TypeError, "loss must be a name or a Loss"),
        ({"optimizer": "adamant"}, ValueError, "optimizer must be"),
    ],
)
def test_errors(options: dict[str, Any], error: type[Exception], message: str) -> None:
    net = bp.Network([4, 8, 2], rng=0)
    before = state(net)
    with pytest.raises(error, match=message):
        net.explain(**{"speed": True, **options})
    assert state(net)[1] == before[1]


def test_loss_that_does_not_go_with_the_output() -> None:
    net = bp.Network([D(8), D(2, "tanh")], input_shape=4, rng=0)
    with pytest.raises(ValueError, match="cross_entropy"):
        net.explain(speed=True, loss="cross_entropy")
