"""CSV and Parquet files, read with pyarrow: the one file that imports it.

pyarrow reads both by itself and refuses rows of another length; pandas needs it for Parquet.
"""

from __future__ import annotations

import codecs
import csv as csv_text
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpfast.cli.table import MISSING, NUMBER, Column, Table, make_table, row_index

try:
    import pyarrow as pa
    from pyarrow import compute, csv, parquet
except ImportError as error:
    raise ImportError(
        f"CSV and Parquet files need pyarrow ({error}): pip install 'bpfast[data]'"
    ) from None

_BLOCK: Final = 1 << 26  # bytes read at a time; no line may be longer
csv_text.field_size_limit(_BLOCK)  # 128 KB otherwise
_YES_OR_NO: Final = {"true": 1.0, "false": 0.0}


def read_csv(path: Path, header: bool | None, delimiter: str) -> Table:
    """Return the table of a CSV file; see `bpfast.cli.table.read_table`."""
    content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    _check_text(path, content, delimiter)
    line, first = next(_records(path, content, delimiter), (0, []))
    if not first:
        raise ValueError(f"{path}: empty file")
    names = [name.strip() for name in first]
    if header is None:
        _check_header(path, line, names, delimiter)
    positions = [str(index) for index in range(len(names))]
    try:
        cells = csv.read_csv(
            pa.BufferReader(content),
            csv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=positions),
            csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            csv.ConvertOptions(column_types=dict.fromkeys(positions, pa.string())),
        )
    except pa.ArrowInvalid as error:
        _check_widths(path, content, delimiter, names)
        raise ValueError(f"{path}: {_first_line(error)}") from None
    skipped = 0 if header is False else 1
    columns = [
        _text_column(name, values.slice(skipped))
        for name, values in zip(
            positions if header is False else names, cells.itercolumns(), strict=True
        )
    ]

    def place(row: int) -> str:
        lines = (line for line, _ in _records(path, path.read_bytes(), delimiter))
        return f"line {next(line for index, line in enumerate(lines) if index == row + skipped)}"

    return make_table(path, columns, cells.num_rows - skipped, header is not False, place)


def read_parquet(path: Path) -> Table:
    """Return the table of a Parquet file."""
    try:
        with parquet.ParquetFile(path) as file:
            cells = file.read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a readable Parquet file: {_first_line(error)}") from None
    columns = [
        _typed_column(name.strip(), values)
        for name, values in zip(cells.column_names, cells.itercolumns(), strict=True)
    ]
    return make_table(path, columns, cells.num_rows, True, row_index)


# ---- columns ------------------------------------------------------------------------------------


def _text_column(name: str, cells: Any) -> Column:
    """Return a column of cells as they were written."""
    cells = compute.utf8_trim_whitespace(cells)
    missing = compute.is_in(cells, value_set=pa.array(MISSING))
    try:
        return Column(name, _numbers(compute.if_else(missing, None, cells)))
    except pa.ArrowInvalid:  # a cell is neither a number nor missing
        return _with_yes_or_no(name, cells)


def _typed_column(name: str, cells: Any) -> Column:
    """Return a column whose type the file states."""
    kinds = pa.types
    if kinds.is_dictionary(cells.type):
        cells = cells.cast(cells.type.value_type)
    if kinds.is_boolean(cells.type):
        return _with_yes_or_no(name, compute.if_else(cells, "True", "False"))
    if kinds.is_string(cells.type) or kinds.is_large_string(cells.type):
        return _with_yes_or_no(name, compute.utf8_trim_whitespace(cells))
    try:
        if kinds.is_null(cells.type) or kinds.is_floating(cells.type):
            return Column(name, _numbers(cells))
        if kinds.is_integer(cells.type) or kinds.is_decimal(cells.type):
            return Column(name, _numbers(cells, safe=False))
    except pa.ArrowInvalid:
        pass
    return Column(name, kind=str(cells.type))


def _numbers(cells: Any, *, safe: bool = True) -> NDArray[np.float64]:
    """Return float64, NaN where a cell is null."""
    values = compute.cast(cells, pa.float64(), safe=safe)
    found: NDArray[np.float64] = values.to_numpy().astype(np.float64, copy=False)
    return found


def _with_yes_or_no(name: str, cells: Any) -> Column:
    """Return a column of text; with numbers where all of it is true or false."""
    text = np.array(["" if cell is None else cell for cell in cells.to_pylist()], object)
    if set(map(str.lower, set(text.tolist()))) <= {*_YES_OR_NO, ""}:
        numbers = [_YES_OR_NO.get(cell.lower(), np.nan) for cell in text]
        return Column(name, np.array(numbers), text)
    return Column(name, text=text)


# ---- the text of CSV files, where pyarrow's own messages say too little --------------------------


def _records(
    path: Path, content: bytes, delimiter: str, *, strict: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not blank, after the number of its first line, from 1."""
    text = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="")
    reader = csv_text.reader(text, delimiter=delimiter, strict=strict)
    line = 1
    try:
        for record in reader:
            if record:
                yield line, record
            line = reader.line_num + 1
    except csv_text.Error as error:
        reason = str(error)
        if reason == "unexpected end of data":
            reason = "a quotation mark opens a cell that nothing closes"
        raise ValueError(f"{path}, line {line}: {reason}") from None


def _check_text(path: Path, content: bytes, delimiter: str) -> None:
    """Raise a ValueError where the bytes are no UTF-8, or a quotation mark is never closed."""
    if not content.isascii():
        try:
            codecs.decode(content, "utf-8")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            before = content[content.rfind(b"\n", 0, error.start) + 1 : error.start].decode()
            column = before.count(delimiter)
            header = content.split(b"\n", 1)[0].decode("utf-8", "replace").split(delimiter)
            name = header[column].strip() if line > 1 and column < len(header) else str(column)
            raise ValueError(
                f"{path}, line {line}, column {name!r}: byte 0x{content[error.start]:02x} is not "
                "UTF-8 text; save the file as UTF-8"
            ) from None
    if content.count(b'"') % 2:  # else each is closed, or doubled inside a cell
        for _ in _records(path, content, delimiter, strict=True):
            pass  # the last one raises, unless a mark stands inside a cell without quotation


def _check_header(path: Path, line: int, names: list[str], delimiter: str) -> None:
    """Raise a ValueError where the first line is no line of names."""
    numbers = [name for name in names if NUMBER.fullmatch(name)]
    counted = names == [str(index) for index in range(len(names))]  # as written for no names
    if (
        not counted
        and numbers
        and (len(numbers) == len(names) or any(not name.isdigit() for name in numbers))
    ):
        raise ValueError(
            f"{path}, line {line}: expected column names, got the number {numbers[0]}; "
            "--no-header reads this line as data, --header as names"
        )
    if len(names) == 1:
        other = next((mark for mark in (";", "\t", "|", ",") if mark in names[0]), None)
        if other is not None:
            raise ValueError(
                f"{path}, line {line}: one column only, {names[0]!r}; "
                f"--delimiter {other!r} splits it"
            )


def _check_widths(path: Path, content: bytes, delimiter: str, names: list[str]) -> None:
    """Raise a ValueError at the first record of another number of cells than the first."""
    for line, record in _records(path, content, delimiter):
        if len(record) != len(names):
            problem = f"{len(record)} cells, expected {len(names)} as in the first line"
            place = (
                f"none for column {names[len(record)]!r}"
                if len(record) < len(names)
                else f"the last column is {names[-1]!r}"
            )
            raise ValueError(f"{path}, line {line}: {problem}; {place}")


def _first_line(error: BaseException) -> str:
    """Return the beginning of a message of several lines."""
    return (str(error) or type(error).__name__).splitlines()[0]
