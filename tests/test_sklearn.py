"""The estimators do what scikit-learn's do: its own checks and tests, and the same numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from peers import require

VERSION = tuple(int(n) for n in require("sklearn").__version__.split(".")[:2])
from sklearn import neural_network  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

from bpfast.sklearn import MLPClassifier, MLPRegressor, QuantileMLPRegressor  # noqa: E402

FOLDER = Path(__file__).resolve().parent
PAIRS = {
    "classifier": (MLPClassifier, neural_network.MLPClassifier),
    "regressor": (MLPRegressor, neural_network.MLPRegressor),
}


@pytest.mark.filterwarnings("ignore")  # the checks fit for too few epochs, and warn of other things
@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor, QuantileMLPRegressor])
def test_checks(cls):
    """scikit-learn's checks of estimators: all pass, and none is expected to fail."""
    results = check_estimator(cls(), on_skip=None, on_fail=None)
    names = {"passed": [], "skipped": []}
    for result in results:
        assert result["status"] in names, (result["check_name"], result["exception"])
        names[result["status"]].append(result["check_name"])
    assert len(names["passed"]) >= 50
    # Where pandas or the array API's switch is missing, or there is nothing to check.
    assert len(names["skipped"]) <= 4, names["skipped"]


@pytest.mark.slow
def test_its_own_tests():
    """test_mlp.py as scikit-learn installs it, with ours in place of theirs."""
    if VERSION < (1, 9):
        pytest.skip("its tests are of its newest estimators")
    code = "import sklearn.neural_network.tests.test_mlp as t; print(t.__file__)"
    if subprocess.run([sys.executable, "-P", "-c", code], capture_output=True).returncode:
        pytest.skip("scikit-learn is installed without its tests")
    command = [sys.executable, "-P", "-m", "pytest", "-p", "sklearn_mlp_plugin", "-q", "-rs"]
    command += ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(FOLDER)]
    command += ["--pyargs", "sklearn.neural_network.tests.test_mlp"]
    env = {**os.environ, "PYTHONPATH": str(FOLDER)}
    found = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)
    last = found.stdout.splitlines()[-1]
    assert found.returncode == 0, found.stdout[-3000:]
    passed = int(last.split(" passed")[0].split()[-1])
    assert passed >= 51, last
    assert "5 deselected" in last


# ---- the same numbers ---------------------------------------------------------------------------

ROWS = 230  # one batch of 200 and one of 30


def data(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and targets of a kind."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(ROWS, 6))
    scores = X @ rng.normal(size=(6, 3)) + rng.normal(size=(ROWS, 3))
    targets = {
        "classes": scores.argmax(axis=1),
        "two": np.where(scores[:, 0] > 0, "yes", "no"),
        "labels": (scores > 0).astype(int),
        "one": scores[:, 0],
        "three": scores,
        "counts": rng.poisson(np.exp(scores[:, 0] / 3)),
    }
    return X, targets[kind]


def both(kind: str, weighted: bool = False, **options: object):
    """Ours and theirs, fitted alike; rows in their own order, which is all that could differ."""
    X, y = data(kind)
    name = "classifier" if kind in ("classes", "two", "labels") else "regressor"
    fits = []
    for cls in PAIRS[name]:
        est = cls(**{"random_state": 3, "max_iter": 30, "shuffle": False, **options})
        weights = (np.random.default_rng(8).uniform(0, 2, ROWS),) if weighted else ()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fits.append(est.fit(X, y, *weights))
    return (*fits, X)


def agree(ours, theirs, X, atol=1e-10) -> None:
    """Weights, predictions and the record are the same but for rounding."""
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=atol)
    assert np.shape(ours.predict(X)) == np.shape(theirs.predict(X))
    if hasattr(ours, "predict_proba"):
        assert np.array_equal(ours.predict(X), theirs.predict(X))
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-8)
    else:
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-8)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name


TASKS = ("classes", "two", "labels", "one", "three")


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("kind", TASKS)
def test_same_weights(kind, solver):
    """Also with a smaller last batch, on which alpha weighs more."""
    ours, theirs, X = both(kind, solver=solver, alpha=0.7)
    agree(ours, theirs, X)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=2e-3)


@pytest.mark.parametrize("kind", TASKS)
def test_same_loss_curve(kind):
    """Without a penalty, or with one batch, it is exact; else the penalty's mean is taken."""
    ours, theirs, _ = both(kind, alpha=0.0)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-10)
    assert ours.best_loss_ == pytest.approx(theirs.best_loss_)
    ours, theirs, _ = both(kind, alpha=0.7, batch_size=ROWS)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-10)


SETTINGS = {
    "weights": {"weighted": True, "alpha": 0.5},
    "plain sgd": {"solver": "sgd", "momentum": 0.0},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "full momentum": {"solver": "sgd", "momentum": 1.0, "learning_rate_init": 1e-4},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.02, "max_iter": 200},
    "large epsilon": {"epsilon": 0.1, "learning_rate_init": 0.1},
    "betas": {"beta_1": 0.5, "beta_2": 0.9},
    "no hidden layer": {"hidden_layer_sizes": ()},
    "two hidden layers": {"hidden_layer_sizes": [9, 4], "activation": "tanh"},
    "logistic": {"activation": "logistic", "hidden_layer_sizes": 7},
    "small batches": {"batch_size": 31, "n_iter_no_change": 2, "tol": 0.1},
}


@pytest.mark.parametrize("kind", ["labels", "three"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_same_settings(kind, setting):
    if setting == "weights" and VERSION < (1, 7):
        pytest.skip("scikit-learn weighs rows from 1.7 on")
    ours, theirs, X = both(kind, **SETTINGS[setting])
    agree(ours, theirs, X)


@pytest.mark.parametrize("kind", ["two", "one", "labels"])
def test_same_early_stopping(kind):
    """The same rows are held out, the same scores stop, the same weights are put back."""
    if kind == "two" and VERSION < (1, 9):
        pytest.skip("scikit-learn stops early with words for labels from 1.9 on")
    ours, theirs, X = both(kind, early_stopping=True, max_iter=60, learning_rate_init=0.02)
    agree(ours, theirs, X)
    np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, atol=1e-9)
    assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_)
    assert ours.best_loss_ is None
    assert len(ours.validation_loss_curve_) == ours.n_iter_


@pytest.mark.skipif(VERSION < (1, 7), reason="scikit-learn has the loss from 1.7 on")
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_same_poisson(solver):
    ours, theirs, X = both("counts", loss="poisson", solver=solver, alpha=0.1)
    agree(ours, theirs, X, atol=1e-6 if solver == "lbfgs" else 1e-10)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-3)


@pytest.mark.parametrize("kind", ["classes", "two", "labels", "one"])
def test_same_lbfgs(kind):
    """Rounding grows from iteration to iteration; the first ones agree."""
    ours, theirs, X = both(kind, solver="lbfgs", max_iter=8, alpha=0.3)
    agree_but_t = {"atol": 1e-7}
    ours.t_ = theirs.t_
    agree(ours, theirs, X, **agree_but_t)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-9)


def test_same_sequence_of_partial_fits():
    X, y = data("classes")
    fits = []
    for cls in PAIRS["classifier"]:
        est = cls(random_state=1, shuffle=False, learning_rate_init=0.01)
        for rows in np.array_split(np.arange(ROWS), 7):
            est.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
        fits.append(est)
    agree(*fits, X)


def test_same_warm_start():
    X, y = data("one")
    fits = []
    for cls in PAIRS["regressor"]:
        est = cls(random_state=1, shuffle=False, max_iter=4, warm_start=True)
        for _ in range(3):
            with pytest.warns(ConvergenceWarning):
                est.fit(X, y)
        fits.append(est)
    agree(*fits, X)
    np.testing.assert_allclose(fits[0].loss_curve_, fits[1].loss_curve_, rtol=1e-4)


def test_rows_are_drawn_anew_each_epoch():
    """Shuffled, the two libraries draw other orders; the same seed draws the same."""
    X, y = data("one")
    ends = [MLPRegressor(random_state=s, max_iter=3).set_params(tol=0.0) for s in (1, 1, 2)]
    with pytest.warns(ConvergenceWarning):
        ends = [np.concatenate([c.ravel() for c in e.fit(X, y).coefs_]) for e in ends]
    assert np.array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])


# ---- where fits end otherwise -------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_divergence_is_an_error_at_the_end():
    X, y = data("one")
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        MLPRegressor(max_iter=5).fit(X * 1e300, y)


def test_divergence_with_early_stopping_records_nan():
    X, y = data("one")
    est = MLPRegressor(
        activation="identity", solver="sgd", learning_rate_init=1.0, early_stopping=True,
        max_iter=60, random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        est.fit(X, y)
    assert np.isnan(est.validation_scores_[-1])
    assert np.isfinite(est.predict(X)).all()


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_interruption_warns_and_keeps_the_weights(solver, monkeypatch, capsys):
    """Ctrl-C, as the third line of `verbose` comes."""
    import builtins

    lines = []

    def interrupt(*words: object) -> None:
        lines.append(words)
        if len(lines) == 3:
            raise KeyboardInterrupt

    X, y = data("one")
    est = MLPRegressor(solver=solver, verbose=True, random_state=0)
    monkeypatch.setattr(builtins, "print", interrupt)
    with pytest.warns(UserWarning, match="interrupted by user"):
        est.fit(X, y)
    start = MLPRegressor(random_state=0, max_iter=1, learning_rate_init=1e-12)
    with pytest.warns(ConvergenceWarning):
        start.fit(X, y)
    assert len(lines) == 3
    assert est.score(X, y) > start.score(X, y)


# ---- the record ---------------------------------------------------------------------------------


def test_the_record_reaches_both_marks(monkeypatch):
    """benchmarks/sklearn_pairs.py: scores not lower, fits three times as fast, on all six sets."""
    require("threadpoolctl")
    monkeypatch.syspath_prepend(str(FOLDER.parent / "benchmarks"))
    import sklearn_pairs

    path = sklearn_pairs.pairs.RESULTS / "sklearn_pairs.json"
    record = json.loads(path.read_text())
    found = [(row["data"], row["solver"]) for row in record["rows"]]
    assert found == [(d, s) for d in sklearn_pairs.DATA for s in sklearn_pairs.SOLVERS]
    for row in record["rows"]:
        assert row["seeds"] == sklearn_pairs.SEEDS
        assert sklearn_pairs.passes(row), row
    assert path.with_suffix(".md").read_text() == sklearn_pairs.table(record)
