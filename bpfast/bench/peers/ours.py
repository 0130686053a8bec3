"""bpfast itself, behind the same calls as its peers."""

from __future__ import annotations

from typing import Any

import numpy as np

import bpfast as bp
from bpfast.bench import data, workloads
from bpfast.bench.data import Array
from bpfast.bench.workloads import Workload


def network(workload: Workload, dtype: Any, threads: int | None) -> bp.Network:
    """Return the workload's network with its initial weights."""
    *hidden, last = workload.sizes[1:]
    layers: list[bp.Layer] = []
    for filters in workload.filters:
        layers += [bp.Conv2D(filters, 3, workload.activation), bp.MaxPool2D(2)]
    layers += [bp.Flatten()] if workload.filters else []
    for units in hidden:
        if workload.norm:
            inside = bp.Activation(workload.activation)
            layers += [bp.Dense(units, use_bias=False), bp.BatchNorm(), inside]
        else:
            layers.append(bp.Dense(units, workload.activation))
    net = bp.Network(
        [*layers, bp.Dense(last)],
        input_shape=workload.image or workload.sizes[0],
        dtype=np.dtype(dtype).name,
        rng=0,
        n_threads=threads,
    )
    net.parameters[...] = data.flat(data.start(workload), dtype)
    return net


def optimizer(workload: Workload) -> bp.optimizers.Optimizer:
    """Return the workload's optimizer."""
    rate = workloads.RATES[workload.optimizer]
    if workload.optimizer == "adam":
        return bp.Adam(
            rate, beta_1=workloads.BETA_1, beta_2=workloads.BETA_2, epsilon=workloads.EPSILON
        )
    return bp.SGD(rate, momentum=workloads.MOMENTUM)


class Trainer:
    """Trains; see `bpfast.bench.peers.Trainer`."""

    def __init__(
        self, workload: Workload, X: Array, y: Array, *, threads: int = 1, dtype: Any = np.float32
    ) -> None:
        self.workload, self.X, self.y = workload, X, y
        self.net = network(workload, dtype, threads)
        self.begin = self.net.parameters.copy()

    def reset(self) -> None:
        self.net.parameters[...] = self.begin
        self.net.reset_optimizer()

    def weights(self) -> Array:
        return self.net.parameters

    def fit(self, epochs: int, *, shuffle: bool = True) -> list[float]:
        history = self.net.fit(
            self.X,
            self.y,
            loss=self.workload.loss,
            optimizer=optimizer(self.workload),
            epochs=epochs,
            batch_size=self.workload.batch,
            shuffle=shuffle,
        )
        return history.history["loss"]

    def gradient(self) -> float:
        return self.net.loss_and_gradient(self.X, self.y, loss=self.workload.loss)


class Predictor:
    """Predicts; see `bpfast.bench.peers.Predictor`."""

    def __init__(self, workload: Workload, X: Array, *, threads: int = 1) -> None:
        self.net = network(workload, np.float32, threads)
        self.X, self.row = X, X[0]
        self.out = np.empty(workload.sizes[-1], np.float32)

    def __call__(self) -> Array:
        if len(self.X) == 1:
            return self.net.predict_one(self.row, out=self.out)
        return self.net.predict(self.X)
