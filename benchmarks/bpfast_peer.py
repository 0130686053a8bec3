"""A workload trained with bpfast, behind the same three calls as the peers."""

from __future__ import annotations

import numpy as np
import workloads

import bpfast as bp


def optimizer(workload: workloads.Workload) -> bp.Optimizer:
    """Return the workload's optimizer."""
    rate = workloads.RATES[workload.optimizer]
    if workload.optimizer == "adam":
        return bp.Adam(rate)
    return bp.SGD(rate, momentum=workloads.MOMENTUM)


class BpfastTrainer:
    """Trains one workload.

    Parameters
    ----------
    workload : Workload
    X, y : ndarray
        As from `workloads.data`.
    dtype : default float32
    threads : int, optional
    """

    def __init__(
        self,
        workload: workloads.Workload,
        X: np.ndarray,
        y: np.ndarray,
        dtype: type = np.float32,
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self.workload, self.X, self.y = workload, X, y
        *hidden, last = workload.sizes[1:]
        self.net = bp.Network(
            [*(bp.Dense(n, workload.activation) for n in hidden), bp.Dense(last)],
            input_shape=workload.sizes[0],
            dtype=np.dtype(dtype).name,
            rng=seed,
            n_threads=threads,
        )
        self.begin = np.concatenate([a.ravel() for a in workloads.start(workload)]).astype(dtype)
        self.reset()

    def reset(self) -> None:
        """Go back to the start: weights, moments and steps."""
        self.net.parameters[...] = self.begin
        self.net.reset_optimizer()

    def fit(self, epochs: int, *, shuffle: bool = True) -> list[float]:
        """Train some epochs; return each one's mean loss."""
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
