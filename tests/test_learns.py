"""Networks learn what only backpropagation through hidden layers can."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from cases import relative

import bpfast as bp

SEEDS = range(5)
BITS = np.array(list(itertools.product([0, 1], repeat=4)), dtype=float)


@pytest.mark.parametrize("start", SEEDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_xor(start, dtype):
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    net = bp.Network([bp.Dense(4, "tanh"), bp.Dense(1)], input_shape=2, dtype=dtype, rng=start)
    net.fit(X, [0, 1, 1, 0], loss="binary_cross_entropy", optimizer=bp.Adam(0.05), epochs=500)
    assert net.predict_proba(X)[:, 0] == pytest.approx([0, 1, 1, 0], abs=0.1)
    assert net.predict_classes(X).tolist() == [0, 1, 1, 0]


def test_xor_is_not_linear():
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    net = bp.Network([bp.Dense(1)], input_shape=2, rng=0)
    net.fit(X, [0, 1, 1, 0], loss="binary_cross_entropy", optimizer=bp.Adam(0.05), epochs=500)
    assert net.predict_proba(X)[:, 0] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("start", SEEDS)
def test_four_bit_parity(start):
    parity = BITS.sum(axis=1) % 2
    net = bp.Network([bp.Dense(16, "tanh"), bp.Dense(1)], input_shape=4, rng=start)
    net.fit(2 * BITS - 1, parity, loss="binary_cross_entropy", optimizer=bp.Adam(0.03), epochs=800)
    assert net.predict_classes(2 * BITS - 1).tolist() == parity.tolist()


@pytest.mark.parametrize("start", SEEDS)
def test_encoder_8_3_8(start):
    """Eight patterns through three sigmoid units: Rumelhart, Hinton & Williams 1986."""
    layers = [bp.Dense(3, "sigmoid"), bp.Dense(8, "sigmoid")]
    net = bp.Network(layers, input_shape=8, rng=start)
    X = np.eye(8)
    net.fit(X, X, loss="half_squared_error", optimizer=bp.Adam(0.05), epochs=3000, batch_size=8)
    assert (net.predict(X).argmax(axis=1) == np.arange(8)).all()
    assert net.predict(X) == pytest.approx(X, abs=0.3)


@pytest.mark.parametrize("optimizer", sorted(bp.optimizers.TABLE))
def test_every_optimizer_gets_down_a_slope(optimizer, rng, seed):
    X = rng.normal(size=(64, 3))
    y = X @ rng.normal(size=(3, 2)) + 1
    net = bp.Network([bp.Dense(2)], input_shape=3, rng=seed)
    rate = {"lion": 0.01, "rprop": 0.05, "adagrad": 0.5}.get(optimizer, 0.1)
    chosen = bp.optimizers.TABLE[optimizer](rate)
    loss = net.fit(X, y, loss="mse", optimizer=chosen, epochs=400, batch_size=64).history["loss"]
    assert loss[-1] < 0.1 * loss[0]


def test_agrees_with_the_article(seed):
    """Plain descent on a list of He-initialised matrices, relu after every one, in NumPy."""
    hidden, outputs, rate = 16, 4, 0.05
    layers = [
        bp.Dense(n, "relu", use_bias=False, weight_init="he_normal") for n in (hidden, outputs)
    ]
    net = bp.Network(layers, input_shape=10, dtype="float64", rng=seed)
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(50, 10)), np.abs(rng.normal(size=(50, outputs)))
    weights = [net.params["0.kernel"].copy(), net.params["1.kernel"].copy()]

    for _ in range(100):
        activations = [X]
        for W in weights:
            activations.append(np.maximum(0, activations[-1] @ W))
        delta = (activations[-1] - y) * (activations[-1] > 0)
        for i in reversed(range(len(weights))):
            gradient = activations[i].T @ delta / len(X)
            delta = (delta @ weights[i].T) * (activations[i] > 0)
            weights[i] = weights[i] - rate * gradient

    net.fit(
        X,
        y,
        loss="half_squared_error",
        optimizer=bp.SGD(rate),
        epochs=100,
        batch_size=len(X),
        shuffle=False,
    )
    for i, W in enumerate(weights):
        assert relative(net.params[f"{i}.kernel"], W) <= 1e-12
    loss = net.history.history["loss"]
    assert loss[-1] < loss[0]


# ---- units that cannot differ -------------------------------------------------------------------


def fit_warnings(net: bp.Network, **options) -> list[str]:
    """The warnings of a short fit."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, net.inputs)), rng.normal(size=(20, net.outputs))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net.fit(X, y, loss="mse", epochs=3, batch_size=5, **options)
    return [str(w.message) for w in caught]


def test_zeros_keep_hidden_units_identical():
    zero = {"weight_init": "zeros"}
    layers = [bp.Dense(5, "sigmoid", name="first", **zero), bp.Dense(2, **zero)]
    net = bp.Network(layers, input_shape=3, rng=0)
    assert len(fit_warnings(net)) == 1
    kernel = net.params["first.kernel"]
    assert kernel.any()
    assert (kernel == kernel[:, :1]).all()
    assert (net.params["1.kernel"] == net.params["1.kernel"][0]).all()


SAME = np.full((3, 4), 0.5)
ROWS = np.tile([[1.0, -2.0]], (4, 1))  # the same outgoing weights of each hidden unit
DISTINCT = np.arange(12.0).reshape(3, 4) / 10

# first layer's options, second layer's options, whether the first layer's units stay equal
SYMMETRIES = {
    "both equal": ({"weight_init": SAME}, {"weight_init": ROWS}, True),
    "all ones": ({"weight_init": "ones"}, {"weight_init": "ones"}, True),
    "rows differ, units do not": (
        {"weight_init": np.arange(3.0)[:, None] * np.ones(4)},
        {"weight_init": ROWS},
        True,
    ),
    "equal biases": (
        {"weight_init": SAME, "bias_init": np.ones(4)},
        {"weight_init": ROWS},
        True,
    ),
    "no biases": ({"weight_init": SAME, "use_bias": False}, {"weight_init": ROWS}, True),
    "incoming differ": ({"weight_init": DISTINCT}, {"weight_init": ROWS}, False),
    "outgoing differ": ({"weight_init": SAME}, {"weight_init": DISTINCT.reshape(4, 3)}, False),
    "biases differ": (
        {"weight_init": SAME, "bias_init": np.arange(4.0)},
        {"weight_init": ROWS},
        False,
    ),
    "one of four differs": (
        {"weight_init": SAME + np.eye(3, 4, 3) / 8 + np.eye(3, 4, 1) / 8},
        {"weight_init": ROWS},
        False,
    ),
    "masked weights": ({"weight_init": SAME, "weight_dropout": 0.5}, {"weight_init": ROWS}, False),
    "random": ({}, {}, False),
}


@pytest.mark.parametrize("case", SYMMETRIES)
def test_symmetry_warning(case):
    """Fit warns once, naming the layer, when and only when all units of it will stay equal."""
    first, second, equal = SYMMETRIES[case]
    outputs = 3 if "outgoing" in case else 2
    layers = [bp.Dense(4, "tanh", name="hidden", **first), bp.Dense(outputs, **second)]
    net = bp.Network(layers, input_shape=3, rng=0)
    messages = fit_warnings(net)
    kernel = net.params["hidden.kernel"]
    assert bool((kernel == kernel[:, :1]).all()) == equal
    assert len(messages) == equal
    if equal:
        assert "hidden layer hidden" in messages[0]


def test_symmetry_is_seen_in_a_deeper_layer_and_of_one_unit_not():
    layers = [
        bp.Dense(1, "tanh", weight_init="ones"),
        bp.Dense(3, "tanh", weight_init="ones", name="middle"),
        bp.Dense(2, weight_init="ones"),
    ]
    messages = fit_warnings(bp.Network(layers, input_shape=3, rng=0))
    assert len(messages) == 1
    assert "middle" in messages[0]


def test_dropout_between_breaks_the_symmetry():
    layers = [
        bp.Dense(4, "tanh", weight_init="ones"),
        bp.Dropout(0.5),
        bp.Dense(2, weight_init="ones"),
    ]
    net = bp.Network(layers, input_shape=3, rng=0)
    assert fit_warnings(net) == []
    kernel = net.params["0.kernel"]
    assert not (kernel == kernel[:, :1]).all()
