"""A table of malformed arrays: each gives a typed error of one line, before any work.

The message names the argument, what came and what was expected; the network keeps every bit of its
parameters, state and counters.
"""

from __future__ import annotations

import numpy as np
import pytest
from malformed import (
    COLS,
    INF,
    LABELS,
    NAN,
    OUT,
    ROWS,
    WEIGHTS,
    Raises,
    Row,
    X,
    Y,
    check,
    classify,
    fit,
    make,
    predict,
    with_value,
)

import bpfast as bp


@pytest.fixture(scope="module")
def net() -> bp.Network:
    return make()


INPUTS: dict[str, Row] = {
    # shapes
    "one row as a vector": (predict(X[0]), bp.ShapeError, r"X .*\(rows, 19\), got .*\(19,\)"),
    "a number": (predict(3.0), bp.ShapeError, r"X must have shape \(rows, 19\), got 0 dim"),
    "three dimensions": (predict(X[None]), bp.ShapeError, r"X .*got 3 dimensions \(1, 37, 19\)"),
    "too few columns": (predict(X[:, 1:]), bp.ShapeError, r"X .* 19 columns, got .*\(37, 18\)"),
    "transposed": (predict(X.T), bp.ShapeError, r"X .* 19 columns, got shape \(19, 37\)"),
    "no columns": (predict(X[:, :0]), bp.ShapeError, r"X .* 19 columns, got shape \(37, 0\)"),
    "ragged": (predict([[1, 2], [3]]), bp.ShapeError, "X must be a rectangular array"),
    "no rows to fit": (fit(X=X[:0], y=Y[:0]), bp.ShapeError, r"X .*one row, got .*\(0, 19\)"),
    "no rows to validate on": (
        fit(validation_data=(X[:0], Y[:0])),
        bp.ShapeError,
        r"X_validation .*one row, got .*\(0, 19\)",
    ),
    "fewer targets than rows": (fit(y=Y[1:]), bp.ShapeError, r"y .* 37, got shape \(36, 3\)"),
    "too few target columns": (fit(y=Y[:, 1:]), bp.ShapeError, r"y .*\(rows, 3\), got \(37, 2\)"),
    "flat targets": (fit(y=Y[:, 0]), bp.ShapeError, r"y .*\(rows, 3\), got \(37,\)"),
    "a number for targets": (fit(y=1.0), bp.ShapeError, r"y .* 37, got shape \(\)"),
    "labels without a class loss": (fit(y=LABELS), bp.ShapeError, r"y .*go with loss 'cross_en"),
    # dtypes
    "None": (predict(None), TypeError, "X must be an array of numbers, got None"),
    "a set": (predict({1, 2}), TypeError, "X must be an array of numbers, got set of length 2"),
    "a generator": (predict(x for x in X), TypeError, "X must be an array .* type generator"),
    "text": (predict("rows"), TypeError, "X must be numeric, got dtype <U4"),
    "bytes": (predict(b"rows"), TypeError, r"X must be numeric, got dtype \|S4"),
    "objects": (predict(X.astype(object)), TypeError, "X must be numeric, got dtype object"),
    "complex": (predict(X * 1j), TypeError, "X must have a real dtype .* got complex128"),
    "long double": (predict(X.astype("g")), TypeError, "X .* real dtype .*64 bits, got float128"),
    "times": (predict(X.astype("M8[s]")), TypeError, r"X .* real dtype .* got datetime64\[s\]"),
    "durations": (predict(X.astype("m8[s]")), TypeError, r"X .* got timedelta64\[s\]"),
    "records": (predict(np.zeros(3, "f4,f4")), TypeError, "X must have a real dtype"),
    "byte-swapped": (predict(X.astype(">f8")), TypeError, "X .* native byte order, got dtype >f8"),
    "masked": (predict(np.ma.masked_array(X)), TypeError, "X must not be a masked array"),
    "ints past 64 bits": (predict([[2**70] * COLS]), TypeError, "X must be numeric, got .*object"),
    "no array after all": (predict(Raises()), bp.ShapeError, "X .* no array today"),
    "strings for classes": (classify(y=["a"] * ROWS), TypeError, "y must be numeric.*estimators"),
    "complex targets": (fit(y=Y * 1j), TypeError, "y must have a real dtype"),
    "byte-swapped labels": (classify(y=LABELS.astype(">i8")), TypeError, "y .* native byte order"),
    # NaN and infinity (every position: below)
    "NaN": (predict(with_value(X, NAN, 36, 18)), ValueError, "X .*, got nan at row 36, column 18"),
    "infinity": (fit(X=with_value(X, -INF, 4, 2)), ValueError, "X .* -inf at row 4, column 2"),
    "past float32": (predict(with_value(X, 1e39, 0, 3)), ValueError, r"X .* 1e\+39 at row 0, col"),
    "NaN target": (fit(y=with_value(Y, NAN, 8, 1)), ValueError, "y .* nan at row 8, column 1"),
    "NaN to validate on": (
        fit(validation_data=(X * NAN, Y)),
        ValueError,
        "X_validation must be finite, got nan at row 0, column 0",
    ),
    # labels
    "negative label": (
        classify(y=with_value(LABELS, -1, 5)),
        ValueError,
        "y must hold class labels 0 to 2 .*, got -1 at row 5",
    ),
    "label too large": (classify(y=LABELS + 1), ValueError, "y .* labels 0 to 2 .*, got 3 at row"),
    "label of 64 bits": (
        classify(y=np.full(ROWS, 2**64 - 1, np.uint64)),
        ValueError,
        "y .* labels 0 to 2 .*, got 18446744073709551615 at row 0",
    ),
    "label of 1e300": (classify(y=LABELS + 1e300), ValueError, r"y .* 0 to 2 .*, got 1e\+300 at"),
    "label of 2^63": (classify(y=LABELS + 2.0**63), ValueError, r"y .* 0 to 2 .* at row 0"),
    "fractional label": (classify(y=LABELS + 0.5), ValueError, "y .* whole class labels, got .*.5"),
    "NaN label": (
        classify(y=LABELS * NAN),
        ValueError,
        "y .* whole class labels, got nan at row 0",
    ),
    "probability above 1": (
        fit(loss="binary_cross_entropy", y=with_value(abs(Y) % 1, 1.5, 3, 2)),
        ValueError,
        "y must be between 0 and 1 .*, got 1.5 at row 3, column 2",
    ),
    "negative count": (
        fit(loss="poisson", y=with_value(abs(Y), -1.0, 3, 2)),
        ValueError,
        "y must be not negative .*, got -1.0 at row 3, column 2",
    ),
    # weights
    "weights in a column": (
        fit(sample_weight=WEIGHTS[:, None]),
        bp.ShapeError,
        r"sample_weight must have shape \(37,\), got \(37, 1\)",
    ),
    "negative weight": (
        fit(sample_weight=with_value(WEIGHTS, -1.0, 3)),
        ValueError,
        "sample_weight must be finite and not negative, got -1.0 at row 3",
    ),
    "NaN weight": (
        fit(sample_weight=with_value(WEIGHTS, NAN, 36)),
        ValueError,
        "sample_weight must be finite and not negative, got nan at row 36",
    ),
    "no weight at all": (
        fit(sample_weight=WEIGHTS * 0),
        ValueError,
        "sample_weight must have a finite sum above 0, got 0.0",
    ),
    "weights that overflow": (
        fit(sample_weight=np.full(ROWS, 1e308)),
        ValueError,
        "sample_weight must have a finite sum above 0, got inf",
    ),
    "weights by name": (fit(sample_weight="balanced"), TypeError, "sample_weight must be numeric"),
    "weights to validate with": (
        fit(validation_data=(X, Y, np.ones(3))),
        bp.ShapeError,
        r"sample_weight_validation must have shape \(37,\), got \(3,\)",
    ),
    "class weights in a list": (
        classify(class_weight=[1, 2, 3]),
        TypeError,
        "class_weight must be a dict, 'balanced' or None, got list of length 3",
    ),
    "weight of no class": (
        classify(class_weight={5: 1}),
        ValueError,
        "class_weight .* 0 to 2, got 5",
    ),
    "weight of True": (classify(class_weight={True: 1}), ValueError, "class_weight .* got True"),
    "class weight NaN": (
        classify(class_weight={0: NAN}),
        ValueError,
        r"class_weight\[0\] must be a finite number >= 0, got nan",
    ),
    "class weight of text": (
        classify(class_weight={0: "1"}),
        TypeError,
        r"class_weight\[0\] must be a finite number >= 0, got '1'",
    ),
    "all classes weigh nothing": (
        classify(class_weight=dict.fromkeys(range(OUT), 0)),
        ValueError,
        "class_weight must have a finite sum above 0, got 0.0",
    ),
    "class weights for squares": (
        fit(class_weight="balanced"),
        ValueError,
        "class_weight .* 'mse'",
    ),
}


@pytest.mark.parametrize("what", INPUTS)
def test_malformed_arrays(net: bp.Network, what: str) -> None:
    check(net, INPUTS[what])


# ---- NaN and infinity at every position ---------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("flip", [1, -1])
def test_every_position_is_looked_at(net: bp.Network, dtype: str, order: str, flip: int) -> None:
    values = [NAN, INF, -INF] if dtype != "f8" else [NAN, 1e39, -1e39]
    x = np.array(X, dtype, order=order)[::flip, ::flip]
    targets = np.array(Y, dtype, order=order)[::flip, ::flip]
    weights = np.array(WEIGHTS, dtype)[::flip]
    for place, good in np.ndenumerate(x):
        x[place] = values[sum(place) % 3]
        with pytest.raises(
            ValueError, match=rf"^X must be .* at row {place[0]}, column {place[1]}$"
        ):
            net.predict(x)
        x[place] = good
    for place, good in np.ndenumerate(targets):
        targets[place] = values[sum(place) % 3]
        with pytest.raises(
            ValueError, match=rf"^y must be .* at row {place[0]}, column {place[1]}$"
        ):
            net.evaluate(X, targets)
        targets[place] = good
    for row, good in enumerate(weights):
        weights[row] = [NAN, INF, -1][row % 3]
        with pytest.raises(ValueError, match=rf"^sample_weight must be .* at row {row}$"):
            net.evaluate(X, Y, sample_weight=weights)
        weights[row] = good
    net.evaluate(x, targets, sample_weight=weights)


@pytest.mark.parametrize("dtype", ["i1", "i8", "f2", "f8"])
def test_every_label_is_looked_at(net: bp.Network, dtype: str) -> None:
    labels = LABELS.astype(dtype)
    for row, good in enumerate(LABELS):
        labels[row] = [-1, OUT, 100][row % 3]
        with pytest.raises(ValueError, match=rf"^y must hold .* at row {row}$"):
            net.evaluate(X, labels, loss="cross_entropy")
        labels[row] = good
