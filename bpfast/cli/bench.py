"""``bpfast bench``: bpfast beside NumPy, and beside other libraries that are installed."""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections.abc import Sequence
from typing import Any, Final

from bpfast.bench import machine, peers, turns, workloads
from bpfast.bench.workloads import Workload
from bpfast.cli import story

DEFAULT: Final = {
    False: ("T0", "T1", "T2", "T3", "T4", "P1x1", "P2x1", "P3x1"),
    True: ("T0", "T2", "P2x1"),  # --quick
}
#: Rounds of a workload: as many as fit in the seconds, within the limits.
LEAST, MOST, SECONDS = 3, 15, 0.5
#: What a sample should last, in seconds, and the work of an epoch where it would take longer.
SAMPLE, EPOCH_GFLOP = 0.02, 1.0


def run(arguments: argparse.Namespace) -> int:
    """Measure and tell."""
    chosen = [workloads.ALL[name] for name in arguments.workloads or DEFAULT[arguments.quick]]
    cores = machine.cores()
    if (threads := arguments.threads or 1) > len(cores):
        raise ValueError(f"--threads must be at most the {len(cores)} cores here, got {threads}")
    kinds = {workload.kind for workload in chosen}
    found = [peer for peer in peers.ALL.values() if peer.installed()]
    pinned = [(peer, cores[:threads]) for peer in found if kinds & set(peer.short)]
    results: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    with turns.workers(pinned, seconds=SAMPLE) as workers:
        for workload in map(shortened, chosen):
            story.tell(f"{workload.name} {workload} ...")
            at_work = [
                w for w in workers if w.peer.does(workload) and workload.kind in w.peer.short
            ]
            versions |= turns.prepare(at_work, workload)
            limits = (LEAST, LEAST, 0.0) if arguments.quick else (LEAST, MOST, SECONDS)
            samples = turns.rotate(at_work, *limits)
            medians = [statistics.median(times) for times in samples]
            names = [worker.peer.name for worker in at_work]
            results.append(result(workload, dict(zip(names, medians, strict=True))))

    if missing := [peer.title for peer in peers.ALL.values() if not peer.installed()]:
        story.tell(f"not installed: {', '.join(missing)}")
    facts = machine.describe()
    about = ", ".join(f"{name} {version}" for name, version in versions.items())
    story.say(f"{facts['cpu']}, {threads} thread{'s' * (threads > 1)}; {about}")
    for kind, unit in (("fit", "step"), ("predict", "call")):
        if kept := [r for r in results if r["kind"] == kind]:
            story.say("", *table(kept, unit))
    story.say("", "Under each library: how many times as long as bpfast it takes.")
    if arguments.json:
        about_run = {"machine": facts, "versions": versions, "threads": threads}
        story.say(json.dumps({**about_run, "workloads": results}))
    return 0


def shortened(workload: Workload) -> Workload:
    """Return the workload with epochs that take some ten milliseconds."""
    steps = max(1, min(workload.steps, int(EPOCH_GFLOP / workload.gflop)))
    return dataclasses.replace(workload, steps=steps)


def result(workload: Workload, seconds: dict[str, float]) -> dict[str, Any]:
    """Return what is told of one workload."""
    ours = seconds["bpfast"]
    return {
        "workload": workload.name,
        "what": str(workload),
        "kind": workload.kind,
        "samples_per_second": round(workload.batch / ours),
        "gflops": round(workload.gflop / ours, 2),
        "us": {name: round(1e6 * value, 3) for name, value in seconds.items()},
    }


def table(results: Sequence[dict[str, Any]], unit: str) -> list[str]:
    """Return lines with one workload each; words go left, numbers right."""
    seen = [peers.ALL[name] for name in results[0]["us"] if name != "bpfast"]
    rows = [["", f"us/{unit}", "samples/s", "GFLOP/s", *(peer.title for peer in seen)]]
    for r in results:
        ours = r["us"]["bpfast"]
        times = [r["us"][peer.name] for peer in seen]
        rows.append(
            [
                f"{r['workload']} {r['what']}",
                f"{ours:,.1f}",
                f"{r['samples_per_second']:,}",
                f"{r['gflops']:.1f}",
                *(f"{time / ours:.1f}x" for time in times),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
