"""The column that is predicted: classes or quantities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpfast.cli.table import Column, Table, cells_of, some

CLASSIFICATION: Final = "classification"
REGRESSION: Final = "regression"
TASKS: Final = (CLASSIFICATION, REGRESSION)

#: Whole numbers of at most so many different values are classes; any others are quantities.
MOST_WHOLE_CLASSES: Final = 20

_EXACT: Final = 2.0**53  # from here on, float64 skips whole numbers


def task_of(column: Column) -> str:
    """Return what to do with a target: text is a class, and so are a few different whole numbers.

    A few are at most `MOST_WHOLE_CLASSES`; other numbers are quantities.
    """
    if column.text is not None or column.numbers is None:
        return CLASSIFICATION
    known = column.numbers[~np.isnan(column.numbers)]
    few = _whole(known).all() and len(np.unique(known)) <= MOST_WHOLE_CLASSES
    return CLASSIFICATION if few else REGRESSION


def labels_of(table: Table, column: Column) -> NDArray[Any]:
    """Return each row's class: int64 where all are whole numbers, else text.

    Raises
    ------
    ValueError
        A cell is missing, or a number that is not whole.
    """
    if column.text is not None or column.numbers is None:
        text = np.array(cells_of(table, column))
        if (text == "").any():
            raise table.fault(column, text == "", "missing value")
        return text
    numbers = column.numbers
    missing, broken = np.isnan(numbers), ~_whole(numbers)
    if missing.any():
        raise table.fault(column, missing, "missing value")
    if broken.any():
        came = f"{numbers[np.argmax(broken)]:g}"
        raise table.fault(column, broken, f"{came} is no class: neither a whole number nor text")
    return numbers.astype(np.int64)


def check_classes(table: Table, column: Column, classes: Sequence[object]) -> None:
    """See that a column's different values are classes.

    Raises
    ------
    ValueError
        There is one only, or most rows have one of their own.
    """
    where = f"{table.path}, column {column.name!r}"
    if len(classes) < 2:
        raise ValueError(f"{where}: one value only, {some(classes)}; nothing to learn")
    if len(classes) > max(MOST_WHOLE_CLASSES, table.rows // 2):
        raise ValueError(
            f"{where}: {len(classes):,} different values in {table.rows:,} rows are no classes: "
            f"{some(classes)}"
        )


def _whole(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which numbers are whole."""
    whole: NDArray[np.bool_] = (np.abs(numbers) < _EXACT) & (numbers == np.floor(numbers))
    return whole
