"""What bpfast costs before it does anything: wheel size, import time, dependencies.

    python benchmarks/footprint.py [--wheel FILE] [--runs N]

Measures the installed bpfast, not the source tree around this file. Without --wheel it takes the
newest one in dist/, and builds one in a temporary folder when there is none. The import time is the
median over fresh processes of what `import bpfast` and its first use (`bpfast.Network`) take after
`import numpy`; processes that something held up, as NumPy's own import shows, do not count. Exits
with 1 when a limit is passed.
"""

from __future__ import annotations

import argparse
import email
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_WHEEL_MB = 2.0
MAX_IMPORT_MS = 60.0
DEPENDENCIES = {"numpy", "safetensors"}
HELD_UP = 1.5  # times NumPy's fastest import

# -I: neither the current folder nor PYTHON* variables decide what is imported.
IMPORT = """
import time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import bpfast
bpfast.Network
print(middle - start, time.perf_counter() - middle)
"""


def newest_wheel(folder: Path) -> Path | None:
    """The wheel in `folder` that was written last."""
    return max(folder.glob("bpfast-*.whl"), key=lambda f: f.stat().st_mtime, default=None)


def build_wheel(folder: Path) -> Path:
    """Build the source tree's wheel into `folder`."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*pip, str(folder), str(ROOT)], check=True)
    wheel = newest_wheel(folder)
    assert wheel is not None
    return wheel


def wheel_dependencies(wheel: Path) -> set[str]:
    """Names of the packages that the wheel brings along, without extras."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    needed = [r for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r]
    return {r.split(";")[0].split("[")[0].rstrip(" <>=!~.0123456789,").lower() for r in needed}


def import_times(runs: int) -> tuple[list[float], list[float]]:
    """Milliseconds of importing NumPy, and of bpfast after it, in each of `runs` processes."""
    command = [sys.executable, "-I", "-c", IMPORT]
    subprocess.run(command, check=True, capture_output=True)  # warms the disk cache
    samples = []
    for _ in range(runs):
        line = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        samples.append([1e3 * float(word) for word in line.split()])
    return [numpy_ms for numpy_ms, _ in samples], [bpfast_ms for _, bpfast_ms in samples]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="the wheel to weigh")
    parser.add_argument("--runs", type=int, default=15, help="fresh processes (default 15)")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        wheel = args.wheel or newest_wheel(ROOT / "dist") or build_wheel(Path(folder))
        megabytes = wheel.stat().st_size / 1e6
        dependencies = wheel_dependencies(wheel)
        name = wheel.name
    numpy_runs, bpfast_runs = import_times(args.runs)
    calm = [
        bpfast
        for numpy, bpfast in zip(numpy_runs, bpfast_runs, strict=True)
        if numpy < HELD_UP * min(numpy_runs)
    ]
    bpfast_ms = statistics.median(calm)

    rows = [
        ("wheel, MB", f"{megabytes:.2f}", f"< {MAX_WHEEL_MB:g}", megabytes < MAX_WHEEL_MB),
        ("import after NumPy, ms", f"{bpfast_ms:.1f}", f"< {MAX_IMPORT_MS:g}",
         bpfast_ms < MAX_IMPORT_MS),
        ("dependencies", ", ".join(sorted(dependencies)) or "none",
         ", ".join(sorted(DEPENDENCIES)), dependencies <= DEPENDENCIES),
    ]  # fmt: skip
    print(name)
    print(
        f"{len(calm)} of {args.runs} processes not held up; "
        f"NumPy alone: median {statistics.median(numpy_runs):.1f} ms; "
        f"fastest: {min(numpy_runs):.1f} ms, bpfast after it {min(bpfast_runs):.1f} ms"
    )
    for what, value, limit, good in rows:
        print(f"{what:<24} {value:<20} limit {limit:<20} {'ok' if good else 'TOO MUCH'}")
    return 0 if all(good for *_, good in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
