"""Made-up rows and weights of a workload, the same for all peers.

Targets come from a random linear teacher, so that training does what it does in earnest: losses
fall, units of relu switch on and off.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpfast.bench.workloads import Workload

Array = NDArray[Any]


def rows(workload: Workload, seed: int = 0) -> tuple[Array, Array]:
    """Return inputs (rows, inputs), and labels (rows,) or target values (rows, outputs)."""
    rng = np.random.default_rng(seed)
    inputs, outputs = workload.sizes[0], workload.sizes[-1]
    X = rng.standard_normal((workload.rows, inputs), dtype=np.float32)
    teacher = rng.standard_normal((inputs, outputs), dtype=np.float32) / np.float32(inputs**0.5)
    score = X @ teacher
    score += 0.5 * rng.standard_normal(score.shape, dtype=np.float32)
    return (X, score.argmax(axis=1)) if workload.loss == "cross_entropy" else (X, score)


def start(workload: Workload, seed: int = 0) -> list[Array]:
    """Return initial weights in float32: kernel (inputs, outputs) and bias, layer by layer."""
    rng = np.random.default_rng([seed, 1])
    weights: list[Array] = []
    for inputs, outputs in pairwise(workload.sizes):
        scale = np.float32((2 / inputs) ** 0.5)
        weights.append(rng.standard_normal((inputs, outputs), dtype=np.float32) * scale)
        weights.append(np.zeros(outputs, np.float32))
    return weights


def flat(weights: list[Array], dtype: Any = np.float32) -> Array:
    """Return weights as one vector, in the order of `start`."""
    return np.concatenate([w.ravel() for w in weights]).astype(dtype)
