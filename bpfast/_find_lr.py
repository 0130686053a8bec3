"""The learning-rate range test: which rate to begin with, found before a training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bpfast import _core, losses
from bpfast._build import measure_inputs
from bpfast._check import bad_value, check_count, check_positive
from bpfast._data import as_rows
from bpfast._streams import SHUFFLE

if TYPE_CHECKING:
    from bpfast._data import Rows
    from bpfast._figures import Axes
    from bpfast.network import LossLike, Network
    from bpfast.optimizers import Optimizer

#: The mean of RECENT losses above so many times the least so far ends the test (fastai's limit).
DIVERGED = 4.0
RECENT = 5
#: Standard deviation of the smoothing, in steps of a test of a hundred.
SMOOTHING = 3.0
#: Fewest steps of which a curve can be made.
FEWEST = 10


@dataclass(frozen=True, eq=False, slots=True)
class LearningRateTest:
    """What `Network.find_lr` found.

    Attributes
    ----------
    rates : ndarray of float64 (n,)
        The learning rate of each step, rising by a constant factor.
    losses : ndarray of float64 (n,)
        Loss plus penalty of each step's batch before the step, smoothed.
    raw : ndarray of float64 (n,)
        The same as they came.
    suggestion : float
        The rate to train with.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    raw: NDArray[np.float64]
    suggestion: float

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw it; see `bpfast.plot.learning_rate_test`."""
        from bpfast import plot

        return plot.learning_rate_test(self, ax=ax)


def find_lr(
    net: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: LossLike,
    optimizer: str | Optimizer = "adam",
    batch_size: int = 32,
    low: float = 1e-7,
    high: float = 10.0,
    steps: int = 100,
) -> LearningRateTest:
    """Return a learning rate to begin with: the range test, on a copy; the network stays as it is.

    One training of `steps` batches, whose rate rises from `low` to `high` by a constant factor. The
    loss falls once the rate is large enough to learn, and rises when it is too large. Suggested is
    a tenth of the rate where the smoothed loss is least: a rate that is still far from trouble.

    Parameters
    ----------
    X, y, loss, optimizer, batch_size
        As of `fit`; the optimizer's own learning rate is not used.
    low, high : float, defaults 1e-7 and 10
        The first and the last rate, 0 < low < high (fastai's defaults).
    steps : int, default 100
        At least 10 (fastai's default).

    Returns
    -------
    LearningRateTest
        With ``suggestion``, ``rates``, ``losses`` and ``plot()``. It ends early where the loss is
        more than four times the least, or not finite.

    Raises
    ------
    ShapeError, ValueError, TypeError
        As of `fit`; no rate was found where the loss was not finite before it could fall.

    References
    ----------
    Smith 2017, Cyclical learning rates for training neural networks, section 3.3. The tenth:
    Howard & Gugger 2020, Deep learning for coders with fastai and PyTorch, chapter 5.
    """
    from bpfast import optimizers

    net._lock.check_idle("find_lr")
    chosen, known = optimizers.get(optimizer), losses.get(loss)
    size, count = check_count("batch_size", batch_size), check_count("steps", steps)
    first, last = check_positive("low", low), check_positive("high", high)
    if first >= last:
        raise bad_value("low", f"less than high={last:g}", low)
    if count < FEWEST:
        raise bad_value("steps", f"at least {FEWEST}", steps)
    given = known if isinstance(known, losses.Loss) else None
    rows = as_rows(X, y, net.input_shape, net.outputs, given, net.dtype.itemsize)
    copy = net.clone()
    measure_inputs(copy, rows.x)
    copy.reset_optimizer()
    rates = np.geomspace(first, last, count)
    raw = _train(copy, rows, known, chosen, size, rates)
    smooth = _smoothed(raw, SMOOTHING * count / 100)
    return LearningRateTest(rates[: len(raw)], smooth, raw, _suggested(rates, smooth))


def _train(
    net: Network, rows: Rows, loss: Any, optimizer: Optimizer, size: int, rates: NDArray[Any]
) -> NDArray[np.float64]:
    """Return each step's loss, up to where training goes wrong."""
    found: list[float] = []
    least = math.inf
    for rate, batch in zip(rates, _batches(len(rows), size, net.seed), strict=False):
        value = net.loss_and_gradient(rows.x[batch], rows.target()[batch], loss=loss)
        if not math.isfinite(value):
            break
        found.append(value)
        recent = sum(found[-RECENT:]) / len(found[-RECENT:])
        least = min(least, recent)
        if recent > DIVERGED * abs(least) and len(found) >= FEWEST:
            break
        net.step(replace(optimizer, learning_rate=float(rate)))
    if len(found) < FEWEST:
        raise ValueError(
            f"no rate found: the loss was not finite after {len(found)} steps. Try a smaller low, "
            "or scaled inputs"
        )
    return np.array(found)


def _batches(rows: int, size: int, seed: int) -> Iterator[NDArray[Any]]:
    """Give whole batches of row numbers, for ever: in the orders of a fit's epochs."""
    epoch, size = 0, min(size, rows)
    while True:
        order = np.asarray(_core.permutation(rows, seed, SHUFFLE, epoch))
        for start in range(0, rows - size + 1, size):
            yield order[start : start + size]
        epoch += 1


def _smoothed(values: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return Gaussian means around each value; at the ends, of the values that there are.

    What has diverged counts for no more than some times the first losses: it would hide all else.
    """
    limit = DIVERGED * abs(float(np.mean(values[:RECENT])))
    at = np.arange(len(values), dtype=np.float64)
    weights = np.exp(-0.5 * ((at[:, None] - at) / width) ** 2)
    return np.asarray(weights @ np.minimum(values, limit) / weights.sum(axis=1))


def _suggested(rates: NDArray[np.float64], smooth: NDArray[np.float64]) -> float:
    """Return a tenth of the rate at the least loss."""
    return float(rates[int(np.argmin(smooth))]) / 10
