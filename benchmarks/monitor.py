"""What a look of `WeightMonitor` after each epoch costs.

    python benchmarks/monitor.py [--rounds N]

Networks of the benchmarks train on 60,000 rows, as Fashion-MNIST has, with one thread on one CPU.
That a look takes a percent of an epoch would drown in what disturbs epochs; so its two parts are
measured apart, in steps: the look itself, timed inside whole epochs; and the watched last step, as
what short epochs take longer with it, in turn with those without. Exit code 1: their sum is above
the mark.

Writes benchmarks/results/monitor.json.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from functools import partial
from typing import Any

import numpy as np
import pairs

import bpfast as bp
from bpfast.bench import data
from bpfast.bench.peers import ours
from bpfast.bench.workloads import Workload

NAMES = ("T1", "T2", "T3", "T4", "T6")
ROWS = 60_000
MARK = 0.02
ROUNDS = 41
#: Whole epochs, and steps of a short one.
EPOCHS, STEPS = 5, 8


class Timed(bp.WeightMonitor):
    """A monitor that notes what looks take."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        """Look."""
        start = time.perf_counter()
        super().on_epoch_end(epoch, logs)
        self.seconds.append(time.perf_counter() - start)


class Blind(bp.WeightMonitor):
    """A monitor that has the last step watched and does not look."""

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        """Do nothing."""


def measure(workload: Workload, rounds: int) -> pairs.Row:
    """Time the parts."""
    workload = dataclasses.replace(workload, steps=ROWS // workload.batch)
    X, y = data.rows(workload)
    net = ours.network(workload, np.float32, 1)
    monitor = Timed()
    fit = partial(
        net.fit,
        loss=workload.loss,
        optimizer=ours.optimizer(workload),
        batch_size=workload.batch,
    )
    start = time.perf_counter()
    fit(X, y, epochs=EPOCHS, callbacks=[monitor])
    step = (time.perf_counter() - start - sum(monitor.seconds)) / EPOCHS / workload.steps
    few = slice(STEPS * workload.batch)
    epochs = max(1, int(0.05 / (STEPS * step)))
    short = partial(fit, X[few], y[few], epochs=epochs)
    plain, watched = pairs.in_turn([short, partial(short, callbacks=[Blind()])], rounds)
    ratio = statistics.median(b / a for a, b in zip(plain, watched, strict=True))
    look, watch = statistics.median(monitor.seconds) / step, STEPS * (ratio - 1)
    return {
        "name": workload.name,
        "network": str(workload),
        "rounds": rounds,
        "step_us": round(1e6 * step, 1),
        "look_us": round(1e6 * step * look, 1),
        "look_steps": round(look, 1),
        "watched_steps": round(watch, 1),
        "share": round((look + watch) / workload.steps, 4),
    }


def line(row: pairs.Row) -> str:
    """Write a row as text."""
    return (
        f"{row['network']}: {row['step_us']:,.1f} us a step; a look "
        f"{row['look_us']:,.1f} us or {row['look_steps']} steps, the watched step "
        f"{row['watched_steps']} more: {row['share']:.2%} of an epoch"
    )


def holds(row: pairs.Row) -> bool:
    """Whether a row reaches the mark."""
    return bool(row["share"] <= MARK)


if __name__ == "__main__":
    sys.exit(pairs.run("monitor", __doc__, NAMES, ROUNDS, measure, line, holds))
