"""Solver lbfgs: SciPy's L-BFGS-B on the flat vector of parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bpfast.network import Network
from bpfast.sklearn import _build
from bpfast.sklearn._aim import Aim
from bpfast.sklearn._sklearn import ConvergenceWarning

if TYPE_CHECKING:
    from bpfast.sklearn._tasks import Tasks

Array = NDArray[Any]


def minimize(est: Any, X: Array, weights: Array | None, aim: Aim, tasks: Tasks | None) -> None:
    """Fit `est.network_` on all rows at once.

    The search is in float64 whatever the network's dtype, as scikit-learn's. An interruption by
    the user ends it with the last iterate.
    """
    from scipy.optimize import minimize as search

    work = _in_double(est.network_)
    total = float(X.shape[0] if weights is None else weights.sum())
    measure = _Objective(work, X, weights, aim, est.alpha / total)
    path = _Path(est, work.parameters.copy(), measure, tasks)
    try:
        found = search(
            path.evaluate,
            path.iterate,
            method="L-BFGS-B",
            jac=True,
            callback=path.step,
            options={"maxfun": est.max_fun, "maxiter": est.max_iter, "gtol": est.tol},
        )
        path.iterate, est.n_iter_ = found.x, min(int(found.nit), est.max_iter)
        if found.status not in (0, 99):  # 99: a callback has stopped it
            warnings.warn(
                f"lbfgs failed to converge after {est.n_iter_} iterations (status {found.status}): "
                f"{found.message}. Increase max_iter or max_fun, or scale the data",
                ConvergenceWarning,
                stacklevel=5,
            )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=5)
    measure(path.iterate)
    est.loss_ = measure.reported
    est.network_.parameters[...] = work.parameters
    est.network_._loss = aim.loss  # as after Network.fit: what predict_proba and evaluate go by


def _in_double(net: Network) -> Network:
    """Return the network, or a float64 copy of it."""
    if net.dtype == np.float64:
        return net
    work = Network(net.layers, input_shape=net.input_shape, dtype="float64", rng=net.seed)
    work.n_threads = net.n_threads
    work.parameters[...] = net.parameters
    for name, values in net.buffers.items():
        work.buffers[name][...] = values
    return work


class _Objective:
    """Loss, penalty and gradient as functions of the parameters."""

    def __init__(
        self, net: Network, X: Array, weights: Array | None, aim: Aim, decay: float
    ) -> None:
        self.net, self.aim, self.decay = net, aim, decay
        self.measure: Callable[[], tuple[float, float]] = net._current_batches().objective(
            X, aim.target, aim.loss, weights
        )
        self.kernels = _build.kernels(net, net.params)
        self.slopes = _build.kernels(net, net.grads)
        self.reported = np.nan

    def __call__(self, parameters: Array) -> tuple[float, Array]:
        net, aim = self.net, self.aim
        net.parameters[...] = parameters
        loss, own = self.measure()  # `own`: penalties of a network given by the user
        penalty = self.decay / 2 * _build.squares(self.kernels)
        self.reported = aim.report(loss) + own + penalty
        if aim.scale != 1.0:
            net.gradients *= aim.scale
        for slope, kernel in zip(self.slopes, self.kernels, strict=True):
            slope += self.decay * kernel
        return aim.scale * (loss + own) + penalty, net.gradients.copy()


class _Path:
    """The iterates, told to whoever follows them."""

    def __init__(self, est: Any, start: Array, measure: _Objective, tasks: Tasks | None) -> None:
        self.est, self.measure, self.tasks = est, measure, tasks
        self.iterate, self.done, self.open = start, 0, False

    def evaluate(self, parameters: Array) -> tuple[float, Array]:
        """Return loss and gradient; the first call after a step begins another one."""
        if self.tasks is not None and not self.open:
            self.tasks.on_epoch_begin(self.done, {})
            self.open = True
        return self.measure(parameters)

    def step(self, parameters: Array) -> None:
        """Take note of an iterate; StopIteration ends the search there."""
        self.iterate, self.done, self.open = parameters.copy(), self.done + 1, False
        if self.est.verbose:
            print(f"Iteration {self.done}, loss = {self.measure.reported:.8f}")
        if self.tasks is None:
            return
        self.est.n_iter_, net = self.done, self.est.network_
        net.parameters[...] = parameters
        net._loss = self.measure.aim.loss
        if self.tasks.on_epoch_end(self.done - 1, {}):
            raise StopIteration
