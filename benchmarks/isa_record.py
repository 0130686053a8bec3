"""Which instruction sets pass the suite on this machine: the record that lets a row choose itself.

    python benchmarks/isa_record.py

Runs the numerical tests (kernels, gradients, reference, one answer) on the installed bpfast once
for each row of the ISA table that this CPU runs, and writes the counts under "isa_rows" in
benchmarks/results/<machine>.json. `tests/test_codebase.py` wants such a record, without a failure,
of every wide row that src/kernels/isa.inc allows to be chosen by itself.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import record

import bpfast

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ["test_kernels.py"]  # checks every row by itself
TESTS = ["test_gradients.py", "test_reference.py", "test_one_answer.py"]


def run(isa: str, names: list[str]) -> dict[str, int]:
    """Return how many tests passed, failed and were skipped with this row forced."""
    env = {**os.environ, "BPFAST_ISA": isa, "BPFAST_EXPECT_ISA": isa}
    files = [str(ROOT / "tests" / name) for name in names]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", *files]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    closing = done.stdout.strip().splitlines()[-1]
    counts = {
        kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|skipped|error)", closing)
    }
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{isa}: {closing}\n{done.stderr}")
    print(f"{isa}: {closing}", flush=True)
    return {kind: counts.get(kind, 0) for kind in ("passed", "failed", "error", "skipped")}


def main() -> int:
    """Run every row; 1 when a test failed."""
    kernels = run(bpfast.isas()[0], KERNELS)
    rows = {isa: run(isa, TESTS) for isa in bpfast.isas()}
    record.write(record.path(), "isa_rows", {"kernels": kernels, "rows": rows})
    return int(any(counts["failed"] or counts["error"] for counts in [kernels, *rows.values()]))


if __name__ == "__main__":
    sys.exit(main())
