"""Forty layers: a plain stack does not learn, one with skips or normalisation does.

Digits, 40 layers of 64 tanh, weights from normal(0, 0.1), SGD with momentum 0.9, batches of 32, 20
epochs. By such weights each layer shrinks what passes (0.1 sqrt(64) is 0.8), values forward and
gradients backward: of the first layers' gradients little is left (Hochreiter 1991; Glorot & Bengio
2010). A skip adds a way around each layer; normalisation gives each layer's output its size back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import bpfast as bp
from bpfast.datasets import load_digits

DEPTH, WIDTH, SEEDS = 40, 64, range(5)
RATES = (1e-3, 1e-2, 1e-1)


def tanh_layer() -> bp.Dense:
    return bp.Dense(WIDTH, "tanh", weight_init=bp.initializers.Normal(0.0, 0.1))


#: What stands in the place of each of the forty layers.
KINDS: dict[str, Callable[[], list[bp.Layer]]] = {
    "plain": lambda: [tanh_layer()],
    "residual": lambda: [bp.Residual([tanh_layer()])],
    "batchnorm": lambda: [tanh_layer(), bp.BatchNorm()],
}


def accuracy(kind: str, rate: float, seed: int) -> float:
    """On a fifth of the digits, drawn by the seed, after training on the others.

    The seed draws the same weights, split and order of rows for every kind.
    """
    X, y = load_digits()
    order = np.random.default_rng(seed).permutation(len(X))
    train, test = order[: len(X) * 4 // 5], order[len(X) * 4 // 5 :]
    layers = [layer for _ in range(DEPTH) for layer in KINDS[kind]()]
    last = bp.Dense(10, weight_init=bp.initializers.Normal(0.0, 0.1))
    net = bp.Network([*layers, last], input_shape=64, rng=seed, n_threads=1)
    net.fit(
        X[train] / 16,
        y[train],
        loss="cross_entropy",
        optimizer=bp.SGD(rate, momentum=0.9),
        epochs=20,
        batch_size=32,
        on_divergence="stop",
    )
    return float(np.mean(net.predict_classes(X[test] / 16) == y[test]))


@functools.cache
def best(kind: str) -> float:
    """The best rate's mean accuracy over the seeds."""
    with ThreadPoolExecutor(2) as pool:  # a network each; fits hold no lock of Python's
        trials = {(r, s): pool.submit(accuracy, kind, r, s) for r in RATES for s in SEEDS}
    means = {r: float(np.mean([trials[r, s].result() for s in SEEDS])) for r in RATES}
    print(kind, means)
    return max(means.values())


@pytest.mark.slow
def test_a_plain_stack_does_not_learn():
    assert best("plain") < 0.5


@pytest.mark.slow
def test_skips_let_it_learn():
    assert best("residual") >= 0.94


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*became NaN or infinite")  # at the highest rate
def test_normalisation_lets_it_learn():
    assert best("batchnorm") >= 0.94


# ---- how large gradients are --------------------------------------------------------------------


def first_and_last(kind: str) -> float:
    """The gradient at the first layer's pre-activations beside that at the last of the forty's.

    Both summed over the rows: the gradients of the biases. Those of the kernels hide it, since
    what goes forward shrinks alike: small gradients at one end, small inputs at the other.
    """
    layers = [layer for _ in range(DEPTH) for layer in KINDS[kind]()]
    net = bp.Network([*layers, bp.Dense(10)], input_shape=64, dtype="float64", rng=0)
    X, y = load_digits()
    net.loss_and_gradient(X[:256] / 16, y[:256], loss="cross_entropy")
    biases = [g for name, g in net.grads.items() if name.endswith(".bias")]
    assert len(biases) == DEPTH + 1
    return float(np.linalg.norm(biases[0]) / np.linalg.norm(biases[-2]))


def test_gradients_vanish_in_a_plain_stack_alone():
    """Of a plain stack a hundredth arrives at most, of the others no less than a tenth."""
    assert first_and_last("plain") < 0.01
    assert first_and_last("residual") > 0.1
    assert first_and_last("batchnorm") > 0.1
