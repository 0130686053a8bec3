"""What a model knows of its table: the columns it reads, what it predicts, and how it was split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpfast.cli.table import Column, Table, cells_of, numbers_of, some
from bpfast.cli.target import REGRESSION, TASKS, labels_of

_LARGEST: Final = float(np.finfo(np.float32).max)  # what the network computes in
_NO_FILL: Final = "missing value, which only a model trained with --fill-missing takes"


@dataclass(frozen=True)
class Feature:
    """A column that the network reads.

    Attributes
    ----------
    name : str
    values : tuple of str or None
        The values that have an input each (one-hot); None for a column of numbers.
    fill : float or None
        What stands for a missing number: the mean of the training rows. None: nothing does.
    """

    name: str
    values: tuple[str, ...] | None = None
    fill: float | None = None


@dataclass(frozen=True)
class Schema:
    """The columns of a model; a model file keeps it as JSON.

    Attributes
    ----------
    target : str
        The column that is predicted.
    task : {"classification", "regression"}
    features : tuple of Feature
        In the order of the network's inputs.
    dropped : tuple of str
        Columns of the training file that are not read.
    fill_missing : bool
        Whether a missing cell is filled rather than refused.
    header : bool or None
    delimiter : str or None
        As of `read_table`, for files that say nothing else.
    test_percent : int
        The share of the training file's rows that was held out.
    sha256 : str
        Of the training file, by which it is known again.
    guess : int, float or str
        The commonest class, or the mean, of the training rows.
    """

    target: str
    task: str
    features: tuple[Feature, ...]
    dropped: tuple[str, ...]
    fill_missing: bool
    header: bool | None
    delimiter: str | None
    test_percent: int
    sha256: str
    guess: int | float | str

    def to_json(self) -> str:
        """Return what `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Schema:
        """Return what `to_json` wrote.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is something else.
        """
        entries = dict(json.loads(text))
        features = tuple(
            Feature(
                str(entry["name"]),
                None if entry["values"] is None else tuple(map(str, entry["values"])),
                None if entry["fill"] is None else float(entry["fill"]),
            )
            for entry in entries.pop("features")
        )
        dropped = tuple(map(str, entries.pop("dropped")))
        schema = cls(features=features, dropped=dropped, **entries)
        if schema.task not in TASKS or type(schema.test_percent) is not int:
            raise ValueError("unknown task, or no share of test rows")
        return schema

    @property
    def regression(self) -> bool:
        """Whether the target is a quantity."""
        return self.task == REGRESSION

    @property
    def inputs(self) -> int:
        """How many inputs the network has."""
        return sum(1 if f.values is None else len(f.values) for f in self.features)

    @property
    def input_names(self) -> list[str]:
        """What each input is: a column, or a column's value."""
        return [
            name
            for f in self.features
            for name in ([f.name] if f.values is None else [f"{f.name}={v}" for v in f.values])
        ]

    def read_inputs(self, table: Table) -> NDArray[np.float64]:
        """Return the inputs (rows, inputs) of a table whose columns may stand in any order.

        A missing number is the column's `fill`, or NaN while that is not known; a missing value of
        a one-hot column is no value.

        Raises
        ------
        ValueError
            A column is missing, or a cell is not what the model can read.
        """
        X = np.zeros((table.rows, self.inputs))
        position = 0
        for feature, column in zip(self.features, self._match(table), strict=True):
            if feature.values is None:
                numbers = _finite(table, column, None if self.fill_missing else _NO_FILL)
                X[:, position] = numbers
                if feature.fill is not None:
                    X[np.isnan(numbers), position] = feature.fill
                position += 1
            else:
                codes = self._codes(table, column, feature.values)
                known = np.flatnonzero(codes >= 0)
                X[known, position + codes[known]] = 1.0
                position += len(feature.values)
        return X

    def read_as(self, header: bool | None, delimiter: str | None) -> Schema:
        """Return the schema for a file whose text is written in another way, where that is said."""
        return replace(
            self,
            header=self.header if header is None else header,
            delimiter=self.delimiter if delimiter is None else delimiter,
        )

    def filled_from(self, table: Table, X: NDArray[np.float64], rows: NDArray[np.int64]) -> Schema:
        """Fill the NaN in X with each column's mean over `rows`; return the schema that knows it.

        Raises
        ------
        ValueError
            A column has no value in these rows.
        """
        if not self.fill_missing:
            return self
        features, position = [], 0
        for feature in self.features:
            if feature.values is not None:
                features.append(feature)
                position += len(feature.values)
                continue
            column = X[:, position]
            known = column[rows][~np.isnan(column[rows])]
            if len(known) == 0:
                raise ValueError(
                    f"{table.path}, column {feature.name!r}: no value in the training rows; "
                    f"--drop {feature.name} leaves it out"
                )
            fill = float(known.mean())
            column[np.isnan(column)] = fill
            features.append(replace(feature, fill=fill))
            position += 1
        return replace(self, features=tuple(features))

    def read_target(self, table: Table) -> NDArray[Any]:
        """Return what each row should be predicted as: classes as `labels_of`, or numbers.

        Raises
        ------
        ValueError
            There is no such column, or a cell in it holds nothing of the kind.
        """
        column = table.find(self.target, "target")
        if not self.regression:
            return labels_of(table, column)
        return _finite(table, column, "missing value")

    def unused(self, table: Table) -> list[str]:
        """Return the columns that the model does not know."""
        known = {self.target, *self.dropped, *(f.name for f in self.features)}
        return [c.name for c in table.columns if c.name not in known]

    def _match(self, table: Table) -> Sequence[Column]:
        """Return the columns of the features: by name; without names also in order, if as many."""
        by_name = {c.name: c for c in table.columns}
        absent = [f.name for f in self.features if f.name not in by_name]
        if not absent:
            return [by_name[f.name] for f in self.features]
        if table.named:
            raise ValueError(
                f"{table.path}: column {absent[0]!r} is missing"
                f"{f', and {len(absent) - 1} more' if len(absent) > 1 else ''}; "
                f"it has {some(table.names)}"
            )
        if len(table.columns) != len(self.features):
            raise ValueError(
                f"{table.path}: {len(table.columns)} columns without names, expected "
                f"{len(self.features)}: {some([f.name for f in self.features])}"
            )
        return table.columns

    def _codes(self, table: Table, column: Column, values: Sequence[str]) -> NDArray[np.int64]:
        """Return each cell's place in `values`; -1 for a missing one, where those are filled."""
        places = {value: place for place, value in enumerate(values)}
        cells = cells_of(table, column)
        codes = np.array([places.get(cell, -1) for cell in cells], np.int64)
        missing = np.array([not cell for cell in cells])
        strange = (codes < 0) & ~missing
        if strange.any():
            came = cells[int(np.argmax(strange))]
            raise table.fault(column, strange, f"{came!r} is none of {some(values)}")
        if missing.any() and not self.fill_missing:
            raise table.fault(column, missing, _NO_FILL)
        return codes


def _finite(table: Table, column: Column, missing: str | None) -> NDArray[np.float64]:
    """Return a column's numbers: finite, or NaN where `missing`, the message, is None."""
    numbers = numbers_of(table, column)
    absent = np.isnan(numbers)
    infinite = np.abs(numbers) > _LARGEST
    if infinite.any():
        came = numbers[np.argmax(infinite)]
        expected = "a finite number" if np.isinf(came) else f"at most {_LARGEST:g} (float32)"
        raise table.fault(column, infinite, f"expected {expected}, got {came:g}")
    if absent.any() and missing is not None:
        raise table.fault(column, absent, missing)
    return numbers
