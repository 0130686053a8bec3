"""JAX on CPU: one jitted call a step, or one a whole epoch with `lax.scan` over its batches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bpfast.bench import data
from bpfast.bench.data import Array
from bpfast.bench.workloads import (
    BETA_1,
    BETA_2,
    EPSILON,
    MOMENTUM,
    NORM_EPSILON,
    NORM_MOMENTUM,
    RATES,
    Workload,
)

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}


def outputs(
    workload: Workload, weights: list[jax.Array], x: jax.Array
) -> tuple[jax.Array, list[jax.Array]]:
    """Return the network's outputs, and the mean and unbiased variance of what was normalised."""
    activation = ACTIVATIONS[workload.activation]
    parts, statistics = iter(weights), []
    for _ in workload.filters:
        x = jax.lax.conv_general_dilated(
            x, next(parts), (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = pooled(activation(x + next(parts)))
    x = x.reshape(len(x), -1)
    for _ in workload.sizes[1:-1]:
        x = x @ next(parts)
        if workload.norm:
            mean, variance = x.mean(axis=0), x.var(axis=0)
            statistics += [mean, variance * len(x) / (len(x) - 1)]
            x = (x - mean) * jax.lax.rsqrt(variance + NORM_EPSILON) * next(parts)
        x = activation(x + next(parts))
    return x @ next(parts) + next(parts), statistics


def pooled(x: jax.Array) -> jax.Array:
    """Return the largest of each 2 x 2: far faster on CPU than `reduce_window` and its gradient."""
    rows, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(rows, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


def mean_loss(
    workload: Workload, weights: list[jax.Array], x: jax.Array, y: jax.Array
) -> tuple[jax.Array, list[jax.Array]]:
    """Return the mean loss of a batch, and its statistics."""
    output, statistics = outputs(workload, weights, x)
    if workload.loss == "mse":
        return jnp.mean((output - y) ** 2), statistics
    logs = jax.nn.log_softmax(output)
    return -jnp.mean(jnp.take_along_axis(logs, y[:, None], axis=1)), statistics


def step(workload: Workload, state: Any, X: jax.Array, y: jax.Array, index: jax.Array) -> Any:
    """Train on the rows of `index`; return the new state and their mean loss before it."""
    weights, m, v, t, running = state
    loss_of = jax.value_and_grad(partial(mean_loss, workload), has_aux=True)
    (loss, statistics), gradients = loss_of(weights, X[index], y[index])
    running = [
        (1 - NORM_MOMENTUM) * r + NORM_MOMENTUM * s
        for r, s in zip(running, statistics, strict=True)
    ]
    rate = RATES[workload.optimizer]
    t = t + 1
    if workload.optimizer == "momentum":
        v = [MOMENTUM * b + rate * g for b, g in zip(v, gradients, strict=True)]
        weights = [w - b for w, b in zip(weights, v, strict=True)]
    else:
        m = [BETA_1 * a + (1 - BETA_1) * g for a, g in zip(m, gradients, strict=True)]
        v = [BETA_2 * b + (1 - BETA_2) * g * g for b, g in zip(v, gradients, strict=True)]
        first, second = 1 - BETA_1**t, jnp.sqrt(1 - BETA_2**t)
        weights = [
            w - rate / first * a / (jnp.sqrt(b) / second + EPSILON)
            for w, a, b in zip(weights, m, v, strict=True)
        ]
    return (weights, m, v, t, running), loss


def scan(workload: Workload, state: Any, X: jax.Array, y: jax.Array, order: jax.Array) -> Any:
    """Train one epoch in this order of rows; return the new state and the mean loss."""

    def body(state: Any, index: jax.Array) -> Any:
        return step(workload, state, X, y, index)

    state, losses = jax.lax.scan(body, state, order.reshape(-1, workload.batch))
    return state, jnp.mean(losses)


class Trainer:
    """Trains with a jitted step whose state is donated; see `bpfast.bench.peers.Trainer`."""

    function: Callable[..., Any] = staticmethod(step)

    def __init__(
        self, workload: Workload, X: Array, y: Array, *, threads: int = 1, dtype: Any = np.float32
    ) -> None:
        jax.config.update("jax_enable_x64", dtype == np.float64)
        self.workload, self.dtype = workload, dtype
        self.X = jnp.asarray(X, dtype)
        self.y = jnp.asarray(y, np.int32 if workload.loss == "cross_entropy" else dtype)
        self.rng = np.random.default_rng(0)
        self.jitted = jax.jit(partial(self.function, workload), donate_argnums=0)
        self.reset()

    def reset(self) -> None:
        start = data.start(self.workload)
        # A call consumes what it is given: each part is a buffer of its own.
        weights = [jnp.array(w, self.dtype) for w in start]
        m, v = ([jnp.zeros(w.shape, self.dtype) for w in start] for _ in range(2))
        units = self.workload.sizes[1:-1] if self.workload.norm else ()
        running = [jnp.full(n, k, self.dtype) for n in units for k in (0, 1)]
        self.state: Any = (weights, m, v, jnp.zeros((), self.dtype), running)
        jax.block_until_ready(self.state)

    def weights(self) -> Array:
        return data.flat([np.asarray(w) for w in self.state[0]], self.dtype)

    def fit(self, epochs: int, *, shuffle: bool = True) -> list[float]:
        rows = self.workload.rows
        history = []
        for _ in range(epochs):
            order = self.rng.permutation(rows) if shuffle else np.arange(rows)
            history.append(self.epoch(order.astype(np.int32)))
        jax.block_until_ready(self.state)
        return [float(jnp.mean(losses)) for losses in history]

    def epoch(self, order: Array) -> jax.Array:
        """Train in this order of rows; return the losses of the batches, or their mean."""
        losses = []
        for index in order.reshape(-1, self.workload.batch):
            self.state, loss = self.jitted(self.state, self.X, self.y, index)
            losses.append(loss)
        return jnp.stack(losses)


class ScanTrainer(Trainer):
    """Trains with one call an epoch."""

    function = staticmethod(scan)

    def epoch(self, order: Array) -> jax.Array:
        self.state, loss = self.jitted(self.state, self.X, self.y, order)
        return loss


class Predictor:
    """Predicts with a jitted function; see `bpfast.bench.peers.Predictor`."""

    def __init__(self, workload: Workload, X: Array, *, threads: int = 1) -> None:
        weights = [jnp.asarray(w) for w in data.start(workload)]
        self.X = X
        self.jitted = jax.jit(partial(outputs, workload, weights))  # weights are constants in it

    def __call__(self) -> Array:
        output, _ = self.jitted(self.X)
        return np.asarray(output)
