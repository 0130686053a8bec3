"""The two callbacks that every fit makes itself: the record, and the lines on standard error."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from bpfast._callback import Callback, Logs
from bpfast._check import check_int


class History(Callback):
    """What fit returns: the numbers of each epoch.

    Attributes
    ----------
    history : dict of str to list of float
        ``loss``, ``penalty``, ``learning_rate``, ``seconds``, the metrics, and ``val_`` ones.
    epoch : list of int
        The epochs that the lists are of.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Append the epoch's numbers."""
        self.epoch.append(epoch)
        for key, value in logs.items():
            self.history.setdefault(key, []).append(float(value))

    def get_state(self) -> dict[str, Any]:
        """Return both attributes; NaN and infinity are kept as floats."""
        return {"history": {k: list(v) for k, v in self.history.items()}, "epoch": self.epoch[:]}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        self.history = {key: [float(x) for x in xs] for key, xs in state["history"].items()}
        self.epoch = [int(epoch) for epoch in state["epoch"]]

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy the numbers, not the network."""
        return self.get_state()

    def __repr__(self) -> str:
        """Show the first and last value of each list."""
        count = len(self.epoch)
        numbers = "".join(
            f"\n  {key}: {values[0]:.4g} -> {values[-1]:.4g}"
            for key, values in self.history.items()
            if values
        )
        return f"<History of {count} epoch{'' if count == 1 else 's'}{numbers}>"


class Progress(Callback):
    """Show progress on standard error.

    Parameters
    ----------
    verbose : int, default 1
        0: nothing. 1: a bar over the epochs when tqdm is installed and standard error is a
        terminal, else as 2. 2: a line per epoch.
    """

    def __init__(self, verbose: int = 1) -> None:
        self.verbose = check_int("verbose", verbose, 0, 2)
        self._bar: Any = None
        self._total = 0

    def on_train_begin(self, logs: Logs) -> None:
        """Open the bar, if there is to be one."""
        self._total = int(logs.get("epochs", 0))
        self._bar = self._open_bar() if self.verbose == 1 else None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Move the bar, or write a line."""
        if self._bar is not None:
            self._bar.set_postfix_str(_numbers(logs), refresh=False)
            self._bar.update(1)
        elif self.verbose and sys.stderr is not None:
            total = f"/{self._total}" if self._total else ""
            print(f"epoch {epoch + 1}{total}  {_numbers(logs)}", file=sys.stderr, flush=True)

    def on_train_end(self, logs: Logs) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _open_bar(self) -> Any:
        """Return a tqdm bar, or None."""
        if sys.stderr is None or not sys.stderr.isatty():
            return None
        try:
            bar = importlib.import_module("tqdm").tqdm
        except ImportError:
            return None
        return bar(total=self._total or None, unit="epoch", file=sys.stderr)


def _numbers(logs: Logs) -> str:
    """Write the numbers of an epoch on one line."""
    return "  ".join(f"{key} {value:.4g}" for key, value in logs.items())
