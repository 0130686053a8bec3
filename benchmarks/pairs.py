"""Two things in turn, on one CPU, and a file of what they took."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bpfast.bench import machine
from bpfast.bench.workloads import TRAINING, Workload
from bpfast.cli.main import COUNT

RESULTS = Path(__file__).resolve().parent / "results"
#: What is recorded of a workload.
Row = dict[str, Any]


def run(
    name: str,
    purpose: str,
    workloads: Sequence[str],
    rounds: int,
    measure: Callable[[Workload, int], Row],
    line: Callable[[Row], str],
    holds: Callable[[Row], bool],
) -> int:
    """Be the command benchmarks/NAME.py: measure, print and record; return the exit code.

    Parameters
    ----------
    name, purpose : str
        Of the script, and the docstring whose first line its help shows.
    workloads : sequence of str
        Names of those that train.
    rounds : int
        Where the command line has no other number.
    measure : callable (workload, rounds)
        Returns a row.
    line : callable (row)
        Returns what is printed of it.
    holds : callable (row)
        Whether it reaches the mark.
    """
    parser = argparse.ArgumentParser(description=purpose.splitlines()[0])
    parser.add_argument("--rounds", type=COUNT, default=rounds, help=f"default {rounds}")
    rounds = parser.parse_args().rounds
    here = one_cpu()
    rows = []
    for workload in workloads:
        rows.append(measure(TRAINING[workload], rounds))
        print(line(rows[-1]), flush=True)
    write(name, here, rows)
    return 0 if all(map(holds, rows)) else 1


def one_cpu() -> dict[str, Any]:
    """Keep this process to one CPU; return the machine as it was before."""
    here = machine.describe()
    os.sched_setaffinity(0, machine.cores()[:1])
    return here


def in_turn(tasks: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Return each task's seconds, round by round; the order turns, the first round is not kept."""
    samples: list[list[float]] = [[] for _ in tasks]
    numbered = list(enumerate(tasks))
    for turn in range(rounds + 1):
        for i, task in numbered if turn % 2 else reversed(numbered):
            start = time.perf_counter()
            task()
            if turn:
                samples[i].append(time.perf_counter() - start)
    return samples


def write(name: str, here: dict[str, Any], rows: list[Row], **more: Any) -> dict[str, Any]:
    """Record the rows of benchmarks/NAME.py in results/NAME.json; return the record."""
    record = {
        "command": f"python benchmarks/{name}.py",
        "date": time.strftime("%Y-%m-%d"),
        "machine": here,
        **more,
        "rows": rows,
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {path}")
    return record
