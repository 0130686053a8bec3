"""What a training step costs when the first half of the layers is frozen.

    python benchmarks/frozen.py [--rounds N]

Two copies of a network of the benchmarks, one of them with the first half of its layers frozen,
train in turn on the same rows with one thread on one CPU; each sample is an epoch. Prints and
records the medians of seconds a step, and the median of the ratios of neighbouring samples. Exit
code 1: a ratio is above the mark.

Writes benchmarks/results/frozen.json.
"""

from __future__ import annotations

import statistics
import sys
from functools import partial
from typing import Any

import numpy as np
import pairs

import bpfast as bp
from bpfast.bench import data
from bpfast.bench.peers import ours
from bpfast.bench.workloads import Workload

NAMES = ("T4", "T6")
MARK = 0.75
ROUNDS = 15


def networks(workload: Workload) -> tuple[bp.Network, bp.Network]:
    """Return the workload's network, and a copy with the first half of its layers frozen."""
    full = ours.network(workload, np.float32, 1)
    frozen = full.clone()
    frozen.freeze(*range(len(frozen.layers) // 2))
    return full, frozen


def measure(workload: Workload, rounds: int) -> pairs.Row:
    """Time both in turn."""
    X, y = data.rows(workload)
    nets = networks(workload)
    options: dict[str, Any] = {
        "loss": workload.loss,
        "optimizer": ours.optimizer(workload),
        "batch_size": workload.batch,
        "epochs": 1,
    }
    full, frozen = (
        [seconds / workload.steps for seconds in samples]
        for samples in pairs.in_turn([partial(net.fit, X, y, **options) for net in nets], rounds)
    )
    return {
        "name": workload.name,
        "network": str(workload),
        "frozen": len(nets[0].layers) // 2,
        "rounds": rounds,
        "full_us": round(1e6 * statistics.median(full), 1),
        "frozen_us": round(1e6 * statistics.median(frozen), 1),
        "ratio": round(statistics.median(b / a for a, b in zip(full, frozen, strict=True)), 3),
    }


def line(row: pairs.Row) -> str:
    """Write a row as text."""
    return (
        f"{row['network']}: {row['full_us']:,.1f} us a step, "
        f"{row['frozen_us']:,.1f} with {row['frozen']} layers frozen, "
        f"ratio {row['ratio']:.3f}"
    )


def holds(row: pairs.Row) -> bool:
    """Whether a row reaches the mark."""
    return bool(row["ratio"] <= MARK)


if __name__ == "__main__":
    sys.exit(pairs.run("frozen", __doc__, NAMES, ROUNDS, measure, line, holds))
