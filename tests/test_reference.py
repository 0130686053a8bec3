"""Values, gradients, steps, constraints and metrics against the float64 oracles in reference/.

Both sides compute the same sums of at most a few hundred terms in float64, in other orders: they
agree to some hundred times 2^-53, far below 1e-12. Where steps divide by small roots the
differences grow, but not by more than a hundred.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from cases import LOSSES, OPTIMIZERS, REGULARIZERS, double_net, relative, same_bits
from reference import activations, losses, optimizers
from reference import network as reference

import bpfast as bp
from bpfast import schedules
from bpfast._core import ACTIVATIONS

CLOSE = 1e-12


def values(net: bp.Network) -> dict[str, np.ndarray]:
    return {name: view.copy() for name, view in net.params.items()}


# ---- forward ------------------------------------------------------------------------------------


def test_reference_knows_every_row_of_the_tables():
    assert set(activations.VALUES) == set(ACTIVATIONS)
    assert set(losses.ROWS) == set(bp.losses.TABLE)
    assert set(optimizers.RULES) == set(bp.optimizers.TABLE)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("rows", [1, 5, 40])
def test_forward(activation, rows, rng, seed):
    net = double_net([bp.Dense(37, activation), bp.Dense(5, activation)], 19, seed)
    X = 3 * rng.normal(size=(rows, 19))
    expected = reference.output(net.layers, net.params, X)
    assert relative(net.predict(X), expected) <= CLOSE
    assert relative(net.forward(X), expected) <= CLOSE
    assert relative(net.forward(X, training=True), expected) <= CLOSE


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_far_from_zero(activation):
    """Large, small and signed-zero inputs through a 1-1 network with weight 1 (softmax: 1-2)."""
    X = np.array([[0.0], [-0.0], *([s * 10.0**e] for e in range(-8, 5) for s in (-1, 1))])
    kernel = np.array([[1.0, -1.0]]) if activation == "softmax" else np.array([[1.0]])
    layer = bp.Dense(kernel.shape[1], activation, use_bias=False, weight_init=kernel)
    net = bp.Network([layer], input_shape=1, dtype="float64", rng=0)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = activations.VALUES[activation](X @ kernel)
    # The tails of the oracle lose digits where 1 - tanh or 1 + erf cancel.
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-13, atol=1e-15)


def test_forward_without_bias_and_with_standardize(rng, seed):
    net = double_net([bp.Standardize(), bp.Dense(7, "tanh", use_bias=False), bp.Dense(2)], 6, seed)
    X = rng.normal(loc=4, scale=[0.01, 1, 2, 5, 9, 1], size=(50, 6))
    X[:, 5] = 2.5  # a constant column
    y = rng.normal(size=(50, 2))
    net.fit(X, y, loss="mse", epochs=1)
    scale = X.std(axis=0)
    scale[5] = 1
    params = {f"{int(k[0]) - 1}{k[1:]}": v for k, v in net.params.items()}
    expected = reference.output(net.layers[1:], params, (X - X.mean(axis=0)) / scale)
    assert relative(net.predict(X), expected) <= CLOSE


# ---- losses and gradients -----------------------------------------------------------------------


@pytest.mark.parametrize("case", LOSSES, ids=str)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_loss_and_gradient(case, weighted, rng, seed):
    layers = [bp.Dense(20, "tanh"), bp.Dense(case.outputs, case.last)]
    net = double_net(layers, 7, seed)
    X, y = rng.normal(size=(45, 7)), case.draw(rng, 45)
    weights = rng.uniform(0, 3, size=45) if weighted else None
    value, gradients = reference.loss_and_gradient(
        layers, net.params, X, case.as_rows(y), case.loss.kind, case.parameter, weights
    )
    found = net.loss_and_gradient(X, y, loss=case.loss, sample_weight=weights)
    assert found == pytest.approx(value, rel=CLOSE)
    scores = net.evaluate(X, y, loss=case.loss, metrics=(), sample_weight=weights)
    assert scores["loss"] == pytest.approx(value, rel=CLOSE)
    for name, g in net.grads.items():
        assert relative(g, gradients[name]) <= CLOSE, name


@pytest.mark.parametrize("activation", sorted({*activations.SLOPES, "softmax"}))
def test_gradient_through_activation(activation, rng, seed):
    layers = [bp.Dense(35, activation), bp.Dense(6, activation), bp.Dense(2)]
    net = double_net(layers, 5, seed)
    X, dY = 2 * rng.normal(size=(33, 5)), rng.normal(size=(33, 2))
    trace = reference.forward(layers, net.params, X)
    gradients, dX = reference.backward(layers, net.params, trace, dY)
    net.forward(X, training=True)
    assert relative(net.backward(dY), dX) <= CLOSE
    for name, g in net.grads.items():
        assert relative(g, gradients[name]) <= CLOSE, name


#: A loss on logits, its targets where the logit is infinite, and whether it is then finite.
INFINITE = [
    ("cross_entropy", -np.inf, 0.0, True),
    ("cross_entropy", -np.inf, 0.5, False),
    ("binary_cross_entropy", -np.inf, 0.0, True),
    ("binary_cross_entropy", np.inf, 1.0, True),
    ("binary_cross_entropy", -np.inf, 1.0, False),
    ("binary_cross_entropy", np.inf, 0.5, False),
    ("binary_cross_entropy", -np.inf, 0.5, False),
    ("binary_cross_entropy", np.inf, 0.0, False),
    ("poisson", -np.inf, 0.0, True),
    ("poisson", -np.inf, 2.0, False),
]


@pytest.mark.parametrize(("kind", "logit", "target", "finite"), INFINITE)
@pytest.mark.parametrize("outputs", [3, 37])
def test_an_infinite_logit_costs_nothing_where_it_is_right(kind, logit, target, finite, outputs):
    """A bias of -inf rules a class out; what it says is certain, so the loss is 0 or infinite."""
    net = bp.Network([outputs, outputs], rng=0, dtype="float64")
    net.params["0.kernel"][...] = np.eye(outputs)
    net.params["0.bias"][1] = logit
    draw = np.random.default_rng(outputs)
    x = draw.normal(size=(35, outputs))
    y = draw.uniform(0.1, 0.4, size=x.shape)
    y[:, 1] = target
    z = np.where(np.arange(outputs) == 1, logit, x)
    value, slope = losses.loss(kind, 0.0, z, y)
    got = net.loss_and_gradient(x, y, loss=kind)
    assert np.isfinite(value) == finite
    assert got == pytest.approx(value, rel=1e-12)
    assert net.evaluate(x, y, loss=kind)["loss"] == pytest.approx(value, rel=1e-12)
    assert net.grads["0.kernel"] == pytest.approx(x.T @ slope, rel=1e-12, abs=1e-14)
    if kind == "cross_entropy":  # the same by class labels
        labels = draw.choice([0, 2], size=35)
        onehot = losses.one_hot(labels, outputs)
        value, _ = losses.loss(kind, 0.0, z, onehot)
        assert net.loss_and_gradient(x, labels, loss=kind) == pytest.approx(value, rel=1e-12)
        labels[3] = 1
        assert net.loss_and_gradient(x, labels, loss=kind) == np.inf


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=repr)
def test_regularizer(regularizer, rng, seed):
    options = {"weight_regularizer": regularizer, "bias_regularizer": regularizer}
    layers = [bp.Dense(20, "tanh", **options), bp.Dense(3, **options)]
    net = double_net(layers, 4, seed)
    X, y = rng.normal(size=(9, 4)), rng.normal(size=(9, 3))
    value, gradients = reference.loss_and_gradient(layers, net.params, X, y, "mse")
    assert net.loss_and_gradient(X, y, loss="mse") == pytest.approx(value, rel=CLOSE)
    for name, g in net.grads.items():
        assert relative(g, gradients[name]) <= CLOSE, name
    bare, _ = reference.loss_and_gradient(
        [bp.Dense(20, "tanh"), bp.Dense(3)], net.params, X, y, "mse"
    )
    before = values(net)
    history = net.fit(X, y, loss="mse", optimizer=bp.SGD(0.1), epochs=1, batch_size=9).history
    assert history["loss"][0] == pytest.approx(bare, rel=CLOSE)
    after, _ = reference.loss_and_gradient(layers, net.params, X, y, "mse")
    bare, _ = reference.loss_and_gradient(
        [bp.Dense(20, "tanh"), bp.Dense(3)], net.params, X, y, "mse"
    )
    assert history["penalty"][0] == pytest.approx(after - bare, rel=1e-9)  # a difference
    for name, w in net.params.items():
        assert relative(w, before[name] - 0.1 * gradients[name]) <= CLOSE, name


# ---- steps --------------------------------------------------------------------------------------

LIMITS = [{}, {"clip_norm": 0.05}, {"clip_norm": 1e6}, {"clip_value": 0.004}]
LIMITS += [{"clip_norm": 0.05, "clip_value": 0.004}]


@pytest.mark.parametrize("limits", LIMITS, ids=repr)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_optimizer(optimizer, limits, rng, seed):
    """Eight full-batch steps, by `fit` and by `loss_and_gradient` and `step`."""
    optimizer = optimizer.replace(**limits)
    layers = [bp.Dense(18, "tanh"), bp.Dense(3)]
    net = double_net(layers, 5, seed)
    other = net.clone()
    X, y = rng.normal(size=(20, 5)), rng.normal(size=(20, 3))
    params, states = values(net), defaultdict(dict)
    for t in range(1, 9):
        _, gradients = reference.loss_and_gradient(layers, params, X, y, "mse")
        params = optimizers.step(optimizer, params, gradients, states, t)
        other.loss_and_gradient(X, y, loss="mse")
        other.step(optimizer)
    net.fit(X, y, loss="mse", optimizer=optimizer, epochs=8, batch_size=20, shuffle=False)
    for name, w in params.items():
        assert relative(net.params[name], w) <= CLOSE, name
    assert same_bits(net.parameters, other.parameters)


def test_rprop_takes_turns():
    """A parabola in one weight: the step grows, overshoots, turns, rests and shrinks."""
    net = bp.Network(
        [bp.Dense(1, use_bias=False, weight_init=np.array([[1.0]]))],
        input_shape=1,
        dtype="float64",
        rng=0,
    )
    optimizer = bp.Rprop(0.4, etas=(0.5, 1.5), step_limits=(0.15, 0.7))
    w, states, path = {"0.kernel": np.array([[1.0]])}, defaultdict(dict), []
    for t in range(1, 12):
        w = optimizers.step(optimizer, w, {"0.kernel": w["0.kernel"].copy()}, states, t)
        net.loss_and_gradient([[1.0]], [[0.0]], loss="half_squared_error")
        net.step(optimizer)
        assert net.params["0.kernel"] == pytest.approx(w["0.kernel"], rel=CLOSE)
        path.append(float(w["0.kernel"][0, 0]))
    assert path[:2] == pytest.approx([0.6, 0.0])
    assert min(path) < 0 < max(path[2:])


CONSTRAINTS = [bp.MaxNorm(0.7), bp.NonNegative()]


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=repr)
@pytest.mark.parametrize("optimizer", [bp.SGD(0.2), bp.Adam(0.05)], ids=repr)
def test_constraint(constraint, optimizer, rng, seed):
    layers = [
        bp.Dense(34, "tanh", weight_constraint=constraint),
        bp.Dense(2, weight_constraint=constraint),
    ]
    net = double_net(layers, 40, seed)
    X, y = rng.normal(size=(20, 40)), rng.normal(size=(20, 2))
    params, states = values(net), defaultdict(dict)
    for t in range(1, 4):
        _, gradients = reference.loss_and_gradient(layers, params, X, y, "mse")
        params = optimizers.step(optimizer, params, gradients, states, t)
        params = reference.constrained(layers, params)
    net.fit(X, y, loss="mse", optimizer=optimizer, epochs=3, batch_size=20)
    for name, w in params.items():
        assert relative(net.params[name], w) <= CLOSE, name
    if isinstance(constraint, bp.MaxNorm):
        norms = np.linalg.norm(net.params["0.kernel"], axis=0)
        assert norms.max() == pytest.approx(0.7, rel=CLOSE)
    else:
        assert net.params["0.kernel"].min() == 0.0


# ---- schedules ----------------------------------------------------------------------------------

SCHEDULES = {
    "inverse_time": (schedules.InverseTime(0.5), lambda e: 0.1 / (1 + 0.5 * int(e))),
    "step": (schedules.Step(2, 0.3), lambda e: 0.1 * 0.3 ** (int(e) // 2)),
    "exponential": (schedules.Exponential(0.8), lambda e: 0.1 * 0.8 ** int(e)),
    "cosine": (
        schedules.Cosine(4, minimum=0.01),
        lambda e: 0.01 + 0.09 * (1 + np.cos(np.pi * e / 4)) / 2,
    ),
    "warm-up": (
        schedules.Cosine(4, warmup_epochs=1),
        lambda e: 0.1 * e if e < 1 else 0.05 * (1 + np.cos(np.pi * (e - 1) / 3)),
    ),
    "function": (lambda epoch, initial: initial / (epoch + 1), lambda e: 0.1 / (int(e) + 1)),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name, rng, seed):
    """The rate of every step, and its record at the beginning of each epoch."""
    schedule, rate = SCHEDULES[name]
    layers = [bp.Dense(3, "tanh"), bp.Dense(1)]
    net = double_net(layers, 2, seed)
    X, y = rng.normal(size=(10, 2)), rng.normal(size=(10, 1))
    params, batches = values(net), [slice(0, 4), slice(4, 8), slice(8, 10)]
    for epoch in range(4):
        for i, batch in enumerate(batches):
            _, g = reference.loss_and_gradient(layers, params, X[batch], y[batch], "mse")
            params = {k: w - rate(epoch + i / 3) * g[k] for k, w in params.items()}
    history = net.fit(
        X,
        y,
        loss="mse",
        optimizer=bp.SGD(0.1),
        epochs=4,
        batch_size=4,
        shuffle=False,
        schedule=schedule,
    ).history
    assert history["learning_rate"] == pytest.approx([rate(e) for e in range(4)], rel=1e-13)
    for key, w in params.items():
        assert relative(net.params[key], w) <= CLOSE, key


# ---- metrics ------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("rows", [7, 150])
def test_metrics_of_real_targets(weighted, rows, rng, seed):
    """Of full batches: measured before each step, validation after it, evaluate at any time."""
    net = double_net([bp.Dense(5, "tanh"), bp.Dense(3)], 4, seed)
    X, y = rng.normal(size=(rows, 4)), rng.normal(size=(rows, 3))
    Xv, yv = rng.normal(size=(rows + 3, 4)), rng.normal(size=(rows + 3, 3))
    w = rng.uniform(0, 2, size=rows) if weighted else np.ones(rows)
    wv = rng.uniform(0, 2, size=rows + 3) if weighted else np.ones(rows + 3)
    names = ["mse", "mae", "r2"]
    before = [getattr(reference, n)(net.predict(X), y, w) for n in names]
    history = net.fit(
        X,
        y,
        loss="mae",
        epochs=3,
        batch_size=rows,
        metrics=names,
        sample_weight=w if weighted else None,
        validation_data=(Xv, yv, wv) if weighted else (Xv, yv),
    ).history
    after = [getattr(reference, n)(net.predict(Xv), yv, wv) for n in names]
    assert [history[n][0] for n in names] == pytest.approx(before, rel=CLOSE)
    assert [history[f"val_{n}"][-1] for n in names] == pytest.approx(after, rel=CLOSE)
    assert history["val_loss"][-1] == pytest.approx(after[1], rel=CLOSE)
    scores = net.evaluate(Xv, yv, sample_weight=wv)
    assert [scores[n] for n in names] == pytest.approx(after, rel=CLOSE)


def right_rows(name: str, output: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The share of right labels of each row, from the network's output."""
    if name == "classes":
        return output.argmax(axis=1) == y
    if name == "one_hot":
        return output.argmax(axis=1) == y.argmax(axis=1)
    return ((output > 0) == (y > 0.5)).mean(axis=1)  # logits: probability above a half


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", ["classes", "one_hot", "labels", "one output"])
def test_accuracy(name, weighted, rng, seed):
    outputs = 1 if name == "one output" else 4
    net = double_net([bp.Dense(5, "tanh"), bp.Dense(outputs)], 3, seed)
    X, w = rng.normal(size=(150, 3)), rng.uniform(0, 2, size=150) if weighted else np.ones(150)
    y = rng.integers(4, size=150) if name == "classes" else rng.integers(2, size=(150, outputs))
    if name == "one_hot":
        y = losses.one_hot(rng.integers(4, size=150), 4)
    loss = "cross_entropy" if name in ("classes", "one_hot") else "binary_cross_entropy"
    before = reference.accuracy(right_rows(name, net.predict(X), y), w)
    data = (X, y, w) if weighted else (X, y)
    history = net.fit(
        X,
        y,
        loss=loss,
        epochs=1,
        batch_size=150,
        metrics="accuracy",
        sample_weight=w if weighted else None,
        validation_data=data,
    ).history
    after = reference.accuracy(right_rows(name, net.predict(X), y), w)
    assert history["accuracy"][0] == pytest.approx(before, rel=CLOSE)
    assert history["val_accuracy"][0] == pytest.approx(after, rel=CLOSE)


def test_r2_of_a_constant_target():
    """As scikit-learn: 1 when it is met exactly, else 0; the mean over outputs."""
    net = bp.Network([bp.Dense(2, weight_init="zeros")], input_shape=1, dtype="float64", rng=0)
    scores = net.evaluate([[1.0], [2.0]], [[0, 1], [0, 1]], loss="mse", metrics="r2")
    assert scores["r2"] == 0.5


# ---- class weights ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["labels", "one_hot", "one output"])
@pytest.mark.parametrize("given", [{0: 0.5, 1: 3.0}, {1: 0.0}, "balanced"], ids=repr)
def test_class_weight_is_a_sample_weight(form, given, rng, seed):
    outputs = 1 if form == "one output" else 3
    classes = 2 if form == "one output" else 3
    labels = rng.choice(classes, size=60, p=[0.2, 0.8] if classes == 2 else [0.2, 0.3, 0.5])
    counts = np.bincount(labels, minlength=classes)
    if given == "balanced":
        table = len(labels) / ((counts > 0).sum() * np.maximum(counts, 1))
    else:
        table = np.array([given.get(c, 1.0) for c in range(classes)])
    y = losses.one_hot(labels, 3) if form == "one_hot" else labels
    base = rng.uniform(0.5, 2, size=60)
    loss = "binary_cross_entropy" if outputs == 1 else "cross_entropy"
    X = rng.normal(size=(60, 4))
    options = {"loss": loss, "epochs": 2, "batch_size": 16}
    nets = [double_net([bp.Dense(5, "tanh"), bp.Dense(outputs)], 4, seed) for _ in range(2)]
    nets[0].fit(X, y, sample_weight=base, class_weight=given, **options)
    nets[1].fit(X, y, sample_weight=base * table[labels], **options)
    assert same_bits(nets[0].parameters, nets[1].parameters)


def test_batch_of_zero_weight_makes_no_step(rng, seed):
    layers = [bp.Dense(2)]
    nets = [double_net(layers, 3, seed), double_net([bp.Dense(2)], 3, seed)]
    X, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    weights = np.array([1, 2, 1, 1, 0, 0, 0, 0.0])
    options = {"loss": "mse", "epochs": 1, "batch_size": 4, "shuffle": False}
    nets[0].fit(X, y, sample_weight=weights, **options)
    nets[1].fit(X[:4], y[:4], sample_weight=weights[:4], **options)
    assert same_bits(nets[0].parameters, nets[1].parameters)
    assert nets[0].history.history["loss"] == nets[1].history.history["loss"]
