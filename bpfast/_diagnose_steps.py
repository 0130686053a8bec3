"""What `Network.diagnose` learns from some steps of training, on a copy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from bpfast import _core
from bpfast._data import Rows
from bpfast._diagnosis import Finding
from bpfast.losses import Loss

if TYPE_CHECKING:
    from bpfast.network import Network
    from bpfast.optimizers import Optimizer

#: Multiplications that the trial steps may take, forward and backward: about half a second of one
#: core; and between how many steps that may be.
_WORK: Final = 1e10
_LEAST_STEPS, _MOST_STEPS = 12, 100

#: A step that changes weights by more than this share of their size, while the loss does not fall,
#: is too long; about 1e-3 is usual (Bengio 2012, section 3.3).
_LONG_STEP: Final = 0.1
#: One that changes them by less than this share, while the loss does not fall, is too short: it
#: would take a hundred thousand of them to replace the weights.
_SHORT_STEP: Final = 1e-5
#: The loss has risen when it is so many times what it was; it has not fallen when it is above the
#: second share; and "while the loss is high" means above this share of the best constant answer's.
_RISEN, _UNCHANGED, _HIGH = 1.5, 0.99, 0.5
#: With steps that are too long the loss would have fallen below this share of the first.
_FALLEN: Final = 0.5


@dataclass(slots=True)
class Trial:
    """Losses and update ratios of some steps; they end where a loss is not finite."""

    losses: list[float]
    ratios: list[float]
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
    if copy._plan.standardizes and not copy._measured:
        copy._core.standardize(rows.x)
        copy._measured = True
    batch = min(batch, len(rows))
    work = 3.0 * max(1, copy._plan.products()) * batch
    steps = int(min(max(_WORK / work, _LEAST_STEPS), _MOST_STEPS))
    order = _core.permutation(len(rows), net.seed, 2, 1)
    sizes = [array.size for array in copy.params.values()]
    kernels = [name.endswith(".kernel") for name in copy.params]
    trial = Trial([], [], optimizer.learning_rate)
    per_epoch = len(rows) // batch
    for step in range(steps):
        start = step % per_epoch * batch
        part = rows.take(np.sort(order[start : start + batch]))
        before = copy.parameters.copy()
        value = copy.loss_and_gradient(
            part.x.reshape(batch, *copy.input_shape), part.target(), loss=loss,
            **({} if part.weights is None else {"sample_weight": part.weights}),
        )  # fmt: skip
        trial.losses.append(value)
        if not math.isfinite(value):
            break
        copy.step(optimizer)
        trial.ratios.append(_ratio(copy.parameters, before, sizes, kernels))
        if not math.isfinite(trial.ratios[-1]):
            break
    return trial


def _ratio(now: NDArray[Any], before: NDArray[Any], sizes: list[int], kernels: list[bool]) -> float:
    """Return the norm of the change of all kernels / their norm before."""
    figures = _core.summaries(before, sizes, 1, now)[0]
    chosen = [f for f, kernel in zip(figures, kernels, strict=True) if kernel] or figures
    norm = math.hypot(*(f[2] for f in chosen))
    change = math.hypot(*(f[5] for f in chosen))
    return change / norm if norm > 0 else math.nan


def judge(trial: Trial, constant: float) -> Iterator[Finding]:
    """Yield a learning rate that is too high or too low."""
    losses, rate = np.array(trial.losses), f"learning rate {trial.rate:g}"
    if not (np.isfinite(losses).all() and np.isfinite(trial.ratios).all()):
        yield Finding(
            "learning rate too high",
            "training",
            f"{rate}: not finite after {len(trial.ratios)} steps, from a loss of {losses[0]:.3g}",
            "divide it by 10, or search with a learning-rate test; or clip_norm=1.0",
            "error",
        )
        return
    part = max(3, len(losses) // 5)
    first, last = float(losses[0]), float(np.mean(losses[-part:]))
    ratio = float(np.median(trial.ratios[:part]))
    seen = (
        f"{rate}: each step changes the weights by {ratio:.2g} of their size; loss {first:.3g} at "
        f"first, {last:.3g} after {len(losses)} steps"
    )
    high = not last <= _HIGH * constant  # also where nothing is known of constants
    if (last > _RISEN * first and high) or (ratio > _LONG_STEP and last > _FALLEN * first and high):
        yield Finding(
            "learning rate too high",
            "training",
            seen,
            "divide it by 10, or search with a learning-rate test",
            "error",
        )
    elif ratio < _SHORT_STEP and last > _UNCHANGED * float(np.mean(losses[:part])) and high:
        yield Finding(
            "learning rate too low", "training", seen, "multiply it by 10 to 100", "error"
        )
