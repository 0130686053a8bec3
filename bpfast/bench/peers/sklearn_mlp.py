"""scikit-learn's multi-layer perceptrons, with settings that make them do the same work.

Its squared error is reported as half the mean over samples and outputs, but its gradients are those
of half the mean over samples of the sum over outputs. Reported losses are brought to ours, and the
rate of plain momentum takes the gradients' factor. Adam's steps do not depend on the scale of
gradients, but for epsilon, which it adds before the bias correction.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from bpfast.bench import data, workloads
from bpfast.bench.data import Array
from bpfast.bench.workloads import Workload


def estimator(workload: Workload, X: Array, y: Array) -> Any:
    """Return a fitted estimator with the initial weights."""
    classes = workload.loss == "cross_entropy"
    rate = workloads.RATES[workload.optimizer]
    if workload.optimizer == "momentum" and not classes:
        rate *= 2 / workload.sizes[-1]  # ours is the mean over outputs, without the half
    model = (MLPClassifier if classes else MLPRegressor)(
        hidden_layer_sizes=workload.sizes[1:-1],
        activation=workload.activation,
        solver="adam" if workload.optimizer == "adam" else "sgd",
        alpha=0.0,
        batch_size=workload.batch,
        learning_rate_init=rate,
        momentum=workloads.MOMENTUM,
        nesterovs_momentum=False,
        beta_1=workloads.BETA_1,
        beta_2=workloads.BETA_2,
        epsilon=workloads.EPSILON,
        max_iter=1,
        tol=0.0,
        n_iter_no_change=10**9,
        warm_start=True,  # fit goes on from the weights that are there, with a new optimizer
        random_state=0,
    )
    warnings.simplefilter("ignore", ConvergenceWarning)  # that max_iter ends it is the intent
    return model.fit(X, y)


def set_weights(model: Any, weights: list[Array], dtype: Any) -> None:
    """Put in weights in the order of `data.start`."""
    model.coefs_ = [w.astype(dtype) for w in weights[::2]]
    model.intercepts_ = [w.astype(dtype) for w in weights[1::2]]


class Trainer:
    """Trains; see `bpfast.bench.peers.Trainer`."""

    def __init__(
        self, workload: Workload, X: Array, y: Array, *, threads: int = 1, dtype: Any = np.float32
    ) -> None:
        self.workload, self.dtype = workload, dtype
        self.X = np.ascontiguousarray(X, dtype)
        self.y = y
        if workload.loss == "mse":
            y = y.ravel() if workload.sizes[-1] == 1 else y  # a column would be a warning
            self.y = np.ascontiguousarray(y, dtype)
        self.model = estimator(workload, self.X, self.y)
        self.reset()

    def reset(self) -> None:
        set_weights(self.model, data.start(self.workload), self.dtype)
        self.model.loss_curve_ = []

    def weights(self) -> Array:
        pairs = zip(self.model.coefs_, self.model.intercepts_, strict=True)
        return data.flat([w for pair in pairs for w in pair], self.dtype)

    def fit(self, epochs: int, *, shuffle: bool = True) -> list[float]:
        self.model.set_params(max_iter=epochs, shuffle=shuffle)
        self.model.fit(self.X, self.y)
        factor = 2 if self.workload.loss == "mse" else 1
        return [factor * float(loss) for loss in self.model.loss_curve_[-epochs:]]


class Predictor:
    """Predicts; see `bpfast.bench.peers.Predictor`."""

    def __init__(self, workload: Workload, X: Array, *, threads: int = 1) -> None:
        self.X = X
        y = np.zeros((len(X), workload.sizes[-1]), np.float32)
        self.model = estimator(workload, X, y)
        set_weights(self.model, data.start(workload), np.float32)

    def __call__(self) -> Array:
        outputs: Array = self.model.predict(self.X)
        return outputs
