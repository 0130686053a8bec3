"""Every layer against central differences, and against float64 NumPy: alone, nested and shared.

Differences as in differences.py. Dropout and noise repeat theirs as long as no step is made.
"""

from __future__ import annotations

import numpy as np
import pytest
from any_network import networks
from cases import REGULARIZERS, double_net, relative
from differences import CLEAR, check_loss, check_passes, rounding
from hypothesis import assume, event, given, note, settings
from hypothesis import strategies as st
from layer_cases import CASES
from reference.graph import KINDS, Tape, places

import bpfast as bp

#: Least deviation that a norm may divide by. Beside it h is small: the quotient is off by
#: (h / deviation)^2, 2.5e-9 of the slope.
SPREAD = 0.02
each_case = pytest.mark.parametrize("name", CASES)


def drawn(
    net: bp.Network, shape: tuple[int, ...], rng: np.random.Generator, rows: int
) -> tuple[np.ndarray, Tape]:
    """Random inputs away from kinks and from equal rows, and what float64 NumPy does with them."""
    for _ in range(200):
        X = rng.normal(size=(rows, *shape))
        tape = Tape(net.layers, net.params)
        tape.run(net.layers, X)
        if tape.clear > CLEAR and tape.spread > SPREAD:
            return X, tape
    raise AssertionError("no inputs away from the kinks")


def check_reference(net: bp.Network, X: np.ndarray, R: np.ndarray) -> None:
    """Compare output and gradients with those of the tape.

    Sums of some hundred products through up to six layers: 1e-11 of the largest is a hundred times
    their roundings, eps 2e-16 each, where a normalisation has made them ten times larger.
    """
    tape = Tape(net.layers, net.params)
    expected, back = tape.run(net.layers, X)
    output = net.forward(X, training=True)
    assert relative(output.reshape(expected.shape), expected) <= 1e-11
    dX = net.backward(R)
    slope = back(R.reshape(expected.shape))
    least = 1e-15 * np.linalg.norm(R)  # of two rows a norm leaves little but roundings
    assert np.linalg.norm(dX.reshape(X.shape) - slope) <= 1e-11 * np.linalg.norm(slope) + least
    assert list(tape.gradients) == list(net.grads)
    size = np.linalg.norm(net.gradients)
    for name, g in net.grads.items():
        difference = np.linalg.norm(g - tape.gradients[name])
        assert difference <= 1e-11 * max(size, np.linalg.norm(R)), name


# ---- layers one by one --------------------------------------------------------------------------


@each_case
def test_layer_is_the_reference(name, rng, seed):
    shape, make = CASES[name]
    net = double_net(make(), shape, seed)
    for rows in (1, 2, 7, 8, 9, 33):
        if rows == 1 and "norm" in name:
            continue  # a batch of one has no deviation
        X = rng.normal(size=(rows, *shape))
        R = rng.normal(size=net.forward(X).shape)
        check_reference(net, X, R)


@each_case
def test_layer_has_the_slope_of_differences(name, rng, seed):
    shape, make = CASES[name]
    net = double_net(make(), shape, seed)
    X, _ = drawn(net, shape, rng, 5)
    output = net.forward(X, training=True)
    size = float(np.abs(output).sum())
    check_passes(net, X, rng, rounding(10 * size))
    y = rng.normal(size=output.shape)
    value = net.loss_and_gradient(X, y.reshape(5, -1), loss="half_squared_error")
    check_loss(net, X, y.reshape(5, -1), rounding(10 * value), loss="half_squared_error")


def test_every_layer_has_a_case():
    """Of the package's layers, those that the dense core's tests do not take."""
    elsewhere = {"Dropout", "GaussianNoise", "Standardize"}
    found = {type(layer).__name__ for case in CASES.values() for _, layer in places(case.make())}
    assert set(bp.layers.TABLE) - elsewhere == found == set(KINDS)


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=repr)
def test_penalties_of_shared_weights_count_once(regularizer, rng, seed):
    again = bp.Dense(4, "tanh", weight_regularizer=regularizer, bias_regularizer=regularizer)
    layers = [again, bp.Residual([again]), bp.Dense(tied_to=again), again]
    net = double_net(layers, 4, seed)
    for view in net.params.values():  # away from the kink of abs(w)
        view[np.abs(view) < CLEAR] = 0.5
    X = rng.normal(size=(5, 4))
    expected = sum(
        regularizer.l1 * np.abs(net.params[f"0.{part}"]).sum()
        + regularizer.l2 / 2 * (net.params[f"0.{part}"] ** 2).sum()
        for part in ("kernel", "bias")
    )
    assert net._core.penalty() == pytest.approx(expected, rel=1e-13)
    check_passes(net, X, rng)


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=repr)
def test_penalties_of_a_convolution(regularizer, rng, seed):
    layers = [bp.Conv2D(3, 2, "tanh", weight_regularizer=regularizer), bp.Flatten(), bp.Dense(2)]
    net = double_net(layers, (4, 4, 2), seed)
    for view in net.params.values():
        view[np.abs(view) < CLEAR] = 0.5
    check_passes(net, rng.normal(size=(5, 4, 4, 2)), rng)


MASKED = {
    "dropout in a residual": ((6,), lambda: [bp.Residual([bp.Dense(6, "tanh"), bp.Dropout(0.4)])]),
    "dropout of positions": (
        (4, 4, 2), lambda: [bp.Conv2D(3, 2), bp.Dropout(0.4), bp.Flatten(), bp.Dense(2)]
    ),
    "noise": ((6,), lambda: [bp.Dense(4), bp.GaussianNoise(0.5), bp.Dense(2, "tanh")]),
    "noise first": (
        (4, 4, 2), lambda: [bp.GaussianNoise(0.5), bp.Conv2D(3, 2, "tanh"), bp.Flatten()]
    ),
    "drop_connect, shared": ((4,), lambda: [bp.Dense(4, "tanh", weight_dropout=0.4)] * 2),
    "dropout, shared": ((6,), lambda: [*[bp.Dropout(0.4), bp.Dense(6, "tanh")] * 2]),
}  # fmt: skip


@pytest.mark.parametrize("name", MASKED)
def test_masks_of_the_same_step(name, rng, seed):
    shape, make = MASKED[name]
    net = double_net(make(), shape, seed)
    X = rng.normal(size=(5, *shape))
    once = net.forward(X, training=True)
    assert np.array_equal(net.forward(X, training=True), once)
    assert not np.array_equal(net.forward(X), once)
    check_passes(net, X, rng, rounding(10 * float(np.abs(once).sum())))


def test_frozen_parts_have_no_gradient_and_let_it_through(rng, seed):
    frozen, norm = bp.Conv2D(3, 3, "tanh"), bp.BatchNorm()
    frozen.trainable = norm.trainable = False
    layers = [bp.Conv2D(3, 2, "tanh"), frozen, norm, bp.Flatten(), bp.Dense(2)]
    net = double_net(layers, (6, 6, 2), seed)
    X = rng.normal(size=(5, 6, 6, 2))
    before = net._buffers.copy()
    net.forward(X, training=True)
    net.backward(rng.normal(size=(5, 2)))
    for name in ("1.kernel", "1.bias", "2.gamma", "2.beta"):
        assert not net.grads[name].any(), name
    assert net.grads["0.kernel"].all()
    assert np.array_equal(net._buffers, before)  # a frozen norm goes by its running statistics
    assert np.array_equal(net.forward(X), net.forward(X, training=True))


# ---- running statistics, inference --------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5,), (4, 3, 5)])
def test_running_statistics_and_inference(shape, rng, seed):
    """Ten batches of different sizes, then inference by what they left."""
    from reference.layers import running

    net = double_net([bp.BatchNorm(momentum=0.2), bp.Flatten(), bp.Dense(2)], shape, seed)
    mean, variance = np.zeros(5), np.ones(5)
    for rows in (2, 7, 8, 9, 16, 17, 30, 40, 64, 65):
        X = rng.normal(2.0, 3.0, size=(rows, *shape))
        net.forward(X, training=True)
        mean, variance = running(mean, variance, X, 0.2)
        np.testing.assert_allclose(net.buffers["0.running_mean"], mean, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(net.buffers["0.running_variance"], variance, rtol=1e-13)
    X = rng.normal(size=(50, *shape))
    tape = Tape(net.layers, net.params, net.buffers)
    expected, _ = tape.run(net.layers, X)
    assert relative(net.predict(X), expected) <= 1e-14
    assert np.array_equal(net.predict(X), net.forward(X))


# ---- networks that nobody chose -----------------------------------------------------------------


@settings(max_examples=150)
@given(drawn=networks(masks=False), rows=st.integers(2, 9), seed=st.integers(0, 2**32 - 1))
def test_any_network(drawn, rows, seed):
    layers, shape = drawn
    note(f"seed {seed}, input {shape}, {[type(x).__name__ for _, x in places(layers)]}")
    rng = np.random.default_rng(seed)
    net = double_net(layers, shape, seed)
    X = rng.normal(size=(rows, *shape))
    tape = Tape(layers, net.params)
    tape.run(layers, X)
    assume(tape.spread > SPREAD)
    output = net.forward(X, training=True)
    check_reference(net, X, rng.normal(size=output.shape))
    assume(tape.clear > CLEAR)
    event("differences")
    y = rng.normal(size=(rows, net.outputs))
    value = net.loss_and_gradient(X, y, loss="half_squared_error")
    check_loss(net, X, y, rounding(100 * (1 + value)), loss="half_squared_error")
    check_passes(net, X, rng, rounding(100 * (1 + float(np.abs(output).sum()))))


@settings(max_examples=60)
@given(drawn=networks(masks=True), rows=st.integers(2, 6), seed=st.integers(0, 2**32 - 1))
def test_any_network_with_masks(drawn, rows, seed):
    layers, shape = drawn
    note(f"seed {seed}, input {shape}, {[type(x).__name__ for _, x in places(layers)]}")
    rng = np.random.default_rng(seed)
    net = double_net(layers, shape, seed)
    X, y = rng.normal(size=(rows, *shape)), rng.normal(size=(rows, net.outputs))
    value = net.loss_and_gradient(X, y, loss="half_squared_error")
    check_loss(net, X, y, rounding(100 * (1 + value)), loss="half_squared_error")
    output = float(np.abs(net.forward(X, training=True)).sum())
    check_passes(net, X, rng, rounding(100 * (1 + output)))
