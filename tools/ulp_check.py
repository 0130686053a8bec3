"""ulp_check.py - the worst error of every elementary function, published in benchmarks/results.

SPDX-License-Identifier: BSD-3-Clause

    python tools/ulp_check.py                all 2^32 float32 inputs and 10^6 float64 inputs of each
                                             function, in some 15 minutes on one core (float32 takes
                                             all, or OMP_NUM_THREADS); writes the results file
    python tools/ulp_check.py --step 4093    every 4093rd float32 input; writes nothing
    python tools/ulp_check.py --points 1000  fewer float64 inputs; writes nothing

float32 is judged against glibc's functions in wider precision (tools/ulp_check.c), float64 against
mpmath with 100 bits. The row of the ISA table is AVX2's, or the best that rounds like it: results
have the same bits in every row with fused multiply-adds. Exit code 1: an error exceeds its limit,
or a special result is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import cbuild
import mpmath
import numpy as np

RESULTS = cbuild.ROOT / "benchmarks" / "results" / "ulp.json"
EVERY = 1 << 32
POINTS = 1_000_000
BITS = 100  # of mpmath's results
SEED = 0
#: dtype -> function -> the largest error allowed, in units of the last place
LIMITS = {"float32": {"exp": 2.0, "log": 2.0, "erf": 2.0}, "float64": {}}
OTHERS = 4.0
#: function -> mpmath's, and the range where it is worth dense points
FUNCTIONS: dict[str, tuple[Any, float, float]] = {
    "exp": (mpmath.exp, -750, 750),
    "log": (mpmath.log, 0.25, 4),
    "expm1": (mpmath.expm1, -45, 45),
    "log1p": (mpmath.log1p, -0.999, 3),
    "tanh": (mpmath.tanh, -20, 20),
    "sigmoid": (lambda x: 1 / (1 + mpmath.exp(-x)), -750, 45),
    "erf": (mpmath.erf, -6.5, 6.5),
    "erfc": (mpmath.erfc, -6.5, 27),
    "sin": (mpmath.sin, -256, 256),
    "cos": (mpmath.cos, -256, 256),
}


def limit(dtype: str, function: str) -> float:
    """Return the largest error that is allowed."""
    return LIMITS[dtype].get(function, OTHERS)


def row(toolchain: cbuild.Toolchain) -> str:
    """Return the row of the ISA table that is measured where nobody asks for another."""
    rows = cbuild.isa_rows(toolchain.machine)
    return next(name for name in ("avx2", "neon", "reference_libm") if name in rows)


def program(folder: Path, toolchain: cbuild.Toolchain, isa: str, dtype: str) -> Path:
    """Compile ulp_check.c with the flags of one row."""
    header, flags = cbuild.isa_rows(toolchain.machine)[isa]
    f64 = int(dtype == "float64")
    own = [*flags, "-O3", "-fopenmp", "-Wall", "-Wextra", f"-DBP_F64={f64}"]
    source = str(cbuild.ROOT / "tools" / "ulp_check.c")
    jobs = {
        f"ulp_{isa}_{dtype}": [source, *own, f'-DBP_ISA_HEADER="{header}"'],
        f"mode_{isa}_{dtype}": [str(cbuild.KERNELS / "fpmode.c"), "-O3"],
    }
    objects = cbuild.compile_all(folder, toolchain, jobs)
    return cbuild.link(folder / f"ulp_check_{isa}_{dtype}", toolchain, objects, ["-fopenmp"])


def report(line: str) -> tuple[str, dict[str, Any]]:
    """Take a line of the program apart."""
    name, worst, at, wrong, checksum, inputs = line.split()
    found = {
        "worst_ulp": round(float(worst), 4),
        "at": float.fromhex(at),
        "wrong": int(wrong),
        "inputs": int(inputs),
        "checksum": checksum,
    }
    return name, found


def output(toolchain: cbuild.Toolchain, path: Path, *arguments: str) -> str:
    """Run a program: what it prints, wrong results or not."""
    done = toolchain.run(path, *arguments)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{path.name} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def sweep(toolchain: cbuild.Toolchain, path: Path, step: int, name: str) -> dict[str, Any]:
    """Run float32's program on every step-th input of one function."""
    return report(output(toolchain, path, str(step), name))[1]


def points(name: str, count: int) -> np.ndarray:
    """Return inputs of a float64 function: three quarters over its range, the rest of any bits."""
    rng = np.random.default_rng([SEED, *name.encode()])
    _, low, high = FUNCTIONS[name]
    any_bits = rng.integers(0, 1 << 64, count // 4, dtype=np.uint64).view(np.float64)
    special = [0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 2.0**-1022, -(2.0**-1022), 1e-300]
    x = np.concatenate([special, any_bits[np.isfinite(any_bits)]])
    if name in ("sin", "cos", "erf", "erfc"):
        x = x[~((np.abs(x) > 1e4) & np.isfinite(x))]  # mpmath would take long, or refuse
    return np.concatenate([x, rng.uniform(low, high, count - len(x))])[:count]


def exact(function: Any, x: float) -> tuple[float, float]:
    """Return a function's value as the sum of two doubles."""
    if np.isnan(x) or (np.isinf(x) and function in (mpmath.sin, mpmath.cos)):
        return np.nan, 0.0
    try:
        value = function(mpmath.mpf(x))
    except ValueError:  # a pole, which mpmath refuses
        return -np.inf, 0.0
    if isinstance(value, mpmath.mpc) or mpmath.isnan(value):
        return np.nan, 0.0
    high = float(value)
    return high, float(value - high) if np.isfinite(high) else 0.0


def against_mpmath(
    toolchain: cbuild.Toolchain, path: Path, name: str, count: int
) -> dict[str, Any]:
    """Run float64's program on so many inputs."""
    function = FUNCTIONS[name][0]
    with mpmath.workprec(BITS):
        rows = [(x, *exact(function, x)) for x in points(name, count).tolist()]
    triples = path.with_suffix(".triples")
    triples.write_bytes(np.array(rows, dtype=np.float64).tobytes())
    return report(output(toolchain, path, name, str(triples)))[1]


def measure(step: int, count: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Return dtype -> function -> what was found, printing each line as it comes."""
    toolchain = cbuild.native()
    isa = row(toolchain)
    found: dict[str, dict[str, dict[str, Any]]] = {"float32": {}, "float64": {}}
    with tempfile.TemporaryDirectory() as folder:
        paths = {dtype: program(Path(folder), toolchain, isa, dtype) for dtype in found}
        for name in FUNCTIONS:
            result = sweep(toolchain, paths["float32"], step, name)
            show("float32", name, result)
            found["float32"][name] = result
        for name in FUNCTIONS:
            result = against_mpmath(toolchain, paths["float64"], name, count)
            show("float64", name, result)
            found["float64"][name] = result
    return found


def show(dtype: str, name: str, result: dict[str, Any]) -> None:
    """Print one function's line."""
    bound = f"limit {limit(dtype, name):g}"
    text = f"{result['worst_ulp']:.3f} ulp at {result['at']:.9g} ({bound}), {result['wrong']} wrong"
    print(f"{dtype} {name:8} {text}, {result['inputs']} inputs", flush=True)


def passes(found: dict[str, dict[str, dict[str, Any]]]) -> bool:
    """Return whether every function keeps its limit."""
    return all(
        result["worst_ulp"] <= limit(dtype, name) and result["wrong"] == 0
        for dtype, functions in found.items()
        for name, result in functions.items()
    )


def main() -> int:
    """Measure, and record a complete run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--step", type=int, default=1, help="every so many-th float32 input")
    parser.add_argument("--points", type=int, default=POINTS, help="float64 inputs a function")
    options = parser.parse_args()
    found = measure(options.step, options.points)
    if options.step == 1 and options.points >= POINTS:
        record = {
            "command": "python tools/ulp_check.py",
            "unit": "units in the last place of the exact result",
            "float32_reference": "glibc, double and long double",
            "float64_reference": f"mpmath, {BITS} bits",
            **found,
        }
        RESULTS.write_text(json.dumps(record, indent=1) + "\n")
        print(f"wrote {RESULTS.relative_to(cbuild.ROOT)}")
    return 0 if passes(found) else 1


if __name__ == "__main__":
    sys.exit(main())
