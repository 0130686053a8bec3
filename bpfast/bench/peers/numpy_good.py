"""NumPy, written as one would who wants it fast.

Every array exists before the first step and every operation writes into one (`out=`). Parameters,
gradients and moments are one vector each, so that the update is a few calls whatever the number of
layers, in blocks that stay in cache. Matrix products and bias gradients go to BLAS, by `np.dot`,
which starts faster than `np.matmul`. Scalar factors are folded together; bias corrections go into
the rate and epsilon. Of several ways to do one thing (relu's mask, sums over rows, taking rows) the
one measured fastest stands here.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from bpfast.bench import data, workloads
from bpfast.bench.data import Array
from bpfast.bench.workloads import BETA_1, BETA_2, EPSILON, Workload

#: Elements of a block of the update: four arrays of 256 KB, half of a large L2 cache.
BLOCK = 65536


def views(flat: Array, sizes: tuple[int, ...]) -> tuple[list[Array], list[Array]]:
    """Return kernels and biases as parts of one vector."""
    kernels, biases, at = [], [], 0
    for inputs, outputs in pairwise(sizes):
        kernels.append(flat[at : at + inputs * outputs].reshape(inputs, outputs))
        at += inputs * outputs
        biases.append(flat[at : at + outputs])
        at += outputs
    return kernels, biases


class Trainer:
    """Trains; see `bpfast.bench.peers.Trainer`."""

    def __init__(
        self, workload: Workload, X: Array, y: Array, *, threads: int = 1, dtype: Any = np.float32
    ) -> None:
        self.workload = workload
        self.X = np.ascontiguousarray(X, dtype)
        self.y = y if y.ndim == 1 else np.ascontiguousarray(y, dtype)
        self.rng = np.random.default_rng(0)
        sizes, rows = workload.sizes, workload.batch
        self.begin = data.flat(data.start(workload), dtype)
        self.w, self.g = self.begin.copy(), np.empty_like(self.begin)
        self.kernels, self.biases = views(self.w, sizes)
        self.kernel_grads, self.bias_grads = views(self.g, sizes)
        self.m, self.v = np.zeros_like(self.w), np.zeros_like(self.w)
        self.t = 0
        self.scratch = np.empty(min(BLOCK, self.w.size), dtype)
        self.a = [np.empty((rows, n), dtype) for n in sizes]  # inputs, then each layer's output
        self.d = [np.empty((rows, n), dtype) for n in sizes[1:-1]]  # gradients of hidden outputs
        self.slope = [np.empty((rows, n), dtype) for n in sizes[1:-1]]
        self.mask = [np.empty((rows, n), bool) for n in sizes[1:-1]]
        self.ones = np.ones(rows, dtype)
        self.column = np.empty((rows, 1), dtype)
        self.picked = np.empty(rows, dtype)
        self.labels = np.empty(rows, self.y.dtype)
        self.target = np.empty((rows, sizes[-1]), dtype)
        self.first_rows = np.arange(rows)
        self.first = self.first_rows * sizes[-1]  # where each row begins in the flat output
        self.update: Callable[[], None] = (
            self.adam if workload.optimizer == "adam" else self.momentum
        )

    def reset(self) -> None:
        self.w[...] = self.begin
        self.m[...] = 0
        self.v[...] = 0
        self.t = 0

    def weights(self) -> Array:
        return self.w

    def fit(self, epochs: int, *, shuffle: bool = True) -> list[float]:
        rows = self.workload.rows
        order = np.arange(rows)
        history = []
        for _ in range(epochs):
            if shuffle:
                self.rng.shuffle(order)
            total = 0.0
            for first in range(0, rows, self.workload.batch):
                index = order[first : first + self.workload.batch]
                self.X.take(index, 0, self.a[0], "clip")
                total += self.forward_backward(index)
                self.update()
            history.append(total / self.workload.steps)
        return history

    def gradient(self) -> float:
        self.a[0] = self.X  # all rows are the batch: nothing to copy
        return self.forward_backward(self.first_rows)

    def forward_backward(self, index: Array) -> float:
        """Compute the gradients of the mean loss of these rows, which a[0] holds; return it."""
        a, relu = self.a, self.workload.activation == "relu"
        last = len(self.kernels) - 1
        for i, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            z = a[i + 1]
            np.dot(a[i], kernel, out=z)
            z += bias
            if i == last:
                break
            if relu:
                np.maximum(z, 0, out=z)
            else:
                np.tanh(z, out=z)
        delta = a[-1]
        loss = self.cross_entropy(delta, index) if self.y.ndim == 1 else self.mse(delta, index)
        for i in range(last, -1, -1):
            np.dot(a[i].T, delta, out=self.kernel_grads[i])
            np.dot(self.ones, delta, out=self.bias_grads[i])
            if i == 0:
                break
            below = self.d[i - 1]
            np.dot(delta, self.kernels[i].T, out=below)
            if relu:
                np.greater(a[i], 0, out=self.mask[i - 1])
                np.multiply(below, self.mask[i - 1], out=below)
            else:
                slope = self.slope[i - 1]
                np.multiply(a[i], a[i], out=slope)
                np.subtract(1, slope, out=slope)
                np.multiply(below, slope, out=below)
            delta = below
        return loss

    def cross_entropy(self, z: Array, index: Array) -> float:
        """Turn logits into the gradient, in place; return the mean loss."""
        column = self.column
        z.max(axis=1, keepdims=True, out=column)
        z -= column
        np.exp(z, out=z)
        z.sum(axis=1, keepdims=True, out=column)
        z /= column
        self.y.take(index, 0, self.labels, "clip")
        self.labels += self.first
        flat = z.reshape(-1)
        flat.take(self.labels, 0, self.picked, "clip")
        flat[self.labels] -= 1
        z *= 1 / len(index)
        np.log(self.picked, out=self.picked)
        return -float(self.picked.sum()) / len(index)

    def mse(self, z: Array, index: Array) -> float:
        """Turn outputs into the gradient, in place; return the mean loss."""
        self.y.take(index, 0, self.target, "clip")
        z -= self.target
        flat = z.reshape(-1)
        loss = float(np.dot(flat, flat)) / flat.size
        z *= 2 / flat.size
        return loss

    def momentum(self) -> None:
        """v = mu v + lr g; W -= v."""
        rate = workloads.RATES["momentum"]
        for first in range(0, self.w.size, BLOCK):
            part = slice(first, first + BLOCK)
            w, g, v = self.w[part], self.g[part], self.v[part]
            v *= workloads.MOMENTUM
            g *= rate
            v += g
            w -= v

    def adam(self) -> None:
        """Adam with m / (1 - b1) and v / (1 - b2) as moments: two products fewer."""
        self.t += 1
        root = ((1 - BETA_2) / (1 - BETA_2**self.t)) ** 0.5
        rate = workloads.RATES["adam"] * (1 - BETA_1) / (1 - BETA_1**self.t) / root
        epsilon = EPSILON / root
        for first in range(0, self.w.size, BLOCK):
            part = slice(first, first + BLOCK)
            w, g, m, v = self.w[part], self.g[part], self.m[part], self.v[part]
            scratch = self.scratch[: w.size]
            m *= BETA_1
            m += g
            np.multiply(g, g, out=g)
            v *= BETA_2
            v += g
            np.sqrt(v, out=scratch)
            scratch += epsilon
            np.divide(m, scratch, out=scratch)
            scratch *= rate
            w -= scratch


class Predictor:
    """Predicts; see `bpfast.bench.peers.Predictor`."""

    def __init__(self, workload: Workload, X: Array, *, threads: int = 1) -> None:
        # A row goes as a vector: BLAS reads the matrix once (gemv), where a product of matrices
        # would pack it first.
        self.x = X[0] if len(X) == 1 else X
        weights = data.start(workload)
        self.kernels, self.biases = weights[::2], weights[1::2]
        self.z = [np.empty((*self.x.shape[:-1], len(b)), np.float32) for b in self.biases]
        self.relu = workload.activation == "relu"

    def __call__(self) -> Array:
        a = self.x
        for kernel, bias, z in zip(self.kernels, self.biases, self.z, strict=True):
            np.dot(a, kernel, out=z)
            z += bias
            if z is self.z[-1]:
                break
            if self.relu:
                np.maximum(z, 0, out=z)
            else:
                np.tanh(z, out=z)
            a = z
        return z
