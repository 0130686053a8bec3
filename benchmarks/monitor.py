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

import argparse
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
from bpfast.bench.workloads import TRAINING, Workload
from bpfast.cli.main import COUNT

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


def row(workload: Workload, rounds: int) -> dict[str, Any]:
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


def main() -> int:
    """Time, print and record all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=COUNT, default=ROUNDS, help=f"default {ROUNDS}")
    rounds = parser.parse_args().rounds
    here = pairs.one_cpu()
    rows = []
    for name in NAMES:
        found = row(TRAINING[name], rounds)
        rows.append(found)
        print(
            f"{found['network']}: {found['step_us']:,.1f} us a step; a look "
            f"{found['look_us']:,.1f} us or {found['look_steps']} steps, the watched step "
            f"{found['watched_steps']} more: {found['share']:.2%} of an epoch",
            flush=True,
        )
    pairs.write("monitor", here, rows)
    return 0 if all(found["share"] <= MARK for found in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
