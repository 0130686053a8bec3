"""Tables of a user's own: columns by name, read from CSV, Parquet and NumPy files."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: How the names of the files end that hold tables.
SUFFIXES: Final = (".csv", ".tsv", ".parquet", ".npy", ".npz")

#: Cells of a column of numbers that hold none. In a column of text only an empty cell does.
MISSING: Final = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "?")

#: What the text of a number looks like.
NUMBER: Final = re.compile(
    r"[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|inf(inity)?|nan)", re.ASCII | re.IGNORECASE
)

_SHOWN: Final = 10  # names in a message


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table; yes-or-no columns have both numbers (1 and 0) and text.

    Attributes
    ----------
    name : str
    numbers : ndarray of float64 (rows,) or None
        NaN where the cell is missing; None where a cell is neither a number nor missing.
    text : ndarray of str objects (rows,) or None
        Without white space at the ends, "" where the cell is missing; None for numbers.
    kind : str
        What the cells are when they are neither numbers nor text.
    """

    name: str
    numbers: NDArray[np.float64] | None = None
    text: NDArray[np.object_] | None = None
    kind: str = ""


@dataclass(frozen=True, eq=False)
class Table:
    """The columns of a file.

    Attributes
    ----------
    path : Path
    columns : tuple of Column
        No two share a name, unless it is empty.
    rows : int
        At least 1.
    named : bool
        Whether the file names its columns; otherwise their names are "0", "1", ...
    place : callable
        Says where a row, counted from 0, stands in the file: "line 7".
    """

    path: Path
    columns: tuple[Column, ...]
    rows: int
    named: bool
    place: Callable[[int], str]

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return [column.name for column in self.columns]

    def find(self, column: str, flag: str) -> Column:
        """Return a column by its name, or by its index where no name is that.

        Raises
        ------
        ValueError
            There is none; the message names `flag`.
        """
        found = next((c for c in self.columns if c.name == column), None)
        if found is None:
            try:
                found = self.columns[int(column)]
            except (ValueError, IndexError):
                raise ValueError(
                    f"{flag} {column}: {self.path} has no such column; it has {some(self.names)}"
                ) from None
        return found

    def fault(self, column: Column, cells: NDArray[np.bool_], problem: str) -> ValueError:
        """Return the error of a column, for the first of the `cells` that are marked."""
        place = self.place(int(np.argmax(cells)))
        return ValueError(f"{self.path}, {place}, column {column.name!r}: {problem}")


def is_table(argument: str) -> bool:
    """Say whether an argument names a file that holds a table."""
    return argument.lower().endswith(SUFFIXES)


def read_table(path: Path, *, header: bool | None = None, delimiter: str | None = None) -> Table:
    """Read a table; the suffix of the file's name tells its format.

    Parameters
    ----------
    path : Path
        One of `SUFFIXES`. An ``.npy`` file holds rows, or records with names; an ``.npz`` file
        arrays of equally many rows, of which those with several columns give ``X[0]``, ``X[1]``...
    header : bool, optional
        Whether the first line of a CSV file holds names. By default it does, and it is an error
        when it looks like data.
    delimiter : str, optional
        What separates the cells of a CSV file: by default a tab for ``.tsv``, else a comma.

    Raises
    ------
    OSError, ValueError
        The file is not there, damaged, or without rows; two columns share a name.
    ImportError
        It is CSV or Parquet, and pyarrow is missing.
    """
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return _from_arrays(path)
    with path.open("rb"):  # what is not there is said before what is not installed
        pass
    from bpfast.cli import arrow

    if suffix == ".parquet":
        return arrow.read_parquet(path)
    return arrow.read_csv(path, header, delimiter or ("\t" if suffix == ".tsv" else ","))


def make_table(
    path: Path, columns: Sequence[Column], rows: int, named: bool, place: Callable[[int], str]
) -> Table:
    """Return the table of these columns.

    Raises
    ------
    ValueError
        There are no rows, or two columns share a name.
    """
    seen: set[str] = set()
    for column in columns:
        if column.name and column.name in seen:
            raise ValueError(f"{path}: two columns are named {column.name!r}")
        seen.add(column.name)
    if rows == 0:
        raise ValueError(f"{path}: no rows; its columns are {some([c.name for c in columns])}")
    return Table(path, tuple(columns), rows, named, place)


def row_index(row: int) -> str:
    """Say where a row of a file without lines stands."""
    return f"row {row} (from 0)"


def some(values: Sequence[object]) -> str:
    """Write the first few values."""
    shown = ", ".join(str(value) for value in values[:_SHOWN])
    return shown + (f", ... ({len(values):,} in all)" if len(values) > _SHOWN else "")


def cells_of(table: Table, column: Column) -> list[str]:
    """Return a column's cells as text: "" where missing, whole numbers without a point.

    Raises
    ------
    ValueError
        They are neither text nor numbers.
    """
    if column.text is not None:
        return [str(cell) for cell in column.text]
    numbers = numbers_of(table, column)
    return [
        "" if math.isnan(number) else str(int(number)) if number.is_integer() else repr(number)
        for number in numbers.tolist()
    ]


def numbers_of(table: Table, column: Column, cure: str = "") -> NDArray[np.float64]:
    """Return a column's numbers, NaN where missing.

    Raises
    ------
    ValueError
        A cell is no number; the message names the first such cell, and ends with `cure`.
    """
    if column.numbers is not None:
        return column.numbers
    if column.text is None:
        raise ValueError(
            f"{table.path}, column {column.name!r}: {column.kind} is neither number nor text{cure}"
        )
    wrong = np.array([cell not in MISSING and not NUMBER.fullmatch(cell) for cell in column.text])
    came = column.text[np.argmax(wrong)]
    raise table.fault(column, wrong, f"expected a number, got {came!r}{cure}")


def load_arrays(path: Path) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """Return the array of an ``.npy`` file, or those of an ``.npz`` file by name.

    Raises
    ------
    OSError, ValueError
        It is not there, damaged, or holds pickled objects, which are never loaded.
    """
    try:
        with path.open("rb") as file:  # which NumPy leaves open when it is damaged
            loaded = np.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else dict(loaded)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).split(". ")[0] or type(error).__name__
        raise ValueError(f"{path}: damaged or unsuitable {path.suffix} file: {reason}") from None


def _from_arrays(path: Path) -> Table:
    """Return the table of NumPy's files."""
    loaded = load_arrays(path)
    if isinstance(loaded, np.ndarray):
        named = loaded.dtype.names is not None
        rows = loaded if named or loaded.ndim > 1 else loaded[None]
        return make_table(path, _columns(path, "", rows), len(rows), named, row_index)
    lengths = {name: len(np.atleast_1d(array)) for name, array in loaded.items()}
    if len(set(lengths.values())) != 1:
        sizes = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise ValueError(f"{path}: expected arrays of equally many rows, got {sizes or 'none'}")
    columns = [
        column
        for name, array in loaded.items()
        for column in _columns(path, name, np.atleast_1d(array))
    ]
    return make_table(path, columns, next(iter(lengths.values())), True, row_index)


def _columns(path: Path, name: str, array: NDArray[Any]) -> list[Column]:
    """Return the columns of an array: its fields, itself, or ``name[0]``, ``name[1]``..."""
    if array.dtype.names is not None:
        return [_column(path, field, array[field]) for field in array.dtype.names]
    if array.ndim == 1:
        return [_column(path, name, array)]
    flat = array.reshape(len(array), math.prod(array.shape[1:]))
    return [
        _column(path, f"{name}[{index}]" if name else str(index), flat[:, index])
        for index in range(flat.shape[1])
    ]


def _column(path: Path, name: str, values: NDArray[Any]) -> Column:
    """Return one column."""
    if values.ndim != 1:
        raise ValueError(
            f"{path}, column {name!r}: shape {values.shape}, expected ({len(values)},)"
        )
    if values.dtype.kind == "U":
        return Column(name, text=np.array([cell.strip() for cell in values.tolist()], object))
    if values.dtype.kind == "b":
        text = np.where(values, "True", "False").astype(object)
        return Column(name, values.astype(np.float64), text)
    if values.dtype.kind in "iuf":
        return Column(name, values.astype(np.float64))
    return Column(name, kind=str(values.dtype))
