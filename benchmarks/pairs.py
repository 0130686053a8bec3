"""Two things in turn, on one CPU, and a file of what they took."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bpfast.bench import machine

RESULTS = Path(__file__).resolve().parent / "results"


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


def write(name: str, here: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Record the rows of benchmarks/NAME.py in results/NAME.json."""
    record = {
        "command": f"python benchmarks/{name}.py",
        "date": time.strftime("%Y-%m-%d"),
        "machine": here,
        "rows": rows,
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {path}")
