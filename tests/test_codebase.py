"""The rules of this code base, as tests: what a file may include, call, hold and export.

Some rules read objects rather than sources. They need the build tree of the installed module in
BPFAST_BUILD_DIR (`pip install . -Cbuild-dir=build/dev` leaves one) and binutils, and skip without.
"""

from __future__ import annotations

import ast
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import c_programs
import pytest

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
FLOORS = ["kernels", "prim", "ops", "net"]  # each includes itself and the one before
MAX_LINES = 500

ALLOCATION = {"malloc", "calloc", "realloc", "free", "aligned_alloc", "posix_memalign", "strdup"}
ALLOCATES = {"net/arena.c"}
PROCESS = {"printf", "fprintf", "vprintf", "puts", "putchar", "fputs", "perror", "exit", "_exit"}
PROCESS |= {"abort", "signal", "sigaction", "setenv", "rand", "srand", "system"}
# The thread budget and the state after a fork: atomics. Which allocation fails, in tests.
MUTABLE_GLOBALS = {"prim/threads.c", "net/arena.c"}

OPTIONAL = [
    "matplotlib",
    "mpi4py",
    "onnx",
    "pyarrow",
    "sklearn",
    "tensorboardX",
]


def name_of(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


def floor_of(path: Path) -> str:
    """The folder in src/; the files of src/ itself (bpfast.h, status.c) belong to the top floor."""
    return name_of(path).split("/")[0] if path.parent != SRC else FLOORS[-1]


C_FILES = sorted(
    f for f in SRC.rglob("*") if f.is_file() and f.suffixes[:1] in ([".c"], [".h"], [".tmpl"])
)
TABLES = sorted(SRC.rglob("*.inc"))
each_c_file = pytest.mark.parametrize("path", C_FILES, ids=name_of)


def code_of(path: Path) -> str:
    """The C text without comments and the insides of strings; line numbers stay."""
    token = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)

    def blank(match: re.Match[str]) -> str:
        return '""' if match[0].startswith('"') else "\n" * match[0].count("\n")

    return token.sub(blank, path.read_text())


def calls(path: Path, names: set[str]) -> list[str]:
    return [n for n in re.findall(r"(?<![\w.>])(\w+)\s*\(", code_of(path)) if n in names]


# ---- sources ------------------------------------------------------------------------------------


def test_there_is_code_to_judge() -> None:
    assert {name_of(f).split("/")[0] for f in C_FILES} >= set(FLOORS)


@pytest.mark.parametrize("path", C_FILES + TABLES, ids=name_of)
def test_first_lines_say_name_purpose_and_licence(path: Path) -> None:
    first, second = path.read_text().splitlines()[:2]
    name = r"isa_@BP_ISA@_@BP_F64@\.c" if path.name == "isa.c.in" else re.escape(path.name)
    assert re.match(rf"/\* {name} - \S", first)
    assert second.strip(" */") == "SPDX-License-Identifier: BSD-3-Clause"


@each_c_file
def test_includes_go_down_one_floor(path: Path) -> None:
    """A floor sees common.h, itself, the floor below, and the tables (*.inc) of all below."""
    place = FLOORS.index(floor_of(path))
    for include in re.findall(r'^\s*#\s*include\s+"([^"@]+)"', path.read_text(), re.MULTILINE):
        found = [d / include for d in (path.parent, SRC, SRC / "kernels") if (d / include).exists()]
        assert found, f"{include} is nowhere"
        target = found[0].resolve()
        if target != SRC / "common.h":
            lowest = 0 if target.suffix == ".inc" else max(place - 1, 0)
            allowed = FLOORS[lowest : place + 1]
            assert floor_of(target) in allowed, f"{FLOORS[place]} may not include {include}"


def written_files() -> Iterator[Path]:
    for folder in ("src", "bpfast", "tests", "benchmarks", "cmake"):
        for suffix in ("c", "h", "pyx", "pxd", "pxi", "py", "pyi", "cmake"):
            yield from sorted((ROOT / folder).rglob(f"*.{suffix}"))
    yield from (ROOT / "noxfile.py", ROOT / "CMakeLists.txt", ROOT / ".ci" / "run")


def test_no_file_is_too_long() -> None:
    files = [f for f in written_files() if f.exists()]
    lengths = {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in files}
    assert {f: n for f, n in lengths.items() if n > MAX_LINES} == {}


@each_c_file
def test_library_neither_prints_nor_ends_the_process(path: Path) -> None:
    assert calls(path, PROCESS) == []


@each_c_file
def test_memory_is_allocated_in_one_place(path: Path) -> None:
    if name_of(path) not in ALLOCATES:
        assert calls(path, ALLOCATION) == []


@each_c_file
def test_statics_are_const(path: Path) -> None:
    if name_of(path) not in MUTABLE_GLOBALS:
        # `static` up to what ends a declarator; a parenthesis makes it a function.
        declared = re.findall(r"\bstatic\s+([^;(){}=\[]+)[;=\[]", code_of(path))
        assert [d for d in declared if not re.search(r"\bconst\b", d)] == []


@each_c_file
def test_no_dead_code(path: Path) -> None:
    assert not re.search(r"^\s*#\s*if\s+0\b", path.read_text(), re.MULTILINE)


# ---- two lists of one thing ---------------------------------------------------------------------


def test_pxd_declares_exactly_the_public_functions() -> None:
    header = set(re.findall(r"\b(bpfast_\w+)\s*\(", code_of(SRC / "bpfast.h")))
    pxd = re.sub(r"#[^\n]*", "", (SRC / "c_bpfast.pxd").read_text())
    assert set(re.findall(r"\b(bpfast_\w+)\s*\(", pxd)) == header


def test_every_extern_is_noexcept_and_nogil() -> None:
    for block in re.split(r"(?=^cdef extern )", (SRC / "c_bpfast.pxd").read_text(), flags=re.M)[1:]:
        whole_block = "nogil" in block.splitlines()[0]
        declarations = re.sub(r"#[^\n]*|(?<=[(,])\s*\n\s*", "", block)  # one declaration, one line
        for line in declarations.splitlines():
            if re.search(r"\bbpfast_\w+\s*\(.*\)", line):
                assert "noexcept" in line, line
                assert whole_block or "nogil" in line, line


def test_cmake_and_c_agree_on_the_isa_rows() -> None:
    table = (SRC / "kernels" / "isa.inc").read_text()
    c_parts = re.split(r"^#\s*(?:if|elif|else)\b.*$", table, flags=re.MULTILINE)[1:]
    in_c = [re.findall(r"^BP_ISA_ROW\((\w+)", part, re.MULTILINE) for part in c_parts]
    table = (ROOT / "cmake" / "isa_rows.cmake").read_text().split("set(BP_ISA_ROWS)")[1]
    cmake_parts = re.split(r"^(?:if|elseif|else)\(.*$", table, flags=re.MULTILINE)[1:]
    in_cmake = [re.findall(r"bp_isa_row\((\w+)", part) for part in cmake_parts]
    assert in_c == in_cmake
    assert len(in_c) == 3  # x86-64, AArch64, all others
    for header in re.findall(r"\b(simd_\w+\.h)\b", table):
        assert (SRC / "kernels" / header).exists()


def test_wide_rows_that_choose_themselves_have_passed_somewhere() -> None:
    """A row beyond AVX2 is chosen without being forced only where a record shows it correct."""
    table = (SRC / "kernels" / "isa.inc").read_text()
    chosen = set(re.findall(r"^BP_ISA_ROW\((\w+),[^,]+, 1\)", table, re.MULTILINE))
    records = [json.loads(f.read_text()) for f in (ROOT / "benchmarks/results").glob("*.json")]
    passed = {
        isa
        for record in records
        for isa, counts in record.get("isa_rows", {}).get("rows", {}).items()
        if counts["passed"] and not counts["failed"] and not counts["error"]
        if not record["isa_rows"]["kernels"]["failed"]
    }
    assert chosen & {"avx512"} <= passed


def test_pre_commit_runs_the_pinned_tools() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    pinned = set(re.findall(r'"([\w-]+==[\w.]+)"', hooks))
    assert pinned == set(groups["lint"])


def test_build_never_asks_for_inexact_or_native_code() -> None:
    for path in (ROOT / "CMakeLists.txt", *(ROOT / "cmake").iterdir(), ROOT / "pyproject.toml"):
        text = re.sub(r"#[^\n]*", "", path.read_text())
        asked = "\n".join(line for line in text.splitlines() if "MATCHES" not in line)  # a refusal
        assert not re.search(r"-march=|-mtune=|-ffast-math|-Ofast|-funsafe-math", asked)


# ---- Python -------------------------------------------------------------------------------------


def imports(path: Path) -> set[str]:
    """Top-level packages that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
    return {name.split(".")[0] for name in names}


def test_package_never_unpickles_or_evaluates() -> None:
    for path in (ROOT / "bpfast").rglob("*.py"):
        assert not imports(path) & {"pickle", "joblib", "marshal", "shelve", "dill"}, path.name
        code = path.read_text()
        assert not re.search(r"allow_pickle\s*=\s*True|(?<![\w.])(eval|exec)\(", code), path.name


def test_optional_package_is_imported_in_one_file() -> None:
    """Its own file: what bpfast has of it. bpfast/bench only measures beside it."""
    files = {f.relative_to(ROOT).as_posix(): f for f in (ROOT / "bpfast").rglob("*.py")}
    seen = {n: imports(f) for n, f in files.items() if not n.startswith("bpfast/bench/")}
    for name in OPTIONAL:
        assert len([f for f, names in seen.items() if name in names]) <= 1, name


# ---- what the compiler made ---------------------------------------------------------------------


def tool(*command: str | Path) -> str:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} (binutils) is not installed")
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def objects() -> dict[str, Path]:
    """Object files by source: net/arena.c, and isa/avx2_f32.c for the generated ones."""
    found = c_programs.built_objects()
    if not found:
        pytest.skip("BPFAST_BUILD_DIR names no build tree")
    return found


def undefined(path: Path) -> set[str]:
    """Names that an object takes from elsewhere, without the compiler's decorations."""
    names = re.findall(r"^\s*U (\S+)", tool("nm", path), re.MULTILINE)
    return {re.sub(r"^__(\w+)_chk$", r"\1", name.split("@")[0]) for name in names}


def test_objects_call_nothing_forbidden(objects: dict[str, Path]) -> None:
    for name, path in objects.items():
        assert undefined(path) & PROCESS == set(), name
        if name not in ALLOCATES:
            assert undefined(path) & ALLOCATION == set(), name


def writable_sections(path: Path) -> set[str]:
    """Sections that hold variables; .data.rel.ro is constant once loaded."""
    sections = re.findall(
        r"^\s*\d+ (\S+)\s+([0-9a-f]+) ", tool("objdump", "-h", path), re.MULTILINE
    )
    filled = [name for name, size in sections if int(size, 16) > 0]
    return {n for n in filled if re.match(r"\.t?(data|bss)(\.(?!rel\.ro)|$)", n)}


def test_objects_hold_no_mutable_data(objects: dict[str, Path]) -> None:
    for name, path in objects.items():
        if name not in MUTABLE_GLOBALS:
            assert writable_sections(path) == set(), name
            assert " C " not in tool("nm", path), name


def test_isa_objects_export_one_table_each(objects: dict[str, Path]) -> None:
    rows = {name: path for name, path in objects.items() if name.startswith("isa/")}
    assert rows
    for name, path in rows.items():
        exported = tool("nm", "--defined-only", "--extern-only", path).split()[2::3]
        assert exported == [f"bp_kernels_{Path(name).stem}"]


def test_baseline_objects_hold_no_wide_vectors(objects: dict[str, Path]) -> None:
    """All that runs before or without a check of the CPU: no AVX encoding, so no ymm or zmm."""
    guarded = re.compile(r"isa/(avx\w*|reference)_f(32|64)\.c")
    for name, path in objects.items():
        if not guarded.fullmatch(name):
            code = tool("objdump", "-d", path)
            assert not re.search(r"%[yz]mm\d|\tv(mov|add|sub|mul|div|fm|fnm)", code), name


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads ELF files")
@pytest.mark.skipif("BPFAST_SANITIZED" in os.environ, reason="sanitizers export names of their own")
def test_module_exports_only_its_init_function() -> None:
    from bpfast import _core

    names = tool("nm", "-D", "--defined-only", _core.__file__).split()[2::3]
    assert names == ["PyInit__core"]


def test_importing_keeps_denormals() -> None:
    """Start-up code of fast-math builds would flush them in the whole process."""
    from bpfast import _core  # noqa: F401

    assert math.ldexp(1.0, -1074) * 1.0 > 0.0
