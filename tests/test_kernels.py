"""The C kernels, by row of the ISA table: tests/c/kernel_check.c and kernel_digest.c are run.

The programs are linked with src/kernels alone, with the flags of the real build: each row's own
from cmake/isa_rows.cmake, the common ones from CMakeLists.txt. Each takes both dtypes of one row.
"""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path

import c_programs
import cbuild
import pytest

SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Og", "-g1")
ROWS = cbuild.isa_rows(platform.machine().lower())


@pytest.fixture(scope="session")
def sanitized_kernel_check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program with AddressSanitizer and UndefinedBehaviorSanitizer in all rows and itself."""
    folder = tmp_path_factory.mktemp("sanitized_kernel_check")
    toolchain = c_programs.native()
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    command = [*toolchain.compiler, *SANITIZED, "-o", str(folder / "probe"), str(probe)]
    if subprocess.run(command, capture_output=True, env=cbuild.environment()).returncode != 0:
        c_programs.cannot_build(f"no {SANITIZED[0]} in this compiler")
    return c_programs.build(folder, toolchain, options=SANITIZED) / "kernel_check"


@pytest.mark.parametrize("row", ROWS)
def test_kernels(native_programs: Path, row: str, seed: int) -> None:
    """Every kernel of the row: values, shapes, special numbers, and the memory around them."""
    c_programs.check_row(native_programs / "kernel_check", row, seed)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("row", ROWS)
def test_kernels_sanitized(sanitized_kernel_check: Path, row: str, seed: int) -> None:
    """The same, with every undefined operation an error."""
    c_programs.check_row(sanitized_kernel_check, row, seed)


def test_rows_with_fma_give_the_same_bits(native_programs: Path) -> None:
    """All kernels on the same inputs, by their digests; rows without FMA show that these differ."""
    digests = {row: c_programs.digests(native_programs / "kernel_digest", row) for row in ROWS}
    wanted = digests["reference_libm" if "reference_libm" in ROWS else "reference"]
    assert len(wanted) > 100
    for row, found in digests.items():
        if found is not None and row != "sse2":
            assert found == wanted, row
    if "sse2" in digests:
        assert digests["sse2"]["float32 gemm_rows"] != wanted["float32 gemm_rows"]


@pytest.mark.parametrize("files", ["check_*.c", "digest_*.c"])
def test_every_kernel_is_there(files: str) -> None:
    """Each pointer of the table is called by some check, and digested."""
    struct = re.search(
        r"typedef struct bp_kernels \{(.*)\} bp_kernels;",
        (cbuild.KERNELS / "kernels.h").read_text(),
        re.S,
    )
    assert struct
    pointers = re.findall(r"\(\*(\w+)\)\(|_fn \*(\w+)\[", struct[1])
    names = {scalar or array for scalar, array in pointers}
    assert {"gemm_rows", "act", "cosine"} <= names
    code = "".join(source.read_text() for source in c_programs.SOURCES.glob(files))
    called = set(re.findall(r"\bk->(\w+)\b", code)) | set(re.findall(r"\bMAP\((\w+),", code))
    assert names - called == set()


@pytest.mark.parametrize("program", ["kernel_check", "kernel_digest"])
def test_an_unknown_row_is_refused(native_programs: Path, program: str) -> None:
    """So that a misspelt row cannot pass."""
    done = c_programs.native().run(native_programs / program, "mmx")
    assert done.returncode not in (0, c_programs.UNSUPPORTED)
