"""Watching one number of the epochs: which direction is better, and since when it is not."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from bpfast._check import bad_type, check_index, check_number

#: Metrics that are better when larger; any other number is better when smaller.
MAXIMISED = frozenset({"accuracy", "r2"})


class Monitor:
    """The best value so far of one number of the logs, and the epochs since.

    Parameters
    ----------
    key : str
        A key of the logs; ``accuracy`` and ``r2``, with ``val_`` or without, are maximised.
    min_delta : float
        A value counts as better when it is so by more than this, >= 0.

    Attributes
    ----------
    best : float or None
        None before the first value that is not NaN.
    wait : int
        Epochs since `best`.
    """

    def __init__(self, key: str, min_delta: float = 0.0) -> None:
        self.key = key
        self.min_delta = min_delta
        self.sign = -1.0 if key.removeprefix("val_") in MAXIMISED else 1.0
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.best: float | None = None
        self.wait = 0

    def update(self, logs: Mapping[str, float]) -> bool:
        """Take the epoch's value; return whether it is the best. NaN never is."""
        if self.key not in logs:
            raise ValueError(f"monitor must be one of {', '.join(logs)}, got {self.key!r}")
        value = float(logs[self.key])
        better = not math.isnan(value) and (
            self.best is None or self.sign * value < self.sign * self.best - self.min_delta
        )
        if better:
            self.best = value
            self.wait = 0
        else:
            self.wait += 1
        return better

    def get_state(self) -> dict[str, Any]:
        """Return `best` and `wait` in JSON types; an infinite `best` as None."""
        finite = self.best is not None and math.isfinite(self.best)
        return {"best": self.best if finite else None, "wait": self.wait}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        if not isinstance(state, Mapping):
            raise bad_type("state", "a dict with best and wait", state)
        best = state.get("best")
        checked = None if best is None else check_number("state['best']", best)
        self.wait = check_index("state['wait']", state.get("wait"))
        self.best = checked


def check_monitors(watchers: Iterable[object], recorded: Collection[str]) -> None:
    """Raise a ValueError when a callback or schedule monitors what the fit will not record.

    Parameters
    ----------
    watchers : iterable
        Callbacks, and the schedule; those without a ``monitor``, or with None, are passed over.
    recorded : collection of str
        The keys that each epoch's logs will have.
    """
    for watcher in watchers:
        key = getattr(watcher, "monitor", None)
        if key is None or key in recorded:
            continue
        message = (
            f"monitor of {type(watcher).__name__} must be one of {', '.join(recorded)}, got {key!r}"
        )
        if str(key).startswith("val_") and not any(name.startswith("val_") for name in recorded):
            message += "; pass validation_data or validation_split"
        raise ValueError(message)
