"""NumPy, written as a textbook writes it: plain expressions that allocate what they return."""

from __future__ import annotations

from typing import Any

import numpy as np

from bpfast.bench import data
from bpfast.bench.data import Array
from bpfast.bench.workloads import BETA_1, BETA_2, EPSILON, MOMENTUM, RATES, Workload


class Trainer:
    """Trains; see `bpfast.bench.peers.Trainer`."""

    def __init__(
        self, workload: Workload, X: Array, y: Array, *, threads: int = 1, dtype: Any = np.float32
    ) -> None:
        self.workload = workload
        self.X = X.astype(dtype)
        self.y = y if workload.loss == "cross_entropy" else y.astype(dtype)
        self.begin = [w.astype(dtype) for w in data.start(workload)]
        self.rng = np.random.default_rng(0)
        self.reset()

    def reset(self) -> None:
        self.params = [w.copy() for w in self.begin]
        self.m = [np.zeros_like(w) for w in self.begin]
        self.v = [np.zeros_like(w) for w in self.begin]
        self.t = 0

    def weights(self) -> Array:
        return data.flat(self.params, self.begin[0].dtype)

    def fit(self, epochs: int, *, shuffle: bool = True) -> list[float]:
        history = []
        for _ in range(epochs):
            order = self.rng.permutation(len(self.X)) if shuffle else np.arange(len(self.X))
            losses = []
            for first in range(0, len(self.X), self.workload.batch):
                index = order[first : first + self.workload.batch]
                loss, gradients = self.gradients(self.X[index], self.y[index])
                losses.append(loss)
                self.step(gradients)
            history.append(float(np.mean(losses)))
        return history

    def gradients(self, x: Array, y: Array) -> tuple[float, list[Array]]:
        """Return the mean loss and the gradient of each parameter."""
        kernels, biases = self.params[::2], self.params[1::2]
        relu = self.workload.activation == "relu"
        a = [x]
        for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True):
            z = a[-1] @ kernel + bias
            a.append(np.maximum(z, 0) if relu else np.tanh(z))
        output = a[-1] @ kernels[-1] + biases[-1]

        if self.workload.loss == "cross_entropy":
            rows = np.arange(len(y))
            e = np.exp(output - output.max(axis=1, keepdims=True))
            delta = e / e.sum(axis=1, keepdims=True)
            loss = -np.mean(np.log(delta[rows, y]))
            delta[rows, y] -= 1
            delta = delta / len(y)
        else:
            loss = np.mean((output - y) ** 2)
            delta = 2 * (output - y) / y.size

        gradients: list[Array] = []
        for i in reversed(range(len(kernels))):
            gradients = [a[i].T @ delta, delta.sum(axis=0), *gradients]
            if i > 0:
                slope = a[i] > 0 if relu else 1 - a[i] ** 2
                delta = (delta @ kernels[i].T) * slope
        return float(loss), gradients

    def step(self, gradients: list[Array]) -> None:
        """Update the parameters."""
        rate = RATES[self.workload.optimizer]
        self.t += 1
        for i, g in enumerate(gradients):
            if self.workload.optimizer == "momentum":
                self.v[i] = MOMENTUM * self.v[i] + rate * g
                self.params[i] = self.params[i] - self.v[i]
            else:
                self.m[i] = BETA_1 * self.m[i] + (1 - BETA_1) * g
                self.v[i] = BETA_2 * self.v[i] + (1 - BETA_2) * g**2
                m = self.m[i] / (1 - BETA_1**self.t)
                v = self.v[i] / (1 - BETA_2**self.t)
                self.params[i] = self.params[i] - rate * m / (np.sqrt(v) + EPSILON)
