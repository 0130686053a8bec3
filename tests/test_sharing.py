"""What shared weights are for: tied autoencoders, and networks that compare two inputs."""

from __future__ import annotations

import os

import numpy as np
import pytest

import bpfast as bp
from bpfast.datasets import load_digits, load_fashion_mnist


@pytest.fixture(scope="module")
def fashion():
    """X, y, X_test, y_test; without the files the test skips, but not in CI."""
    try:
        return load_fashion_mnist()
    except FileNotFoundError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


# ---- the tied autoencoder -----------------------------------------------------------------------


def autoencoder(tied: bool) -> bp.Network:
    """784-64-784, relu within; the decoder's kernel is the encoder's transposed, or its own."""
    encoder = bp.Dense(64, "relu", name="encoder")
    decoder = bp.Dense(tied_to=encoder) if tied else bp.Dense(784)
    return bp.Network([encoder, decoder], input_shape=784, rng=0)


def test_tying_halves_the_weights():
    tied, free = autoencoder(True), autoencoder(False)
    assert [view.shape for view in tied.params.values()] == [(784, 64), (64,), (784,)]
    kernels = [sum(v.size for n, v in net.params.items() if n.endswith(".kernel"))
               for net in (tied, free)]  # fmt: skip
    assert 2 * kernels[0] == kernels[1]


@pytest.mark.slow
def test_a_tied_autoencoder_is_as_good(fashion):
    """With half the weights the error on new images is within 5% of the untied one's."""
    X, _, X_test, _ = fashion
    X, X_test = (a.reshape(len(a), -1).astype(np.float32) / 255 for a in (X, X_test))
    errors = {}
    for tied in (True, False):
        net = autoencoder(tied)
        net.fit(X, X, loss="mse", optimizer=bp.Adam(1e-3), epochs=10, batch_size=128)
        errors[tied] = net.evaluate(X_test, X_test)["loss"]
    print("tied", errors[True], "untied", errors[False])
    assert errors[True] <= 1.05 * errors[False]
    assert errors[False] < 0.2 * X_test.var(axis=0).mean()  # both have learnt to reconstruct


# ---- the siamese network ------------------------------------------------------------------------


def pairs(
    X: np.ndarray, y: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (count, 128) of rows, half of one class each, and whether they are."""
    first = rng.integers(len(X), size=count)
    same = np.arange(count) % 2 == 0
    order = np.argsort(y, kind="stable")
    begins = np.searchsorted(y[order], np.arange(11))
    label = y[first]
    label = np.where(same, label, (label + rng.integers(1, 10, size=count)) % 10)
    sizes = begins[label + 1] - begins[label]
    second = order[begins[label] + rng.integers(sizes)]
    assert ((y[first] == y[second]) == same).all()
    return np.concatenate([X[first], X[second]], axis=1), same.astype(float)


def siamese(seed: int) -> bp.Network:
    """Koch, Zemel & Salakhutdinov 2015: |f(a) - f(b)|, weighed by one dense layer."""
    encoder = [
        bp.Dropout(0.1),
        bp.Dense(256, "relu"),
        bp.Dropout(0.4),
        bp.Dense(64, "tanh"),
    ]
    return bp.Network([bp.Siamese(encoder), bp.Dense(1)], input_shape=128, rng=seed)


def test_both_halves_go_through_the_same_layers(rng, seed):
    net = siamese(seed)
    assert [view.shape for view in net.params.values()] == [
        (64, 256), (256,), (256, 64), (64,), (64, 1), (1,)
    ]  # fmt: skip
    a, b = rng.normal(size=(2, 20, 64))
    found = net.predict(np.hstack([a, b]))
    assert np.array_equal(net.predict(np.hstack([b, a])), found)
    assert np.array_equal(net.predict(np.hstack([a, a])), np.broadcast_to(found[:1] * 0, (20, 1)))


@pytest.mark.slow
def test_same_class_or_not():
    """On balanced pairs of digits held out: none of their images was in a training pair."""
    X, y = load_digits()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(X))
    X, y = X[order] / 16, y[order]
    cut = len(X) * 4 // 5
    train, held_out = pairs(X[:cut], y[:cut], 40_000, rng), pairs(X[cut:], y[cut:], 4_000, rng)
    assert held_out[1].mean() == 0.5
    net = siamese(0)
    options = {"loss": "binary_cross_entropy", "optimizer": bp.Adam(2e-3), "batch_size": 128}
    net.fit(*train, epochs=15, schedule=bp.schedules.Cosine(15), metrics=["accuracy"], **options)
    found = net.evaluate(*held_out)["accuracy"]
    print("same class or not:", found)
    assert found >= 0.95
