"""The training loop over epochs: data, callbacks, schedule, the record, and every way to stop."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bpfast import _core, losses, optimizers, schedules
from bpfast._averages import Average
from bpfast._callable_run import CallableRun
from bpfast._check import (
    bad_type,
    check_bool,
    check_choice,
    check_count,
    check_fraction,
    check_positive,
)
from bpfast._data import Rows, as_rows, as_weights, held_out
from bpfast._monitor import check_monitors
from bpfast._score import Scorer
from bpfast._symmetry import warn_of_symmetry
from bpfast.callbacks import Callback, Checkpoint, History, check_callbacks
from bpfast.callbacks import Progress as ProgressLines
from bpfast.errors import DivergenceError

if TYPE_CHECKING:
    from bpfast.network import Network

#: Between chunks of steps signals are polled; half of DESIGN's quarter-second promise.
CHUNK_SECONDS = 0.05


@dataclass
class Progress:
    """Where an interrupted fit stands; a model file keeps it."""

    epoch: int = 0
    cursor: dict[str, Any] = field(default_factory=dict)
    rows: int = 0
    batch_size: int = 0  # rows of a step
    history: dict[str, Any] = field(default_factory=dict)
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    schedule: dict[str, Any] = field(default_factory=dict)

    def freeze(self) -> Progress:
        """Return plain values."""
        return self


class Fit:
    """One call of Network.fit: everything is checked by the constructor, `run` does the work."""

    def __init__(self, net: Network, X: Any, y: Any, **options: Any) -> None:
        self.net = net
        self.loss = losses.get(options["loss"])
        known = self.loss if isinstance(self.loss, losses.Loss) else None
        self.optimizer = optimizers.get(options["optimizer"])
        self.schedule = schedules.get(options["schedule"])
        self.epochs = check_count("epochs", options["epochs"])
        self.batch_size = check_count("batch_size", options["batch_size"])
        self.accumulate = check_count("accumulate", options["accumulate"])
        self.shuffle = check_bool("shuffle", options["shuffle"])
        self.on_divergence = check_choice(
            "on_divergence", options["on_divergence"], ("raise", "stop", "ignore")
        )
        seconds = options["max_seconds"]
        self.max_seconds = math.inf if seconds is None else check_positive("max_seconds", seconds)
        share = check_fraction("validation_split", options["validation_split"])
        # Rows are read once more before the first step for a split or for statistics, and by Python
        # for its own losses: then a memory map is searched for NaN now.
        measures = net._plan.standardizes and not net._measured
        stream = known is not None and not share and not measures
        size = net.dtype.itemsize
        rows = as_rows(X, y, net.input_shape, net.outputs, known, size, may_stream=stream)
        rows = rows.weighted(
            as_weights(rows, options["sample_weight"], options["class_weight"], known, net.outputs)
        )
        if known is None and rows.weights is not None:
            raise ValueError(
                "sample_weight and class_weight need a loss by name; weigh in your own"
            )
        self.rows, self.validation = self._split(rows, known, share, options)
        self.batch_size = min(self.batch_size, len(self.rows))
        self.accumulate = min(self.accumulate, -(-len(self.rows) // self.batch_size))
        self.step_rows = min(self.batch_size * self.accumulate, len(self.rows))
        self.scorer = Scorer(net, self.loss, options["metrics"], self.rows)
        self.history = History()
        given = check_callbacks(options["callbacks"])
        lines = ProgressLines(options["verbose"])  # raises for another number
        self.callbacks: list[Callback] = [
            self.history,
            *([lines] if options["verbose"] else []),
            # A checkpoint keeps the state of the others: it comes after them.
            *sorted(given, key=lambda c: isinstance(c, Checkpoint)),
        ]
        # Those that are called after each batch, and whose state a resumed fit needs.
        self.watchers = [c for c in self.callbacks if c.uses_batches]
        self.keepers = [c for c in self.callbacks if _keeps_state(c)]
        check_monitors([*given, self.schedule], self._recorded())
        if isinstance(self.optimizer, optimizers.Rprop) and self.step_rows < len(self.rows):
            warnings.warn(
                f"Rprop needs full batches: batch_size={self.step_rows} of {len(self.rows)} rows",
                stacklevel=4,
            )
        self.resume = check_bool("resume", options["resume"])
        self._check_resumed()
        if self.schedule is not None:
            self.schedule.rate(self.optimizer.learning_rate, 0.0)  # raises where they do not fit
        for callback in given:
            callback.check_net(net)
        self.run_: _core.Run | CallableRun = self._make_run()
        self.watches = False
        self.before: NDArray[Any] | None = None  # parameters that the epoch's last step met

    # ---- preparation

    def _split(
        self, rows: Rows, loss: losses.Loss | None, share: float, options: Mapping[str, Any]
    ) -> tuple[Rows, Rows | None]:
        """Return training and validation rows."""
        net, given = self.net, options["validation_data"]
        if given is None:
            return held_out(rows, share, net.seed) if share else (rows, None)
        if share:
            raise ValueError("validation_split must be 0 when validation_data is given")
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            raise bad_type("validation_data", "(X, y) or (X, y, sample_weight)", given)
        found = as_rows(
            given[0],
            given[1],
            net.input_shape,
            net.outputs,
            loss,
            net.dtype.itemsize,
            "_validation",
        )
        if (found.labels is None) != (rows.labels is None):
            raise ValueError("y_validation must be given as y is: both class labels, or both rows")
        weights = given[2] if len(given) == 3 else None
        return rows, found.weighted(
            as_weights(found, weights, None, loss, net.outputs, "_validation")
        )

    def _check_resumed(self) -> None:
        """Raise when the fit to go on with had other rows, batches or callbacks."""
        progress = self.net._progress
        if not self.resume or progress is None:
            return
        if (progress.rows, progress.batch_size) != (len(self.rows), self.step_rows):
            raise ValueError(
                f"resume needs the {progress.rows} training rows and batch_size "
                f"{progress.batch_size} of before, got {len(self.rows)} and {self.step_rows}"
            )
        before, now = len(progress.freeze().callbacks), len(self.keepers)
        if before != now:
            raise ValueError(
                f"callbacks must be those of the fit that is resumed: "
                f"{before} with a state, got {now}"
            )

    def _recorded(self) -> list[str]:
        """Return the keys of an epoch's logs."""
        scores = ["loss", *self.scorer.names()]
        both = scores + ([f"val_{name}" for name in scores] if self.validation else [])
        return [*both, "penalty", "learning_rate", "seconds"]

    def _make_run(self) -> _core.Run | CallableRun:
        """Return the loop's engine. Nothing of the network has changed until it exists.

        It holds no state that outlives an epoch.
        """
        net, rows = self.net, self.rows
        if not isinstance(self.loss, losses.Loss):
            return CallableRun(
                net,
                rows,
                self.loss,
                self.batch_size,
                net._threads(),
                self.shuffle,
                self.on_divergence == "ignore",
                self.accumulate,
            )
        return _core.Run(
            net._core,
            rows.core(),
            None if self.validation is None else self.validation.core(),
            self.scorer.objective,
            self.batch_size,
            *net._threads(),
            shuffle=self.shuffle,
            sweep=net._sweep,
            check_inputs=rows.streamed,
            ignore_faults=self.on_divergence == "ignore",
            planned_epochs=float(self.epochs),
            accumulate=self.accumulate,
            decay=net._decay,
        )

    def _prepare(self) -> Progress:
        """Change the network: statistics, optimizer, counters. Return where to start."""
        net = self.net
        warn_of_symmetry(net)
        progress = net._progress.freeze() if self.resume and net._progress is not None else None
        measures = net._plan.standardizes and not net._measured
        before = net._buffers.copy()
        averages = any(isinstance(c, Average) for c in self.callbacks)
        had = net._core.read_average()
        try:
            if averages:
                net._core.set_average(0.0, 0)  # the memory; the callback says when to begin
            if measures:
                net._core.standardize(self.rows.x)
            net._set_optimizer(self.optimizer)
        except BaseException:  # without memory for one, the other is undone
            net._buffers[...] = before
            if not had:
                net._core.drop_average()
            raise
        net._measured = net._measured or measures
        if progress is None and net._progress is not None and net._progress.cursor:
            counters = net._core.counters()  # an epoch was left unfinished: its order is used up
            net._core.set_counters(counters["seed"], counters["step"], counters["epoch"] + 1)
        net._loss = self.loss if isinstance(self.loss, losses.Loss) else None
        net._metrics = list(self.scorer.builtin)
        net._batch_size = self.batch_size
        net.history = self.history
        net._progress = progress
        if not averages:
            net._core.drop_average()  # of a fit that is not resumed
        if self.schedule is not None:
            self.schedule.reset()
        return progress or Progress()

    # ---- the loop

    def run(self) -> History:
        """Train."""
        progress = self._prepare()
        logs: dict[str, float] = {}
        start = {"epochs": float(self.epochs)}
        for callback in self.callbacks:
            if callback is not self.history:
                callback.attach(self)
        try:
            stop = self._call("on_train_begin", start)
            if progress.history:
                self._restore_states(progress)
            epoch, cursor = progress.epoch, progress.cursor
            spread = self.scorer.spread(self.rows)
            deadline = time.monotonic() + self.max_seconds
            while epoch < self.epochs and not stop:
                done, stop, logs = self._epoch(epoch, cursor, deadline, spread)
                if not done:
                    break
                epoch, cursor = epoch + 1, {}
                stop = stop or time.monotonic() >= deadline
            if epoch >= self.epochs:
                self.net._progress = None  # nothing is left to resume
        finally:
            self._call("on_train_end", logs)
        return self.history

    def _epoch(
        self, epoch: int, cursor: dict[str, Any], deadline: float, spread: NDArray[Any] | None
    ) -> tuple[bool, bool, dict[str, float]]:
        """Train one epoch; return whether it was finished, whether to stop, and its numbers."""
        start = time.perf_counter()
        stop = self._call("on_epoch_begin", epoch, {})
        if stop:
            return False, True, {}
        if self.net._read_layers():  # a callback froze or thawed some
            del self.run_  # its memory first
            self.run_ = self._make_run()
        if self.watches:
            self.watches = False
            self.before = np.empty_like(self.net.parameters) if self.before is None else self.before
            self.run_.watch(self.before)
        rates = self._rates(epoch)
        order = self.net._core.counters()["epoch"]
        finished = ended = False
        self.run_.begin_epoch(rates, cursor)
        try:
            finished, stop = self._steps(deadline)
            if not finished:
                return False, stop, {}
            logs = self._logs(*self.run_.end_epoch(), spread)
            self._keep_progress(epoch + 1, {})
            ended = True
        except _core.Fault as fault:
            ended = True
            if not finished:
                self._keep_progress(epoch, self.run_.cursor())
            return self._fault(fault, epoch)
        finally:
            if not ended:
                self._leave(epoch, order)
        logs["learning_rate"] = float(rates[0])
        logs["seconds"] = time.perf_counter() - start
        if self.schedule is not None:
            self.schedule.on_epoch_end(epoch, logs)
        stop = self._call("on_epoch_end", epoch, logs) or stop
        return True, stop, logs

    def _leave(self, epoch: int, order: int) -> None:
        """Make the parameters current and note the place in the epoch.

        An interruption may come at any moment, also just after the last batch or while the epoch is
        summed up: then a resumed fit does so again.
        """
        self.run_.unpack()
        counters = self.net._core.counters()
        self.net._core.set_counters(counters["seed"], counters["step"], order)
        self._keep_progress(epoch, self.run_.cursor())

    def _steps(self, deadline: float) -> tuple[bool, bool]:
        """Run the epoch's batches; return whether all were, and whether a callback said stop."""
        limit = 1 if self.watchers else 2**62
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return False, True
            finished = self.run_.steps(limit, CHUNK_SECONDS, left, time.monotonic)
            if self.watchers:
                self.run_.unpack()
                at = self.run_.cursor()
                mean = {"loss": at["loss_sum"] / at["weight_sum"] if at["weight_sum"] else math.nan}
                stops = [bool(c.on_batch_end(at["batch"] - 1, mean)) for c in self.watchers]
                if any(stops):
                    return finished, True
            if finished:
                return True, False

    def watch_last_step(self) -> None:
        """Let the last step of the epoch that begins leave its gradient in the network.

        `before` then has the parameters that it met. No bit changes.
        """
        self.watches = True

    def _rates(self, epoch: int) -> NDArray[np.float64]:
        """Return the epoch's learning rate, or one for each step."""
        initial = self.optimizer.learning_rate
        if self.schedule is None:
            return np.array([initial])
        if not self.schedule.per_step:
            return np.array([self.schedule.rate(initial, float(epoch))])
        steps = -(-len(self.rows) // self.step_rows)
        return np.array([self.schedule.rate(initial, epoch + s / steps) for s in range(steps)])

    def _logs(
        self, penalty: float, sums: Mapping[str, float] | None, spread: NDArray[Any] | None
    ) -> dict[str, float]:
        """Return the numbers of the epoch that ended."""
        scorer, run, validation = self.scorer, self.run_, self.validation
        if isinstance(run, CallableRun):
            scores = scorer.evaluate(self.rows)
            cursor = run.cursor()
            scores["loss"] = cursor["loss_sum"] / cursor["weight_sum"]
        else:
            wanted = "r2" in scorer.builtin
            scores = scorer.from_sums(run.cursor(), run.residuals(False) if wanted else (), spread)
            scores |= scorer.in_python(self.rows)
        checked = {}
        if validation is not None and sums is None:
            checked = scorer.evaluate(validation)
        elif validation is not None and sums is not None:
            sums_of = run.residuals(True) if "r2" in scorer.builtin else ()
            checked = scorer.from_sums(sums, sums_of, scorer.spread(validation))
            checked |= scorer.in_python(validation)
        names = {f"val_{name}": value for name, value in checked.items()}
        return {**scores, **names, "penalty": penalty}

    def _call(self, method: str, *arguments: Any) -> bool:
        """Call every callback; return whether one said stop."""
        stop = False
        for callback in self.callbacks:
            stop = bool(getattr(callback, method)(*arguments)) or stop  # all of them are called
        return stop

    # ---- stops

    def _fault(self, fault: _core.Fault, epoch: int) -> tuple[bool, bool, dict[str, float]]:
        """Put the last finite weights back, and raise or stop."""
        net = self.net
        if fault.kind == "bad_input":
            self.run_.restore()
            raise ValueError(f"X must be finite, got NaN or infinity in row {fault.row}") from None
        self.run_.restore()
        net._core.reset_optimizer()
        net._optimizer = None
        names = net._plan.names
        inside = fault.layer < len(names)
        layer = names[fault.layer] if inside else None
        what = f"layer {layer}" if inside else "the loss"
        message = (
            f"{what} became NaN or infinite in epoch {epoch}, batch {fault.batch}; the weights of "
            f"the last finite epoch are back. Try a smaller learning rate than "
            f"{self.optimizer.learning_rate:g}, clip_norm, or scaled inputs"
        )
        if self.on_divergence == "raise":
            raise DivergenceError(message, layer=layer, epoch=epoch, batch=fault.batch) from None
        warnings.warn(message, RuntimeWarning, stacklevel=6)
        return False, True, {}

    def _keep_progress(self, epoch: int, cursor: dict[str, Any]) -> None:
        """Note where a resumed fit would go on; states are read when they are saved."""
        self.net._progress = LiveProgress(epoch, cursor, self)

    def _restore_states(self, progress: Progress) -> None:
        """Bring history, callbacks and schedule to where the interrupted fit stood."""
        self.history.set_state(progress.history)
        for callback, state in zip(self.keepers, progress.callbacks, strict=False):
            if state:
                callback.set_state(state)
        if self.schedule is not None and progress.schedule:
            self.schedule.set_state(progress.schedule)


def _keeps_state(callback: Callback) -> bool:
    """Whether a resumed fit needs the callback's state: the fit makes its own record and lines."""
    if isinstance(callback, (History, ProgressLines)):
        return False
    return type(callback).get_state is not Callback.get_state


class LiveProgress:
    """Progress whose states are those of the fit's objects at the moment they are read."""

    def __init__(self, epoch: int, cursor: dict[str, Any], fit: Fit) -> None:
        self.epoch = epoch
        self.cursor = cursor
        self.rows = len(fit.rows)
        self.batch_size = fit.step_rows
        self._objects = (fit.history, fit.keepers, fit.schedule)

    def freeze(self) -> Progress:
        """Return plain values. Durations become 0: equal runs make equal files."""
        history, callbacks, schedule = self._objects
        record = history.get_state()
        record["history"]["seconds"] = [0.0] * len(record["epoch"])
        return Progress(
            self.epoch,
            self.cursor,
            self.rows,
            self.batch_size,
            record,
            [c.get_state() for c in callbacks],
            {} if schedule is None else schedule.get_state(),
        )
