"""Solvers sgd and adam: epochs of `Network.fit`, with the record and the rules of scikit-learn."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bpfast import schedules
from bpfast._callback import Callback, Logs
from bpfast._data import as_rows, as_weights
from bpfast._score import Scorer
from bpfast.network import Network
from bpfast.optimizers import SGD, Adam, Optimizer
from bpfast.schedules import Schedule
from bpfast.sklearn import _build
from bpfast.sklearn._aim import Aim
from bpfast.sklearn._sklearn import ConvergenceWarning

if TYPE_CHECKING:
    from bpfast.sklearn._tasks import Tasks

Array = NDArray[Any]

#: The largest double below 1. scikit-learn allows a momentum of 1, which never loses speed.
_MOST_MOMENTUM = 1.0 - 2.0**-53
#: Where scikit-learn's adaptive rate gives up, and what it divides by.
_LEAST_RATE, _ADAPTIVE_FACTOR = 1e-6, 5.0


@dataclass(frozen=True, slots=True)
class Held:
    """Rows that are not trained on; y as the network reads it."""

    X: Array
    y: Array
    weights: Array | None = None


def train(
    est: Any,
    X: Array,
    weights: Array | None,
    aim: Aim,
    held: Held | None,
    tasks: Tasks | None,
    *,
    incremental: bool,
) -> None:
    """Train `est.network_` for up to `est.max_iter` epochs, or for one."""
    net: Network = est.network_
    batch_size = _batch_size(est, X.shape[0])
    if not incremental or not hasattr(est, "_first_step"):
        net.reset_optimizer()
        est._first_step = net._core.counters()["step"]
        est._rate = float(est.learning_rate_init)
    total = float(X.shape[0] if weights is None else weights.sum())
    rules = Rules(est, aim, X.shape[0], -(-X.shape[0] // batch_size), total, held, incremental)
    est.n_iter_ = 0
    net._decay = est.alpha / aim.scale
    try:
        net.fit(
            X,
            aim.target,
            loss=aim.loss,
            optimizer=_optimizer(est, aim),
            epochs=1 if incremental else est.max_iter,
            batch_size=batch_size,
            shuffle=bool(est.shuffle),
            validation_data=None if held is None else (held.X, held.y, held.weights),
            sample_weight=weights,
            schedule=Rate(est, aim, schedules.get(est.schedule)),
            callbacks=[rules, *([] if tasks is None else [tasks]), *(est.callbacks or ())],
            on_divergence="ignore",
        )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=5)
    finally:
        net._decay = 0.0
    if est.n_iter_ == est.max_iter and not rules.stopped and not incremental:
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({est.max_iter}) reached and the "
            "optimization hasn't converged yet.",
            ConvergenceWarning,
            stacklevel=5,
        )
    if est.early_stopping:
        net._set_state(est._best)


def _batch_size(est: Any, rows: int) -> int:
    """Return the rows of a batch, 200 by default, as in scikit-learn."""
    if est.batch_size == "auto":
        return min(200, rows)
    if est.batch_size > rows:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=6,
        )
    return min(int(est.batch_size), rows)


def _optimizer(est: Any, aim: Aim) -> Optimizer:
    """Return the update rule for the gradient of our loss: scikit-learn's over `aim.scale`."""
    rate = float(est.learning_rate_init)
    clips = {
        name: None if limit is None else limit / aim.scale
        for name, limit in (("clip_norm", est.clip_norm), ("clip_value", est.clip_value))
    }
    if est.solver == "adam":  # in the form of Kingma & Ba's section 2: see Rate
        return Adam(
            rate,
            beta_1=est.beta_1,
            beta_2=est.beta_2,
            epsilon=est.epsilon / aim.scale,
            bias_correction=False,
            **clips,
        )
    momentum = min(float(est.momentum), _MOST_MOMENTUM)
    return SGD(
        rate, momentum=momentum, nesterov=bool(est.nesterovs_momentum) and momentum > 0, **clips
    )


class Rate(Schedule):
    """The rate of each step: `est._rate` or a schedule of the user's.

    For adam it is multiplied by sqrt(1 - beta_2^t) / (1 - beta_1^t), as scikit-learn does instead
    of correcting the moments; t counts the steps of this optimizer from 1.
    """

    per_step: ClassVar[bool] = True

    def __init__(self, est: Any, aim: Aim, own: Schedule | None) -> None:
        self.est, self.own = est, own
        self.factor = aim.scale if est.solver == "sgd" else 1.0
        self.monitor = None if own is None else own.monitor
        self.t = 0

    def rate(self, initial: float, epoch: float) -> float:
        """Return the rate of the next step; called once for each, in their order."""
        est = self.est
        value = est._rate
        if self.own is not None:
            value = self.own.rate(initial, epoch if self.own.per_step else math.floor(epoch))
        if est.solver == "adam":
            if epoch == math.floor(epoch):  # an epoch begins
                self.t = est.network_._core.counters()["step"] - est._first_step
            self.t += 1
            first = 1.0 - schedules._power(est.beta_1, self.t)
            value *= math.sqrt(1.0 - schedules._power(est.beta_2, self.t)) / first
        return float(self.factor * value)

    def reset(self) -> None:
        """Start anew."""
        if self.own is not None:
            self.own.reset()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Take note of an epoch's results."""
        if self.own is not None:
            self.own.on_epoch_end(epoch, logs)


class Rules(Callback):
    """Keeps scikit-learn's record in the estimator, and stops where it would."""

    def __init__(
        self,
        est: Any,
        aim: Aim,
        rows: int,
        steps: int,
        total: float,
        held: Held | None,
        incremental: bool,
    ) -> None:
        self.est, self.aim, self.rows, self.steps, self.total = est, aim, rows, steps, total
        self.incremental, self.held, self.stopped = incremental, held, False
        self.score = _scorer(est, aim, held) if est.early_stopping and held is not None else None
        self.kernels: list[Array] = []
        self.squares = 0.0

    def on_train_begin(self, logs: Logs) -> None:
        """Begin the lists that a fit goes on with under warm_start."""
        if self.est.early_stopping and not hasattr(self.est, "_best"):
            self.est._best = self.net._state()
        self.kernels = _build.kernels(self.net, self.net.params)
        self.squares = _build.squares(self.kernels)

    def on_epoch_end(self, epoch: int, logs: Logs) -> bool:
        """Record the epoch; return whether training ends."""
        est = self.est
        est.n_iter_ += 1
        est.t_ += self.rows
        est.loss_ = self.aim.report(logs["loss"]) + self._penalty()
        est.loss_curve_.append(est.loss_)
        if self.held is not None:
            est.validation_loss_curve_.append(self.aim.report(logs["val_loss"]))
        self._say(f"Iteration {est.n_iter_}, loss = {est.loss_:.8f}")
        self._count()
        if est.solver == "sgd" and est.learning_rate == "invscaling":
            est._rate = float(est.learning_rate_init) / (est.t_ + 1) ** est.power_t
        if est._no_improvement_count > est.n_iter_no_change:
            self.stopped = self._ends()
            if not self.stopped:
                est._no_improvement_count = 0
        return self.stopped

    def _penalty(self) -> float:
        """Return the mean of the penalties that the epoch's steps met.

        The sum of squares is taken to change evenly from step to step; scikit-learn sums it up in
        each.
        """
        if not self.est.alpha:
            return 0.0
        before, self.squares = self.squares, _build.squares(self.kernels)
        mean = before + (self.squares - before) * (self.steps - 1) / (2 * self.steps)
        return float(self.est.alpha / 2 * mean * self.steps / self.total)

    def _count(self) -> None:
        """Count the epochs without improvement of the score, or else of the loss."""
        est = self.est
        if self.score is not None:
            found = self.score()
            est.validation_scores_.append(found)
            self._say(f"Validation score: {found:f}")
            worse = found < est.best_validation_score_ + est.tol
            if found > est.best_validation_score_:
                est.best_validation_score_ = found
                est._best = self.net._state()
        else:
            worse = est.loss_ > est.best_loss_ - est.tol
            est.best_loss_ = est.loss_ if est.loss_ < est.best_loss_ else est.best_loss_
        est._no_improvement_count = est._no_improvement_count + 1 if worse else 0

    def _ends(self) -> bool:
        """Whether no improvement ends the fit; an adaptive rate is lowered first."""
        est = self.est
        what = "Validation score" if est.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={est.tol:f} for {est.n_iter_no_change} "
            "consecutive epochs."
        )
        if est.solver != "sgd" or est.learning_rate != "adaptive":
            self._say(f"{message} Stopping.")
            return True
        if est._rate <= _LEAST_RATE:
            self._say(f"{message} Learning rate too small. Stopping.")
            return True
        est._rate /= _ADAPTIVE_FACTOR
        self._say(f"{message} Setting learning rate to {est._rate:f}")
        return False

    def _say(self, text: str) -> None:
        if self.est.verbose:
            print(text)


def _scorer(est: Any, aim: Aim, held: Held) -> Any:
    """Return a function that scores the held rows as `est.score` would; NaN for a diverged net."""
    net: Network = est.network_
    metric = est._metric(aim)
    if metric is None:
        return lambda: _finite(net, held, est._held_score(aim, held))
    rows = as_rows(held.X, held.y, net.input_shape, net.outputs, aim.loss, net.dtype.itemsize)
    rows = rows.weighted(as_weights(rows, held.weights, None, aim.loss, net.outputs))
    scorer = Scorer(net, aim.loss, [metric], rows)
    return lambda: _finite(net, held, scorer.evaluate(rows)[metric])


def _finite(net: Network, held: Held, score: float) -> float:
    """Return the score, NaN where it is infinite since outputs are not finite."""
    known = math.isfinite(score) or bool(np.isfinite(net.predict(held.X)).all())
    return float(score) if known else math.nan
