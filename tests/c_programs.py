"""The C programs of tests/c, built for this machine or another."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NoReturn

import cbuild
import pytest

SOURCES = Path(__file__).resolve().parent / "c"
UNSUPPORTED = 77  # exit code: this CPU does not run the row
LEAST_CHECKS = 100_000  # of a row and dtype: a program that checks little has lost its way
BY_DTYPE = ("check_", "digest_")  # files compiled once for float32 and once for float64


def cannot_build(reason: str) -> NoReturn:
    """Skip; but in CI, where the kernels must be checked, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def native() -> cbuild.Toolchain:
    """The compiler of this machine; skips where there is none, as CI's test without a compiler."""
    try:
        return cbuild.native()
    except cbuild.NoCompilerError as error:
        if os.environ.get("CC"):
            pytest.skip(str(error))
        cannot_build(str(error))


def jobs(pattern: str, options: Sequence[str]) -> dict[str, list[str]]:
    """What to compile of tests/c: `check.c` and all files of a pattern."""
    found: dict[str, list[str]] = {}
    for source in sorted({SOURCES / "check.c", *SOURCES.glob(pattern)}):
        for f64 in (0, 1) if source.stem.startswith(BY_DTYPE) else (0,):
            flags = ["-O2", *options, "-Wall", "-Wextra", f"-DCHECK_F64={f64}"]
            found[f"{source.stem}_{f64}"] = [str(source), *flags]
    return found


def built_objects() -> dict[str, Path]:
    """Object files of the tree in BPFAST_BUILD_DIR, by source: net/arena.c, isa/avx2_f32.c."""
    folder = os.environ.get("BPFAST_BUILD_DIR")
    if not folder:
        return {}
    base = Path(folder, "CMakeFiles", "bpfast_objects.dir")
    found = {f.relative_to(base).as_posix(): f for f in base.rglob("*.o")}
    assert found, f"{base} holds no objects"
    return {name.removeprefix("src/").removesuffix(".o"): f for name, f in found.items()}


def build(
    folder: Path,
    toolchain: cbuild.Toolchain,
    programs: Sequence[str] = ("kernel_check",),
    options: Sequence[str] = cbuild.RELEASE,
    warnings: Sequence[str] = (),
) -> Path:
    """Compile the kernels, and programs of tests/c around them; return their folder.

    `kernel_check` has the files `check_*.c`, `kernel_digest` the files `digest_*.c`. Kernels with
    the options of a release come from the build tree, where the environment names one: then what is
    checked is what is shipped.
    """
    there = {} if toolchain.runner else built_objects()
    kernels, ready = {}, []
    for name, (source, *flags) in cbuild.kernel_jobs(folder, toolchain.machine).items():
        row, _, f64 = name.rpartition("_")
        shipped = there.get(f"isa/{row}_f{'64' if f64 == '1' else '32'}.c")
        if options == cbuild.RELEASE and shipped:
            ready.append(str(shipped))
        else:
            kernels[name] = [source, *options, *flags, *warnings]
    own = {
        program: jobs(f"{program}.c", options) | jobs(f"{program.split('_')[1]}_*.c", options)
        for program in programs
    }
    every = kernels | {name: job for part in own.values() for name, job in part.items()}
    try:
        cbuild.compile_all(folder, toolchain, every)
        for program, parts in own.items():
            objects = [str(folder / f"{name}.o") for name in {**kernels, **parts}] + ready
            cbuild.link(folder / program, toolchain, objects, options)
    except RuntimeError as error:
        pytest.fail(str(error))
    return folder


def check_row(
    program: Path, row: str, seed: int, toolchain: cbuild.Toolchain | None = None
) -> None:
    """Run kernel_check on one row, both dtypes side by side, and read its reports.

    Skips what this CPU does not run.
    """
    run = partial((toolchain or native()).run, program, row, str(seed))
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(run, ("float32", "float64")))
    report = "".join(done.stdout + done.stderr for done in both)
    print(report)
    codes = [done.returncode for done in both]
    if codes == [UNSUPPORTED, UNSUPPORTED]:
        pytest.skip(f"this CPU does not run {row}")
    assert codes == [0, 0], report
    passed = re.findall(rf"^{row} (\w+): (\d+) checks, 0 failed, seed {seed}$", report, re.M)
    assert [dtype for dtype, _ in passed] == ["float32", "float64"]
    assert all(int(checks) > LEAST_CHECKS for _, checks in passed)


def digests(
    program: Path, row: str, toolchain: cbuild.Toolchain | None = None
) -> dict[str, str] | None:
    """Run kernel_digest: "dtype kernel" -> count and hash; None where this CPU lacks the row."""
    done = (toolchain or native()).run(program, row)
    if done.returncode == UNSUPPORTED:
        return None
    assert done.returncode == 0, done.stdout + done.stderr
    lines = re.findall(r"^(\S+ .+) (\d+ [0-9a-f]{16})$", done.stdout, re.M)
    assert len(lines) == len(done.stdout.splitlines())
    return dict(lines)
