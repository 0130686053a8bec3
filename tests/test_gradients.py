"""Gradients against central differences in float64: activations, losses, penalties, dense layers.

The other layers are those of test_layer_gradients.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from cases import LOSSES, REGULARIZERS, LossCase, double_net, relative
from differences import CLEAR, TOLERANCE, check_loss, check_passes, numeric, rounding
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reference import network as reference
from reference.activations import KINKS
from reference.losses import KINKS as LOSS_KINKS

import bpfast as bp
from bpfast._core import ACTIVATIONS


def clear_inputs(
    net: bp.Network, rng: np.random.Generator, rows: int, ok: Callable[[np.ndarray], bool]
) -> np.ndarray:
    """Random inputs whose pre-activations, and output, stay away from kinks."""
    for _ in range(500):
        X = rng.normal(size=(rows, net.inputs))
        distance = reference.kink_distance(net.layers, net.params, X)
        if distance > CLEAR and ok(reference.output(net.layers, net.params, X)):
            return X
    raise AssertionError("no inputs away from the kinks")


# ---- activations --------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_inside(activation, rng, seed):
    net = double_net([bp.Dense(6, activation), bp.Dense(2)], 4, seed)
    net.params["0.kernel"][:] *= 2  # reach the outer parts of the curves
    X = clear_inputs(net, rng, 7, lambda _: True)
    check_passes(net, X, rng)
    check_loss(net, X, rng.normal(size=(7, 2)), loss="half_squared_error")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_at_the_output(activation, rng, seed):
    net = double_net([bp.Dense(5, "tanh"), bp.Dense(3, activation)], 4, seed)
    X = clear_inputs(net, rng, 7, lambda _: True)
    check_passes(net, X, rng)
    check_loss(net, X, rng.normal(size=(7, 3)), loss="mse")


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("width", [33, 70])
def test_activation_over_several_panels(activation, width, rng, seed):
    net = double_net([bp.Dense(width, activation)], 3, seed)
    X = clear_inputs(net, rng, 3, lambda _: True)
    check_passes(net, X, rng)


def test_kinks_have_a_place_in_the_table():
    assert set(KINKS) <= set(ACTIVATIONS)


# ---- losses -------------------------------------------------------------------------------------


def loss_problem(case: LossCase, rng: np.random.Generator, seed: int):
    net = double_net([bp.Dense(4, "tanh"), bp.Dense(case.outputs, case.last)], 3, seed)
    y = case.draw(rng, 6)
    kinks = LOSS_KINKS.get(case.loss.kind, lambda *_: np.inf)
    t = case.as_rows(y)
    X = clear_inputs(net, rng, 6, lambda out: kinks(out, t, case.parameter) > CLEAR)
    return net, X, y


@pytest.mark.parametrize("case", LOSSES, ids=str)
def test_loss(case, rng, seed):
    net, X, y = loss_problem(case, rng, seed)
    check_loss(net, X, y, loss=case.loss)


@pytest.mark.parametrize("case", LOSSES, ids=str)
def test_loss_with_sample_weights(case, rng, seed):
    net, X, y = loss_problem(case, rng, seed)
    weights = rng.uniform(0, 2, size=6)
    weights[2] = 0
    check_loss(net, X, y, loss=case.loss, sample_weight=weights)


def test_every_loss_has_cases():
    assert {case.loss.kind for case in LOSSES} == set(bp.losses.TABLE)


# ---- layers and penalties -----------------------------------------------------------------------


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=repr)
@pytest.mark.parametrize("place", ["weight_regularizer", "bias_regularizer", "both"])
def test_regularizer(regularizer, place, rng, seed):
    places = ["weight_regularizer", "bias_regularizer"] if place == "both" else [place]
    options = dict.fromkeys(places, regularizer)
    net = double_net([bp.Dense(18, "tanh", **options), bp.Dense(2, **options)], 3, seed)
    for view in net.params.values():  # away from the kink of abs(w)
        view[np.abs(view) < CLEAR] = 0.5
    X = rng.normal(size=(5, 3))
    check_passes(net, X, rng)
    check_loss(net, X, rng.normal(size=(5, 2)), loss="mse")


def test_l1_has_slope_0_at_0(seed):
    net = double_net([bp.Dense(2, weight_regularizer=bp.L1(3.0), weight_init="zeros")], 2, seed)
    net.forward(np.zeros((1, 2)), training=True)
    net.backward(np.zeros((1, 2)))
    assert not net.grads["0.kernel"].any()


STACKS = {
    "dropout": [bp.Dropout(0.3), bp.Dense(20, "tanh"), bp.Dropout(0.5), bp.Dense(2)],
    "dropout last": [bp.Dense(5, "tanh"), bp.Dropout(0.5)],
    "drop_connect": [bp.Dense(20, "tanh", weight_dropout=0.4), bp.Dense(3, weight_dropout=0.5)],
    "drop_connect and penalty": [
        bp.Dense(6, "tanh", weight_dropout=0.4, weight_regularizer=bp.ElasticNet(0.02, 0.3))
    ],
    "no bias": [bp.Dense(6, "tanh", use_bias=False), bp.Dense(2, use_bias=False)],
    "wide": [bp.Dense(50, "tanh"), bp.Dense(34, "softmax"), bp.Dense(35)],
    "one unit": [bp.Dense(1, "tanh"), bp.Dense(1)],
    "one layer": [bp.Dense(2)],
}


@pytest.mark.parametrize("stack", STACKS)
def test_stack(stack, rng, seed):
    net = double_net(STACKS[stack], 4, seed)
    X = rng.normal(size=(5, 4))
    assert any(net.forward(X, training=True).ravel())
    check_passes(net, X, rng)
    check_loss(net, X, rng.normal(size=(5, net.outputs)), loss="half_squared_error")


def test_standardize(rng, seed):
    net = double_net([bp.Standardize(), bp.Dense(6, "tanh"), bp.Dense(2)], 4, seed)
    X = rng.normal(loc=3, scale=[0.1, 1, 5, 20], size=(30, 4))
    net.fit(X, rng.normal(size=(30, 2)), loss="mse", epochs=1)
    check_passes(net, X[:6].copy(), rng)
    check_loss(net, X[:6], rng.normal(size=(6, 2)), loss="mse")


def test_frozen_layers_have_no_gradient(rng, seed):
    frozen = bp.Dense(6, "tanh")
    frozen.trainable = False
    net = double_net([bp.Dense(5, "tanh"), frozen, bp.Dense(2)], 4, seed)
    X, y = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
    net.loss_and_gradient(X, y, loss="mse")
    assert not net.grads["1.kernel"].any()
    assert not net.grads["1.bias"].any()
    found = numeric(lambda: net.loss_and_gradient(X, y, loss="mse"), net.params["0.kernel"])
    net.loss_and_gradient(X, y, loss="mse")
    assert relative(net.grads["0.kernel"], found) <= TOLERANCE


# ---- networks that nobody chose -----------------------------------------------------------------


@st.composite
def dense_layers(draw) -> list[bp.Dense]:
    """One to five dense layers of any kind."""
    penalties = st.sampled_from([None, *REGULARIZERS])
    layers = []
    for _ in range(draw(st.integers(1, 5))):
        bias = draw(st.booleans())
        layers.append(
            bp.Dense(
                draw(st.integers(1, 12)),
                draw(st.sampled_from(ACTIVATIONS)),
                use_bias=bias,
                weight_init="glorot_normal",
                weight_regularizer=draw(penalties),
                bias_regularizer=draw(penalties) if bias else None,
            )
        )
    return layers


@settings(max_examples=60)
@given(layers=dense_layers(), inputs=st.integers(1, 6), rows=st.integers(1, 6), draw=st.integers(0))
def test_any_dense_network(layers, inputs, rows, draw):
    rng = np.random.default_rng(draw)
    net = double_net(layers, inputs, draw % 2**32)
    X, y = rng.normal(size=(rows, inputs)), rng.normal(size=(rows, net.outputs))
    assume(reference.kink_distance(layers, net.params, X) > CLEAR)
    for name, regularizer in reference.regularizers(layers):
        assume(not regularizer.l1 or np.abs(net.params[name]).min() > CLEAR)
    value = net.loss_and_gradient(X, y, loss="half_squared_error")
    # Gradients vanish in deep networks, the rounding of the differences does not.
    check_loss(net, X, y, rounding(value), loss="half_squared_error")
