"""What a fit tells, and who may stop it.

Callbacks change no bit of the weights, save where they say so (`EarlyStopping` may put earlier
ones back, `EMA` and `SWA` put their average in place). Epochs and batches count from 0; ``logs``
holds the numbers of the history so far.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bpfast._averages import EMA, SWA, check_one_average
from bpfast._callback import Callback, Logs
from bpfast._check import (
    bad_type,
    bad_value,
    check_bool,
    check_callable,
    check_count,
    check_index,
    check_non_negative,
    check_text,
)
from bpfast._gradual import GradualUnfreezing
from bpfast._monitor import Monitor, check_monitors
from bpfast._progress import History, Progress
from bpfast._tensorboard import TensorBoard
from bpfast.weight_monitor import WeightMonitor

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = [
    "EMA",
    "SWA",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "GradualUnfreezing",
    "History",
    "LambdaCallback",
    "Progress",
    "TensorBoard",
    "WeightMonitor",
    "check_callbacks",
    "check_monitors",
]


class EarlyStopping(Callback):
    """Stop when `monitor` has not improved for `patience` epochs.

    ``accuracy`` and ``r2``, with ``val_`` or without, should rise; anything else should fall. NaN
    is no improvement.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A key of the history; Keras'.
    patience : int, default 10
        Epochs without improvement, >= 0 (0 means 1, as in Keras). The default is scikit-learn's
        ``n_iter_no_change``.
    min_delta : float, default 0
        The improvement must exceed this, >= 0, in units of `monitor`.
    restore_best_weights : bool, default True
        At the end of training put the best epoch's parameters back, also when the fit was not
        stopped early (as Keras does; there the default is False).

    Attributes
    ----------
    best : float or None
        Best value so far.
    best_epoch, stopped_epoch : int or None
        The epoch of `best`, and the one after which this callback stopped the fit.

    Notes
    -----
    The state of a resumed fit holds the best value and the count, not the best weights: after a
    resumption weights are restored only from epochs since then.

    References
    ----------
    Prechelt 1998, Early stopping - but when?
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int = 10,
        min_delta: float = 0.0,
        restore_best_weights: bool = True,
    ) -> None:
        self.monitor: str = check_text("monitor", monitor)
        self.patience = check_index("patience", patience)
        self.min_delta = check_non_negative("min_delta", min_delta)
        self.restore_best_weights = check_bool("restore_best_weights", restore_best_weights)
        self._watch = Monitor(self.monitor, self.min_delta)
        self._best: tuple[NDArray[Any], NDArray[Any]] | None = None
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None

    @property
    def best(self) -> float | None:
        """Best value so far."""
        return self._watch.best

    @property
    def wait(self) -> int:
        """Epochs since the best one."""
        return self._watch.wait

    def on_train_begin(self, logs: Logs) -> None:
        """Forget earlier fits."""
        self._watch.reset()
        self._best = self.best_epoch = self.stopped_epoch = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> bool:
        """Keep the weights of a better epoch; stop when there was none for too long."""
        if self._watch.update(logs):
            self.best_epoch = epoch
            if self.restore_best_weights:
                self._best = self.net._state()
            return False
        if self.wait < self.patience:
            return False
        self.stopped_epoch = epoch
        return True

    def on_train_end(self, logs: Logs) -> None:
        """Put the best weights back and free the copy; not in mid-epoch: a fit may resume there."""
        interrupted = getattr(self.net, "_progress", None)
        if self._best is not None and not (interrupted and interrupted.cursor):
            self.net._set_state(self._best)
        self._best = None

    def get_state(self) -> dict[str, Any]:
        """Return best, wait and best_epoch in JSON types; not the weights."""
        return {**self._watch.get_state(), "best_epoch": self.best_epoch}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        self._watch.set_state(state)
        epoch = state.get("best_epoch")
        self.best_epoch = None if epoch is None else check_index("state['best_epoch']", epoch)


class Checkpoint(Callback):
    """Save the network during training, with what a resumed fit needs.

    Each save replaces the file whole or not at all.

    Parameters
    ----------
    path : str or path-like
        The model file.
    monitor : str, optional
        With ``save_best_only=True``: the key of the history that decides what is best.
    save_best_only : bool, default False
        Save only when `monitor` is better than ever before in this fit.
    every : int, default 1
        Look at every so many epochs, >= 1.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        monitor: str | None = None,
        save_best_only: bool = False,
        every: int = 1,
    ) -> None:
        if not isinstance(path, str | os.PathLike):
            raise bad_type("path", "a str or a path", path)
        self.path = check_text("path", os.fspath(path))
        self.save_best_only = check_bool("save_best_only", save_best_only)
        self.every = check_count("every", every)
        if self.save_best_only:
            self.monitor = check_text("monitor", monitor)
        elif monitor is not None:
            raise bad_value("monitor", "None unless save_best_only=True", monitor)
        self._watch = Monitor(self.monitor) if self.monitor else None

    def on_train_begin(self, logs: Logs) -> None:
        """Forget earlier fits."""
        if self._watch:
            self._watch.reset()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Save, if it is time and the best so far."""
        if (epoch + 1) % self.every == 0 and (self._watch is None or self._watch.update(logs)):
            self.net.save(self.path)

    def get_state(self) -> dict[str, Any]:
        """Return the best value so far, in JSON types."""
        return self._watch.get_state() if self._watch else {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        if self._watch:
            self._watch.set_state(state)


class LambdaCallback(Callback):
    """Callbacks from functions, for what is too short for a class.

    Parameters
    ----------
    on_train_begin, on_train_end : callable, optional
        Called as ``f(logs)``.
    on_epoch_begin, on_epoch_end : callable, optional
        Called as ``f(epoch, logs)``.
    on_batch_end : callable, optional
        Called as ``f(batch, logs)``; costs a return to Python per batch.
    """

    def __init__(
        self,
        *,
        on_train_begin: Callable[[Logs], object] | None = None,
        on_train_end: Callable[[Logs], object] | None = None,
        on_epoch_begin: Callable[[int, Logs], object] | None = None,
        on_epoch_end: Callable[[int, Logs], object] | None = None,
        on_batch_end: Callable[[int, Logs], object] | None = None,
    ) -> None:
        given = {
            "on_train_begin": (on_train_begin, "(logs)"),
            "on_train_end": (on_train_end, "(logs)"),
            "on_epoch_begin": (on_epoch_begin, "(epoch, logs)"),
            "on_epoch_end": (on_epoch_end, "(epoch, logs)"),
            "on_batch_end": (on_batch_end, "(batch, logs)"),
        }
        for name, (function, signature) in given.items():
            if function is not None:  # an attribute of the object hides the class's method
                setattr(self, name, _stopper(check_callable(name, function, signature)))

    @property
    def uses_batches(self) -> bool:
        """Whether `on_batch_end` was given."""
        return "on_batch_end" in self.__dict__


def check_callbacks(value: object, argument: str = "callbacks") -> tuple[Callback, ...]:
    """Return the callbacks as a tuple; a TypeError when one of them is none."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise bad_type(argument, "a sequence of Callback objects", value)
    callbacks = tuple(value)
    for position, entry in enumerate(callbacks):
        if not isinstance(entry, Callback):
            raise bad_type(f"{argument}[{position}]", "a Callback object", entry)
    check_one_average(callbacks, argument)
    return callbacks


def _stopper(function: Callable[..., object]) -> Callable[..., bool]:
    """Return the function, its result as a bool."""
    return lambda *arguments: bool(function(*arguments))
