"""Accuracies that others published, and that we must reach."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def published(monkeypatch):
    """benchmarks/published.py."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import published

    return published


def test_the_record_reaches_every_mark(published):
    rows = json.loads(published.RESULTS.read_text())["rows"]
    found = [(row["activation"], row["hidden"], row["published"]) for row in rows]
    assert found == list(published.MARKS)
    for row in rows:
        assert len(row["accuracies"]) == len(published.SEEDS)
        assert row["mean"] == pytest.approx(sum(row["accuracies"]) / 3, abs=1e-5)
        assert published.reaches(row)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("hidden", [10, 100])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_fashion_mnist(published, activation: str, hidden: int) -> None:
    """Trained again, the network reaches its mark, on the mean of three seeds."""
    try:
        data = published.load_fashion_mnist()
    except FileNotFoundError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    (mark,) = [m for a, units, m in published.MARKS if (a, units) == (activation, hidden)]
    row = published.row(data, activation, hidden, mark, published.EPOCHS)
    print(row)
    assert published.reaches(row), row
