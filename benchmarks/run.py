"""bpfast beside its peers on every workload.

    python benchmarks/run.py [--quick] [--workloads T0,T4] [--threads 1,2] [--peers numpy,torch]
                             [--isa avx2] [--out FILE]

Measures the installed bpfast, not the source tree around this file, with every installed peer in
turn, and the machine's own limits; prints Markdown tables and which targets hold. Rows with all
peers and thread counts go into benchmarks/results/<machine>.json, beside rows of other workloads,
with a table (.md) and a plot (.png); others only to --out. Exits with 1 when a target is missed.
README.md beside this file has the protocol.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import shlex
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import limits
import ratios
import record
import tables
import targets

from bpfast.bench import machine, peers, turns, workloads
from bpfast.bench.peers import Peer
from bpfast.bench.workloads import Workload
from bpfast.config import chosen_isa

PART = "peers"
#: Rounds of a workload: as many as fit in the seconds, within the limits.
LEAST, MOST, SECONDS = 7, 31, 60.0
#: Samples of bpfast alone.
ALONE = 15
QUICK, QUICK_WORKLOADS = 3, ("T0", "P2x1")


def measure(
    workload: Workload,
    rivals: Sequence[Peer],
    threads: Sequence[int],
    isa: str,
    child: limits.Limits,
    quick: bool,
) -> ratios.Row:
    """Return one workload's row, all peers, thread counts and the peak in one rotation."""
    cores = machine.cores()
    chosen = [(peer, cores[:n]) for n in threads for peer in rivals if peer.does(workload)]
    row: ratios.Row = {
        "workload": workload.name,
        "what": str(workload),
        "kind": workload.kind,
        "batch": workload.batch,
        "gflop_per_step": workload.gflop,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "command": f"python benchmarks/{shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}",
        "load_before": round(os.getloadavg()[0], 2),
    }
    with turns.workers(chosen, isa=isa) as workers:
        row["versions"] = turns.prepare(workers, workload)
        limit = (QUICK, QUICK, 0.0) if quick else (LEAST, MOST, SECONDS)
        peaks: dict[int, list[float]] = {n: [] for n in threads}

        def read_peaks() -> None:
            for n in threads:
                peaks[n].append(child.peak(row["versions"]["isa"], n))

        samples = turns.rotate(workers, *limit, read_peaks)
    row["peaks"] = [
        {"threads": n, "gflops": round(statistics.median(found), 1)} for n, found in peaks.items()
    ]
    row["times"] = [
        {"peer": worker.peer.name, "threads": worker.threads, **summary(workload, times)}
        for worker, times in zip(workers, samples, strict=True)
    ]
    return row


def summary(workload: Workload, times: Sequence[float]) -> dict[str, Any]:
    """Return what a record keeps of some samples in seconds a step."""
    median = statistics.median(times)
    return {
        "median_us": round(1e6 * median, 3),
        "min_us": round(1e6 * min(times), 3),
        "rounds": len(times),
        "samples_per_second": round(workload.batch / median),
        "gflops": round(workload.gflop / median, 2),
    }


def alone(
    workload: Workload, threads: Sequence[int], isa: str, child: limits.Limits, rounds: int
) -> list[dict[str, Any]]:
    """Return bpfast's times without others in turn, and the percent of peak they come to.

    The clock of a shared machine varies from minute to minute. So the peak is read right before
    and right after each sample; each has a ratio of its own, and the median of those counts.
    """
    found = []
    cores = machine.cores()
    for n in threads:
        with turns.workers([(peers.ALL["bpfast"], cores[:n])], isa=isa) as (worker,):
            vectors = turns.prepare([worker], workload)["isa"]
            times, peaks = [], [child.peak(vectors, n)]
            for _ in range(rounds):
                worker.sample()  # the caches are its own again
                times.append(worker.sample())
                peaks.append(child.peak(vectors, n))
        around = [(a + b) / 2 for a, b in itertools.pairwise(peaks)]
        shares = [workload.gflop / t / p for t, p in zip(times, around, strict=True)]
        found.append(
            {
                "threads": n,
                **summary(workload, times),
                "peak_gflops": round(statistics.median(peaks), 1),
                "percent_of_peak": round(100 * statistics.median(shares), 1),
            }
        )
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="few workloads and rounds, to see that all runs"
    )
    parser.add_argument("--threads", help="thread counts, such as 1,2 (default: 1 and all cores)")
    parser.add_argument("--workloads", help=f"of {','.join(workloads.ALL)} (default: all)")
    parser.add_argument("--peers", help=f"of {','.join(peers.ALL)} (default: all installed)")
    parser.add_argument("--isa", choices=turns.CAPS, default="", help="keep all peers to it")
    parser.add_argument("--out", type=Path, help="the JSON file to write (default: the machine's)")
    args = parser.parse_args()

    n_cores = len(machine.cores())
    given = args.threads.split(",") if args.threads else {1, n_cores}
    if not all(n.isdecimal() and 1 <= int(n) <= n_cores for n in map(str, given)):
        parser.error(f"--threads must be from 1 to the {n_cores} cores here, got {args.threads}")
    args.threads = sorted({int(n) for n in given})

    default = QUICK_WORKLOADS if args.quick else workloads.ALL
    names = args.workloads.split(",") if args.workloads else default
    if unknown := set(names) - set(workloads.ALL):
        parser.error(f"--workloads must be of {', '.join(workloads.ALL)}, got {unknown}")
    args.workloads = [workloads.ALL[name] for name in names]

    names = args.peers.split(",") if args.peers else list(peers.ALL)
    if unknown := set(names) - set(peers.ALL):
        parser.error(f"--peers must be of {', '.join(peers.ALL)}, got {unknown}")
    wanted = [peers.ALL[name] for name in dict.fromkeys(["bpfast", *names])]
    missing = [peer.name for peer in wanted if not peer.installed()]
    if missing and args.peers:
        parser.error(f"not installed: {', '.join(missing)}")
    if missing:
        print(f"not installed: {', '.join(missing)}", file=sys.stderr)
    args.peers = [peer for peer in wanted if peer.installed()]
    return args


def main() -> int:
    args = arguments()
    if (load := os.getloadavg()[0]) > 0.5:
        print(f"the load is {load:.1f}: other processes disturb the times", file=sys.stderr)
    rows = []
    with limits.limits(machine.cores()) as child:
        isa = args.isa or chosen_isa()
        bounds = limits.describe(child, isa, args.threads)
        for workload in args.workloads:
            print(f"{workload.name} {workload} ...", file=sys.stderr, flush=True)
            # A single caller predicts: on one thread.
            threads = [1] if workload.kind == "predict" else args.threads
            row = measure(workload, args.peers, threads, args.isa, child, args.quick)
            rounds = QUICK if args.quick else ALONE
            row["isolated"] = alone(workload, threads, args.isa, child, rounds)
            rows.append(row)
    report = tables.report(machine.describe(), bounds, rows)
    print(report)
    save(args, bounds, rows)
    missed = [v for row in rows for v in targets.judge(row) if not v.holds]
    return 1 if missed and not args.quick else 0


def save(args: argparse.Namespace, bounds: list[dict[str, Any]], rows: list[ratios.Row]) -> None:
    """Merge rows into the file asked for, or those that count into the machine's."""
    out, all_threads = args.out, sorted({1, len(machine.cores())})
    if out is None:
        whole = [r for r in rows if ratios.complete(r)] if args.threads == all_threads else []
        if args.quick or not whole:
            print("not recorded: quick, or peers or thread counts are missing", file=sys.stderr)
            return
        rows, out = whole, record.path(args.isa)
    before = record.read(out).get(PART, {"rows": []})["rows"]
    found = {row["workload"]: row for row in [*before, *rows]}
    rows = [found[name] for name in workloads.ALL if name in found]
    note = "each row is one interleaved run of all its peers; rows may be of different runs"
    record.write(out, PART, {"note": note, "limits": bounds, "rows": rows})
    print(f"written: {out}", file=sys.stderr)
    out.with_suffix(".md").write_text(tables.report(machine.describe(), bounds, rows) + "\n")
    try:
        import plot
    except ImportError as error:
        print(f"no plot: {error}", file=sys.stderr)
        return
    plot.draw(record.read(out), out.with_suffix(".png"))


if __name__ == "__main__":
    sys.exit(main())
