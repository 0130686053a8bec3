"""Inputs as compressed rows (CSR): checked here, expanded row by row where a batch is gathered."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpfast import _core
from bpfast._foreign import is_a
from bpfast.errors import ShapeError

#: What rows are sought by.
Index = NDArray[np.int64] | slice


class Sparse:
    """Rows of few values each, zeros elsewhere.

    Parameters
    ----------
    data : ndarray (values,)
        The values, row after row.
    columns : ndarray of int32 or int64 (values,)
        Of each value; in a row in any order, each once.
    starts : ndarray of int64 (rows + 1,)
        Where each row begins in `data`, and the last one ends.
    features : int
        Columns of a row.
    """

    def __init__(
        self,
        data: NDArray[Any],
        columns: NDArray[Any],
        starts: NDArray[np.int64],
        features: int,
    ) -> None:
        self.data, self.columns, self.starts = data, columns, starts
        self.shape = (len(starts) - 1, features)
        self.dtype = data.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Index) -> Sparse:
        """Return a copy of some rows."""
        chosen = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows
        lengths = self.starts[chosen + 1] - self.starts[chosen]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(starts[-1]) + np.repeat(self.starts[chosen] - starts[:-1], lengths)
        return Sparse(self.data[places], self.columns[places], starts, self.shape[1])

    def place(self, value: int) -> tuple[int, int]:
        """Return row and column of a value by its place in `data`."""
        row = int(np.searchsorted(self.starts, value, side="right")) - 1
        return row, int(self.columns[value])


def is_csr(value: object) -> bool:
    """Whether this is SciPy's matrix or array of compressed rows; nothing is imported."""
    return is_a(value, "scipy", "csr_matrix", "csr_array")


def as_sparse(name: str, value: Any, features: int, sources: frozenset[np.dtype[Any]]) -> Sparse:
    """Return the rows of what `is_csr` knows, without a copy of values and columns.

    Raises
    ------
    TypeError, ShapeError, ValueError
        It has other columns, types that the core does not read, or is not well formed.
    """
    if len(value.shape) != 2 or value.shape[1] != features:
        raise ShapeError(f"{name} must have {features} columns, got shape {value.shape}")
    data, columns, starts = map(np.asarray, (value.data, value.indices, value.indptr))
    if data.dtype not in sources:
        raise TypeError(f"{name} must have a real dtype of at most 64 bits, got {data.dtype}")
    for part, found in (("indices", columns), ("indptr", starts)):
        if found.dtype not in (np.dtype(np.int32), np.dtype(np.int64)):
            raise TypeError(f"{name}.{part} must be int32 or int64, got {found.dtype}")
    starts = np.require(starts, np.int64, ["C", "A"])
    _check_starts(name, starts, value.shape[0], min(len(data), len(columns)))
    values = int(starts[-1])
    rows = Sparse(
        np.require(data[:values], None, ["C", "A"]),
        np.require(columns[:values], None, ["C", "A"]),
        starts,
        features,
    )
    bad = _core.find_bad_columns(rows)
    if bad < len(rows):
        seen = rows.columns[starts[bad] : starts[bad + 1]]
        outside = seen[(seen < 0) | (seen >= features)]
        if len(outside):
            last = features - 1
            raise ValueError(f"{name}.indices must be 0 to {last}, got {outside[0]} in row {bad}")
        raise ValueError(
            f"{name} must have each column once in a row, row {bad} has some twice: "
            f"call its sum_duplicates()"
        )
    return rows


def _check_starts(name: str, starts: NDArray[np.int64], rows: int, values: int) -> None:
    """Raise unless each row begins where the one before it ends."""
    if starts.shape != (rows + 1,):
        raise ShapeError(f"{name}.indptr must have {rows + 1} elements, got shape {starts.shape}")
    if starts[0] != 0 or starts[-1] > values or (starts[1:] < starts[:-1]).any():
        raise ValueError(
            f"{name}.indptr must ascend from 0 to at most the {values} values there are, "
            f"got {starts[0]} to {starts[-1]}"
        )


def check_finite(name: str, rows: Sparse, itemsize: int) -> None:
    """Raise a ValueError that names the first value not finite in the network's dtype."""
    if rows.dtype.kind != "f":
        return
    bad = _core.find_bad_row(rows.data, itemsize)
    if bad < len(rows.data):
        row, column = rows.place(bad)
        raise ValueError(
            f"{name} must be finite, got {rows.data[bad]} at row {row}, column {column}"
        )
