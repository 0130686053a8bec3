"""Our estimators beside scikit-learn's, fit by fit on its six bundled data sets.

    python benchmarks/sklearn_pairs.py [--seeds N] [--data NAME ...]

The same settings (the defaults, but for solver and seed), the same initial weights, the same three
quarters of the rows to train on, standardized by them; quantities too. Fits take turns, each
library with the number of threads that is fastest for it on that data set; a pause lets the other's
threads fall asleep. The score is accuracy or R2 of the last quarter of the rows. Exit code 1: a
mean score is lower than scikit-learn's by more than 0.005, or fits are not three times as fast.

Writes benchmarks/results/sklearn_pairs.json and .md. Needs the extras sklearn and bench.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pairs
import sklearn
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from bpfast import sklearn as ours
from bpfast.bench import machine
from bpfast.bench.turns import SPIN
from bpfast.cli.main import COUNT

DATA: dict[str, Callable[..., Any]] = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
    "diabetes": datasets.load_diabetes,
    "linnerud": datasets.load_linnerud,
}
QUANTITIES = ("diabetes", "linnerud")
SOLVERS = ("adam", "sgd")
SEEDS = 20
LIBRARIES = ("ours", "theirs")
#: The most that a mean score may be lower, and the least factor of time.
SCORE, SPEED = 0.005, 3.0
#: Fits with each number of threads before one is chosen.
TRIALS = 3


def split(name: str, seed: int) -> tuple[Any, ...]:
    """Return X and y to train on, X and y to test on."""
    X, y = DATA[name](return_X_y=True)
    strata = None if name in QUANTITIES else y
    parts = train_test_split(X, y, test_size=0.25, random_state=seed, stratify=strata)
    scaler = StandardScaler().fit(parts[0])
    X_train, X_test = scaler.transform(parts[0]), scaler.transform(parts[1])
    y_train, y_test = parts[2], parts[3]
    if name in QUANTITIES:
        mean, deviation = y_train.mean(axis=0), y_train.std(axis=0)
        y_train, y_test = (y_train - mean) / deviation, (y_test - mean) / deviation
    return X_train, y_train, X_test, y_test


def estimator(library: str, name: str, solver: str, seed: int, threads: int) -> Any:
    """Return an estimator that is not fitted."""
    kind = "MLPRegressor" if name in QUANTITIES else "MLPClassifier"
    options: dict[str, Any] = {"solver": solver, "random_state": seed}
    if library == "ours":
        return getattr(ours, kind)(n_jobs=threads, **options)
    return getattr(neural_network, kind)(**options)


def fit(
    library: str, name: str, solver: str, seed: int, threads: int, data: Any
) -> tuple[float, float]:
    """Return the seconds that a fit takes, and the score."""
    X, y, X_test, y_test = data
    est = estimator(library, name, solver, seed, threads)
    with threadpool_limits(threads, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 200 epochs are often too few
        time.sleep(SPIN)
        start = time.perf_counter()
        est.fit(X, y)
        seconds = time.perf_counter() - start
        return seconds, float(est.score(X_test, y_test))


def best_threads(library: str, name: str, solver: str) -> int:
    """Return the number of threads with the least median time."""
    data = split(name, 0)
    medians = {
        threads: statistics.median(
            fit(library, name, solver, 0, threads, data)[0] for _ in range(TRIALS)
        )
        for threads in range(1, len(machine.cores()) + 1)
    }
    return min(medians, key=lambda n: medians[n])


def row(name: str, solver: str, seeds: int) -> dict[str, Any]:
    """Fit both in turn, seed by seed."""
    threads = {library: best_threads(library, name, solver) for library in LIBRARIES}
    seconds: dict[str, list[float]] = {library: [] for library in LIBRARIES}
    scores: dict[str, list[float]] = {library: [] for library in LIBRARIES}
    for seed in range(seeds):
        data = split(name, seed)
        for library in LIBRARIES[:: 1 if seed % 2 else -1]:
            taken, score = fit(library, name, solver, seed, threads[library], data)
            seconds[library].append(taken)
            scores[library].append(score)
    both = zip(seconds["theirs"], seconds["ours"], strict=True)
    return {
        "data": name,
        "solver": solver,
        "seeds": seeds,
        "threads": threads,
        "score": {library: round(float(np.mean(scores[library])), 5) for library in LIBRARIES},
        "ms": {
            library: round(1e3 * statistics.median(seconds[library]), 2) for library in LIBRARIES
        },
        "speed": round(statistics.median(theirs / our for theirs, our in both), 2),
    }


def passes(row: dict[str, Any]) -> bool:
    """Whether a row reaches both marks."""
    lower = row["score"]["theirs"] - row["score"]["ours"]
    return bool(lower <= SCORE and row["speed"] >= SPEED)


def table(record: dict[str, Any]) -> str:
    """Write the record as Markdown."""
    here = record["machine"]
    lines = [
        "# scikit-learn's estimators and ours",
        "",
        f"`{record['command']}` on {here['cpu']}, {here['cores']} cores, {record['date']}, "
        f"scikit-learn {record['sklearn']}, NumPy {record['numpy']['numpy']}.",
        "Means of test scores and medians of fits over the seeds; threads in brackets.",
        "",
        "| data | solver | score, ours | theirs | fit, ours | theirs | times faster |",
        "|---|---|---|---|---|---|---|",
    ]
    for found in record["rows"]:
        score, ms, threads = found["score"], found["ms"], found["threads"]
        lines.append(
            f"| {found['data']} | {found['solver']} | {score['ours']:.4f} | {score['theirs']:.4f} "
            f"| {ms['ours']:.1f} ms ({threads['ours']}) | {ms['theirs']:.1f} ms "
            f"({threads['theirs']}) | {found['speed']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Fit, print and record all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=COUNT, default=SEEDS, help=f"default {SEEDS}")
    parser.add_argument("--data", nargs="+", choices=DATA, help="only these; nothing is recorded")
    options = parser.parse_args()
    rows = []
    for name in options.data or DATA:
        for solver in SOLVERS:
            found = row(name, solver, options.seeds)
            rows.append(found)
            print(json.dumps(found), flush=True)
    if not options.data:
        facts = {"numpy": machine.numpy_facts(), "sklearn": sklearn.__version__}
        record = pairs.write("sklearn_pairs", machine.describe(), rows, **facts)
        (pairs.RESULTS / "sklearn_pairs.md").write_text(table(record))
    return 0 if all(passes(found) for found in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
