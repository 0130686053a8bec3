"""The aarch64 build: it compiles, its kernels pass, and give the bits of the x86 rows.

Everything is made by Debian's cross compiler and run by QEMU in user mode. Where those are missing
the tests skip, but fail when BPFAST_NEON says that they must be there.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import c_programs
import cbuild
import pytest

pytestmark = pytest.mark.slow
LEAST_NORMAL = {"float32": "0x1p-126", "float64": "0x1p-1022"}


@pytest.fixture(scope="session")
def toolchain() -> cbuild.Toolchain:
    """The cross compiler with QEMU."""
    try:
        return cbuild.aarch64()
    except cbuild.NoCompilerError as error:
        (pytest.fail if "BPFAST_NEON" in os.environ else pytest.skip)(str(error))


@pytest.fixture(scope="session")
def arm_programs(tmp_path_factory: pytest.TempPathFactory, toolchain: cbuild.Toolchain) -> Path:
    """kernel_check and kernel_digest for aarch64; a warning in the kernels is an error."""
    folder = tmp_path_factory.mktemp("arm_programs")
    programs = ["kernel_check", "kernel_digest"]
    return c_programs.build(folder, toolchain, programs, warnings=cbuild.warning_flags())


@pytest.fixture(scope="session")
def x86_row(native_programs: Path) -> str:
    """The row to compare with: AVX2, or what rounds like it on a CPU without."""
    for row in ("avx2", "reference", "reference_libm"):
        done = c_programs.native().run(native_programs / "kernel_digest", row, "exceptions")
        if done.returncode == 0:
            return row
    pytest.fail("no row with fused multiply-adds runs here")


def test_upper_floors_compile(tmp_path: Path, toolchain: cbuild.Toolchain) -> None:
    """All C above the kernels, with OpenMP, without a warning."""
    sources = [f for floor in ("prim", "ops", "net") for f in (cbuild.SRC / floor).glob("*.c")]
    assert len(sources) > 10
    jobs = {f.stem: [str(f), "-O1", "-fopenmp", *cbuild.warning_flags()] for f in sources}
    cbuild.compile_all(tmp_path, toolchain, jobs)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, marks=[pytest.mark.long] * (row == "reference"))
        for row in cbuild.isa_rows("aarch64")
    ],
)
def test_kernels(arm_programs: Path, toolchain: cbuild.Toolchain, row: str, seed: int) -> None:
    """Every check of tests/test_kernels.py."""
    c_programs.check_row(arm_programs / "kernel_check", row, seed, toolchain)


def test_neon_gives_the_bits_of_avx2(
    arm_programs: Path, toolchain: cbuild.Toolchain, native_programs: Path, x86_row: str
) -> None:
    """Every kernel on the same inputs, special numbers among them."""
    arm = c_programs.digests(arm_programs / "kernel_digest", "neon", toolchain)
    x86 = c_programs.digests(native_programs / "kernel_digest", x86_row)
    assert arm is not None
    assert x86 is not None
    assert len(arm) > 100
    assert arm.keys() == x86.keys()
    assert {name: digest for name, digest in arm.items() if digest != x86[name]} == {}


def exceptions(program: Path, row: str, toolchain: cbuild.Toolchain) -> dict[str, str]:
    done = toolchain.run(program, row, "exceptions")
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^(.*) (\S+)$", done.stdout, re.MULTILINE))


def test_the_two_exceptions_are_as_documented(
    arm_programs: Path, toolchain: cbuild.Toolchain, native_programs: Path, x86_row: str
) -> None:
    """A result tiny before rounding is flushed on Arm alone; a new NaN has another sign there."""
    arm = exceptions(arm_programs / "kernel_digest", "neon", toolchain)
    x86 = exceptions(native_programs / "kernel_digest", x86_row, c_programs.native())
    for dtype, least in LEAST_NORMAL.items():
        for operation in ("product", "multiply-add"):
            name = f"{dtype} tiny {operation}"
            assert (arm[name], x86[name]) == ("0x0p+0", least)
        assert (arm[f"{dtype} new NaN"], x86[f"{dtype} new NaN"]) == ("+", "-")
        assert arm[f"{dtype} old NaN"] == x86[f"{dtype} old NaN"] == "+"
    assert len(arm) == len(x86) == 8
