"""What the estimators have beyond scikit-learn's: layers, losses, weights, callbacks, networks."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from cases import same_bits
from peers import require

import bpfast as bp

require("sklearn")
from sklearn.exceptions import ConvergenceWarning  # noqa: E402

from bpfast.sklearn import MLPClassifier, MLPRegressor, QuantileMLPRegressor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(7)
X = RNG.normal(size=(120, 5))
SCORES = X @ RNG.normal(size=(5, 3))
CLASSES = np.array(["high", "low", "mid"])[SCORES.argmax(axis=1)]
Y = SCORES[:, 0]


def weights(est) -> np.ndarray:
    return est.network_.parameters


# ---- layers -------------------------------------------------------------------------------------

LAYERS = {
    "dropout": ({"dropout": 0.2}, ["Dense", "Dropout"] * 3 + ["Dense"]),
    "batch_norm": (
        {"batch_norm": True},
        ["Dense", "BatchNorm", "Activation"] * 3 + ["Dense"],
    ),
    "layer_norm": (
        {"layer_norm": True, "dropout": 0.1},
        ["Dense", "LayerNorm", "Activation", "Dropout"] * 3 + ["Dense"],
    ),
    "residual": ({"residual": True}, ["Dense", "Residual", "Residual", "Dense"]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    options, kinds = LAYERS[name]
    est = MLPClassifier((16, 16, 8), max_iter=60, random_state=0, learning_rate_init=0.01)
    est.set_params(**options).fit(X, CLASSES)
    assert [type(layer).__name__ for layer in est.network_.layers] == kinds
    assert est.score(X, CLASSES) > 0.9
    assert len(est.intercepts_) == 4
    assert len(est.coefs_) == (5 if name == "residual" else 4)  # 16 to 8 is projected


@pytest.mark.parametrize("activation", [n for n in bp.activations.NAMES if n != "softmax"])
def test_every_activation(activation):
    est = MLPRegressor(activation=activation, max_iter=5, random_state=0).fit(X, Y)
    assert est.network_.layers[0].activation == activation
    assert np.isfinite(est.predict(X)).all()


def test_logistic_is_sigmoid():
    fits = [MLPRegressor(activation=a, max_iter=3, random_state=0) for a in ("logistic", "sigmoid")]
    assert same_bits(*(weights(est.fit(X, Y)) for est in fits))


@pytest.mark.parametrize(
    "loss", ["mse", "mae", "absolute_error", "huber", bp.losses.Huber(0.3), bp.losses.Quantile(0.9)]
)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_losses(loss, solver):
    est = MLPRegressor(loss, max_iter=300, learning_rate_init=0.01, random_state=0, solver=solver)
    est.fit(X, Y)
    assert est.score(X, Y) > 0.8
    if isinstance(loss, bp.losses.Quantile):
        assert (est.predict(X) >= Y).mean() > 0.8


def test_label_smoothing_keeps_probabilities_from_the_ends():
    fits = [
        MLPClassifier(label_smoothing=s, max_iter=300, learning_rate_init=0.02, random_state=0)
        for s in (0.0, 0.3)
    ]
    sure, smooth = (est.fit(X, CLASSES).predict_proba(X).max(axis=1).mean() for est in fits)
    assert smooth < sure - 0.1


def test_penalty_leaves_scales_of_normalisation_alone():
    """alpha is about kernels: without a gradient of the loss only these shrink."""
    est = MLPRegressor(batch_norm=True, alpha=1.0, solver="sgd", momentum=0.0, max_iter=1)
    est.set_params(learning_rate_init=0.1, random_state=0, batch_size=len(X))
    start = MLPRegressor(**est.get_params()).set_params(alpha=0.0).fit(X, Y)
    est.fit(X, Y)
    assert same_bits(est.network_.params["1.gamma"], start.network_.params["1.gamma"])
    assert not same_bits(est.coefs_[0], start.coefs_[0])


# ---- rows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", ["balanced", {"high": 5.0, "low": 0.5}])
def test_class_weight_is_a_sample_weight(weight):
    from sklearn.utils.class_weight import compute_sample_weight

    with_class = MLPClassifier(class_weight=weight, max_iter=5, random_state=0).fit(X, CLASSES)
    rows = compute_sample_weight(weight, CLASSES)
    with_rows = MLPClassifier(max_iter=5, random_state=0).fit(X, CLASSES, rows)
    assert same_bits(weights(with_class), weights(with_rows))


def test_weights_of_partial_fit():
    est = MLPRegressor(random_state=0).partial_fit(X, Y, np.r_[np.ones(60), np.zeros(60)])
    half = MLPRegressor(random_state=0).partial_fit(X[:60], Y[:60])
    np.testing.assert_allclose(weights(est), weights(half), atol=1e-12)
    with pytest.raises(ValueError, match="balanced"):
        MLPClassifier(class_weight="balanced").partial_fit(X, CLASSES, classes=np.unique(CLASSES))


@pytest.mark.parametrize("stops", [False, True])
def test_validation_data(stops):
    held = (X[:40], CLASSES[:40], np.ones(40))
    est = MLPClassifier(random_state=0, max_iter=7, early_stopping=stops)
    est.fit(X[40:], CLASSES[40:], validation_data=held)
    plain = MLPClassifier(random_state=0, max_iter=7).fit(X[40:], CLASSES[40:])
    assert len(est.validation_loss_curve_) == 7
    if stops:
        assert est.best_validation_score_ == max(est.validation_scores_)
    else:
        assert same_bits(weights(est), weights(plain))
        found = est.network_.evaluate(*plain_rows(held[0], held[1]), loss="cross_entropy")["loss"]
        assert est.validation_loss_curve_[-1] == pytest.approx(found)
    assert plain.validation_loss_curve_ == []


def plain_rows(X: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return X, np.unique(CLASSES).searchsorted(classes)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_inputs_keep_their_type(dtype, solver):
    rows = (10 * X).astype(dtype)
    est = MLPRegressor(solver=solver, max_iter=5, random_state=0).fit(rows, Y)
    expected = "float32" if dtype == "float32" else "float64"
    assert {a.dtype.name for a in (*est.coefs_, *est.intercepts_)} == {expected}
    assert est.predict(rows).dtype == expected


@pytest.mark.parametrize("more", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
def test_sparse_rows(more):
    sparse = require("scipy.sparse")
    rows = np.where(np.abs(X) > 1, X, 0.0)
    options = {"max_iter": 5, "random_state": 0, **more}
    est = MLPClassifier(**options).fit(rows, CLASSES)
    for form in (sparse.csr_matrix, sparse.csr_array, sparse.csc_array):
        other = MLPClassifier(**options).fit(form(rows), CLASSES)
        assert same_bits(weights(est), weights(other))
        assert same_bits(est.predict_proba(rows), est.predict_proba(form(rows)))
    one = sparse.csr_array(rows)
    twice = sparse.csr_array(  # each value as two halves
        (np.repeat(one.data / 2, 2), np.repeat(one.indices, 2), 2 * one.indptr), shape=one.shape
    )
    assert same_bits(weights(est), weights(MLPClassifier(**options).fit(twice, CLASSES)))
    assert same_bits(est.predict_proba(rows), est.predict_proba(twice))
    assert twice.nnz == 2 * one.nnz


def test_strata_of_more_classes():
    """Held-out rows have every class in its share, where that is possible."""
    y = np.repeat([0, 1, 2], [80, 30, 10])
    est = MLPClassifier(early_stopping=True, validation_fraction=0.1, random_state=0, max_iter=2)
    kept, target, _, held = est.fit(X, y)._hold_out(X, y, None, np.random.RandomState(0))
    assert np.bincount(held.y).tolist() == [8, 3, 1]
    assert len(kept) == len(target) == 108
    est.fit(X, np.r_[y[:-1], 7])  # a class of one row


# ---- the course of a fit ------------------------------------------------------------------------


def test_callbacks_and_schedule():
    seen = []
    watch = bp.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["learning_rate"]))
    est = MLPRegressor(solver="sgd", max_iter=6, random_state=0, callbacks=[watch])
    est.set_params(schedule=bp.schedules.Step(2, 0.5), learning_rate_init=0.08).fit(X, Y)
    assert seen == [0.08, 0.08, 0.04, 0.04, 0.02, 0.02]


def test_a_callback_stops():
    stop = bp.LambdaCallback(on_epoch_end=lambda epoch, logs: epoch == 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        est = MLPRegressor(callbacks=[stop]).fit(X, Y)
    assert est.n_iter_ == 4
    best = bp.EarlyStopping("val_loss", patience=2)
    est = MLPRegressor(callbacks=[best], learning_rate_init=0.3, random_state=0, max_iter=500)
    est.fit(X[30:], Y[30:], validation_data=(X[:30], Y[:30]))
    assert est.n_iter_ == best.stopped_epoch + 1
    found = est.network_.evaluate(X[:30], Y[:30])["loss"]
    assert found == pytest.approx(min(est.validation_loss_curve_))


@pytest.mark.parametrize("name", ["clip_norm", "clip_value"])
def test_clipping(name):
    """So small a limit is all that is left of the gradient."""
    options = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 1.0, "max_iter": 1}
    est = MLPRegressor(random_state=0, **{name: 1e-9}, **options).fit(X, 1e3 * Y)
    start = MLPRegressor(random_state=0, **{**options, "learning_rate_init": 1e-30}).fit(X, Y)
    assert 0 < np.abs(weights(est) - weights(start)).max() < 1.01e-9


def test_threads_do_not_show():
    fits = [MLPClassifier(n_jobs=n, max_iter=5, random_state=0) for n in (None, 1, 2, -1)]
    first, *others = (weights(est.fit(X, CLASSES)) for est in fits)
    assert all(same_bits(first, other) for other in others)
    assert fits[1].network_.n_threads == 1


# ---- a network of one's own ---------------------------------------------------------------------


def test_a_network_is_copied():
    net = bp.Network([5, 9, 3], dtype="float32", rng=3)
    before = net.parameters.copy()
    est = MLPClassifier(network=net, max_iter=10)
    first = weights(est.fit(X, CLASSES)).copy()
    assert same_bits(net.parameters, before)
    assert same_bits(weights(est.fit(X, CLASSES)), first)
    assert est.network_.sizes == "5-9-3"
    assert est.predict_proba(X).sum(axis=1) == pytest.approx(np.ones(len(X)), abs=1e-6)
    assert est.coefs_[0].dtype == np.float32


def test_a_function_makes_a_network():
    def make(inputs: int, outputs: int, rng: int) -> bp.Network:
        layers = [bp.Reshape((inputs, 1)), bp.Conv1D(4, 3), bp.Flatten(), bp.Dense(outputs)]
        return bp.Network(layers, input_shape=inputs, rng=rng)

    est = MLPRegressor(network=make, random_state=0, max_iter=50).fit(X, Y)
    again = MLPRegressor(network=make, random_state=0, max_iter=50).fit(X, Y)
    assert same_bits(est.predict(X), again.predict(X))
    with pytest.raises(ValueError, match="network must have 5 inputs and 3 outputs"):
        MLPClassifier(network=bp.Network([5, 2], rng=0)).fit(X, CLASSES)


def test_weights_may_be_replaced():
    est = MLPRegressor(hidden_layer_sizes=4, max_iter=3, random_state=0).fit(X, Y)
    est.coefs_[1] = np.zeros((4, 1))
    est.intercepts_ = [est.intercepts_[0], np.array([2.5])]
    assert np.array_equal(est.predict(X), np.full(len(X), 2.5))
    est.coefs_[0] = np.zeros((3, 4))
    with pytest.raises(bp.ShapeError, match="coefs_ must have the shapes"):
        est.predict(X)


# ---- quantiles ----------------------------------------------------------------------------------


def test_quantiles_cover():
    """Rows whose spread grows with the input: each quantile has its share of them below."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 3, (2000, 1))
    y = x[:, 0] + (0.2 + x[:, 0]) * rng.normal(size=2000)
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    est = QuantileMLPRegressor(levels, learning_rate_init=0.01, max_iter=80, random_state=0)
    found = est.fit(x[:1500], y[:1500]).predict_quantiles(x[1500:])
    assert (y[1500:, None] <= found).mean(axis=0) == pytest.approx(levels, abs=0.05)
    assert same_bits(est.predict(x[1500:]), found[:, 2])
    width = found[:, 4] - found[:, 0]
    assert np.corrcoef(width, x[1500:, 0])[0, 1] > 0.95


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_quantiles_never_cross(dtype):
    """Whatever the weights, and where rounding swallows the distance."""
    est = QuantileMLPRegressor(np.linspace(0.01, 0.99, 50), max_iter=1, random_state=0)
    est.fit(X.astype(dtype), Y)
    rng = np.random.default_rng(1)
    for size in (1e-3, 1.0, 1e3, 1e8):
        for kernel, bias in zip(est.coefs_[:-1], est.intercepts_, strict=True):
            kernel[...], bias[...] = size * rng.normal(size=kernel.shape), size
        found = est.predict_quantiles(X.astype(dtype))
        assert np.isfinite(found).all()
        assert (np.diff(found, axis=1) >= 0).all()


def test_one_quantile_is_that_loss():
    one = QuantileMLPRegressor([0.8], max_iter=10, random_state=0).fit(X, Y)
    same = MLPRegressor(bp.losses.Quantile(0.8), max_iter=10, random_state=0).fit(X, Y)
    assert same_bits(one.predict(X), same.predict(X))


def test_early_stopping_of_quantiles():
    est = QuantileMLPRegressor(early_stopping=True, random_state=0, max_iter=30).fit(X, Y)
    assert est.validation_scores_ == [-loss for loss in est.validation_loss_curve_]


# ---- malformed calls ----------------------------------------------------------------------------

BAD = {
    "hidden": (
        {"hidden_layer_sizes": (3, 0)},
        r"hidden_layer_sizes\[1\] must be an int >= 1, got 0",
    ),
    "activation": (
        {"activation": "rlu"},
        "activation must be one of logistic, identity, sigmoid, .*relu.*, got 'rlu'",
    ),
    "softmax": (
        {"activation": "softmax"},
        "activation must be one of logistic, ((?!softmax).)*, got 'softmax'",
    ),
    "activation of no name": ({"activation": 3}, "activation must be one of logistic.*, got 3"),
    "solver": ({"solver": "newton"}, "solver must be one of lbfgs, sgd, adam, got 'newton'"),
    "alpha": ({"alpha": -1}, "alpha must be a finite number >= 0, got -1"),
    "batch_size": ({"batch_size": 0}, "batch_size must be an int >= 1, got 0"),
    "rate": ({"learning_rate": "fast"}, "learning_rate must be one of constant"),
    "rate 0": ({"learning_rate_init": 0}, "learning_rate_init must be .* > 0, got 0"),
    "max_iter": ({"max_iter": 0}, "max_iter must be an int >= 1, got 0"),
    "momentum": ({"momentum": 1.1}, r"momentum must be .* in \[0, 1\], got 1.1"),
    "patience": ({"n_iter_no_change": 0}, "n_iter_no_change must be an int >= 1, got 0"),
    "fraction": ({"validation_fraction": 1.0}, r"validation_fraction .*\[0, 1\), got 1"),
    "dropout": ({"dropout": 1.0}, r"dropout must be .*\[0, 1\), got 1"),
    "two norms": ({"batch_norm": True, "layer_norm": True}, "must not both be True"),
    "lbfgs": ({"solver": "lbfgs", "dropout": 0.1}, "dropout must be 0.0 with solver 'lbfgs'"),
    "callbacks": ({"callbacks": [3]}, r"callbacks\[0\] must be a Callback object, got 3"),
    "n_jobs": ({"n_jobs": -3}, "n_jobs must be an int >= 1, got -3"),
    "network": ({"network": [5, 3]}, "network must be None, a Network, or a function"),
    "smoothing": ({"label_smoothing": 1}, r"label_smoothing must be .*\[0, 1\), got 1"),
    "class_weight": ({"class_weight": "even"}, "class_weight must be a dict.*, got 'even'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name):
    options, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=message):
        MLPClassifier(**options).fit(X, CLASSES)


def test_bad_losses_and_quantiles():
    for loss in ("cross_entropy", "squared", 3):
        with pytest.raises(ValueError, match="loss must be one of squared_error"):
            MLPRegressor(loss).fit(X, Y)
    for quantiles in ((), (0.5, 0.1), (0.5, 1.0), "half"):
        with pytest.raises(ValueError, match="quantiles"):
            QuantileMLPRegressor(quantiles).fit(X, Y)
    with pytest.raises(ValueError, match="one quantile for each of 1 outputs"):
        MLPRegressor(bp.losses.Quantile((0.1, 0.9))).fit(X, Y)


def test_bad_rows():
    est = MLPClassifier(max_iter=1)
    with pytest.raises(TypeError, match=r"validation_data must be \(X, y\)"):
        est.fit(X, CLASSES, validation_data=X)
    with pytest.raises(ValueError, match="sample_weight must not be negative"):
        est.fit(X, CLASSES, -np.ones(len(X)))
    with pytest.raises(ValueError, match=r"classes not in `self\.classes_`"):
        est.fit(X, CLASSES, validation_data=(X[:2], ["low", "none"]))
    est.fit(X, CLASSES)
    with pytest.raises(ValueError, match="go on with a network of"):
        est.set_params(warm_start=True, hidden_layer_sizes=3).fit(X, CLASSES)
