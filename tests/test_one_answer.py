"""Same seed, same bits: on any number of threads, instruction set, plan, call and process."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from cases import OPTIMIZERS, same_bits, sha256

import bpfast as bp
from bpfast import _core, config
from bpfast._core import ACTIVATIONS

THREADS = [1, 2, 3, 4]


@pytest.fixture
def isa(monkeypatch):
    """A function that chooses the instruction set of networks made afterwards."""

    def choose(name: str) -> None:
        if name not in bp.isas():
            pytest.skip(f"this CPU does not run {name}")
        monkeypatch.setenv("BPFAST_ISA", name)

    return choose


def images(rows: int, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Pixels with a class-dependent pattern, in Fashion-MNIST's shape."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(10, size=rows)
    patterns = np.random.default_rng(0).integers(0, 200, size=(10, 784))
    noise = rng.integers(0, 56, size=(rows, 784))
    return (patterns[labels] + noise).astype(np.uint8), labels


def image_net(dtype: str = "float32", n_threads: int | None = None) -> bp.Network:
    layers = [
        bp.Standardize(),
        bp.Dense(256, "relu"),
        bp.Dropout(0.3),
        bp.Dense(128, "relu"),
        bp.Dropout(0.2),
        bp.Dense(10),
    ]
    return bp.Network(layers, input_shape=784, dtype=dtype, rng=1, n_threads=n_threads)


def train(net: bp.Network, rows: int = 700, **options) -> bp.Network:
    """Two epochs of batches of 128, the last of them smaller."""
    X, y = images(rows)
    net.fit(X, y, loss="cross_entropy", optimizer="adam", epochs=2, batch_size=128, **options)
    return net


@pytest.fixture(scope="module")
def plain_run() -> str:
    return sha256(train(image_net(n_threads=1)))


# ---- threads, processes, instruction sets, plans -------------------------------------------------


@pytest.mark.parametrize("threads", THREADS)
def test_threads(threads, plain_run):
    net = train(image_net(n_threads=threads))
    assert sha256(net) == plain_run


@pytest.mark.parametrize("threads", THREADS)
def test_what_is_watched_changes_nothing(threads, plain_run):
    watched = train(
        image_net(n_threads=threads),
        validation_data=images(150, 6),
        metrics=["accuracy"],
        callbacks=[bp.LambdaCallback(on_batch_end=lambda *_: None), bp.EarlyStopping(patience=9)],
    )
    history = watched.history.history
    if history["val_loss"][1] < history["val_loss"][0]:  # else the first epoch's weights are back
        assert sha256(watched) == plain_run
    whole = train(
        image_net(n_threads=threads),
        validation_data=images(150, 6),
        metrics=["accuracy"],
        callbacks=[bp.LambdaCallback(on_epoch_end=lambda *_: None)],
    )
    assert sha256(whole) == plain_run
    assert {**history, "seconds": 0} == {**whole.history.history, "seconds": 0}


@pytest.mark.slow
def test_trials_of_threads_change_nothing(monkeypatch):
    """A fit of half a second or more, which tries one thread and two in turn."""
    monkeypatch.setattr(config, "exact_threads", False)
    X, y = images(700)
    nets = [image_net(n_threads=n) for n in (1, 2)]
    for net in nets:
        net.fit(X, y, loss="cross_entropy", epochs=120, batch_size=16)
    assert sha256(nets[0]) == sha256(nets[1])


def test_history_on_any_number_of_threads():
    records = []
    for threads in THREADS:
        net = image_net(n_threads=threads)
        train(net, 300, validation_data=images(290, 6), metrics=["accuracy"])
        records.append({**net.history.history, "seconds": None})
    assert all(record == records[0] for record in records)


SCRIPT = """
from test_one_answer import image_net, sha256, train
print(sha256(train(image_net(n_threads=2))))
"""


def test_another_process(plain_run):
    folder = Path(__file__).parent
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(folder), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == plain_run


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["avx2", "avx512", "neon"])
def test_rows_with_fma_agree_with_the_reference(name, dtype, isa):
    isa(name)
    fast = train(image_net(dtype), 150)
    isa("reference")
    assert sha256(train(image_net(dtype), 150)) == sha256(fast)


@pytest.mark.parametrize("name", _core.ISAS)
def test_threads_on_every_row(name, isa):
    isa(name)
    assert len({sha256(train(image_net(n_threads=n), 140)) for n in (1, 3)}) == 1


@pytest.mark.slow
def test_full_size_on_every_row_with_fma(isa, monkeypatch):
    hashes = {}
    for name in ("avx2", "avx512", "neon"):
        if name in bp.isas():
            monkeypatch.setenv("BPFAST_ISA", name)
            hashes[name] = sha256(train(image_net(), 3000))
    isa("reference")
    assert set(hashes.values()) == {sha256(train(image_net(), 3000))}


def test_float64_on_any_number_of_threads():
    assert len({sha256(train(image_net("float64", n), 300)) for n in THREADS}) == 1


# ---- other ways to take the same steps -----------------------------------------------------------

SMALL_LAYERS = {
    "plain": lambda: [bp.Dense(35, "tanh"), bp.Dense(6)],
    "one unit": lambda: [bp.Dense(1, "relu"), bp.Dense(6)],
    "dropout": lambda: [bp.Dropout(0.1), bp.Dense(40, "gelu"), bp.Dropout(0.4), bp.Dense(6)],
    "drop_connect": lambda: [
        bp.Dense(33, "relu", weight_dropout=0.3),
        bp.Dense(6, weight_dropout=0.2),
    ],
    "max_norm": lambda: [
        bp.Dense(70, "relu", weight_constraint=bp.MaxNorm(1.0)),
        bp.Dense(6, weight_constraint=bp.MaxNorm(0.5)),
    ],
    "non_negative": lambda: [bp.Dense(20, "silu", weight_constraint="non_negative"), bp.Dense(6)],
    "penalties": lambda: [
        bp.Dense(34, "elu", weight_regularizer=bp.ElasticNet(0.01, 0.1)),
        bp.Dense(6, weight_regularizer=bp.L2(0.1), bias_regularizer=bp.L1(0.1)),
    ],
    "no bias": lambda: [bp.Dense(40, "relu", use_bias=False), bp.Dense(6, use_bias=False)],
}


def small_net(layers: str = "plain", dtype: str = "float32", **options) -> bp.Network:
    return bp.Network(SMALL_LAYERS[layers](), input_shape=21, dtype=dtype, rng=2, **options)


def small_rows(rows: int = 70) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    return rng.normal(size=(rows, 21)), rng.normal(size=(rows, 6))


FITTED = {"loss": "half_squared_error", "epochs": 2, "batch_size": 16, "shuffle": False}
RULES = [*OPTIMIZERS, bp.Adam(0.02, clip_norm=0.1), bp.SGD(0.05, clip_value=0.01)]
# every layer with one rule, and every rule with one layer
WAYS = [(layers, OPTIMIZERS[3]) for layers in SMALL_LAYERS] + [("plain", rule) for rule in RULES]
WAYS += [(layers, RULES[-2]) for layers in ("drop_connect", "max_norm", "penalties")]
ways = pytest.mark.parametrize(("layers", "optimizer"), WAYS, ids=lambda v: str(v))
pytestmark = [
    pytest.mark.usefixtures("exact_threads"),
    pytest.mark.filterwarnings("ignore:Rprop needs full batches"),
]


@ways
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_way_to_train(layers, optimizer, dtype):
    X, y = small_rows()
    fitted = small_net(layers, dtype, n_threads=1)
    fitted.fit(X, y, optimizer=optimizer, **FITTED)
    assert np.isfinite(fitted.parameters).all()
    for threads in (2, 3):
        other = small_net(layers, dtype, n_threads=threads)
        other.fit(X, y, optimizer=optimizer, **FITTED)
        assert sha256(other) == sha256(fitted), f"{threads} threads"
    for threads in (1, 3):
        other = small_net(layers, dtype, n_threads=threads)
        other._sweep = True
        other.fit(X, y, optimizer=optimizer, **FITTED)
        assert sha256(other) == sha256(fitted), "sweep"
        other = small_net(layers, dtype, n_threads=threads)
        for batch in batches(len(X)):
            other.loss_and_gradient(X[batch], y[batch], loss="half_squared_error")
            other.step(optimizer)
        assert sha256(other) == sha256(fitted), "loss_and_gradient and step"
        other = small_net(layers, dtype, n_threads=threads)
        for batch in batches(len(X)):
            output = other.forward(X[batch], training=True)
            count = output.dtype.type(1 / len(output))
            other.backward((output - y[batch].astype(dtype)) * count)
            other.step(optimizer)
        assert sha256(other) == sha256(fitted), "forward, backward and step"


def batches(rows: int):
    """The batches of FITTED."""
    for first in itertools.chain(range(0, rows, 16), range(0, rows, 16)):
        yield slice(first, first + 16)


def test_accumulated_halves_are_the_whole():
    """Kernel gradients go on in the same chains; biases are added."""
    X, y = small_rows(60)
    whole, halves = small_net(), small_net()
    dY = y.astype(np.float32)
    whole.forward(X, training=True)
    whole.backward(dY)
    for part in (slice(0, 23), slice(23, 60)):
        halves.forward(X[part], training=True)
        halves.backward(dY[part], accumulate=part.start > 0)
    assert same_bits(whole.grads["0.kernel"], halves.grads["0.kernel"])
    assert same_bits(whole.grads["1.kernel"], halves.grads["1.kernel"])
    assert halves.grads["0.bias"] == pytest.approx(whole.grads["0.bias"], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 6, 7, 13, 16, 17, 33, 64, 65, 97])
def test_single_rows_are_the_batch(rows, dtype):
    """Whether weights are read in place or in panels, gradients go by rows or by blocks."""
    rng = np.random.default_rng(rows)
    layers = [bp.Dense(75, "relu"), bp.Dense(21, "tanh")]
    whole, single = (bp.Network(layers, input_shape=37, dtype=dtype, rng=3) for _ in range(2))
    X, dY = rng.normal(size=(rows, 37)).astype(dtype), rng.normal(size=(rows, 21)).astype(dtype)
    output = whole.forward(X, training=True)
    below = whole.backward(dY)
    for i in range(rows):
        assert same_bits(single.forward(X[i : i + 1], training=True), output[i : i + 1])
        assert same_bits(single.backward(dY[i : i + 1], accumulate=i > 0), below[i : i + 1])
    for name in ("0.kernel", "1.kernel"):
        assert same_bits(whole.grads[name], single.grads[name])


def test_shuffling_only_reorders():
    """Full batches in another order: sums differ, so bits may; the drawn order repeats."""
    X, y = small_rows()
    options = {**FITTED, "shuffle": True}
    nets = [small_net(n_threads=n) for n in THREADS]
    for net in nets:
        net.fit(X, y, **options)
    assert len({sha256(net) for net in nets}) == 1
    still = small_net()
    still.fit(X, y, **FITTED)
    assert sha256(still) != sha256(nets[0])


def test_a_callable_loss_takes_the_same_steps():
    X, y = small_rows()

    def loss(target, output):
        gradient = (output - target.astype(np.float32)) * np.float32(1 / len(output))
        return float(((output - target) ** 2).sum(axis=1).mean() / 2), gradient

    own, known = small_net("dropout", n_threads=2), small_net("dropout")
    options = {**FITTED, "shuffle": True}
    own.fit(X, y, **{**options, "loss": loss})
    known.fit(X, y, **options)
    assert sha256(own) == sha256(known)
    assert own.history.history["loss"] == pytest.approx(known.history.history["loss"], rel=1e-5)


# ---- inference -----------------------------------------------------------------------------------

SIZES = [1, 2, 31, 32, 33, 63, 95, 96, 97, 99, 103, 127, 128, 191, 193]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_row_alone_or_among_others(activation, dtype):
    layers = [bp.Dense(37, activation), bp.Dense(11, activation)]
    net = bp.Network(layers, input_shape=19, dtype=dtype, rng=3)
    X = 2 * np.random.default_rng(3).normal(size=(max(SIZES), 19))
    alone = np.concatenate([net.predict(X[i : i + 1]) for i in range(len(X))])
    for rows in SIZES:
        assert same_bits(net.predict(X[:rows]), alone[:rows]), rows
    assert same_bits(net.predict_one(X[4]), alone[4])
    assert same_bits(net.forward(X[:50]), alone[:50])
    for threads in (2, 3):
        net.n_threads = threads
        assert same_bits(net.predict(X), alone), f"{threads} threads"


def test_a_row_alone_on_every_instruction_set(isa):
    for name in bp.isas():
        isa(name)
        net = small_net()
        X, _ = small_rows(120)
        alone = np.concatenate([net.predict(X[i : i + 1]) for i in range(len(X))])
        assert same_bits(net.predict(X), alone), name


def test_predict_from_many_threads():
    net = image_net()
    X, _ = images(300)
    net.fit(X, images(300)[1], loss="cross_entropy", epochs=1)
    parts = [X[i : i + 1 + 7 * i] for i in range(24)]
    serial = [net.predict(part) for part in parts]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            for a, b in zip(pool.map(net.predict, parts), serial, strict=True):
                assert same_bits(a, b)


# ---- inputs of any layout ------------------------------------------------------------------------


def layouts(tmp_path: Path, values: np.ndarray) -> dict[str, np.ndarray]:
    """The same numbers in other places and steps."""
    rows, columns = values.shape
    wide = np.zeros((2 * rows, 3 * columns), values.dtype)
    wide[::2, ::3] = values
    shifted = np.zeros(values.nbytes + 1, np.uint8)[1:].view(values.dtype).reshape(values.shape)
    shifted[:] = values
    mapped = np.memmap(tmp_path / "x", values.dtype, "w+", shape=values.shape)
    mapped[:] = values
    frozen = values.copy()
    frozen.flags.writeable = False
    return {
        "strided": wide[::2, ::3],
        "backward": values[::-1, ::-1].copy()[::-1, ::-1],
        "Fortran": np.asfortranarray(values),
        "unaligned": shifted,
        "memmap": mapped,
        "read-only": frozen,
    }


SOURCES = [name for name in _core.SOURCES if name != "float32"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("source", ["float32", *SOURCES])
def test_layouts_and_types_of_inputs(source, dtype, tmp_path):
    """Every source gives the bits of the array converted beforehand."""
    rng = np.random.default_rng(4)
    high = 2 if source == "bool" else 100
    values = rng.normal(size=(50, 21)) if "float" in source else rng.integers(0, high, (50, 21))
    values = values.astype(source)
    _, y = small_rows(50)
    converted = small_net(dtype=dtype)
    converted.fit(values.astype(dtype), y, **FITTED)
    for name, X in {"itself": values, **layouts(tmp_path, values)}.items():
        net = small_net(dtype=dtype)
        net.fit(X, y, **FITTED)
        assert sha256(net) == sha256(converted), name
        assert same_bits(net.predict(X), converted.predict(values.astype(dtype))), name
        assert same_bits(net.predict(X[:5]), converted.predict(values[:5].astype(dtype))), name


def test_layouts_of_targets(tmp_path):
    X, y = small_rows()
    plain = small_net()
    plain.fit(X, y.astype(np.float32), **FITTED)
    for name, targets in {"float64": y, **layouts(tmp_path, y)}.items():
        net = small_net()
        net.fit(X, targets, **FITTED)
        assert sha256(net) == sha256(plain), name
