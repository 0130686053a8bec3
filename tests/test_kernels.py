"""The C kernels, by row of the ISA table: tests/c/kernel_check.c is built here and run.

The program is linked with src/kernels alone, with the flags of the real build: each row's own from
cmake/isa_rows.cmake, the common ones from CMakeLists.txt. It checks both dtypes of one row.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "src" / "kernels"
CHECKS = ROOT / "tests" / "c"
UNSUPPORTED = 77  # exit code: this CPU does not run the row
OPTIMIZED = ["-O3", "-DNDEBUG"]  # CMake's Release
SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g"]
LEAST_CHECKS = 100_000  # of a row and dtype: a program that checks little has lost its way


def isa_rows() -> dict[str, tuple[str, list[str]]]:
    """Header and flags of each row of this machine's architecture, from cmake/isa_rows.cmake."""
    text = (ROOT / "cmake" / "isa_rows.cmake").read_text()
    table = text[text.index("set(BP_ISA_ROWS)") :]
    x86, arm, other = re.split(r"^else.*$", table, flags=re.MULTILINE)
    blocks = {"x86_64": x86, "amd64": x86, "aarch64": arm, "arm64": arm}
    rows = re.findall(
        r"bp_isa_row\((\w+) ([\w.]+)([^)]*)\)", blocks.get(platform.machine().lower(), other)
    )
    return {name: (header, flags.split()) for name, header, flags in rows}


def common_flags() -> list[str]:
    """What CMakeLists.txt gives every C file."""
    text = (ROOT / "CMakeLists.txt").read_text()
    found = re.search(r"PRIVATE\s+(-ffp-contract=off[^)]*)\)", text)
    assert found
    return ["-std=gnu11", *found[1].split(), f"-I{KERNELS}", f"-I{ROOT / 'src'}"]


ROWS = isa_rows()


def cannot_build(reason: str) -> NoReturn:
    """Skip; but in CI, where the kernels must be checked, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def compiler() -> list[str]:
    """$CC, which may hold options too, or the first C compiler on PATH."""
    chosen = shlex.split(os.environ.get("CC", ""))
    if chosen and shutil.which(chosen[0]) is None:
        pytest.skip(f"CC={chosen[0]} is no program")  # CI's way to test without a compiler
    for command in [chosen] if chosen else [["cc"], ["gcc"], ["clang"]]:
        if shutil.which(command[0]):
            return command
    cannot_build("no C compiler: set CC")


def environment() -> dict[str, str]:
    """Without the sanitizer that `nox -s sanitize` loads into Python."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def call(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    if done.returncode != 0:
        pytest.fail(f"{shlex.join(command)}\n{done.stdout}{done.stderr}")


def build(folder: Path, options: Sequence[str]) -> Path:
    """Compile the kernels and their checks in parallel, and link them."""
    cc = compiler()
    common = common_flags()
    jobs: dict[str, list[str]] = {}  # object file: what to compile, with which flags
    template = (KERNELS / "isa.c.in").read_text()
    for row, (header, flags) in ROWS.items():
        for f64 in (0, 1):
            text = template.replace("@BP_ISA@", row).replace("@BP_SIMD@", header)
            source = folder / f"isa_{row}_{f64}.c"
            source.write_text(text.replace("@BP_F64@", str(f64)))
            jobs[source.stem] = [str(source), *flags, *options]
    for source in sorted(KERNELS.glob("*.c")):
        jobs[source.stem] = [str(source), *options]
    for source in sorted(CHECKS.glob("*.c")):
        by_dtype = source.stem.startswith("check_")
        for f64 in (0, 1) if by_dtype else (0,):
            text = [str(source), *options, "-O2", "-Wall", "-Wextra", f"-DCHECK_F64={f64}"]
            jobs[f"{source.stem}_{f64}"] = text
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compile_all = pool.map(
            lambda job: call([*cc, *common, "-c", "-o", str(folder / f"{job[0]}.o"), *job[1]]),
            jobs.items(),
        )
        list(compile_all)
    program = folder / "kernel_check"
    objects = [str(folder / f"{name}.o") for name in jobs]
    call([*cc, *options, "-o", str(program), *objects, "-lm"])
    return program


@pytest.fixture(scope="session")
def kernel_check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program as the library is built."""
    return build(tmp_path_factory.mktemp("kernel_check"), OPTIMIZED)


@pytest.fixture(scope="session")
def sanitized_kernel_check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program with AddressSanitizer and UndefinedBehaviorSanitizer."""
    folder = tmp_path_factory.mktemp("sanitized_kernel_check")
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    command = [*compiler(), *SANITIZED, "-o", str(folder / "probe"), str(probe)]
    if subprocess.run(command, capture_output=True, env=environment()).returncode != 0:
        cannot_build(f"no {SANITIZED[0]} in this compiler")
    return build(folder, SANITIZED)


def check_row(program: Path, row: str, seed: int) -> None:
    done = subprocess.run(
        [str(program), row, str(seed)], capture_output=True, text=True, env=environment()
    )
    report = done.stdout + done.stderr
    print(report)
    if done.returncode == UNSUPPORTED:
        pytest.skip(f"this CPU does not run {row}")
    assert done.returncode == 0, report
    lines = re.findall(rf"^{row} (\w+): (\d+) checks, 0 failed, seed {seed}$", report, re.MULTILINE)
    assert [dtype for dtype, _ in lines] == ["float32", "float64"]
    assert all(int(checks) > LEAST_CHECKS for _, checks in lines)


@pytest.mark.parametrize("row", ROWS)
def test_kernels(kernel_check: Path, row: str, seed: int) -> None:
    """Every kernel of the row: values, shapes, special numbers, and the memory around them."""
    check_row(kernel_check, row, seed)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_kernels_sanitized(sanitized_kernel_check: Path, row: str, seed: int) -> None:
    """The same, with every undefined operation an error."""
    check_row(sanitized_kernel_check, row, seed)


def test_every_kernel_is_checked() -> None:
    """Each pointer of the table is called by some check."""
    struct = re.search(
        r"typedef struct bp_kernels \{(.*)\} bp_kernels;", (KERNELS / "kernels.h").read_text(), re.S
    )
    assert struct
    pointers = re.findall(r"\(\*(\w+)\)\(|_fn \*(\w+)\[", struct[1])
    names = {scalar or array for scalar, array in pointers}
    assert {"gemm_rows", "act", "cosine"} <= names
    checks = "".join(source.read_text() for source in CHECKS.glob("*.c"))
    assert {name for name in names if not re.search(rf"\bk->{name}\b", checks)} == set()


def test_an_unknown_row_is_refused(kernel_check: Path) -> None:
    """So that a misspelt row cannot pass."""
    done = subprocess.run([str(kernel_check), "mmx"], capture_output=True, env=environment())
    assert done.returncode not in (0, UNSUPPORTED)
