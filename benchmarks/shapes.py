"""Where bpfast is slower than NumPy: forward and backward over batch sizes and widths.

    python benchmarks/shapes.py [--fit] [--threads N] [--batches 1,32] [--widths 8,64] [--isa avx2]

Two dense layers, width-width-width with relu between them: `loss_and_gradient`
beside the same through OpenBLAS, with everything written in place; with --fit whole training steps
of SGD with momentum. Prints NumPy's time over that of bpfast for each shape; exits with 1 when any
is below 1.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from bpfast.bench import machine, peers, turns
from bpfast.bench.workloads import Workload
from bpfast.cli.main import COUNT, POSITIVE

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
WIDTHS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", action="store_true", help="training steps, not gradients alone")
    parser.add_argument("--threads", type=COUNT, default=1, help="of both (default 1)")
    parser.add_argument("--batches", type=numbers, default=BATCHES, help="rows of a batch")
    parser.add_argument("--widths", type=numbers, default=WIDTHS, help="inputs, units, outputs")
    parser.add_argument("--seconds", type=POSITIVE, default=0.02, help="a sample (default 0.02)")
    parser.add_argument("--isa", choices=turns.CAPS, default="", help="keep both to it")
    args = parser.parse_args()
    cores = machine.cores()
    if args.threads > len(cores):
        parser.error(f"--threads must be at most the {len(cores)} cores here, got {args.threads}")
    pinned = [(peers.ALL[name], cores[: args.threads]) for name in ("bpfast", "numpy")]

    print("| batch | " + " | ".join(f"width {width}" for width in args.widths) + " |")
    print("|---" * (len(args.widths) + 1) + "|")
    slower = []
    with turns.workers(pinned, isa=args.isa, seconds=args.seconds) as workers:
        for batch in args.batches:
            cells = []
            for width in args.widths:
                workload = shape(batch, width, args.fit)
                turns.prepare(workers, workload)
                samples = turns.rotate(workers, LEAST, MOST, 10 * args.seconds)
                ours, theirs = map(statistics.median, samples)
                cells.append(f"{theirs / ours:.2f}")
                if theirs < ours:
                    slower.append(
                        f"batch {batch}, width {width}: "
                        f"{1e6 * ours:,.1f} us against {1e6 * theirs:,.1f}"
                    )
            print(f"| {batch} | {' | '.join(cells)} |", flush=True)
    total = len(args.batches) * len(args.widths)
    print("", f"Slower on {len(slower)} of {total} shapes.", *slower, sep="\n")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
