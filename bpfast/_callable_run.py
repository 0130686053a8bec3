"""The training loop for a loss written in Python: the core's batches, one call each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bpfast import _core
from bpfast._check import bad_type, check_real
from bpfast._data import Rows, as_array
from bpfast._streams import SHUFFLE
from bpfast.errors import ShapeError

if TYPE_CHECKING:
    from bpfast.network import Network


def call_loss(
    loss: Callable[..., Any], target: Any, output: NDArray[Any]
) -> tuple[float, NDArray[Any]]:
    """Return the value and the gradient, of the output's dtype, that the user's function returns.

    Raises
    ------
    TypeError, ShapeError
        It returns something else.
    """
    found = loss(target, output)
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise bad_type("the loss's result", "(value, gradient)", found)
    gradient = as_array("the loss's gradient", found[1])
    if gradient.shape != output.shape:
        raise ShapeError(
            f"the loss's gradient must have shape {output.shape}, got {gradient.shape}"
        )
    with np.errstate(over="ignore"):  # what does not fit is infinite, and found to be
        slope = np.require(gradient, output.dtype, ["C", "A"])
    return check_real("the loss's value", found[0]), slope


class CallableRun:
    """Has the methods of `_core.Run` that a fit uses.

    The loss is called with the batch's targets and outputs, and returns the batch's mean and its
    gradient with respect to the outputs.
    """

    def __init__(
        self,
        net: Network,
        rows: Rows,
        loss: Callable[..., Any],
        batch_size: int,
        threads: tuple[int, bool],
        shuffle: bool,
        ignore_faults: bool,
        accumulate: int = 1,
    ) -> None:
        self._net, self._rows, self._loss = net, rows, loss
        self._batch_size, self._shuffle = batch_size, shuffle
        self._ignore_faults = ignore_faults
        self._step_rows = batch_size * accumulate
        self._steps = -(-len(rows) // self._step_rows)
        self._run = _core.Run(net._core, None, None, None, batch_size, *threads)
        self._cursor: dict[str, Any] = {}
        self._rates: NDArray[np.float64] = np.zeros(1)
        self._order: NDArray[np.int64] | None = None
        self._before = net._state()
        self._watch: NDArray[Any] | None = None
        self.watched = False
        self.threads = self._run.threads

    def begin_epoch(self, rates: NDArray[np.float64], cursor: dict[str, Any]) -> None:
        """Draw the order and go to the cursor."""
        zero = dict.fromkeys(("batch", "correct", "squared", "absolute"), 0)
        self._cursor = {**zero, "loss_sum": 0.0, "weight_sum": 0.0, **cursor}
        self._rates = rates
        self._before = self._net._state()
        self.watched = False
        counters = self._net._core.counters()
        if self._shuffle:
            self._order = _core.permutation(
                len(self._rows), counters["seed"], SHUFFLE, counters["epoch"]
            )

    def steps(
        self, max_steps: int, chunk_seconds: float, seconds: float, clock: Callable[[], float]
    ) -> bool:
        """Make steps until one of the limits; return whether the epoch is finished."""
        end = clock() + seconds
        done = 0
        while self._cursor["batch"] < self._steps and done < max_steps:
            if done and clock() >= end:
                break
            self._step()
            done += 1
        return bool(self._cursor["batch"] >= self._steps)

    def _step(self) -> None:
        """Make one step: each batch's gradient counts by its share of the step's rows."""
        step = self._cursor["batch"]
        start = step * self._step_rows
        end = min(start + self._step_rows, len(self._rows))
        for part, first in enumerate(range(start, end, self._batch_size)):
            span = slice(first, min(first + self._batch_size, end))
            self._add_gradient(span, end - start, part)
        if self._watch is not None and step == self._steps - 1:
            self._watch[...] = self._net.parameters
            self._watch, self.watched = None, True
        self._run.apply(float(self._rates[step if len(self._rates) > 1 else 0]))
        self._cursor["batch"] += 1

    def _add_gradient(self, span: slice, of_rows: int, part: int) -> None:
        """Take one batch of a step forward and back."""
        index: Any = span if self._order is None else self._order[span]
        x = self._rows.x[index]
        out = np.empty((len(x), self._net.outputs), self._net.dtype)
        self._run.forward(x, out, part)
        value, slope = call_loss(self._loss, self._rows.target()[index], out)
        finite = np.isfinite(value) and np.isfinite(slope).all()
        if not finite and not self._ignore_faults:
            last = len(self._net._plan.layers)
            raise _core.Fault("not_finite", last, self._cursor["batch"], 0)
        if len(x) < of_rows:
            slope = slope * slope.dtype.type(len(x) / of_rows)
        self._run.backward(slope, part > 0)
        self._cursor["loss_sum"] += value * len(x)
        self._cursor["weight_sum"] += len(x)

    def watch(self, before: NDArray[Any]) -> None:
        """Let the epoch's last step copy the parameters that it meets to `before`."""
        self._watch = before

    def unpack(self) -> None:
        """Do nothing: every step leaves the parameters current."""

    def cursor(self) -> dict[str, Any]:
        """Return where the epoch stands."""
        return dict(self._cursor)

    def end_epoch(self) -> tuple[float, None]:
        """Return the penalty; validation is left to the caller."""
        counters = self._net._core.counters()
        self._net._core.set_counters(counters["seed"], counters["step"], counters["epoch"] + 1)
        if not (self._ignore_faults or np.isfinite(self._net.parameters).all()):
            raise _core.Fault("not_finite", len(self._net._plan.layers), self._steps - 1, 0)
        return self._net._core.penalty(), None

    def residuals(self, validation: bool) -> list[float]:
        """Never called: metrics of a callable loss are scored apart."""
        raise NotImplementedError

    def restore(self) -> None:
        """Put back what the epoch started with."""
        self._net._set_state(self._before)
