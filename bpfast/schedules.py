"""The learning rate as a function of the epoch.

Epochs count from 0 within one fit. A schedule gets the optimizer's learning rate and returns the
one to use; it is evaluated in double precision with operations that give the same bits on every
machine (the cosine is the compiled core's, powers are products), so a resumed run goes on exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from bpfast._check import (
    bad_type,
    bad_value,
    check_callable,
    check_count,
    check_index,
    check_non_negative,
    check_number,
    check_open_fraction,
    check_text,
)
from bpfast._monitor import Monitor
from bpfast._value import Configurable, resolve


class Schedule(Configurable):
    """Base class: `rate` at least; the rest does nothing for schedules without memory.

    Attributes
    ----------
    per_step : bool
        Whether `rate` is asked at every step, with epoch + step / steps_per_epoch; else at the
        start of each epoch.
    monitor : str or None
        The key of the logs that `on_epoch_end` reads.
    """

    per_step: ClassVar[bool] = False
    monitor: str | None = None

    def rate(self, initial: float, epoch: float) -> float:
        """Return the learning rate.

        Parameters
        ----------
        initial : float
            The optimizer's learning rate.
        epoch : float
            Epochs since the start of this fit, with the part of the current one done.
        """
        raise NotImplementedError

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Take note of an epoch's results."""

    def reset(self) -> None:
        """Start anew; fit does this first."""

    def get_state(self) -> dict[str, Any]:
        """Return what `set_state` needs to go on, in JSON types."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned; after `reset`."""


class InverseTime(Schedule):
    """initial / (1 + decay * epoch).

    Parameters
    ----------
    decay : float
        Per epoch, >= 0: after 1/decay epochs the rate is half of `initial`.

    References
    ----------
    Robbins & Monro 1951, A stochastic approximation method. Keras' ``InverseTimeDecay``.
    """

    kind: ClassVar[str] = "inverse_time"

    def __init__(self, decay: float) -> None:
        self.decay = check_non_negative("decay", decay)

    def rate(self, initial: float, epoch: float) -> float:
        """Return initial / (1 + decay * epoch)."""
        return initial / (1.0 + self.decay * epoch)


class Step(Schedule):
    """initial * factor^floor(epoch / every), as PyTorch's ``StepLR``.

    Parameters
    ----------
    every : int
        Epochs between two steps, >= 1.
    factor : float, default 0.1
        In (0, 1); PyTorch's.
    """

    kind: ClassVar[str] = "step"

    def __init__(self, every: int, factor: float = 0.1) -> None:
        self.every = check_count("every", every)
        self.factor = check_open_fraction("factor", factor)

    def rate(self, initial: float, epoch: float) -> float:
        """Return initial * factor^floor(epoch / every)."""
        return initial * _power(self.factor, int(epoch) // self.every)


class Exponential(Schedule):
    """initial * factor^floor(epoch), as PyTorch's ``ExponentialLR``.

    Parameters
    ----------
    factor : float
        In (0, 1).
    """

    kind: ClassVar[str] = "exponential"

    def __init__(self, factor: float) -> None:
        self.factor = check_open_fraction("factor", factor)

    def rate(self, initial: float, epoch: float) -> float:
        """Return initial * factor^floor(epoch)."""
        return initial * _power(self.factor, int(epoch))


class Cosine(Schedule):
    """Half a cosine from `initial` down to `minimum`, after a linear warm-up.

    With w = warmup_epochs: minimum + (initial - minimum) epoch / w while epoch < w, then
    minimum + (initial - minimum) (1 + cos(pi (epoch - w) / (epochs - w))) / 2; `minimum` after
    `epochs`. There are no restarts.

    Parameters
    ----------
    epochs : int
        Length, >= 1; that of the fit, as a rule.
    warmup_epochs : float, default 0
        In [0, epochs), fractions of an epoch included.
    minimum : float, default 0
        The last rate, >= 0 and at most `initial`.

    References
    ----------
    Loshchilov & Hutter 2017, SGDR: stochastic gradient descent with warm restarts, equation 5.
    Goyal et al. 2017, Accurate, large minibatch SGD, section 2.2 (gradual warm-up).
    """

    kind: ClassVar[str] = "cosine"
    per_step: ClassVar[bool] = True

    def __init__(self, epochs: int, *, warmup_epochs: float = 0.0, minimum: float = 0.0) -> None:
        self.epochs = check_count("epochs", epochs)
        self.warmup_epochs = check_number(
            "warmup_epochs", warmup_epochs, 0.0, float(self.epochs), high_open=True
        )
        self.minimum = check_non_negative("minimum", minimum)

    def rate(self, initial: float, epoch: float) -> float:
        """Return the rate of the warm-up or of the cosine."""
        if self.minimum > initial:
            raise bad_value("minimum", f"at most the learning rate {initial:g}", self.minimum)
        if epoch < self.warmup_epochs:
            return self.minimum + (initial - self.minimum) * (epoch / self.warmup_epochs)
        done = (epoch - self.warmup_epochs) / (self.epochs - self.warmup_epochs)
        return _anneal(initial, self.minimum, done)


class OneCycle(Schedule):
    """Up to `initial` and down to almost nothing, each along half a cosine.

    From initial / start_divisor up to `initial` during the first `warmup_fraction` of the epochs,
    then down to initial / (start_divisor * end_divisor), where it stays. The optimizer's learning
    rate is the highest. As PyTorch's ``OneCycleLR``, whose defaults these are, but that counts
    steps instead of time and moves the momentum too, which here stays.

    Parameters
    ----------
    epochs : int
        Length, >= 1; that of the fit, as a rule.
    warmup_fraction : float, default 0.3
        In (0, 1).
    start_divisor : float, default 25
        >= 1.
    end_divisor : float, default 1e4
        >= 1.

    References
    ----------
    Smith & Topin 2018, Super-convergence: very fast training of neural networks using large
    learning rates, section 3.
    """

    kind: ClassVar[str] = "one_cycle"
    per_step: ClassVar[bool] = True

    def __init__(
        self,
        epochs: int,
        *,
        warmup_fraction: float = 0.3,
        start_divisor: float = 25.0,
        end_divisor: float = 1e4,
    ) -> None:
        self.epochs = check_count("epochs", epochs)
        self.warmup_fraction = check_open_fraction("warmup_fraction", warmup_fraction)
        self.start_divisor = check_number("start_divisor", start_divisor, 1.0)
        self.end_divisor = check_number("end_divisor", end_divisor, 1.0)

    def rate(self, initial: float, epoch: float) -> float:
        """Return the rate of the way up or down."""
        peak = self.warmup_fraction * self.epochs
        start = initial / self.start_divisor
        if epoch < peak:
            return _anneal(start, initial, epoch / peak)
        return _anneal(initial, start / self.end_divisor, (epoch - peak) / (self.epochs - peak))


class ReduceOnPlateau(Schedule):
    """Multiply the rate by `factor` whenever `monitor` has not improved for `patience` epochs.

    The count starts anew after each reduction. As Keras' ``ReduceLROnPlateau`` without cooldown
    (PyTorch's waits one epoch more). ``accuracy`` and ``r2``, with ``val_`` or without, should
    rise, anything else should fall. NaN is no improvement.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A key of the history.
    factor : float, default 0.1
        In (0, 1); Keras' and PyTorch's.
    patience : int, default 10
        Epochs without improvement, >= 1; Keras' and PyTorch's.
    min_delta : float, default 0
        The improvement must exceed this, >= 0, in units of `monitor`.
    minimum : float, default 0
        The rate does not fall below this, >= 0.
    """

    kind: ClassVar[str] = "reduce_on_plateau"

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        minimum: float = 0.0,
    ) -> None:
        self.monitor: str = check_text("monitor", monitor)
        self.factor = check_open_fraction("factor", factor)
        self.patience = check_count("patience", patience)
        self.min_delta = check_non_negative("min_delta", min_delta)
        self.minimum = check_non_negative("minimum", minimum)
        self._watch = Monitor(self.monitor, self.min_delta)
        self.reductions = 0

    def rate(self, initial: float, epoch: float) -> float:
        """Return initial * factor^reductions, or the minimum if that is more (but not initial)."""
        reduced = initial * _power(self.factor, self.reductions)
        return max(reduced, min(self.minimum, initial))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Count the epoch as an improvement or not."""
        self._watch.update(logs)
        if self._watch.wait >= self.patience:
            self._watch.wait = 0
            self.reductions += 1

    def reset(self) -> None:
        """Forget the reductions and the best value."""
        self._watch.reset()
        self.reductions = 0

    def get_state(self) -> dict[str, Any]:
        """Return best, wait and reductions."""
        return {**self._watch.get_state(), "reductions": self.reductions}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        self._watch.set_state(state)
        self.reductions = check_index("state['reductions']", state.get("reductions"))


class Custom(Schedule):
    """A function of the user's own, asked at the start of each epoch.

    Parameters
    ----------
    function : callable
        ``function(epoch, initial)`` returns the learning rate, finite and >= 0. For the same bits
        everywhere it should not call functions of the C library (``math.exp`` and the like).
    """

    kind: ClassVar[str] = "custom"

    def __init__(self, function: Callable[[int, float], float]) -> None:
        self.function = check_callable("function", function, "(epoch, initial)")

    def rate(self, initial: float, epoch: float) -> float:
        """Return what the function does."""
        return check_non_negative("the schedule's rate", self.function(int(epoch), initial))


#: Every schedule that a name can ask for.
TABLE: Final[dict[str, type[Schedule]]] = {
    cls.kind: cls for cls in (InverseTime, Step, Exponential, Cosine, OneCycle, ReduceOnPlateau)
}


def get(value: object, argument: str = "schedule") -> Schedule | None:
    """Return None as it is, else the schedule of a name, config, object or function.

    A function is called as ``f(epoch, initial)``; see `Custom`.

    Raises
    ------
    TypeError, ValueError
        `value` is none of these, or a name whose arguments have no defaults.
    """
    if value is None:
        return None
    if isinstance(value, (str, Schedule, type, Mapping)):
        return resolve(argument, value, TABLE, Schedule)
    if callable(value):
        return Custom(value)
    raise bad_type(argument, "None, a Schedule, or a function (epoch, initial)", value)


def _power(base: float, exponent: int) -> float:
    """Return base^exponent, exponent >= 0, by squaring: products only, rounded alike everywhere."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


def _anneal(start: float, end: float, done: float) -> float:
    """Return the point of the half cosine from `start` to `end` where `done` of it is done."""
    if done >= 1.0:
        return end
    from bpfast._core import cos  # the same bits everywhere, unlike the C library's

    return end + (start - end) * (1.0 + cos(math.pi * done)) * 0.5
