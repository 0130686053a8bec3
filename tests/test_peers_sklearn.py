"""Update rules, loss curves, metrics and class weights are scikit-learn's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from peers import require

import bpfast as bp

metrics = require("sklearn.metrics")
peers = require("sklearn.neural_network")
rules = require("sklearn.neural_network._stochastic_optimizers")
weighing = require("sklearn.utils.class_weight")
ConvergenceWarning = require("sklearn.exceptions").ConvergenceWarning

EPS = np.finfo(np.float64).eps
STEPS = 100


# ---- optimizers on given gradients ----------------------------------------------------------


def gradients(net, rng):
    """100 vectors of gradients whose elements differ in size from each other, not over time."""
    size = 10.0 ** rng.integers(-3, 3, size=net.gradients.size)
    for _ in range(STEPS):
        yield size * (rng.normal(size=size.size) + 0.5)


def check_rule(net, rule, peer, params, rng):
    """Feed both the same gradients; `rule(t)` is our optimizer of step t, from 1."""
    for t, g in enumerate(gradients(net, rng), start=1):
        ours = rule(t)  # first, since it may change the peer's rate
        net.gradients[...] = g
        peer.update_params(params, [view.copy() for view in net.grads.values()])
        net.step(ours)
        # A step is some ten roundings of numbers that do not cancel, and its error is about that of
        # the largest velocity; t of them, and the subtractions from the weights, add up.
        theirs = np.concatenate([p.ravel() for p in params])
        assert np.abs(net.parameters - theirs).max() <= 10 * t * EPS * np.abs(theirs).max()


@pytest.fixture
def net(rng):
    net = bp.Network([6, 5, 3], dtype="float64", rng=3)
    net.parameters[...] = rng.normal(size=net.parameters.size)
    return net


@pytest.fixture
def params(net):
    return [view.copy() for view in net.params.values()]


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_momentum(momentum, nesterov, net, params, rng):
    peer = rules.SGDOptimizer(params, 0.01, momentum=momentum, nesterov=nesterov)
    ours = bp.SGD(0.01, momentum=momentum, nesterov=nesterov)
    check_rule(net, lambda t: ours, peer, params, rng)


def test_momentum_with_a_changing_rate(net, params, rng):
    """The rate is inside the velocity: a change of it does not touch the steps on their way."""
    peer = rules.SGDOptimizer(params, 0.01, momentum=0.9, nesterov=False)

    def rule(t):
        peer.learning_rate = 0.01 / t**0.5
        return bp.SGD(peer.learning_rate, momentum=0.9)

    check_rule(net, rule, peer, params, rng)


@pytest.mark.parametrize("epsilon", [1e-8, 1e-2])
def test_adam(epsilon, net, params, rng):
    """The same but for epsilon's place, which is bridged step by step.

    scikit-learn: lr c / (1 - b1^t) m / (sqrt(v) + eps) with c = sqrt(1 - b2^t); here, Algorithm 1:
    lr / (1 - b1^t) m / (sqrt(v) / c + eps'). They are equal for eps' = eps / c.
    """
    peer = rules.AdamOptimizer(params, 0.01, beta_1=0.8, beta_2=0.99, epsilon=epsilon)

    def rule(t):
        scaled = epsilon / np.sqrt(1 - 0.99**t)
        return bp.Adam(0.01, beta_1=0.8, beta_2=0.99, epsilon=float(scaled))

    check_rule(net, rule, peer, params, rng)


# ---- whole trainings ------------------------------------------------------------------------

EPOCHS, ROWS, BATCH = 8, 150, 32  # the last batch has 22 rows


def drawn(kind):
    """The estimator class, made to keep a copy of the weights that it draws."""

    class Drawn(kind):
        def _init_coef(self, fan_in, fan_out, dtype):
            coef, intercept = super()._init_coef(fan_in, fan_out, dtype)
            self.start = [*getattr(self, "start", []), coef.copy(), intercept.copy()]
            return coef, intercept

    return Drawn


def train(kind, X, y, **options):
    """scikit-learn's estimator after EPOCHS epochs without shuffling, penalty or early end."""
    defaults = {"activation": "tanh", "random_state": 0, "alpha": 0.0}
    fixed = {"shuffle": False, "max_iter": EPOCHS, "batch_size": BATCH, "n_iter_no_change": EPOCHS}
    peer = drawn(kind)(hidden_layer_sizes=(11, 6), tol=0.0, **fixed, **{**defaults, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return peer.fit(X, y)


def same_start(peer, outputs, output="identity", **dense):
    """Our network with the weights that the estimator began with."""
    inside = {"logistic": "sigmoid"}.get(peer.activation, peer.activation)
    layers = [bp.Dense(n, inside, **dense) for n in peer.hidden_layer_sizes]
    layers.append(bp.Dense(outputs, output, **dense))
    net = bp.Network(layers, input_shape=peer.n_features_in_, dtype="float64")
    net.parameters[...] = np.concatenate([values.ravel() for values in peer.start])
    return net


def fit(net, X, y, **options):
    return net.fit(X, y, epochs=EPOCHS, batch_size=BATCH, shuffle=False, **options).history


def end(peer):
    """The estimator's weights in our order."""
    pairs = zip(peer.coefs_, peer.intercepts_, strict=True)
    return np.concatenate([values.ravel() for pair in pairs for values in pair])


def same(ours, theirs):
    """Losses of 40 steps: 1e-10 leaves a factor of 1e4 for what the steps amplify."""
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


SGD = {"solver": "sgd", "learning_rate_init": 0.05, "momentum": 0.9}
SOLVERS = {
    "momentum": (bp.SGD(0.05, momentum=0.9), {**SGD, "nesterovs_momentum": False}),
    "nesterov": (bp.SGD(0.05, momentum=0.9, nesterov=True), {**SGD, "nesterovs_momentum": True}),
    # An epsilon that vanishes beside sqrt(v) has the same place everywhere.
    "adam": (
        bp.Adam(0.01, epsilon=1e-200),
        {"solver": "adam", "learning_rate_init": 0.01, "epsilon": 1e-200},
    ),
}
each_solver = pytest.mark.parametrize("solver", SOLVERS)


def data(rng, outputs):
    X = rng.normal(size=(ROWS, 5))
    return X, X @ rng.normal(size=(5, outputs)) + rng.normal(size=(ROWS, outputs))


@each_solver
@pytest.mark.parametrize("activation", ["tanh", "relu", "logistic", "identity"])
def test_classifier(activation, solver, rng):
    optimizer, options = SOLVERS[solver]
    X, scores = data(rng, 4)
    y = scores.argmax(axis=1)
    peer = train(peers.MLPClassifier, X, y, activation=activation, **options)
    net = same_start(peer, 4)
    history = fit(net, X, y, loss="cross_entropy", optimizer=optimizer)
    same(history["loss"], peer.loss_curve_)
    np.testing.assert_allclose(net.parameters, end(peer), rtol=0, atol=1e-10)
    np.testing.assert_allclose(net.predict_proba(X), peer.predict_proba(X), rtol=0, atol=1e-10)
    assert np.array_equal(net.predict_classes(X), peer.predict(X))


@each_solver
@pytest.mark.parametrize("output", ["identity", "sigmoid"])
def test_binary_classifier(output, solver, rng):
    optimizer, options = SOLVERS[solver]
    X, scores = data(rng, 1)
    y = (scores[:, 0] > 0.3).astype(int)
    peer = train(peers.MLPClassifier, X, y, **options)
    net = same_start(peer, 1, output)
    history = fit(net, X, y, loss="binary_cross_entropy", optimizer=optimizer)
    same(history["loss"], peer.loss_curve_)
    assert np.array_equal(net.predict_classes(X), peer.predict(X))


def test_multilabel_classifier(rng):
    """scikit-learn sums over the labels where we take the mean, in the gradient too."""
    X, scores = data(rng, 3)
    y = (scores > 0).astype(int)
    peer = train(peers.MLPClassifier, X, y, solver="sgd", learning_rate_init=0.05, momentum=0.0)
    net = same_start(peer, 3)
    history = fit(net, X, y, loss="binary_cross_entropy", optimizer=bp.SGD(3 * 0.05))
    same(3 * np.array(history["loss"]), peer.loss_curve_)
    assert np.array_equal(net.predict_classes(X), peer.predict(X))


@each_solver
@pytest.mark.parametrize("outputs", [1, 3])
def test_regressor(outputs, solver, rng):
    """Its loss is half the mean over outputs, its gradient that of half the sum."""
    optimizer, options = SOLVERS[solver]
    X, y = data(rng, outputs)
    peer = train(peers.MLPRegressor, X, y if outputs > 1 else y[:, 0], **options)
    net = same_start(peer, outputs)
    history = fit(net, X, y, loss="half_squared_error", optimizer=optimizer)
    same(np.array(history["loss"]) / outputs, peer.loss_curve_)
    np.testing.assert_allclose(net.parameters, end(peer), rtol=0, atol=1e-10)


def test_l2_is_alpha_over_the_batch(rng):
    """alpha / 2 sum w^2, divided by the batch's rows like its loss, biases left out.

    Its loss curve holds the penalty of each batch, our history that of the epoch's end beside the
    loss: the weights are compared.
    """
    X, y = data(rng, 2)
    X, y, alpha = X[: 4 * BATCH], y[: 4 * BATCH], 0.7
    optimizer, options = SOLVERS["momentum"]
    peer = train(peers.MLPRegressor, X, y, **{**options, "alpha": alpha})
    net = same_start(peer, 2, weight_regularizer=bp.L2(alpha / BATCH))
    history = fit(net, X, y, loss="half_squared_error", optimizer=optimizer)
    np.testing.assert_allclose(net.parameters, end(peer), rtol=0, atol=1e-10)
    penalty = alpha / BATCH / 2 * sum((c**2).sum() for c in peer.coefs_)
    assert history["penalty"][-1] == pytest.approx(penalty, rel=1e-10)


# ---- metrics and class weights --------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
def test_regression_metrics(outputs, weighted, rng):
    X, y = data(rng, outputs)
    weights = rng.uniform(0, 2, ROWS) if weighted else None
    net = bp.Network([5, 4, outputs], dtype="float64", rng=1)
    found = net.evaluate(X, y, loss="mse", metrics=["mse", "mae", "r2"], sample_weight=weights)
    output = net.predict(X)
    for name, function in (
        ("mse", metrics.mean_squared_error),
        ("mae", metrics.mean_absolute_error),
        ("r2", metrics.r2_score),
        ("loss", metrics.mean_squared_error),
    ):
        expected = function(y, output, sample_weight=weights)
        assert found[name] == pytest.approx(expected, rel=1e-13), name


def test_r2_of_constant_targets(rng):
    """1 where they are met exactly, else 0, averaged over the outputs as they are."""
    X, y = data(rng, 3)
    net = bp.Network([5, 3], dtype="float64", rng=1)
    net.params["0.kernel"][:, :2] = 0.0
    net.params["0.bias"][...] = [2.0, 2.0, 0.5]
    y[:, 0], y[:, 1] = 2.0, 1.0
    found = net.evaluate(X, y, loss="mse", metrics=["r2"])["r2"]
    assert found == pytest.approx(metrics.r2_score(y, net.predict(X)), rel=1e-13)


@pytest.mark.parametrize("weighted", [False, True])
def test_accuracy_and_log_loss(weighted, rng):
    X, scores = data(rng, 4)
    y = scores.argmax(axis=1)
    weights = rng.uniform(0, 2, ROWS) if weighted else None
    net = bp.Network([5, 6, 4], dtype="float64", rng=1)
    history = fit(net, X, y, loss="cross_entropy", metrics=["accuracy"], validation_data=(X, y))
    found = net.evaluate(X, y, sample_weight=weights)
    guess, shares = net.predict_classes(X), net.predict_proba(X)
    expected = metrics.accuracy_score(y, guess, sample_weight=weights)
    assert found["accuracy"] == pytest.approx(expected, rel=1e-13)
    expected = metrics.log_loss(y, shares, sample_weight=weights)
    assert found["loss"] == pytest.approx(expected, rel=1e-13)
    assert history["val_accuracy"][-1] == metrics.accuracy_score(y, guess)


@pytest.mark.parametrize("missing", [None, 2])
def test_balanced_class_weights(missing, rng):
    """As compute_class_weight("balanced"); a class without rows counts in neither."""
    classes = np.array([k for k in range(4) if k != missing])
    X = rng.normal(size=(ROWS, 5))
    y = rng.choice(classes, size=ROWS)
    y[: ROWS // 2] = 0
    table = weighing.compute_class_weight("balanced", classes=classes, y=y)
    options = {"loss": "cross_entropy", "metrics": ["accuracy"]}
    ends = []
    for how in (
        {"class_weight": "balanced"},
        {"class_weight": dict(zip(classes.tolist(), table.tolist(), strict=True))},
        {"sample_weight": weighing.compute_sample_weight("balanced", y)},
    ):
        net = bp.Network([5, 6, 4], dtype="float64", rng=1)
        history = fit(net, X, y, **options, **how)
        ends.append([*net.parameters, *history["loss"], *history["accuracy"]])
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ends[2], ends[0], rtol=1e-12, atol=1e-14)


def test_balanced_class_weights_of_two_classes(rng):
    X = rng.normal(size=(ROWS, 5))
    y = (rng.random(ROWS) < 0.2).astype(int)
    ends = []
    for how in (
        {"class_weight": "balanced"},
        {"sample_weight": weighing.compute_sample_weight("balanced", y)},
    ):
        net = bp.Network([5, 6, 1], dtype="float64", rng=1)
        history = fit(net, X, y, loss="binary_cross_entropy", **how)
        ends.append([*net.parameters, *history["loss"]])
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-12, atol=1e-14)
