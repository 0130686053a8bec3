"""Fashion-MNIST at full size: what ``bpfast train fashion-mnist --model NAME`` reaches.

Submissions to its article's list: two convolutions with pooling 0.916, under 100,000 parameters
0.925 (github.com/zalandoresearch/fashion-mnist).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from command import bp

from bpfast.datasets import load_fashion_mnist

SEEDS = (0, 1, 2)
SECONDS = 240  # of a seed, on two cores


@pytest.fixture(scope="module", autouse=True)
def files():
    """Without the files the tests skip, but not in CI."""
    try:
        load_fashion_mnist()
    except FileNotFoundError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("model", "least"), [("cnn", 0.925), ("resmlp", 0.905)])
def test_recipe(model: str, least: float, tmp_path: Path) -> None:
    found = []
    for seed in SEEDS:
        path = tmp_path / f"{seed}.safetensors"
        flags = ("--model", model, "--seed", seed, "--out", path, "--quiet", "--json")
        result = bp("train", "fashion-mnist", *flags)
        assert result.code == 0, result.err
        found.append(result.json)
        print(model, seed, result.json["test_accuracy"], result.json["seconds"])
    assert np.mean([one["test_accuracy"] for one in found]) >= least
    assert max(one["seconds"] for one in found) < SECONDS
    if model == "cnn":
        assert found[0]["parameters"] < 120_000
