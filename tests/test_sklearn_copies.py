"""Estimators in pipelines, searches, frames and files."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import same_bits
from peers import require
from process_work import run

import bpfast as bp

sklearn = require("sklearn")
from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import cross_validate  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from bpfast.sklearn import MLPClassifier, MLPRegressor, QuantileMLPRegressor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(3)
X = RNG.normal(size=(90, 4))
Y = X @ RNG.normal(size=4)
CLASSES = (Y > 0).astype(int) + (Y > 1)
NEW_ENOUGH = tuple(int(n) for n in sklearn.__version__.split(".")[:2]) >= (1, 9)


def fitted(cls=MLPClassifier, **options: object):
    y = CLASSES if cls is MLPClassifier else Y
    return cls(max_iter=6, random_state=0, **options).fit(X, y)


# ---- copies and files ---------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor, QuantileMLPRegressor])
@pytest.mark.parametrize("how", ["pickle", "deepcopy", "joblib"])
def test_a_copy_is_the_same_and_its_own(cls, how, tmp_path):
    """It predicts and trains on with the same bits, and is not changed with the first."""
    est = fitted(cls)
    if how == "joblib":
        joblib = require("joblib")
        joblib.dump(est, tmp_path / "est.joblib")
        other = joblib.load(tmp_path / "est.joblib", mmap_mode="r")
    else:
        other = copy.deepcopy(est) if how == "deepcopy" else pickle.loads(pickle.dumps(est))
    assert same_bits(est.predict(X), other.predict(X))
    assert other.coefs_[0].base is not None
    assert np.shares_memory(other.coefs_[0], other.network_.parameters)
    before = other.network_.parameters.copy()
    y = CLASSES if cls is MLPClassifier else Y
    est.partial_fit(X, y)
    assert same_bits(other.network_.parameters, before)
    other.partial_fit(X, y)
    assert same_bits(other.network_.parameters, est.network_.parameters)
    assert other.loss_curve_ == est.loss_curve_


def test_a_pickle_names_its_schema():
    est = fitted()
    state = est.__getstate__()
    assert state["_bpfast_schema"] == 1
    assert not {"coefs_", "intercepts_"} & set(state)
    other = MLPClassifier()
    with pytest.raises(ValueError, match="pickled by a newer bpfast: schema 2"):
        other.__setstate__({**state, "_bpfast_schema": 2})
    assert vars(pickle.loads(pickle.dumps(MLPClassifier(7)))) == vars(MLPClassifier(7))


def test_a_clone_is_not_fitted():
    est = fitted(network=bp.Network([4, 3], rng=0))
    other = clone(est)
    assert not hasattr(other, "network_")
    assert other.network is not est.network
    assert same_bits(other.fit(X, CLASSES).predict_proba(X), est.predict_proba(X))


@pytest.mark.slow
@pytest.mark.parametrize("isa", bp.isas())
def test_a_pickle_predicts_on_another_row(isa, tmp_path):
    """With the same bits where there are fused multiply-adds, on all rows but sse2."""
    est = fitted()
    path = tmp_path / "est.pkl"
    path.write_bytes(pickle.dumps((est, X)))
    code = f"import pickle, sys; est, X = pickle.loads(open({str(path)!r}, 'rb').read())\n"
    code += "sys.stdout.buffer.write(est.predict_proba(X).tobytes())"
    env = {**os.environ, "BPFAST_ISA": isa}
    found = subprocess.run([sys.executable, "-P", "-c", code], env=env, capture_output=True)
    shares = np.frombuffer(found.stdout).reshape(len(X), 3)
    if isa == "sse2" or bp.show_config()["isa"] == "sse2":
        np.testing.assert_allclose(shares, est.predict_proba(X), atol=1e-12)
    else:
        assert same_bits(shares, est.predict_proba(X))


# ---- searches -----------------------------------------------------------------------------------

SEARCH = """
import os, threading, warnings
from pathlib import Path
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from joblib import parallel_backend
from bpfast.sklearn import MLPClassifier
os.environ["PYTHONWARNINGS"] = "ignore"
warnings.simplefilter("ignore")
X, y = load_digits(return_X_y=True)
grid = {"hidden_layer_sizes": [(200, 100), (150, 150)]}  # fits long beside what is between them

def processes():
    found, last = {os.getpid()}, set()
    while found != last:
        last = set(found)
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                words = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(words[1]) in found:
                found.add(int(stat.parent.name))
    return found

def running(me):
    count = 0
    for pid in processes():
        for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
            try:
                state = stat.read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            count += state == "R" and stat.parent.name != str(me)
    return count

def search(backend, n_jobs):
    model = GridSearchCV(MLPClassifier(max_iter=20, random_state=0), grid, cv=3, n_jobs=n_jobs)
    with parallel_backend(backend):
        model.fit(X, y)
    best = model.best_estimator_.network_.parameters
    return model.cv_results_["mean_test_score"].tobytes() + best.tobytes()

over, counts = threading.Event(), []

def sample():
    me = threading.get_native_id()
    while not over.wait(0.02):
        counts.append(running(me))

expected = search("sequential", 1)
results = []
for backend in ("threading", "loky"):
    search(backend, 2)  # loky's workers start
    over.clear()
    counts.clear()
    thread = threading.Thread(target=sample)
    thread.start()
    same = search(backend, 2) == expected
    over.set()
    thread.join()
    fewest = np.median(counts) <= len(os.sched_getaffinity(0))
    results.append((backend, same, bool(fewest) or sorted(counts)))
print(results)
"""


@pytest.mark.slow
def test_searches_with_threads_and_processes():
    """The same bits as one after the other, and never more threads at work than CPUs."""
    require("joblib")
    assert run(SEARCH, seconds=90) == str([("threading", True, True), ("loky", True, True)])


# ---- frames -------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_keep_and_check_names(library):
    frames = require(library)
    names = ["a", "b", "c", "d"]
    table = frames.DataFrame(dict(zip(names, X.T, strict=True)))
    scaler = StandardScaler().set_output(transform=library)
    if not hasattr(scaler.fit(table), "feature_names_in_"):
        pytest.skip(f"this scikit-learn reads no names of this {library}")
    model = make_pipeline(scaler, MLPRegressor(max_iter=3, random_state=0)).fit(table, Y)
    est = model[-1]
    assert list(est.feature_names_in_) == names
    plain = MLPRegressor(max_iter=3, random_state=0).fit(scaler.transform(table).to_numpy(), Y)
    assert same_bits(model.predict(table), plain.predict(scaler.transform(table).to_numpy()))
    with pytest.raises(ValueError, match="feature names"):
        est.predict(scaler.transform(table)[names[::-1]])


def test_routed_weights():
    weights = RNG.uniform(0, 2, len(X))
    with sklearn.config_context(enable_metadata_routing=True):
        est = MLPRegressor(max_iter=3, random_state=0).set_fit_request(sample_weight=True)
        est.set_score_request(sample_weight=True)
        found = cross_validate(
            est, X, Y, params={"sample_weight": weights}, return_estimator=True, cv=2
        )
    half = slice(len(X) // 2, None)
    alone = MLPRegressor(max_iter=3, random_state=0).fit(X[half], Y[half], weights[half])
    assert same_bits(found["estimator"][0].predict(X), alone.predict(X))


# ---- scikit-learn's callbacks -------------------------------------------------------------------


class Recorder:
    """Follows the protocol of scikit-learn's callbacks; stops after three epochs."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.scores: list[float] = []

    def setup(self, estimator, context) -> None:
        self.seen.append("setup")

    def on_fit_task_begin(self, estimator, context) -> None:
        self.seen.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None) -> bool:
        self.seen.append(f"end {context.task_name}")
        self.scores.append(fitted_estimator.score(X, y))
        return len(self.scores) == 3

    def teardown(self, estimator, context) -> None:
        self.seen.append("teardown")


@pytest.mark.skipif(not NEW_ENOUGH, reason="scikit-learn has callbacks from 1.9 on")
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_of_scikit_learn(solver):
    recorder = Recorder()
    est = MLPRegressor(solver=solver, random_state=0).set_callbacks(recorder).fit(X, Y)
    epoch = ["begin epoch", "end epoch"]
    assert recorder.seen == ["setup", "begin fit", *epoch * 3, "end fit", "teardown"]
    assert est.n_iter_ == 3
    assert recorder.scores[-1] == est.score(X, Y)
    assert recorder.scores[0] != recorder.scores[1]


@pytest.mark.skipif(NEW_ENOUGH, reason="scikit-learn has callbacks from 1.9 on")
def test_no_callbacks_before():
    assert not hasattr(MLPRegressor(), "set_callbacks")


# ---- the package --------------------------------------------------------------------------------


def test_the_extra_is_named_without_scikit_learn():
    code = "import sys; sys.modules['sklearn'] = None\nimport bpfast.sklearn"
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert "pip install 'bpfast[sklearn]'" in found.stderr.splitlines()[-1]


EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples(path, tmp_path):
    """The documentation's examples run, and print what they say they print."""
    for name in ("optuna", "joblib"):
        if f"import {name}" in path.read_text():
            require(name)
    found = subprocess.run(
        [sys.executable, "-P", str(path)], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip()
