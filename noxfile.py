"""The checks of this project, each in its own environment: `nox -s NAME`.

lint       ruff, mypy, clang-format, cython-lint
tests      the whole suite, with PyTorch and scikit-learn beside it
neon       the aarch64 kernels under QEMU, beside those of this CPU
tests_isa  the suite once for each instruction set that this CPU runs, the newest first
sklearn_oldest  the estimators with the oldest scikit-learn that they support
sanitize   the suite on a build with AddressSanitizer and UndefinedBehaviorSanitizer
serial     a build without OpenMP: its quick tests, and its bits beside those of a build with
tsan       the threads under ThreadSanitizer; needs clang and its libomp
fuzz       atheris on bpfast.load: `nox -s fuzz -- SECONDS FOLDER`
bench      the benchmarks beside all peers, quickly: that they run, not how fast
wheel      sdist -> wheel -> repaired wheel; tests where there is no compiler; its footprint

What follows `--` goes to pytest; for `wheel` the first word may be the folder to leave wheels in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "tests"]

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
QUICK = ("-m", "not slow")
# The few system programs that a test may call. None of them compiles anything.
HARMLESS_PROGRAMS = ("bash", "env", "git", "nm", "objdump", "readelf", "sh", "uname")


def group(name: str) -> list[str]:
    """The requirements of one dependency group of pyproject.toml."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


def c_files() -> list[str]:
    """All C sources and headers; tables (*.inc) and isa.c.in keep their own columns."""
    folders = (ROOT / "src", ROOT / "tests" / "c")
    return sorted(str(f.relative_to(ROOT)) for folder in folders for f in folder.rglob("*.[ch]"))


def cython_files() -> list[str]:
    """All Cython sources."""
    return sorted(str(f.relative_to(ROOT)) for f in (ROOT / "src").glob("*.p[yx]*"))


@nox.session
def lint(session: nox.Session) -> None:
    """Judge the sources without building them."""
    session.install(*group("lint"), "numpy>=2.0", "safetensors")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("clang-format", "--dry-run", "--Werror", *c_files())
    session.run("cython-lint", *cython_files())
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the whole suite against an installed build."""
    session.install(*group("oracles"))
    session.install(".[test]")
    session.run("pytest", *session.posargs, env={"BPFAST_PEERS": "1"})


@nox.session
def neon(session: nox.Session) -> None:
    """Cross-compile for aarch64 and run the kernel tests under QEMU.

    Needs Debian's gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user, and says which of
    them are missing.
    """
    session.install(".[test]")
    session.run("pytest", "tests/test_neon.py", *session.posargs, env={"BPFAST_NEON": "1"})


@nox.session
def tests_isa(session: nox.Session) -> None:
    """Run the suite once for each row of the ISA table that this CPU supports."""
    session.install(".[test]")
    listing = "import bpfast; print(*bpfast.isas())"
    names = session.run("python", "-P", "-c", listing, silent=True)
    assert isinstance(names, str)
    for isa in names.split():
        # tests/conftest.py stops unless the library says that this row runs.
        env = {"BPFAST_ISA": isa, "BPFAST_EXPECT_ISA": isa}
        session.run("pytest", *(session.posargs or QUICK), env=env)


@nox.session
def sklearn_oldest(session: nox.Session) -> None:
    """Run the estimators' tests with scikit-learn 1.6.0."""
    session.install(".[test]", "scikit-learn==1.6.0", "joblib", "scipy<1.16", "pandas<3", "polars")
    files = (f"tests/test_sklearn{part}.py" for part in ("", "_more", "_copies"))
    session.run("pytest", "-q", *files, *session.posargs)


@nox.session
def sanitize(session: nox.Session) -> None:
    """Run the suite on an instrumented build; the first finding ends it."""
    session.install(
        "--config-settings=cmake.define.BPFAST_SANITIZE=address,undefined",
        "--config-settings=install.strip=false",
        ".[test]",
    )
    # Python itself is not instrumented, so the runtime has to be there before it.
    compiler = os.environ.get("CC", "gcc")
    runtime = subprocess.check_output([compiler, "-print-file-name=libasan.so"], text=True).strip()
    env = {
        "LD_PRELOAD": runtime,
        # Python leaks at exit by design; a refused allocation is NULL, for the MemoryError tests.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:halt_on_error=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "PYTHONMALLOC": "malloc",
        "BPFAST_SANITIZED": "1",  # tests of speed and of memory limits know from this to skip
    }
    # Findings are written past Python: pytest must not catch them in a file that dies with it.
    session.run("pytest", "--capture=sys", *(session.posargs or QUICK), env=env)


@nox.session
def serial(session: nox.Session) -> None:
    """Compare a build without OpenMP with one that has it, and run the suite on the former."""
    session.install(*nox.project.load_toml(ROOT / "pyproject.toml")["build-system"]["requires"])
    session.install("cmake", "ninja", "hypothesis", "mpmath", "pytest")
    tree = Path(session.create_tmp()) / "build"  # shared: all but two objects are the same
    found = {}
    for openmp in ("ON", "OFF"):
        session.install(
            "--no-build-isolation",
            "--force-reinstall",
            f"--config-settings=build-dir={tree}",
            f"--config-settings=cmake.define.BPFAST_OPENMP={openmp}",
            ".",
        )
        found[openmp] = session.run("python", "-P", "tests/bits.py", silent=True)
        session.log(f"OpenMP {openmp}:\n{found[openmp]}")
    if found["ON"] != found["OFF"]:
        session.error("the serial build gives other bits")
    session.run("pytest", *(session.posargs or QUICK))


@nox.session
def tsan(session: nox.Session) -> None:
    """Train and predict on several threads under ThreadSanitizer, and show that it watches.

    Archer tells it what LLVM's OpenMP runtime synchronizes; Debian has it in libomp-dev.
    """
    session.install("cmake", "ninja", "cython")
    tree = Path(session.create_tmp()) / "build"
    compiler = os.environ.get("CC", "clang")
    session.run(
        "cmake", "-S", ".", "-B", str(tree), "-G", "Ninja", f"-DCMAKE_C_COMPILER={compiler}",
        "-DBPFAST_SANITIZE=thread",
    )  # fmt: skip
    session.run("cmake", "--build", str(tree), "--target", "race_check")
    folder = subprocess.check_output([compiler, "-print-resource-dir"], text=True).strip()
    archer = Path(folder).parents[1] / "libarcher.so"
    report = 66  # ThreadSanitizer's exit code

    def check(mode: str, expected: int, words: str, archer_on: bool = True) -> None:
        env = {
            "OMP_TOOL_LIBRARIES": str(archer),
            "OMP_TOOL": "enabled" if archer_on else "disabled",
            "ARCHER_OPTIONS": "verbose=1",
            "TSAN_OPTIONS": "ignore_noninstrumented_modules=1:halt_on_error=1",
            "OMP_NUM_THREADS": "4",
        }
        code = [expected]
        said = session.run(
            str(tree / "race_check"), mode, env=env, external=True, silent=True, success_codes=code
        )
        if words not in str(said):
            session.error(f"race_check {mode} did not say: {words}")
        session.log(f"race_check {mode}, Archer {env['OMP_TOOL']}: as expected")

    check("race", report, "data race")
    check("clean", 0, "Archer detected OpenMP application with TSan")
    # Without Archer even the clean run is reported: it was there, and it was needed.
    check("clean", report, "data race", archer_on=False)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Search for bytes that `bpfast.load` does not survive.

    Takes the seconds, 1800 by default, and a folder to keep new inputs in, by default one of nox.
    """
    seconds, *rest = session.posargs or ["1800"]
    folder = Path(rest[0] if rest else session.create_tmp()).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    session.install(*group("fuzz"))
    session.install(".")
    target = ROOT / "tests" / "fuzz" / "fuzz_load.py"
    session.chdir(folder.parent)  # where libFuzzer leaves what it finds
    session.run("python", str(target), str(folder), f"-max_total_time={seconds}")


@nox.session
def bench(session: nox.Session) -> None:
    """Run the quick form of the benchmarks with all peers; what follows `--` goes to run.py."""
    session.install(*group("oracles"))
    session.install(".[bench]")
    out = Path(session.create_tmp()) / "bench.json"
    session.run("python", "benchmarks/run.py", "--quick", f"--out={out}", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel as it would be published and prove that it needs no compiler."""
    args = list(session.posargs)
    out = Path(args.pop(0) if args and not args[0].startswith("-") else "dist").resolve()
    built = Path(session.create_tmp()) / "built"
    shutil.rmtree(built, ignore_errors=True)

    session.install(*group("wheel"))
    session.run("python", "-m", "build", "--sdist", "--outdir", str(built))
    (sdist,) = built.glob("*.tar.gz")
    session.run(
        "python", "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(built),
        f"--config-settings=build-dir={out / 'objects'}",  # tests/test_codebase.py reads them
        "--config-settings=cmake.define.BPFAST_WERROR=ON",
        str(sdist),
    )  # fmt: skip
    (plain,) = built.glob("*.whl")
    session.run("auditwheel", "repair", "--wheel-dir", str(out), str(plain))
    repaired = max(out.glob("*.whl"), key=lambda f: f.stat().st_mtime)

    with tempfile.TemporaryDirectory() as folder:
        programs, empty = Path(folder, "programs"), Path(folder, "empty")
        programs.mkdir()
        for name in HARMLESS_PROGRAMS:
            if found := shutil.which(name):
                (programs / name).symlink_to(found)
        session.run("python", "-m", "venv", str(empty))
        python = str(empty / "bin" / "python")
        env = {"PATH": f"{empty / 'bin'}:{programs}", "CC": "/nonexistent"}

        def run(*command: str) -> None:
            session.run(*command, env=env, external=True)

        run(python, "-m", "pip", "install", "--quiet", str(repaired))
        run(python, str(ROOT / "benchmarks" / "footprint.py"), "--wheel", str(repaired))
        run(str(empty / "bin" / "bpfast"), "--help")
        run(python, "-m", "pip", "install", "--quiet", f"{repaired}[test]")
        run(str(empty / "bin" / "pytest"), *(args or QUICK))
