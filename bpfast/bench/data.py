"""Made-up rows and weights of a workload, the same for all peers.

Targets come from a random linear teacher, so that training does what it does in earnest: losses
fall, units of relu switch on and off.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpfast.bench.workloads import Workload

Array = NDArray[Any]


def rows(workload: Workload, seed: int = 0) -> tuple[Array, Array]:
    """Return inputs (rows, inputs) or images, and labels (rows,) or target values (rows, outputs).

    Images are (rows, height, width, channels).
    """
    rng = np.random.default_rng(seed)
    inputs, outputs = workload.sizes[0], workload.sizes[-1]
    X = rng.standard_normal((workload.rows, inputs), dtype=np.float32)
    teacher = rng.standard_normal((inputs, outputs), dtype=np.float32) / np.float32(inputs**0.5)
    score = X @ teacher
    score += 0.5 * rng.standard_normal(score.shape, dtype=np.float32)
    X = X.reshape(-1, *workload.image) if workload.image else X
    return (X, score.argmax(axis=1)) if workload.loss == "cross_entropy" else (X, score)


def start(workload: Workload, seed: int = 0) -> list[Array]:
    """Return initial weights in float32, layer by layer.

    Of a convolution: kernel (3, 3, channels, filters) and bias. Of a dense layer: kernel (inputs,
    outputs) and bias; in place of the bias, where BatchNorm follows: its scale and shift.
    """
    rng = np.random.default_rng([seed, 1])
    shapes: list[tuple[int, ...]] = [
        (3, 3, channels, filters)
        for (_, _, channels), filters in zip(workload.maps[:-1], workload.filters, strict=True)
    ]
    shapes += pairwise(workload.dense)
    weights: list[Array] = []
    for i, shape in enumerate(shapes, 1):
        outputs = shape[-1]
        scale = np.float32((2 * outputs / prod(shape)) ** 0.5)
        weights.append(rng.standard_normal(shape, dtype=np.float32) * scale)
        if workload.norm and i < len(shapes):
            weights.append(np.ones(outputs, np.float32))
        weights.append(np.zeros(outputs, np.float32))
    return weights


def flat(weights: list[Array], dtype: Any = np.float32) -> Array:
    """Return weights as one vector, in the order of `start`."""
    return np.concatenate([w.ravel() for w in weights]).astype(dtype)
