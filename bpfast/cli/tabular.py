"""From a table and its flags to rows that a network trains and is tested on."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpfast.cli.data import TABLE, Data, Rows, commonest
from bpfast.cli.files import sha256
from bpfast.cli.schema import Feature, Schema
from bpfast.cli.table import Column, Table, cells_of, numbers_of, read_table, some
from bpfast.cli.target import check_classes, task_of
from bpfast.datasets.split import stratified_split

TEST_PERCENT: Final = 20


@dataclass(frozen=True)
class Flags:
    """What `train` was told about a table; None and empty where it was not."""

    target: str | None = None
    task: str | None = None
    one_hot: tuple[str, ...] | None = None
    drop: tuple[str, ...] | None = None
    fill_missing: bool | None = None
    test_share: int | None = None
    header: bool | None = None
    delimiter: str | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Flags:
        """Return those of a command line."""
        return cls(**{name: getattr(arguments, name) for name in cls.__dataclass_fields__})

    def refuse(self, argument: str) -> None:
        """Raise a ValueError when there are any, for data that are no table."""
        given = [name for name in self.__dataclass_fields__ if getattr(self, name) is not None]
        if given:
            flag = given[0].replace("_", "-")
            raise ValueError(f"--{flag} goes with a table (such as mine.csv), not with {argument}")


def load_to_train(argument: str, flags: Flags, seed: int) -> Data:
    """Load a table and split it by `seed`: classes stratified, quantities at random.

    Raises
    ------
    OSError, ValueError, ImportError
        It cannot be read or trained on; the message names column, row or flag.
    """
    path = Path(argument)
    table = read_table(path, header=flags.header, delimiter=flags.delimiter)
    if flags.target is None:
        raise ValueError(f"{path}: --target must name the column to predict: {some(table.names)}")
    target = table.find(flags.target, "--target")
    schema = Schema(
        target=target.name,
        task=flags.task or task_of(target),
        features=_features(table, target, flags),
        dropped=tuple(table.find(name, "--drop").name for name in flags.drop or ()),
        fill_missing=bool(flags.fill_missing),
        header=flags.header,
        delimiter=flags.delimiter,
        test_percent=flags.test_share or TEST_PERCENT,
        sha256=sha256(path),
        guess=0,
    )
    y = schema.read_target(table)
    classes = y[:0] if schema.regression else np.unique(y)
    if not schema.regression:
        check_classes(table, target, classes.tolist())
    elif y.min() == y.max():
        raise ValueError(
            f"{path}, column {target.name!r}: one value only, {y[0]:g}; nothing to learn"
        )
    X = schema.read_inputs(table)
    parts = _split(path, schema, y, seed)
    y_train = y[parts[0]]
    guess = float(y_train.mean()) if schema.regression else commonest(y_train)
    schema = replace(schema.filled_from(table, X, parts[0]), guess=guess)
    train, validation, test = (Rows(X[part], y[part]) for part in parts)
    return Data(TABLE, argument, train, validation, test, classes, guess, schema=schema)


def load_to_test(argument: str, schema: Schema, classes: NDArray[Any], seed: int) -> Data:
    """Load the rows of a table that a model can be tested on.

    Of the file that it was trained on these are the rows held out then; of any other file all.

    Raises
    ------
    OSError, ValueError, ImportError
        It cannot be read or does not go with the model; the message names column, row or flag.
    """
    path = Path(argument)
    table = read_table(path, header=schema.header, delimiter=schema.delimiter)
    X, y = schema.read_inputs(table), schema.read_target(table)
    if not schema.regression:
        if y.dtype.kind != classes.dtype.kind:  # whole numbers beside text
            y = y.astype(str)
        strange = ~np.isin(y, classes.astype(y.dtype))
        if strange.any():
            problem = f"{y[np.argmax(strange)]} is none of the classes {some(classes.tolist())}"
            raise table.fault(table.find(schema.target, "target"), strange, problem)
        y = y.astype(classes.dtype)
    none, every = np.arange(0), np.arange(table.rows)
    trained_on = sha256(path) == schema.sha256
    parts = _split(path, schema, y, seed) if trained_on else (none, none, every)
    train, validation, test = (Rows(X[part], y[part]) for part in parts)
    return Data(TABLE, argument, train, validation, test, classes, schema.guess, schema=schema)


def _features(table: Table, target: Column, flags: Flags) -> tuple[Feature, ...]:
    """Return the columns that are read: all but the target and those left out."""
    dropped = [table.find(name, "--drop") for name in flags.drop or ()]
    one_hot = [table.find(name, "--one-hot") for name in flags.one_hot or ()]
    for flag, columns in (("--drop", dropped), ("--one-hot", one_hot)):
        if target in columns:
            raise ValueError(f"{flag} {target.name}: this is the column to predict")
    for column in one_hot:
        if column in dropped:
            raise ValueError(f"--one-hot {column.name}: this column is left out by --drop")
    features = []
    for index, column in enumerate(table.columns):
        if column is target or column in dropped:
            continue
        if not column.name:
            raise ValueError(
                f"{table.path}: column {index} (from 0) has no name; --drop {index} leaves it out"
            )
        if column in one_hot:
            values = sorted({*cells_of(table, column)} - {""})
            check_classes(table, column, values)
            features.append(Feature(column.name, tuple(values)))
        else:
            numbers_of(
                table,
                column,
                f"; --one-hot {column.name} gives each value of the column an input, "
                f"--drop {column.name} leaves the column out",
            )
            features.append(Feature(column.name))
    if not features:
        raise ValueError(f"{table.path}: no column is left to predict {target.name!r} from")
    return tuple(features)


def _split(path: Path, schema: Schema, y: NDArray[Any], seed: int) -> tuple[NDArray[np.int64], ...]:
    """Return the rows of training, validation (a tenth of what is not tested) and test."""
    test = schema.test_percent
    percents = ((100 - test) - (100 - test) // 10, (100 - test) // 10, test)
    strata = np.zeros(len(y), np.int64) if schema.regression else np.unique_inverse(y)[1]
    if len(y) * min(percents) < 100:
        raise ValueError(
            f"{path}: {len(y)} rows are too few for {percents[0]}% training, {percents[1]}% "
            f"validation and {test}% test rows (--test-share)"
        )
    return stratified_split(strata, percents, seed=seed)
