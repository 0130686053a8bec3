"""Worst errors of the elementary functions: a sample here, all of float32 in the committed results.

The limits: float32 exp, log, erf 2 units in the last place, the others 4; float64 4.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import c_programs
import cbuild
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


# ---- what is published --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published() -> dict[str, dict[str, dict[str, float]]]:
    return json.loads(ulp_check.RESULTS.read_text())


def test_the_record_is_complete_and_within_the_limits(published) -> None:
    for dtype, inputs in (("float32", 1 << 32), ("float64", ulp_check.POINTS)):
        assert published[dtype].keys() == ulp_check.FUNCTIONS.keys()
        for name, found in published[dtype].items():
            assert found["inputs"] == inputs
            assert found["wrong"] == 0
            assert found["worst_ulp"] <= ulp_check.limit(dtype, name)


@pytest.mark.parametrize("document", ["README.md", "src/kernels/vmath.h"])
def test_documents_name_the_recorded_errors(document: str, published) -> None:
    """Each function's worst errors, rounded up to two digits, in the document's table."""
    text = (cbuild.ROOT / document).read_text()
    for dtype in ("float32", "float64"):
        line = re.search(rf"^.*\b{dtype}\b((?: +\|? *\d\.\d\d)+)", text, re.MULTILINE)
        assert line, dtype
        worst = {name: found["worst_ulp"] for name, found in published[dtype].items()}
        worst["sin, cos"] = max(worst.pop("sin"), worst.pop("cos"))
        expected = [f"{np.ceil(100 * error) / 100:.2f}" for error in worst.values()]
        assert re.findall(r"\d\.\d\d", line[1]) == expected
