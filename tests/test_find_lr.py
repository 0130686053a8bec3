"""The learning-rate range test."""

from __future__ import annotations

import numpy as np
import pytest
from cases import everything

import bpfast as bp
from bpfast.datasets import load_digits

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(90, 9)), RNG.normal(size=(90, 3))


def make(**options: object) -> bp.Network:
    layers = [bp.Standardize(), bp.Dense(20, "relu"), bp.BatchNorm(), bp.Dense(3)]
    return bp.Network(layers, input_shape=9, rng=1, **options)


def test_network_keeps_its_bits():
    net = make()
    before = everything(net)
    net.find_lr(X, Y, loss="mse")
    assert everything(net) == before
    net.fit(X, Y, loss="mse", epochs=2)
    before = everything(net)
    net.find_lr(X, Y, loss="mse", optimizer=bp.SGD(0.1, momentum=0.9))
    assert everything(net) == before


def test_rates_and_losses():
    found = make().find_lr(X, Y, loss="mse", low=1e-6, high=1.0, steps=61, batch_size=200)
    assert found.rates[0] == 1e-6
    np.testing.assert_allclose(found.rates[1:] / found.rates[:-1], 10**0.1)
    assert found.rates.shape == found.losses.shape == found.raw.shape
    assert len(found.rates) <= 61
    assert found.rates[0] < found.suggestion < found.rates[-1]
    # At rates this small nothing is learnt yet: each batch of all rows has the first loss.
    np.testing.assert_allclose(found.raw[:5], found.raw[0], rtol=1e-3)


def test_equal_calls_are_equal():
    first, second = (make().find_lr(X, Y, loss="mse") for _ in range(2))
    assert first.suggestion == second.suggestion
    np.testing.assert_array_equal(first.raw, second.raw)


def test_own_loss():
    loss = lambda y, out: (float(((out - y) ** 2).mean()), 2 * (out - y) / y.size)  # noqa: E731
    own, named = make().find_lr(X, Y, loss=loss), make().find_lr(X, Y, loss="mse")
    np.testing.assert_allclose(own.raw[:40], named.raw[:40], rtol=1e-4)


def test_nothing_to_find():
    with pytest.raises(ValueError, match="no rate found: the loss was not finite after"):
        make().find_lr(X, Y, loss="mse", low=1e30, high=1e38, optimizer="sgd")


# Of 10^(-4.5), 10^-4, ... 10^0.5; by the mean loss of two trainings on held-out digits
GRID = 10.0 ** np.arange(-4.5, 0.6, 0.5)
CASES = [
    ("relu", bp.Adam()), ("tanh", bp.Adam()), ("relu", bp.RMSprop()), ("tanh", bp.SGD(momentum=0.9))
]  # fmt: skip


@pytest.mark.parametrize(("activation", "optimizer"), CASES, ids=str)
def test_suggestion_on_digits_is_within_three_times_of_the_best_of_a_grid(activation, optimizer):
    images, labels = load_digits()
    held, rest = (images[:400], labels[:400]), (images[400:], labels[400:])

    def make(seed: int) -> bp.Network:
        layers = [bp.Standardize(), bp.Dense(100, activation), bp.Dense(10)]
        return bp.Network(layers, input_shape=64, rng=seed)

    def loss(rate: float, seed: int) -> float:
        net = make(seed)
        chosen = optimizer.replace(learning_rate=rate)
        net.fit(*rest, loss="cross_entropy", optimizer=chosen, on_divergence="ignore")
        return net.evaluate(*held)["loss"]

    best = GRID[int(np.nanargmin([sum(loss(float(r), s) for s in range(2)) for r in GRID]))]
    found = [make(s).find_lr(*rest, loss="cross_entropy", optimizer=optimizer) for s in range(5)]
    assert all(best / 3 <= test.suggestion <= best * 3 for test in found), best
