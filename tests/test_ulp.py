"""Worst errors of the elementary functions, on a sample; tools/ulp_check.py takes all of float32.

The limits: float32 exp, log, erf 2 units in the last place, the others 4; float64 4.
"""

from __future__ import annotations

from pathlib import Path

import c_programs
import numpy as np
import pytest
import ulp_check

STEP = 40_009  # a prime: 107,000 inputs a function
POINTS = 500
#: Without fused multiply-adds (the row sse2), as src/kernels/vmath.h says.
UNFUSED_LIMIT = 5.0


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """(row, dtype) -> tools/ulp_check.c, built for the rows that this CPU runs."""
    import bpfast

    toolchain = c_programs.native()
    folder = tmp_path_factory.mktemp("ulp_check")
    rows = {ulp_check.row(toolchain), "reference_libm", "sse2"} & set(bpfast.isas())
    wanted = [(row, "float32") for row in rows] + [(ulp_check.row(toolchain), "float64")]
    if ulp_check.row(toolchain) not in rows:
        pytest.skip("this CPU has no fused multiply-adds")
    return {(row, dtype): ulp_check.program(folder, toolchain, row, dtype) for row, dtype in wanted}


@pytest.mark.parametrize("function", ulp_check.FUNCTIONS)
def test_float32(programs: dict[tuple[str, str], Path], function: str) -> None:
    """Every row: within the limits, and the same bits where fused multiply-adds are."""
    checksums = set()
    for (row, dtype), path in programs.items():
        if dtype == "float32" and (row, function) != ("sse2", "erf"):  # see vmath.h
            found = ulp_check.sweep(c_programs.native(), path, STEP, function)
            fused = row != "sse2"
            limit = ulp_check.limit(dtype, function) if fused else UNFUSED_LIMIT
            assert found["inputs"] > 100_000
            assert found["worst_ulp"] <= limit, row
            if fused:
                assert found["wrong"] == 0, row
                checksums.add(found["checksum"])
    assert len(checksums) == 1


@pytest.mark.parametrize("function", ulp_check.FUNCTIONS)
def test_float64_against_mpmath(programs: dict[tuple[str, str], Path], function: str) -> None:
    toolchain = c_programs.native()
    path = programs[ulp_check.row(toolchain), "float64"]
    found = ulp_check.against_mpmath(toolchain, path, function, POINTS)
    assert found["inputs"] == POINTS
    assert found["wrong"] == 0
    assert found["worst_ulp"] <= ulp_check.limit("float64", function)


def test_a_wrong_result_is_seen(tmp_path: Path, programs: dict[tuple[str, str], Path]) -> None:
    """The judge itself: results that are off by so many units, and a NaN where a number belongs."""
    toolchain = c_programs.native()
    path = programs[ulp_check.row(toolchain), "float64"]
    triples = tmp_path / "triples"
    e = float(np.exp(1.0))
    unit = 2.0**-51  # of e
    for high, low, worst, wrong in (
        (e, 0.0, 1, 0),
        (e + 16 * unit, 0.0, 17, 0),
        (e, 8.5 * unit, 9.5, 0),
        (np.nan, 0.0, 0, 1),
        (np.inf, 0.0, 0, 1),
    ):
        triples.write_bytes(np.array([1.0, high, low]).tobytes())
        done = toolchain.run(path, "exp", str(triples))
        _, found = ulp_check.report(done.stdout)
        assert found["wrong"] == wrong
        assert worst - 1 <= found["worst_ulp"] <= worst
