"""What a training step costs when the first half of the layers is frozen.

    python benchmarks/frozen.py [--rounds N]

Two copies of a network of the benchmarks, one of them with the first half of its layers frozen,
train in turn on the same rows with one thread on one CPU; each sample is an epoch. Prints and
records the medians of seconds a step, and the median of the ratios of neighbouring samples. Exit
code 1: a ratio is above the mark.

Writes benchmarks/results/frozen.json.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from functools import partial
from typing import Any

import numpy as np
import pairs

import bpfast as bp
from bpfast.bench import data
from bpfast.bench.peers import ours
from bpfast.bench.workloads import TRAINING, Workload
from bpfast.cli.main import COUNT

NAMES = ("T4", "T6")
MARK = 0.75
ROUNDS = 15


def networks(workload: Workload) -> tuple[bp.Network, bp.Network]:
    """Return the workload's network, and a copy with the first half of its layers frozen."""
    full = ours.network(workload, np.float32, 1)
    frozen = full.clone()
    frozen.freeze(*range(len(frozen.layers) // 2))
    return full, frozen


def row(workload: Workload, rounds: int) -> dict[str, Any]:
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
            f"{found['network']}: {found['full_us']:,.1f} us a step, "
            f"{found['frozen_us']:,.1f} with {found['frozen']} layers frozen, "
            f"ratio {found['ratio']:.3f}",
            flush=True,
        )
    pairs.write("frozen", here, rows)
    return 0 if all(found["ratio"] <= MARK for found in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
