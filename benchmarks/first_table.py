"""bpfast beside good NumPy on the training workloads T0 to T6.

    python benchmarks/first_table.py [--quick] [--threads 1,2] [--workloads T0,T4] [--out FILE]

Measures the installed bpfast, not the source tree around this file, and prints a Markdown table. A
whole run writes benchmarks/results/<machine>.json; one with --quick (three rounds: to see that it
works) or some of the workloads writes only to --out. Exits with 1 when bpfast is slower anywhere.
README.md beside this file has the protocol.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import machine
import workloads
from harness import RIVALS, Worker, rotate

RESULTS = Path(__file__).resolve().parent / "results"
#: Rounds of a workload: as many as fit in the seconds, within the limits.
LEAST, MOST, SECONDS = 7, 31, 25.0
QUICK = 3


def measure(workload: workloads.Workload, threads: list[int], quick: bool) -> dict[str, Any]:
    """Return one workload's results, all rivals and thread counts in one rotation."""
    keys = [(n, rival) for n in threads for rival in RIVALS]
    workers: list[Worker] = []
    try:
        for n, rival in keys:
            workers.append(Worker(rival, workload.name, n))
        limits = (QUICK, QUICK, 0.0) if quick else (LEAST, MOST, SECONDS)
        seconds = dict(zip(keys, rotate(workers, *limits), strict=True))
        facts = {rival: w.facts for (_, rival), w in zip(keys, workers, strict=True)}
    finally:
        for worker in workers:
            worker.close()
    per_step = 1e6 / (workload.epochs * workload.steps)
    samples = {key: [s * per_step for s in found] for key, found in seconds.items()}
    best = min(statistics.median(samples[n, "numpy"]) for n in threads)
    return {
        "workload": workload.name,
        "what": str(workload),
        "steps": workload.steps,
        "epochs_per_sample": workload.epochs,
        "facts": facts,
        "by_threads": [row(workload, n, samples, best) for n in threads],
    }


def row(
    workload: workloads.Workload,
    threads: int,
    samples: dict[tuple[int, str], list[float]],
    best: float,
) -> dict[str, Any]:
    """Return one line of the table; times are microseconds a step."""
    ours, theirs = samples[threads, "bpfast"], samples[threads, "numpy"]
    result: dict[str, Any] = {"threads": threads, "rounds": len(ours)}
    for rival, times in (("bpfast", ours), ("numpy", theirs)):
        result[rival] = {
            "median_us": round(statistics.median(times), 3),
            "min_us": round(min(times), 3),
        }
    median = statistics.median(ours)
    result["samples_per_second"] = round(workload.batch / median * 1e6)
    # Rounds share their disturbances: the ratio is taken in each, and then its median.
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    result["ratio"] = round(statistics.median(ratios), 3)
    result["ratio_to_best_numpy"] = round(best / median, 3)
    return result


def table(results: list[dict[str, Any]]) -> str:
    """Return the results in Markdown."""
    lines = [
        "| workload | threads | bpfast, us a step (min) | NumPy (min) | samples/s | NumPy / bpfast "
        "| best NumPy / bpfast |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for found in result["by_threads"]:
            cells = [f"{result['workload']} {result['what']}", str(found["threads"])]
            for rival in ("bpfast", "numpy"):
                times = found[rival]
                cells.append(f"{times['median_us']:,.1f} ({times['min_us']:,.1f})")
            cells.append(f"{found['samples_per_second']:,}")
            cells += [f"{found['ratio']:.2f}", f"{found['ratio_to_best_numpy']:.2f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def slower(results: list[dict[str, Any]]) -> list[str]:
    """Return where NumPy is ahead at equal threads."""
    return [
        f"{result['workload']} with {found['threads']} thread(s)"
        for result in results
        for found in result["by_threads"]
        if found["ratio"] < 1
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three rounds, nothing written")
    parser.add_argument("--threads", help="thread counts, such as 1,2 (default: 1 and all cores)")
    parser.add_argument("--workloads", default=",".join(workloads.ALL), help="default: all")
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    args = parser.parse_args()
    n_cores = len(machine.cores())
    given = args.threads.split(",") if args.threads else {1, n_cores}
    args.threads = sorted({int(n) for n in given})
    if not 1 <= args.threads[0] <= args.threads[-1] <= n_cores:
        parser.error(f"--threads must be from 1 to the {n_cores} cores of this machine")
    args.workloads = args.workloads.split(",")
    if unknown := set(args.workloads) - set(workloads.ALL):
        parser.error(f"--workloads must be of {', '.join(workloads.ALL)}, got {unknown}")
    return args


def main() -> int:
    args = arguments()
    facts, load = machine.describe(), os.getloadavg()[0]
    if load > 0.5:
        print(f"the load is {load:.1f}: other processes disturb the times", file=sys.stderr)
    results = []
    for name in args.workloads:
        print(f"{name} ...", file=sys.stderr, flush=True)
        results.append(measure(workloads.ALL[name], args.threads, args.quick))
    versions = {}
    for result in results:
        for found in result.pop("facts").values():
            versions.update(found)
    about = ", ".join(f"{key} {value}" for key, value in versions.items())
    print(f"{facts['cpu']} ({facts['name']}); {about}\n\n{table(results)}\n")
    behind = slower(results)
    print(f"slower on {', '.join(behind) or 'none'}")
    whole = not args.quick and args.workloads == list(workloads.ALL)
    out = args.out or (RESULTS / f"{facts['name']}.json" if whole else None)
    if out is not None:
        record = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "command": "python benchmarks/first_table.py",
            "versions": versions,
            "load_before": round(load, 2),
            "rows": results,
        }
        machine.record(out, "first_table", record)
        print(f"written: {out}", file=sys.stderr)
    return 1 if behind else 0


if __name__ == "__main__":
    sys.exit(main())
