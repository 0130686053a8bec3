"""One example per algorithm, small enough to follow with pencil and paper."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest

import bpfast as bp
from bpfast import losses, schedules
from bpfast._core import ACTIVATIONS

LN2, LN3 = log(2), log(3)


def approx(value):
    return pytest.approx(value, rel=1e-14, abs=1e-15)


def one_layer(kernel, activation="identity", **options) -> bp.Network:
    """A layer of given weights without bias."""
    kernel = np.array(kernel, dtype=float)
    layer = bp.Dense(kernel.shape[1], activation, use_bias=False, weight_init=kernel, **options)
    return bp.Network([layer], input_shape=kernel.shape[0], dtype="float64", rng=0)


# ---- backpropagation -----------------------------------------------------------------------------


def test_backpropagation_of_a_2_2_1_sigmoid_network():
    """x = (1, 2), t = 0. Since sigmoid(ln 3) = 3/4 and sigmoid(0) = 1/2:

    z1 = 1 - 2 + (ln 3 + 1) = ln 3    h1 = 3/4    h1 (1 - h1) = 3/16
    z2 = 2 - 2 + 0 = 0                h2 = 1/2    h2 (1 - h2) = 1/4
    z = 2 h1 - 2 h2 + (ln 3 - 1/2) = ln 3         y = 3/4, E = (3/4)^2 / 2 = 9/32

    delta  = (y - t) y (1 - y) = 3/4 * 3/16 = 9/64
    delta1 = 2 delta * 3/16 = 27/512     delta2 = -2 delta / 4 = -9/128
    """
    net = bp.Network(
        [
            bp.Dense(2, "sigmoid", weight_init=[[1, 2], [-1, -1]], bias_init=[LN3 + 1, 0]),
            bp.Dense(1, "sigmoid", weight_init=[[2], [-2]], bias_init=[LN3 - 0.5]),
        ],
        input_shape=2,
        dtype="float64",
        rng=0,
    )
    error = net.loss_and_gradient([[1, 2]], [[0]], loss="half_squared_error")
    assert error == approx(9 / 32)
    expected = {
        "0.kernel": [[27 / 512, -9 / 128], [2 * 27 / 512, -2 * 9 / 128]],  # x delta1, x delta2
        "0.bias": [27 / 512, -9 / 128],
        "1.kernel": [[3 / 4 * 9 / 64], [1 / 2 * 9 / 64]],  # h delta
        "1.bias": [9 / 64],
    }
    for name, gradient in expected.items():
        assert net.grads[name] == approx(np.array(gradient)), name
    net.step(bp.SGD(0.5))
    assert net.params["1.kernel"] == approx(np.array([[2 - 27 / 512], [-2 - 9 / 256]]))


# ---- activations: f(z) at a point where it is simple ---------------------------------------------

POINTS = {
    "identity": (-2, -2),
    "sigmoid": (LN3, 3 / 4),  # 1 / (1 + 1/3)
    "tanh": (LN3, 4 / 5),  # (9 - 1) / (9 + 1)
    "relu": (-2, 0),
    "leaky_relu": (-2, -0.02),
    "elu": (-LN2, -1 / 2),  # 1/2 - 1
    "selu": (-LN2, -1.0507009873554805 * 1.6732632423543772 / 2),
    "gelu": (1, 0.8413447460685429),  # the normal distribution's share below one sigma
    "gelu_tanh": (1, 0.8411919906082768),  # (1 + tanh(0.7978845608 * 1.044715)) / 2
    "silu": (LN3, 3 / 4 * LN3),
    "mish": (LN2, 4 / 5 * LN2),  # tanh(ln 3) = 4/5
    "softplus": (0, LN2),
    "softsign": (3, 3 / 4),
    "hard_sigmoid": (1.5, 3 / 4),
    "hard_swish": (1, 2 / 3),
}


@pytest.mark.parametrize("activation", POINTS)
def test_activation(activation):
    z, y = POINTS[activation]
    assert one_layer([[1]], activation).predict([[z]])[0, 0] == approx(y)


def test_softmax():
    """(0, ln 3): 1 and 3 of 4."""
    assert one_layer(np.eye(2), "softmax").predict([[0, LN3]])[0] == approx([1 / 4, 3 / 4])


def test_every_activation_has_a_point():
    assert {*POINTS, "softmax"} == set(ACTIVATIONS)


# ---- losses: value and gradient of one row of two outputs ----------------------------------------

LOSSES = {
    # 1/2 (1 + 4) = 5/2
    "half_squared_error": ("half_squared_error", [1, 2], [0, 4], 5 / 2, [1, -2]),
    # (1 + 4) / 2
    "mse": ("mse", [1, 2], [0, 4], 5 / 2, [1, -2]),
    # (1 + 2) / 2
    "mae": ("mae", [1, 2], [0, 4], 3 / 2, [1 / 2, -1 / 2]),
    # 1/2 within 1: (1/2)^2 / 2 = 1/8; 3 beyond it: 1 * (3 - 1/2) = 5/2; half of their sum
    "huber": (losses.Huber(1), [0.5, 3], [0, 0], 21 / 16, [1 / 4, 1 / 2]),
    # 2 too low costs 0.9 * 2, 1 too high 0.1 * 1; half of their sum
    "quantile": (losses.Quantile(0.9), [0, 5], [2, 4], 0.95, [-0.45, 0.05]),
    # 2 too low costs 0.1 * 2, 1 too high 0.1 * 1; half of their sum
    "two quantiles": (losses.Quantile((0.1, 0.9)), [0, 5], [2, 4], 0.15, [-0.05, 0.05]),
    # e^z - t z: 2 - 3 ln 2, and 1
    "poisson": ("poisson", [LN2, 0], [3, 0], (3 - 3 * LN2) / 2, [-1 / 2, 1 / 2]),
    # p = (1/4, 3/4), t = (0, 1): -ln 3/4; p - t
    "cross_entropy": ("cross_entropy", [0, LN3], [0, 1], -log(0.75), [1 / 4, -1 / 4]),
    # t becomes 0.6 (0, 1) + 0.2 = (0.2, 0.8)
    "label_smoothing": (
        losses.CrossEntropy(0.4),
        [0, LN3],
        [0, 1],
        -0.2 * log(0.25) - 0.8 * log(0.75),
        [0.05, -0.05],
    ),
    # p = (3/4, 1/2), t = (1, 0)
    "binary_cross_entropy": (
        "binary_cross_entropy",
        [LN3, 0],
        [1, 0],
        (-log(0.75) - log(0.5)) / 2,
        [-1 / 8, 1 / 4],
    ),
    # t becomes 0.6 (1, 0) + 0.2 = (0.8, 0.2)
    "binary_label_smoothing": (
        losses.BinaryCrossEntropy(0.4),
        [LN3, 0],
        [1, 0],
        (-0.8 * log(0.75) - 0.2 * log(0.25) - log(0.5)) / 2,
        [-0.025, 0.15],
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_loss(name):
    """The identity as weights: the kernel's gradient is that of the output, row by input."""
    loss, z, t, value, slope = LOSSES[name]
    net = one_layer([z])
    assert net.loss_and_gradient([[1.0]], [t], loss=loss) == approx(value)
    assert net.grads["0.kernel"][0] == approx(slope)


def test_three_classes():
    """e^z = (1, 2, 5) of 8; class 1: -ln 2/8 = 2 ln 2; p - t = (1/8, 2/8 - 1, 5/8)."""
    net = one_layer([[0, LN2, log(5)]])
    assert net.loss_and_gradient([[1.0]], [1], loss="cross_entropy") == approx(2 * LN2)
    assert net.grads["0.kernel"][0] == approx([1 / 8, -3 / 4, 5 / 8])


def test_weights_of_samples():
    """Errors 1 and 3 weigh 3 and 1: (3 * 1/2 + 1 * 9/2) / 4 = 3/2; gradient (3 * 1 + 1 * 3) / 4."""
    net = one_layer([[1]])
    value = net.loss_and_gradient(
        [[1], [1]], [0, -2], loss="half_squared_error", sample_weight=[3, 1]
    )
    assert value == approx(3 / 2)
    assert net.grads["0.kernel"][0, 0] == approx(3 / 2)


# ---- optimizers: w = 1, learning rate 0.1 --------------------------------------------------------

# optimizer, gradients, w after each
STEPS = {
    "sgd": (bp.SGD(0.1), [0.5, -1], [0.95, 1.05]),
    # v = 0.05, then 0.9 * 0.05 + 0.05 = 0.095
    "momentum": (bp.SGD(0.1, momentum=0.9), [0.5, 0.5], [0.95, 0.855]),
    # 0.9 * 0.05 + 0.05 = 0.095, then 0.9 * 0.095 + 0.05 = 0.1355
    "nesterov": (bp.SGD(0.1, momentum=0.9, nesterov=True), [0.5, 0.5], [0.905, 0.7695]),
    # m = 1/4, v = 1/16; corrected 1/2, 1/4: 0.1 * 1/2 / (1/2 + 1/2)
    # m = 5/8, v = 19/64; corrected by 3/4 and 7/16: 5/6, 19/28
    "adam": (
        bp.Adam(0.1, beta_1=0.5, beta_2=0.75, epsilon=0.5),
        [0.5, 1],
        [0.95, 0.95 - 0.1 * (5 / 6) / (sqrt(19 / 28) + 0.5)],
    ),
    # the same m and v as they are: 0.1 * 1/4 / (1/4 + 1/2)
    "adam uncorrected": (
        bp.Adam(0.1, beta_1=0.5, beta_2=0.75, epsilon=0.5, bias_correction=False),
        [0.5, 1],
        [29 / 30, 29 / 30 - 0.1 * (5 / 8) / (sqrt(19 / 64) + 0.5)],
    ),
    # 1 - 0.1 * 0.5 * 1 = 0.95, and Adam's first step of 0.05
    "adamw": (
        bp.AdamW(0.1, weight_decay=0.5, beta_1=0.5, beta_2=0.75, epsilon=0.5),
        [0.5],
        [0.9],
    ),
    # v = 1/4 * 1/4 = 1/16: 0.1 * 1/2 / (1/4 + 1/4)
    "rmsprop": (bp.RMSprop(0.1, rho=0.75, epsilon=0.25), [0.5], [0.9]),
    # s = 0.25: 0.1 * 0.5 / (0.5 + 0.5); s = 1.69: 0.1 * 1.2 / (1.3 + 0.5)
    "adagrad": (bp.Adagrad(0.1, epsilon=0.5), [0.5, 1.2], [0.95, 0.95 - 0.12 / 1.8]),
    # step 0.1; 0.12; turned: 0.06 and stay; forgotten: 0.06; 0.072
    "rprop": (bp.Rprop(0.1), [9, 1, -1, -5, -1], [0.9, 0.78, 0.78, 0.84, 0.912]),
    # c = 0.2, m = 0.02: down; c = 0.018 - 0.01 > 0, m = 0.0188: down; c = 0.01692 - 0.03: up
    "lion": (bp.Lion(0.1), [2, -0.1, -0.3], [0.9, 0.8, 0.9]),
    # 1 - 0.1 (1 + 0.5 * 1)
    "lion decay": (bp.Lion(0.1, weight_decay=0.5), [2], [0.85]),
}


@pytest.mark.parametrize("name", STEPS)
def test_optimizer(name):
    optimizer, gradients, path = STEPS[name]
    net = one_layer([[1]])
    for g, w in zip(gradients, path, strict=True):
        net.gradients[:] = g
        net.step(optimizer)
        assert net.parameters[0] == approx(w)


def test_every_optimizer_has_steps():
    assert {o.kind for o, _, _ in STEPS.values()} == set(bp.optimizers.TABLE)


def test_clipping():
    """(3, 4) has norm 5: (0.6, 0.8) at norm 1; then at most 0.7 each."""
    for limits, change in (
        ({"clip_norm": 1}, [0.6, 0.8]),
        ({"clip_norm": 5.5}, [3, 4]),
        ({"clip_value": 3.5}, [3, 3.5]),
        ({"clip_norm": 1, "clip_value": 0.7}, [0.6, 0.7]),
    ):
        net = one_layer([[0, 0]])
        net.gradients[:] = [3, 4]
        net.step(bp.SGD(1, **limits))
        assert -net.parameters == approx(change)


# ---- penalties, constraints, dropout -------------------------------------------------------------


def test_penalties():
    """W = (2, -3): 0.1 (2 + 3) + 0.4/2 (4 + 9) = 0.5 + 2.6; gradient 0.1 (1, -1) + 0.4 (2, -3)."""
    net = one_layer([[2, -3]], weight_regularizer=bp.ElasticNet(0.1, 0.4))
    assert net.loss_and_gradient([[0]], [[0, 0]], loss="mse") == approx(3.1)
    assert net.gradients == approx([0.9, -1.3])


def test_max_norm():
    """The columns (3, 4) and (0.3, 0.4): only the first is longer than 1."""
    net = one_layer([[3, 0.3], [4, 0.4]], weight_constraint=bp.MaxNorm(1))
    net.fit([[0, 0]], [[0, 0]], loss="mse", optimizer=bp.SGD(1), epochs=1)
    assert net.params["0.kernel"] == approx(np.array([[0.6, 0.3], [0.8, 0.4]]))


def test_non_negative():
    net = one_layer([[3, -0.3]], weight_constraint=bp.NonNegative())
    net.fit([[0]], [[0, 0]], loss="mse", optimizer=bp.SGD(1), epochs=1)
    assert net.parameters == approx([3, 0])


def test_dropout_keeps_a_quarter_four_times_as_large(seed):
    net = bp.Network(
        [bp.Dropout(0.75), bp.Dense(50, use_bias=False, weight_init=np.eye(50))],
        input_shape=50,
        rng=seed,
    )
    ones = np.ones((200, 50))
    out = net.forward(ones, training=True)
    assert set(np.unique(out)) == {0, 4}
    # 10,000 draws: the share of the kept has a standard deviation of 0.0043
    assert (out > 0).mean() == pytest.approx(0.25, abs=5 * 0.0043)
    assert (net.backward(np.ones((200, 50))) == out).all()
    assert (net.predict(ones) == 1).all()
    assert (net.forward(ones) == 1).all()


def test_weight_dropout_keeps_half_twice_as_large(seed):
    net = bp.Network(
        [bp.Dense(40, weight_dropout=0.5, weight_init="ones")], input_shape=40, rng=seed
    )
    masked = net.forward(np.eye(40), training=True)  # shows the kernel
    assert set(np.unique(masked)) == {0, 2}
    assert (masked > 0).mean() == pytest.approx(0.5, abs=5 * 0.5 / 40)
    net.backward(np.ones((40, 40)))
    assert (net.grads["0.kernel"] == masked).all()
    assert (net.predict(np.eye(40)) == 1).all()


# ---- initial weights -----------------------------------------------------------------------------

# initializer, inputs, units, limit or standard deviation
UNIFORM = [
    ("uniform", 50, 100, 1.0),
    ("he_uniform", 150, 40, 0.2),  # sqrt(6 / 150)
    ("glorot_uniform", 50, 100, 0.2),  # sqrt(6 / 150)
    ("lecun_uniform", 75, 100, 0.2),  # sqrt(3 / 75)
]
NORMAL = [
    ("normal", 50, 100, 0.1),
    ("he_normal", 50, 100, 0.2),  # sqrt(2 / 50)
    ("glorot_normal", 100, 100, 0.1),  # sqrt(2 / 200)
    ("lecun_normal", 100, 50, 0.1),  # sqrt(1 / 100)
]


def drawn(name: str, inputs: int, units: int, seed: int) -> np.ndarray:
    layer = bp.Dense(units, weight_init=name)
    return bp.Network([layer], input_shape=inputs, dtype="float64", rng=seed).params["0.kernel"]


@pytest.mark.parametrize(("name", "inputs", "units", "limit"), UNIFORM)
def test_uniform_weights(name, inputs, units, limit, seed):
    w = drawn(name, inputs, units, seed)
    assert np.abs(w).max() <= limit
    # Of 5,000 draws none above 99 % of the limit: 0.99^5000, about 1e-22.
    assert np.abs(w).max() > 0.99 * limit
    assert abs(w.mean()) < 5 * limit / sqrt(3 * w.size)


@pytest.mark.parametrize(("name", "inputs", "units", "std"), NORMAL)
def test_normal_weights(name, inputs, units, std, seed):
    w = drawn(name, inputs, units, seed)
    assert abs(w.mean()) < 5 * std / sqrt(w.size)
    assert w.std() == pytest.approx(std, rel=5 / sqrt(2 * w.size))
    assert np.abs(w).max() > 3 * std  # not truncated at two or three deviations


def test_orthogonal_weights(seed):
    for inputs, units in ((30, 8), (8, 30)):
        w = drawn("orthogonal", inputs, units, seed)
        gram = w.T @ w if inputs > units else w @ w.T
        assert gram == pytest.approx(np.eye(8), abs=1e-14)


# ---- schedules, statistics -----------------------------------------------------------------------


def test_schedules():
    """The rates from 0.1 at some epochs."""
    assert [schedules.InverseTime(0.5).rate(0.1, e) for e in (0, 1, 2)] == approx(
        [0.1, 1 / 15, 0.05]
    )
    assert [schedules.Step(2, 0.5).rate(0.1, e) for e in (1, 2, 5)] == approx([0.1, 0.05, 0.025])
    assert [schedules.Exponential(0.5).rate(0.1, e) for e in (0, 2)] == approx([0.1, 0.025])
    # half of the way down a cosine is half of the rate; a third of it three quarters
    assert [schedules.Cosine(6).rate(0.1, e) for e in (0, 2, 3)] == approx([0.1, 0.075, 0.05])
    # from 0.1/25 to 0.1 in 3 of 10 epochs
    cycle = schedules.OneCycle(10)
    assert [cycle.rate(0.1, e) for e in (0, 1.5, 3)] == approx([0.004, 0.052, 0.1])
    assert cycle.rate(0.1, 10) == approx(0.1 / 25 / 1e4)


def test_plateau_reduces_after_two_epochs_without_progress():
    plateau = schedules.ReduceOnPlateau("loss", factor=0.5, patience=2)
    rates = []
    for loss in (3, 2, 2, 2.5, 1, 1, 1):
        plateau.on_epoch_end(len(rates), {"loss": loss})
        rates.append(plateau.rate(0.1, 0.0))
    assert rates == approx([0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025])


def test_standardize():
    """1, 2, 3 have mean 2 and variance 2/3; a constant column keeps scale 1."""
    net = bp.Network(
        [bp.Standardize(), bp.Dense(2, use_bias=False, weight_init=np.eye(2))],
        input_shape=2,
        dtype="float64",
        rng=0,
    )
    X = np.array([[1, 7], [2, 7], [3, 7.0]])
    net.fit(X, np.zeros((3, 2)), loss="mse", optimizer=bp.SGD(1e-300), epochs=1)
    assert net.predict(X) == approx(np.array([[-sqrt(1.5), 0], [0, 0], [sqrt(1.5), 0]]))
