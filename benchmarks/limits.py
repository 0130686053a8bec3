"""What this machine can do at most, measured by limits.c: multiply-adds and memory traffic."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bpfast.bench import machine
from bpfast.bench.turns import Child

SOURCE = Path(__file__).resolve().parent / "limits.c"
#: Seconds of one reading.
READING = 0.02
#: ISA of a network -> vectors of the multiply-adds that are its peak.
VECTORS = {"avx512": "avx512", "avx2": "avx2"}


class Limits(Child):
    """The running program, on some CPUs.

    Raises
    ------
    FileNotFoundError, subprocess.CalledProcessError
        There is no C compiler, or it fails.
    """

    def __init__(self, program: Path, cpus: Sequence[int]) -> None:
        super().__init__([str(program), ",".join(map(str, cpus))])

    def peak(self, isa: str, threads: int) -> float:
        """Return GFLOP/s of float32 multiply-adds on so many cores."""
        self.send(f"fma {VECTORS.get(isa, 'generic')} {threads} {READING}")
        return float(self.receive())

    def triad(self, isa: str, threads: int, size: int) -> float:
        """Return GB/s of a[i] = b[i] + s c[i], `size` bytes of arrays on each thread."""
        self.send(f"triad {VECTORS.get(isa, 'generic')} {threads} {5 * READING} {size}")
        return float(self.receive())


@contextlib.contextmanager
def limits(cpus: Sequence[int]) -> Iterator[Limits]:
    """Compile and start the program; end it at the end."""
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None:
        raise FileNotFoundError(f"there is no C compiler {compiler!r}; CC names another")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "limits"
        flags = ["-O2", "-ffp-contract=fast", "-pthread"]  # contraction makes multiply-adds
        subprocess.run([compiler, *flags, str(SOURCE), "-o", str(program)], check=True)
        child = Limits(program, cpus)
        try:
            yield child
        finally:
            child.close()


def working_sets(threads: int) -> dict[str, int]:
    """Return each thread's bytes that fit in each cache with room to spare, and far beyond all.

    The last cache is taken for shared, the others for a core's own.
    """
    sizes = {level: 1024 * int(size.rstrip("K")) for level, size in machine.caches().items()}
    if not sizes:
        return {}
    last = max(sizes, key=sizes.__getitem__)
    found = {level: size // 2 for level, size in sizes.items()}
    return {**found, last: sizes[last] // 4 // threads, "DRAM": 4 * sizes[last] // threads}


def describe(child: Limits, isa: str, threads: Sequence[int]) -> list[dict[str, object]]:
    """Return peak and bandwidths for each number of cores."""
    return [
        {
            "threads": n,
            "isa": isa,
            "fma_gflops": round(max(child.peak(isa, n) for _ in range(5)), 1),
            "triad_gbytes_per_second": {
                level: round(max(child.triad(isa, n, size) for _ in range(2)), 1)
                for level, size in working_sets(n).items()
            },
        }
        for n in threads
    ]
