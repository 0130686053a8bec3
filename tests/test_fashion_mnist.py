"""Fashion-MNIST at full size by the command's recipes: convolutions, and an MLP with skips.

Submissions to its article's list: two convolutions with pooling 0.916, under 100,000 parameters
0.925 (github.com/zalandoresearch/fashion-mnist).
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from command import bp

from bpfast.datasets import load_fashion_mnist

SEEDS = (0, 1, 2)
SECONDS = 240  # of a seed, on two cores


@pytest.fixture
def three_seeds(tmp_path, monkeypatch):
    """A function that trains a model with each seed, by its defaults, and returns what it says."""
    try:
        load_fashion_mnist()
    except FileNotFoundError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)

    def train(model: str) -> list[dict]:
        flags = ("--model", model, "--quiet", "--json", "--force")
        found = [bp("train", "fashion-mnist", *flags, "--seed", seed).json for seed in SEEDS]
        print(model, [(run["test_accuracy"], run["seconds"]) for run in found])
        return found

    return train


@pytest.mark.slow
@pytest.mark.long
def test_cnn(three_seeds):
    found = three_seeds("cnn")
    assert all(run["parameters"] < 120_000 for run in found)
    assert np.mean([run["test_accuracy"] for run in found]) >= 0.925
    assert max(run["seconds"] for run in found) < SECONDS


@pytest.mark.slow
@pytest.mark.long
def test_resmlp(three_seeds):
    found = three_seeds("resmlp")
    assert np.mean([run["test_accuracy"] for run in found]) >= 0.905
