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
from bpfast.bench.workloads import BETA_1, BETA_2, EPSILON, MOMENTUM, RATES, Workload

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}


def outputs(workload: Workload, weights: list[jax.Array], x: jax.Array) -> jax.Array:
    """Return the network's outputs."""
    activation = ACTIVATIONS[workload.activation]
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = activation(x @ kernel + bias)
    return x @ weights[-2] + weights[-1]


def mean_loss(
    workload: Workload, weights: list[jax.Array], x: jax.Array, y: jax.Array
) -> jax.Array:
    """Return the mean loss of a batch."""
    output = outputs(workload, weights, x)
    if workload.loss == "mse":
        return jnp.mean((output - y) ** 2)
    logs = jax.nn.log_softmax(output)
    return -jnp.mean(jnp.take_along_axis(logs, y[:, None], axis=1))


def step(workload: Workload, state: Any, X: jax.Array, y: jax.Array, index: jax.Array) -> Any:
    """Train on the rows of `index`; return the new state and their mean loss before it."""
    weights, m, v, t = state
    loss, gradients = jax.value_and_grad(partial(mean_loss, workload))(weights, X[index], y[index])
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
    return (weights, m, v, t), loss


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
        self.state: Any = (weights, m, v, jnp.zeros((), self.dtype))
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
        return np.asarray(self.jitted(self.X))
