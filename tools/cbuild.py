"""cbuild.py - compile C programs around the kernels with the library's own flags, without CMake.

SPDX-License-Identifier: BSD-3-Clause

Rows of the ISA table and their flags are read from cmake/isa_rows.cmake, the common flags from
CMakeLists.txt, so that what such a program finds holds for what is shipped.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
KERNELS = SRC / "kernels"
RELEASE = ("-O3", "-DNDEBUG")  # CMake's Release
AARCH64_ROOT = "/usr/aarch64-linux-gnu"  # of Debian's cross packages
AARCH64_NEEDS = {  # what must be there -> Debian's package
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    f"{AARCH64_ROOT}/include/math.h": "libc6-dev-arm64-cross",
    "qemu-aarch64": "qemu-user",
}


class NoCompilerError(RuntimeError):
    """There is no compiler, or not what is needed beside it."""


@dataclass(frozen=True)
class Toolchain:
    """A C compiler, the machine it compiles for, and what runs that machine's programs here."""

    compiler: tuple[str, ...]
    machine: str
    runner: tuple[str, ...] = ()

    def run(self, program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program; its text, whatever the exit code."""
        command = [*self.runner, str(program), *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment())


def native() -> Toolchain:
    """$CC, which may hold options too, or the first C compiler on PATH.

    Raises
    ------
    NoCompilerError
        Neither is a program.
    """
    chosen = shlex.split(os.environ.get("CC", ""))
    if chosen and shutil.which(chosen[0]) is None:
        raise NoCompilerError(f"CC={chosen[0]} is no program")
    for command in [chosen] if chosen else [["cc"], ["gcc"], ["clang"]]:
        if shutil.which(command[0]):
            return Toolchain(tuple(command), platform.machine().lower())
    raise NoCompilerError("no C compiler: set CC")


def aarch64() -> Toolchain:
    """Debian's cross compiler and QEMU's user mode.

    Raises
    ------
    NoCompilerError
        Something is missing; the message names the packages.
    """
    missing = [
        package
        for needed, package in AARCH64_NEEDS.items()
        if not (Path(needed).exists() or shutil.which(needed))
    ]
    if missing:
        raise NoCompilerError(f"missing for aarch64: apt-get install {' '.join(missing)}")
    runner = ("qemu-aarch64", "-L", AARCH64_ROOT)
    return Toolchain(("aarch64-linux-gnu-gcc",), "aarch64", runner)


def environment() -> dict[str, str]:
    """Without the sanitizer that `nox -s sanitize` loads into Python."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def isa_rows(machine: str) -> dict[str, tuple[str, list[str]]]:
    """Header and flags of each row of an architecture, from cmake/isa_rows.cmake."""
    text = (ROOT / "cmake" / "isa_rows.cmake").read_text()
    table = text[text.index("set(BP_ISA_ROWS)") :]
    x86, arm, other = re.split(r"^else.*$", table, flags=re.MULTILINE)
    blocks = {"x86_64": x86, "amd64": x86, "aarch64": arm, "arm64": arm}
    rows = re.findall(r"bp_isa_row\((\w+) ([\w.]+)([^)]*)\)", blocks.get(machine, other))
    return {name: (header, flags.split()) for name, header, flags in rows}


def cmake_flags(first: str) -> list[str]:
    """The list of compile options in CMakeLists.txt that begins with one of them."""
    text = (ROOT / "CMakeLists.txt").read_text()
    found = re.search(rf"PRIVATE\s+({re.escape(first)}[^)]*)\)", text)
    if not found:
        raise ValueError(f"CMakeLists.txt has no options that begin with {first}")
    return found[1].split()


def common_flags() -> list[str]:
    """What CMakeLists.txt gives every C file."""
    return ["-std=gnu11", *cmake_flags("-ffp-contract=off"), f"-I{KERNELS}", f"-I{SRC}"]


def warning_flags() -> list[str]:
    """The warnings of CMakeLists.txt, as errors."""
    return [*cmake_flags("-Wall"), "-Werror"]


def kernel_jobs(folder: Path, machine: str) -> dict[str, list[str]]:
    """Write the ISA rows' files; what to compile for all of src/kernels, by object."""
    template = (KERNELS / "isa.c.in").read_text()
    jobs = {}
    for row, (header, flags) in isa_rows(machine).items():
        for f64 in (0, 1):
            source = folder / f"{row}_{f64}.c"
            text = template.replace("@BP_ISA@", row).replace("@BP_SIMD@", header)
            source.write_text(text.replace("@BP_F64@", str(f64)))
            jobs[source.stem] = [str(source), *flags]
    return jobs | {f"kernels_{f.stem}": [str(f)] for f in sorted(KERNELS.glob("*.c"))}


def call(command: Sequence[str]) -> None:
    """Run a compiler; raises RuntimeError with its messages."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(command)}\n{done.stdout}{done.stderr}")


def compile_all(folder: Path, toolchain: Toolchain, jobs: Mapping[str, Sequence[str]]) -> list[str]:
    """Compile in parallel: object name -> source and its flags. Returns the objects."""
    start = [*toolchain.compiler, *common_flags(), "-c", "-o"]
    objects = {name: str(folder / f"{name}.o") for name in jobs}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda job: call([*start, objects[job[0]], *job[1]]), jobs.items()))
    return list(objects.values())


def link(
    program: Path, toolchain: Toolchain, objects: Sequence[str], options: Sequence[str] = ()
) -> Path:
    """Make a program of objects."""
    call([*toolchain.compiler, *options, "-o", str(program), *objects, "-lm"])
    return program
