"""Same seed, same bits with every layer: threads, instruction sets, plans, calls, files, copies."""

from __future__ import annotations

import copy
import hashlib
import itertools
import pickle

import numpy as np
import pytest
from cases import same_bits

import bpfast as bp

pytestmark = pytest.mark.usefixtures("exact_threads")

THREADS = [1, 2, 3, 4]


@pytest.fixture
def isa(monkeypatch):
    """A function that chooses the instruction set of networks made afterwards."""

    def choose(name: str) -> None:
        if name not in bp.isas():
            pytest.skip(f"this CPU does not run {name}")
        monkeypatch.setenv("BPFAST_ISA", name)

    return choose


# ---- networks -----------------------------------------------------------------------------------


def cnn() -> list[bp.Layer]:
    """A convolution twice, once in a residual; groups, strides, dropout, norms of both kinds."""
    again = bp.Conv2D(8, 3, "relu", padding="same")
    return [
        bp.Conv2D(8, 3, use_bias=False),
        bp.BatchNorm(),
        bp.Activation("relu"),
        bp.MaxPool2D(2),
        bp.Residual([again, bp.Dropout(0.2)]),
        again,
        bp.Conv2D(18, 3, "silu", strides=2, padding=1, groups=2),
        bp.BatchNorm(),
        bp.Flatten(),
        bp.Dense(40, "relu", weight_regularizer=bp.L2(1e-3)),
        bp.Dropout(0.3),
        bp.Residual([bp.Dense(40, "tanh"), bp.LayerNorm()], activation="relu"),
        bp.Dense(10),
    ]


def depthwise() -> list[bp.Layer]:
    """Depthwise and pointwise, dilated; average pools; branches that share a layer."""
    again = bp.Conv2D(5, 1, "gelu")
    return [
        bp.GaussianNoise(0.1),
        bp.Conv2D(6, 3, dilation=2, padding="same"),
        bp.Conv2D(6, 3, groups=6, strides=(1, 2)),
        bp.RMSNorm(),
        bp.Concatenate([[again], [bp.Conv2D(6, 1, "tanh"), again], []]),
        bp.AvgPool2D(2, padding="same"),
        bp.BatchNorm(),
        bp.GlobalAvgPool(),
        bp.Dense(10),
    ]


def mlp() -> list[bp.Layer]:
    """A dense layer three times, a tied one, branches, a siamese pair, norms, dropout."""
    again = bp.Dense(36, "tanh")
    return [
        bp.Flatten(),
        bp.Dense(36, "relu", weight_constraint=bp.MaxNorm(2.0)),
        bp.BatchNorm(),
        again,
        bp.Residual([bp.LayerNorm(), again, bp.Dropout(0.2)]),
        bp.Dense(tied_to=again, activation="relu"),
        bp.Residual([bp.Residual([bp.BatchNorm(), bp.Dense(36, "silu")]), again]),
        bp.Concatenate([[bp.Dense(7, "relu")], [], [bp.Slice(3, 20), bp.Dropout(0.4)]]),
        bp.Siamese([bp.Dense(33, "tanh"), bp.RMSNorm()]),
        bp.Dense(10),
    ]


def columns() -> list[bp.Layer]:
    """BatchNorm of vectors, where threads split columns: of several widths, around shared layers,
    noise and masks, behind what splits rows, where a shortcut waits for its gradient, and last.
    """
    again = bp.Dense(70, use_bias=False)
    return [
        bp.Flatten(),
        bp.BatchNorm(),
        bp.Dense(70, "relu"),
        bp.BatchNorm(),
        bp.Dropout(0.2),
        bp.Residual([again, bp.BatchNorm(), bp.Activation("relu"), bp.Dense(70), bp.BatchNorm()]),
        bp.Residual([bp.BatchNorm(), bp.Activation("tanh"), again, bp.GaussianNoise(0.1)]),
        bp.Residual([bp.LayerNorm(), bp.Activation("relu"), bp.BatchNorm()], activation="relu"),
        bp.Concatenate([[again, bp.BatchNorm()], [bp.Dense(40, "silu"), bp.BatchNorm()], []]),
        bp.Dense(10),
        bp.BatchNorm(),
    ]


def sequence() -> list[bp.Layer]:
    return [
        bp.Reshape((36, 4)),
        bp.Conv1D(9, 5, "relu", strides=2, padding="same"),
        bp.BatchNorm(),
        bp.MaxPool1D(3, strides=2),
        bp.Conv1D(17, 3, "tanh", dilation=2, use_bias=False),
        bp.AvgPool1D(2),
        bp.LayerNorm(),
        bp.Flatten(),
        bp.Dense(10),
    ]


NETS = {f.__name__: f for f in (cnn, depthwise, mlp, columns, sequence)}
SHAPE = (12, 12, 1)
each_net = pytest.mark.parametrize("name", NETS)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def make(name: str, dtype: str = "float32", n_threads: int | None = None) -> bp.Network:
    return bp.Network(NETS[name](), input_shape=SHAPE, dtype=dtype, rng=3, n_threads=n_threads)


def images(rows: int, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Pixels with a pattern of their class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(10, size=rows)
    patterns = np.random.default_rng(0).integers(0, 3, size=(10, *SHAPE))
    return (patterns[labels] + rng.integers(0, 2, size=(rows, *SHAPE))).astype(np.uint8), labels


def bits(net: bp.Network) -> str:
    """The hash of weights and running statistics."""
    assert np.isfinite(net.parameters).all()
    return hashlib.sha256(net.parameters.tobytes() + net._buffers.tobytes()).hexdigest()


FIT = {"loss": "cross_entropy", "optimizer": "adam", "epochs": 2, "batch_size": 27}


def train(net: bp.Network, rows: int = 140, **options: object) -> bp.Network:
    """Two epochs; batches of three shards and three rows, the last of another size."""
    net.fit(*images(rows), **{**FIT, **options})
    return net


# ---- threads and instruction sets ---------------------------------------------------------------


@each_net
@each_dtype
def test_threads(name, dtype):
    nets = [train(make(name, dtype, n)) for n in THREADS]
    assert len({bits(net) for net in nets}) == 1
    records = [{**net.history.history, "seconds": None} for net in nets]
    assert all(record == records[0] for record in records)


@each_net
@each_dtype
@pytest.mark.parametrize("row", ["avx2", "avx512", "neon"])
def test_rows_with_fma_agree_with_the_reference(name, dtype, row, isa):
    isa(row)
    fast = train(make(name, dtype), 60)
    X, _ = images(60, 6)
    output = fast.predict(X)
    isa("reference")
    plain = train(make(name, dtype), 60)
    assert bits(plain) == bits(fast)
    assert same_bits(plain.predict(X), output)


@each_net
@pytest.mark.parametrize("row", bp.isas())
def test_threads_on_every_row(name, row, isa):
    isa(row)
    assert len({bits(train(make(name, n_threads=n), 60)) for n in (1, 3)}) == 1


@each_net
def test_what_is_watched_changes_nothing(name):
    quiet = train(make(name, n_threads=2))
    watched = train(
        make(name, n_threads=3),
        validation_data=images(50, 6),
        metrics=["accuracy"],
        callbacks=[bp.LambdaCallback(on_batch_end=lambda *_: None)],
    )
    assert bits(watched) == bits(quiet)


# ---- other ways to take the same steps ----------------------------------------------------------


def batches(rows: int, size: int, epochs: int):
    for _, first in itertools.product(range(epochs), range(0, rows, size)):
        yield slice(first, first + size)


RULES = [bp.Adam(0.01), bp.SGD(0.02, momentum=0.9, clip_norm=1.0), bp.Lion(1e-3)]


@each_net
@pytest.mark.parametrize("optimizer", RULES, ids=repr)
@pytest.mark.parametrize("threads", [1, 3])
def test_every_way_to_train(name, optimizer, threads):
    """Fused with the update, through GRAD, and call by call."""
    X, labels = images(70)
    y = np.eye(10)[labels]
    options = {"loss": "half_squared_error", "optimizer": optimizer, "epochs": 2, "shuffle": False}
    fitted = make(name, n_threads=1)
    fitted.fit(X, y, batch_size=27, **options)
    swept = make(name, n_threads=threads)
    swept._sweep = True
    swept.fit(X, y, batch_size=27, **options)
    assert bits(swept) == bits(fitted), "sweep"
    other = make(name, n_threads=threads)
    for batch in batches(70, 27, 2):
        other.loss_and_gradient(X[batch], y[batch], loss="half_squared_error")
        other.step(optimizer)
    assert bits(other) == bits(fitted), "loss_and_gradient and step"
    other = make(name, n_threads=threads)
    for batch in batches(70, 27, 2):
        output = other.forward(X[batch], training=True)
        count = output.dtype.type(1 / len(output))
        other.backward((output - y[batch].astype(output.dtype)) * count)
        other.step(optimizer)
    assert bits(other) == bits(fitted), "forward, backward and step"


@each_net
@each_dtype
def test_types_of_inputs(name, dtype):
    """Pixels as bytes are the numbers that they stand for."""
    X, labels = images(70)
    nets = [make(name, dtype) for _ in range(3)]
    wide = np.zeros((70, 12, 24, 2), dtype)
    wide[:, :, ::2, :1] = X
    for net, x in zip(nets, (X, X.astype(dtype), wide[:, :, ::2, :1]), strict=True):
        net.fit(x, labels, **FIT)
    assert len({bits(net) for net in nets}) == 1
    flat = make(name, dtype)
    flat.fit(X.reshape(70, -1), labels, **FIT)
    assert bits(flat) == bits(nets[0])


# ---- inference ----------------------------------------------------------------------------------


@each_net
@each_dtype
def test_a_row_alone_or_among_others(name, dtype):
    net = train(make(name, dtype), 60)
    X, _ = images(129, 6)
    alone = np.concatenate([net.predict(X[i : i + 1]) for i in range(len(X))])
    for rows in (1, 2, 6, 7, 8, 16, 17, 31, 32, 33, 64, 97, 128, 129):
        assert same_bits(net.predict(X[:rows]), alone[:rows]), rows
    assert same_bits(net.predict_one(X[4]), alone[4])
    assert same_bits(net.forward(X[:50]), alone[:50])
    for threads in THREADS:
        net.n_threads = threads
        assert same_bits(net.predict(X), alone), f"{threads} threads"


# ---- interrupted, written, copied ---------------------------------------------------------------


def stop_at(epoch: int, batch: int) -> bp.Callback:
    """A callback that stops a fit after this batch."""
    seen = {"epoch": -1}
    return bp.LambdaCallback(
        on_epoch_begin=lambda e, logs: seen.update(epoch=e),
        on_batch_end=lambda b, logs: (seen["epoch"], b) == (epoch, batch),
    )


@each_net
@pytest.mark.parametrize("place", [(0, 1), (1, 0), (1, 4)], ids=str)
def test_resumed_is_uninterrupted(name, place, tmp_path):
    whole = train(make(name))
    half = train(make(name, n_threads=2), callbacks=[stop_at(*place)])
    assert bits(half) != bits(whole)
    half.save(tmp_path / "half.safetensors")
    other = bp.load(tmp_path / "half.safetensors", n_threads=3)
    train(other, resume=True)
    assert bits(other) == bits(whole)


def copies(net: bp.Network, tmp_path) -> dict[str, bp.Network]:
    net.save(tmp_path / "net.safetensors")
    return {
        "file": bp.load(tmp_path / "net.safetensors"),
        "clone": net.clone(),
        "deepcopy": copy.deepcopy(net),
        "pickle": pickle.loads(pickle.dumps(net)),
    }


@each_net
def test_copies_keep_bits_and_sharing(name, tmp_path):
    net = train(make(name))
    X, _ = images(40, 6)
    output = net.predict(X)
    found = copies(net, tmp_path)
    train(net)
    for way, other in found.items():
        assert list(other.params) == list(net.params), way
        assert same_bits(other.predict(X), output), way
        assert other.parameters.size == net.parameters.size, way
        train(other)  # goes on as the original did, moments and statistics included
        assert bits(other) == bits(net), way


@each_net
def test_weights_go_into_another(name, tmp_path):
    net = train(make(name))
    net.save(tmp_path / "net.safetensors")
    other = make(name)
    matches = other.load_weights(tmp_path / "net.safetensors")
    assert not matches.missing_keys
    assert not matches.unexpected_keys
    X, _ = images(40, 6)
    assert same_bits(other.predict(X), net.predict(X))
