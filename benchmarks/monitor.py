"""What a look of `WeightMonitor` after each epoch costs.

    python benchmarks/monitor.py [--rounds N]

Networks of the benchmarks train for an epoch of 60,000 rows, as Fashion-MNIST has, with and without
a monitor in turn, with one thread on one CPU. Prints and records the medians of seconds an epoch,
the median of the ratios of neighbouring samples, and the least time of a look: in microseconds, and
in steps. Exit code 1: a ratio is above the mark.

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
MARK = 1.02
ROUNDS = 15


class TimedMonitor(bp.WeightMonitor):
    """A monitor that notes what its calls took; the watched step comes on top."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        """Look."""
        start = time.perf_counter()
        super().on_epoch_end(epoch, logs)
        self.seconds.append(time.perf_counter() - start)


def row(workload: Workload, rounds: int) -> dict[str, Any]:
    """Time both in turn."""
    workload = dataclasses.replace(workload, steps=ROWS // workload.batch)
    X, y = data.rows(workload)
    nets = [ours.network(workload, np.float32, 1) for _ in range(2)]
    monitor = TimedMonitor()
    options: dict[str, Any] = {
        "loss": workload.loss,
        "optimizer": ours.optimizer(workload),
        "batch_size": workload.batch,
        "epochs": 1,
    }
    plain, watched = pairs.in_turn(
        [
            partial(nets[0].fit, X, y, **options),
            partial(nets[1].fit, X, y, callbacks=[monitor], **options),
        ],
        rounds,
    )
    epoch, look = statistics.median(plain), statistics.median(monitor.seconds)
    return {
        "name": workload.name,
        "network": str(workload),
        "epoch_ms": round(1e3 * epoch, 2),
        "watched_ms": round(1e3 * statistics.median(watched), 2),
        "ratio": round(statistics.median(b / a for a, b in zip(plain, watched, strict=True)), 4),
        "look_us": round(1e6 * look),
        "look_steps": round(look / epoch * workload.steps, 1),
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
            f"{found['network']}: {found['epoch_ms']:,.2f} ms an epoch, "
            f"{found['watched_ms']:,.2f} watched, ratio {found['ratio']:.4f}; "
            f"a look {found['look_us']:,} us, {found['look_steps']} steps",
            flush=True,
        )
    pairs.write("monitor", here, rounds, rows)
    return 0 if all(found["ratio"] <= MARK for found in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
