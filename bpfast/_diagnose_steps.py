"""What `Network.diagnose` learns from some steps of training, on a copy."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from bpfast import _core
from bpfast._build import measure_inputs
from bpfast._data import Rows
from bpfast._diagnosis import Finding
from bpfast._streams import USER
from bpfast.losses import Loss

if TYPE_CHECKING:
    from bpfast.network import Network
    from bpfast.optimizers import Optimizer

#: Multiplications that the trial steps may take, forward and backward: about half a second of one
#: core; and between how many steps that may be.
_WORK: Final = 1e10
_LEAST_STEPS, _MOST_STEPS = 12, 100
#: Batches whose loss is compared before and after; first steps whose ratio counts: later ones meet
#: weights that grew.
_COMPARED, _EARLY = 8, 10

#: Steps are long when they change the weights by more than this share of their size: about 1e-3 is
#: usual (Bengio 2012, section 3.3). They are too long when the same batches would lose less than
#: the second share of what they lose, on average over the trial, at a tenth of the rate.
_LONG_STEP, _BETTER = 0.01, 0.9
#: One that changes them by less than this share, while the loss does not fall, is too short: it
#: would take a hundred thousand to replace the weights.
_SHORT_STEP: Final = 1e-5
#: The loss has not fallen when it is above this share of what it was.
_UNCHANGED: Final = 0.99
#: A loss below this share of what the best constant answer loses is no trouble.
_HIGH: Final = 0.25


@dataclass(slots=True)
class Trial:
    """Losses and update ratios of some steps; they end where a loss is not finite."""

    first: float  # mean loss of some batches before
    last: float  # and after
    losses: list[float]  # of each step's batch
    ratios: list[float]  # norm of the change of all kernels / their norm
    rate: float


def constant_loss(rows: Rows, outputs: int, loss: Any, objective: _core.Objective) -> float:
    """Return about the least loss of an answer that ignores the input; NaN for a loss in Python.

    It is the mean of the targets, as a logit, or log of a rate, where the loss reads these.
    """
    if not isinstance(loss, Loss):
        return math.nan
    target = rows.y
    if target is None:
        assert rows.labels is not None
        mean = np.bincount(rows.labels, minlength=outputs) / len(rows)
    else:
        mean = target.mean(axis=0, dtype=np.float64)
    tiny = 1.0 / (len(rows) + 1)
    if loss.kind in ("cross_entropy", "poisson"):
        mean = np.log(np.maximum(mean, tiny))
    elif loss.kind == "binary_cross_entropy":
        mean = np.clip(mean, tiny, 1 - tiny)
        mean = np.log(mean / (1 - mean))
    answer = np.ascontiguousarray(np.broadcast_to(mean, (len(rows), outputs)), np.float64)
    return float(_core.loss_value(rows.core(), answer, objective, 8))


def try_steps(net: Network, rows: Rows, loss: Any, optimizer: Optimizer, batch: int) -> Trial:
    """Train a copy; the number of steps follows from the size of the network alone."""
    copy = net.clone()
    measure_inputs(copy, rows.x)
    batch = min(batch, len(rows))
    work = 3.0 * max(1, copy._plan.products()) * batch
    steps = int(min(max(_WORK / work, _LEAST_STEPS), _MOST_STEPS))
    order = _core.permutation(len(rows), net.seed, USER, 1)
    sizes = [array.size for array in copy.params.values()]
    kernels = [name.endswith(".kernel") for name in copy.params]
    per_epoch = len(rows) // batch

    def loss_of(step: int) -> float:
        """Return the loss of one batch, and leave its gradient."""
        start = step % per_epoch * batch
        part = rows.take(np.sort(order[start : start + batch]))
        return copy.loss_and_gradient(
            part.x.reshape(batch, *copy.input_shape), part.target(), loss=loss
        )

    def mean_loss() -> float:
        """Return that of some batches, always the same ones."""
        return float(np.mean([loss_of(step) for step in range(min(_COMPARED, per_epoch))]))

    trial = Trial(mean_loss(), math.nan, [], [], optimizer.learning_rate)
    for step in range(steps):
        before = copy.parameters.copy()
        trial.losses.append(loss_of(step))
        copy.step(optimizer)
        trial.ratios.append(_ratio(copy.parameters, before, sizes, kernels))
        if not (math.isfinite(trial.losses[-1]) and math.isfinite(trial.ratios[-1])):
            return trial
    trial.last = mean_loss()
    return trial


def _ratio(now: NDArray[Any], before: NDArray[Any], sizes: list[int], kernels: list[bool]) -> float:
    """Return the norm of the change of all kernels / their norm before."""
    figures = _core.summaries([(before, now)], sizes, 1)[0]
    chosen = [f for f, kernel in zip(figures, kernels, strict=True) if kernel] or figures
    norm = math.hypot(*(f[2] for f in chosen))
    change = math.hypot(*(f[5] for f in chosen))
    return change / norm if norm > 0 else math.nan


def look_at_rate(
    net: Network, rows: Rows, loss: Any, optimizer: Optimizer, batch: int, constant: float
) -> tuple[list[Finding], int]:
    """Return a learning rate that is too high or too low, and the number of trial steps.

    constant : what the best constant answer loses; NaN where that is unknown.
    """
    trial = try_steps(net, rows, loss, optimizer, batch)
    rate, steps = f"learning rate {trial.rate:g}", len(trial.losses)
    if not math.isfinite(trial.last):
        evidence = f"{rate}: not finite after {steps} steps, from a loss of {trial.first:.3g}"
        return [_too_high(evidence)], steps
    floor = trial.first if math.isnan(constant) else _HIGH * constant
    ratio, mean = float(np.median(trial.ratios[:_EARLY])), float(np.mean(trial.losses))
    seen = f"{rate}: each step changes the weights by {ratio:.2g} of their size; "
    if ratio > _LONG_STEP and mean > floor:
        slower = replace(optimizer, learning_rate=optimizer.learning_rate / 10)
        other = float(np.mean(try_steps(net, rows, loss, slower, batch).losses))
        if other < _BETTER * mean:
            seen += (
                f"the mean loss of {steps} steps is {mean:.3g}, at a tenth of the rate {other:.3g}"
            )
            return [_too_high(seen)], steps
    if ratio < _SHORT_STEP and trial.last > max(_UNCHANGED * trial.first, floor):
        seen += f"loss {trial.first:.3g} before and {trial.last:.3g} after {steps} steps"
        advice = "multiply it by 10 to 100, or search with net.find_lr"
        return [Finding("learning rate too low", "training", seen, advice, "error")], steps
    return [], steps


def _too_high(evidence: str) -> Finding:
    """Return the finding."""
    advice = "divide it by 10, or search with net.find_lr; or clip_norm=1.0"
    return Finding("learning rate too high", "training", evidence, advice, "error")
