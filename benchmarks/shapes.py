"""Where bpfast is slower than NumPy: forward and backward over batch sizes and widths.

    python benchmarks/shapes.py [--fit] [--threads N] [--batches 1,32] [--widths 8,64] [--isa avx2]
    python benchmarks/shapes.py --record

Two dense layers, width-width-width with relu between them: `loss_and_gradient`
beside the same through OpenBLAS, with everything written in place; with --fit whole training steps
of SGD with momentum. Prints NumPy's time over that of bpfast for each shape; exits with 1 when any
is below 1. The whole list takes some minutes; --record keeps it in results/.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from typing import Any

import record

from bpfast.bench import machine, peers, turns
from bpfast.bench.workloads import Workload
from bpfast.cli.main import COUNT, POSITIVE

Row = dict[str, Any]

BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]
WIDTHS = [8, 16, 32, 64, 128, 256, 512, 1024, 2048]
LEAST, MOST = 3, 9
#: Work of an epoch, so that a sample of the largest shapes is one step and of the least many.
EPOCH_GFLOP, MOST_STEPS = 0.05, 64


def shape(batch: int, width: int, fit: bool) -> Workload:
    """Return the workload of one shape."""
    one = Workload(f"{batch}x{width}", (width,) * 3, "relu", batch, "gradient")
    if not fit:
        return one
    steps = max(1, min(MOST_STEPS, int(EPOCH_GFLOP / one.gflop)))
    return Workload(
        one.name, one.sizes, "relu", batch, "fit", "mse", "momentum", steps, MOST_STEPS // steps
    )


def numbers(text: str) -> list[int]:
    """Read whole numbers with commas between them."""
    return [COUNT(part) for part in text.split(",")]


def measure(workers: list[turns.Worker], workload: Workload, seconds: float) -> Row:
    """Time one shape in turn; the ratio is the median of those of neighbouring samples."""
    turns.prepare(workers, workload)
    ours, theirs = turns.rotate(workers, LEAST, MOST, 10 * seconds)
    return {
        "batch": workload.batch,
        "width": workload.sizes[0],
        "bpfast": statistics.median(ours),
        "numpy": statistics.median(theirs),
        "ratio": statistics.median(b / a for a, b in zip(ours, theirs, strict=True)),
    }


def table(rows: list[Row], widths: list[int]) -> list[str]:
    """Return a Markdown table, a line for each batch, and what was slower."""
    lines = [
        "| batch | " + " | ".join(f"width {width}" for width in widths) + " |",
        "|---" * (len(widths) + 1) + "|",
    ]
    for first in range(0, len(rows), len(widths)):
        line = rows[first : first + len(widths)]
        cells = " | ".join(f"{row['ratio']:.2f}" for row in line)
        lines.append(f"| {line[0]['batch']} | {cells} |")
    slower = [row for row in rows if row["ratio"] < 1]
    lines += ["", f"Slower on {len(slower)} of {len(rows)} shapes.", ""]
    lines += [
        f"- batch {row['batch']}, width {row['width']}: "
        f"{1e6 * row['bpfast']:,.1f} us against {1e6 * row['numpy']:,.1f}"
        for row in slower
    ]
    return lines


def keep(rows: list[Row], lines: list[str], threads: int, isa: str, load: float) -> None:
    """Write the record of the whole list: a part of the machine's file, and a page."""
    here = machine.describe()
    command = f"python benchmarks/shapes.py --record --threads {threads}" + (
        f" --isa {isa}" if isa else ""
    )
    part = {
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "threads": threads,
        "load_before": load,
        "versions": machine.numpy_facts(),
        "rows": rows,
    }
    file = record.path(isa)
    record.write(file, "shapes", part)
    head = [
        f"# Forward and backward beside NumPy: {here['cpu']}",
        "",
        f"`{command}`, {part['date']}: NumPy's time over bpfast's, medians of ratios of samples "
        f"taken in turn, {threads} thread{'s' if threads > 1 else ''}.",
        "",
    ]
    file.with_name(f"{file.stem}-shapes.md").write_text("\n".join([*head, *lines]).rstrip() + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", action="store_true", help="training steps, not gradients alone")
    parser.add_argument("--threads", type=COUNT, default=1, help="of both (default 1)")
    parser.add_argument("--batches", type=numbers, default=BATCHES, help="rows of a batch")
    parser.add_argument("--widths", type=numbers, default=WIDTHS, help="inputs, units, outputs")
    parser.add_argument("--seconds", type=POSITIVE, default=0.02, help="a sample (default 0.02)")
    parser.add_argument("--isa", choices=turns.CAPS, default="", help="keep both to it")
    parser.add_argument("--record", action="store_true", help="write the whole list to results/")
    args = parser.parse_args()
    if args.record and (args.fit or (args.batches, args.widths) != (BATCHES, WIDTHS)):
        parser.error("--record takes the whole list: no --fit, --batches or --widths")
    cores = machine.cores()
    if args.threads > len(cores):
        parser.error(f"--threads must be at most the {len(cores)} cores here, got {args.threads}")
    pinned = [(peers.ALL[name], cores[: args.threads]) for name in ("bpfast", "numpy")]

    rows, load = [], round(os.getloadavg()[0], 2)
    with turns.workers(pinned, isa=args.isa, seconds=args.seconds) as workers:
        for batch in args.batches:
            for width in args.widths:
                rows.append(measure(workers, shape(batch, width, args.fit), args.seconds))
            line = ", ".join(f"{row['ratio']:.2f}" for row in rows[-len(args.widths) :])
            print(f"batch {batch}: {line}", file=sys.stderr, flush=True)
    lines = table(rows, args.widths)
    print(*lines, sep="\n")
    if args.record:
        keep(rows, lines, args.threads, args.isa, load)
    return int(any(row["ratio"] < 1 for row in rows))


if __name__ == "__main__":
    sys.exit(main())
