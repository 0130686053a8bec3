"""The training workloads: what is trained, on which made-up data.

A workload is dense layers with one activation inside, logits or values at the end, minibatches in a
new order each epoch, float32, data in memory. Targets come from a random linear teacher, so that
training does what it does in earnest: losses fall, units of relu switch on and off.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Workload:
    """One network, loss, optimizer and batch size.

    Attributes
    ----------
    sizes : tuple of int
        Inputs, units of each hidden layer, outputs.
    activation : {"tanh", "relu"}
        Of the hidden layers.
    loss : {"cross_entropy", "mse"}
    optimizer : {"adam", "momentum"}
        At the rates of `RATES`.
    batch : int
        Rows of a minibatch.
    steps : int
        Minibatches of an epoch; there is no ragged one.
    epochs : int
        Epochs of one call that is timed: where an epoch takes well under a millisecond the call
        itself would show.
    """

    name: str
    sizes: tuple[int, ...]
    activation: str
    loss: str
    optimizer: str
    batch: int
    steps: int
    epochs: int = 1

    @property
    def rows(self) -> int:
        return self.batch * self.steps

    def __str__(self) -> str:
        loss = {"cross_entropy": "CE", "mse": "MSE"}[self.loss]
        sizes = self.sizes
        middle = "-".join(map(str, sizes[1:-1]))
        if len(sizes) > 5 and len(set(sizes[1:-1])) == 1:
            middle = f"{len(sizes) - 2}x{sizes[1]}"
        shape = f"{sizes[0]}-{middle}-{sizes[-1]}"
        return f"{shape} {self.activation}, {loss}, {self.optimizer}, batch {self.batch}"


#: Learning rates, and the momentum.
RATES = {"adam": 1e-3, "momentum": 1e-2}
MOMENTUM = 0.9

ALL = {
    w.name: w
    for w in (
        Workload("T0", (4, 16, 3), "tanh", "cross_entropy", "momentum", 16, 200, 20),
        Workload("T1", (8, 64, 64, 4), "tanh", "mse", "adam", 64, 200, 20),
        Workload("T2", (64, 128, 10), "relu", "cross_entropy", "adam", 32, 100, 20),
        Workload("T3", (100, 256, 256, 1), "relu", "mse", "adam", 256, 100),
        Workload("T3b", (100, 256, 256, 1), "relu", "mse", "adam", 1024, 25),
        Workload("T4", (784, 512, 256, 10), "relu", "cross_entropy", "adam", 128, 60),
        Workload("T5", (1024, 2048, 2048, 1024), "relu", "mse", "momentum", 512, 16),
        Workload("T6", (256, *[256] * 8, 10), "relu", "cross_entropy", "adam", 128, 40),
    )
}


def data(workload: Workload, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (rows, inputs), and labels (rows,) or target values (rows, outputs)."""
    rng = np.random.default_rng(seed)
    inputs, outputs = workload.sizes[0], workload.sizes[-1]
    X = rng.standard_normal((workload.rows, inputs), dtype=np.float32)
    teacher = rng.standard_normal((inputs, outputs), dtype=np.float32) / np.float32(inputs**0.5)
    score = X @ teacher
    score += 0.5 * rng.standard_normal(score.shape, dtype=np.float32)
    return (X, score.argmax(axis=1)) if workload.loss == "cross_entropy" else (X, score)


def start(workload: Workload, seed: int = 0) -> list[np.ndarray]:
    """Return initial weights in float32: kernel (inputs, outputs) and bias, layer by layer."""
    rng = np.random.default_rng([seed, 1])
    weights = []
    for inputs, outputs in pairwise(workload.sizes):
        scale = np.float32((2 / inputs) ** 0.5)
        weights.append(rng.standard_normal((inputs, outputs), dtype=np.float32) * scale)
        weights.append(np.zeros(outputs, np.float32))
    return weights
