"""The search for rows that are not finite and for labels out of range, against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from bpfast import _core

FLOAT_MAX = float(np.finfo(np.float32).max)
#: Halfway from the largest float32 to the next power of two: this and more round to infinity.
OVERFLOWS = FLOAT_MAX + 2.0**103

NOT_FINITE = (np.inf, -np.inf, np.nan, -np.nan)
EDGES = (FLOAT_MAX, np.nextafter(FLOAT_MAX, np.inf), np.nextafter(OVERFLOWS, 0), OVERFLOWS)
VALUES = {
    "float16": (*NOT_FINITE, 6e4),
    "float32": (*NOT_FINITE, FLOAT_MAX, -FLOAT_MAX, 1e-45),
    "float64": (*NOT_FINITE, *EDGES, *(-edge for edge in EDGES), 1e300, 5e-324),
}


def layouts(x: np.ndarray) -> list[np.ndarray]:
    """The same numbers in other places and steps."""
    wide = np.zeros((2 * len(x), 2 * x.shape[1]), x.dtype)
    wide[::2, ::2] = x
    apart = np.zeros((len(x), x.shape[1] + 3), x.dtype)
    apart[:, 1:-2] = x
    shifted = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    shifted[:] = x
    return [x, wide[::2, ::2], apart[:, 1:-2], np.asfortranarray(x), shifted, x[::-1].copy()[::-1]]


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("dtype", VALUES)
def test_bad_rows(dtype, itemsize, rng):
    for shape in ((1, 1), (3, 5), (40, 70), (700, 33)):
        clean = rng.normal(size=shape).astype(dtype)
        for value in VALUES[dtype]:
            row, column = rng.integers(shape[0]), rng.integers(shape[1])
            x = clean.copy()
            x[row, column] = value
            with np.errstate(over="ignore"):
                fine = np.isfinite(np.float32(x[row, column]) if itemsize == 4 else value)
            for given in layouts(x):
                assert _core.find_bad_row(given, itemsize) == (len(x) if fine else row), value
            assert _core.find_bad_row(x[:, column], itemsize) == (len(x) if fine else row)


def test_the_first_of_several():
    x = np.zeros((500, 9))
    x[[77, 300, 499], [0, 8, 3]] = np.nan
    assert _core.find_bad_row(x, 4) == _core.find_bad_row(x, 8) == 77
    assert _core.find_bad_row(np.zeros((0, 9)), 4) == 0


@pytest.mark.parametrize("rows", [1, 31, 32, 33, 1000])
def test_labels(rows, rng):
    labels = rng.integers(0, 7, rows)
    assert _core.find_bad_label(labels, 7) == rows
    for wrong in (-1, 7, 2**62, -(2**63)):
        place = int(rng.integers(rows))
        changed = labels.copy()
        changed[place] = wrong
        assert _core.find_bad_label(changed, 7) == place
