"""The rows that a data argument names, split and with their classes counted from 0."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpfast.cli.table import SUFFIXES, is_table, some
from bpfast.datasets.digits import load_digits
from bpfast.datasets.fashion_mnist import CLASS_NAMES, load_fashion_mnist
from bpfast.datasets.folder import load_idx_folder
from bpfast.datasets.split import stratified_split

DIGITS: Final = "digits"
FASHION_MNIST: Final = "fashion-mnist"
FOLDER: Final = "idx"
TABLE: Final = "table"

if TYPE_CHECKING:
    from bpfast.cli.schema import Schema

#: Percent of training, validation and test rows where no test rows are given, and where they are.
SPLIT_ALL: Final = (72, 8, 20)
SPLIT_TRAINING: Final = (90, 10)


class Rows(NamedTuple):
    """Inputs (rows, features) and classes or quantities (rows,) of one part."""

    X: NDArray[Any]
    y: NDArray[Any]


@dataclass(frozen=True)
class Data:
    """What is trained and tested on.

    Attributes
    ----------
    source : str
        ``digits``, ``fashion-mnist``, ``idx`` or ``table``.
    argument : str
        The data argument that names it.
    train, validation, test : Rows
        Targets as in the files.
    classes : ndarray of int64 or str
        The labels, ascending; empty where the target is a quantity.
    guess : int, float or str
        What one would say without looking: the commonest training label, or the mean.
    names : tuple of str
        What the classes are called, by label from 0; empty where a label says it itself.
    schema : Schema or None
        The columns of a table.
    """

    source: str
    argument: str
    train: Rows
    validation: Rows
    test: Rows
    classes: NDArray[Any]
    guess: Any
    names: tuple[str, ...] = ()
    schema: Schema | None = None

    @property
    def regression(self) -> bool:
        """Whether the target is a quantity."""
        return self.schema is not None and self.schema.regression


def source_of(argument: str) -> str:
    """Return what kind of data an argument names."""
    if argument in (DIGITS, FASHION_MNIST):
        return argument
    return TABLE if is_table(argument) and not Path(argument).is_dir() else FOLDER


def default_stem(argument: str) -> str:
    """Return the name, without suffix, of a file made from the data that an argument names."""
    source = source_of(argument)
    if source == FOLDER:
        return Path(argument).resolve().name or FOLDER
    return Path(argument).stem if source == TABLE else argument


def load_data(argument: str, seed: int) -> Data:
    """Load the images that an argument names, split by `seed`; `tabular` loads tables.

    Raises
    ------
    OSError, ValueError
        They are not there, or cannot be trained on.
    """
    source = source_of(argument)
    if source == DIGITS:
        train, validation, test = _split(Rows(*load_digits()), SPLIT_ALL, seed)
        return _data(source, argument, train, validation, test)
    if source == FASHION_MNIST:
        X, y, X_test, y_test = load_fashion_mnist()
        train, validation = _split(Rows(X, y), SPLIT_TRAINING, seed)
        return _data(source, argument, train, validation, Rows(X_test, y_test), CLASS_NAMES)
    if not Path(argument).is_dir():
        raise FileNotFoundError(
            f"{argument}: neither {DIGITS}, {FASHION_MNIST} nor a folder of IDX files, nor a table "
            f"({', '.join(SUFFIXES)})"
        )
    folder = load_idx_folder(argument)
    rows = Rows(folder.X_train, folder.y_train)
    if folder.X_test is None or folder.y_test is None:
        train, validation, test = _split(rows, SPLIT_ALL, seed)
        return _data(source, argument, train, validation, test)
    train, validation = _split(rows, SPLIT_TRAINING, seed)
    return _data(source, argument, train, validation, Rows(folder.X_test, folder.y_test))


def encode(labels: NDArray[Any], classes: NDArray[Any], what: str) -> NDArray[np.int64]:
    """Return each label's place in `classes`, which are ascending.

    Raises
    ------
    ValueError
        A label is not among them.
    """
    strange = np.setdiff1d(labels, classes)
    if len(strange):
        raise ValueError(
            f"{what} hold labels that the model has not learnt: {some(strange.tolist())}; "
            f"it knows {some(classes.tolist())}"
        )
    return np.searchsorted(classes, labels)


def commonest(labels: NDArray[Any]) -> int | str:
    """Return the commonest label, the first of several."""
    values, counts = np.unique(labels, return_counts=True)
    found: int | str = values[counts.argmax()].item()
    return found


def _data(
    source: str,
    argument: str,
    train: Rows,
    validation: Rows,
    test: Rows,
    names: tuple[str, ...] = (),
) -> Data:
    """Return data whose classes are those of the rows that are not tested."""
    classes = np.unique(np.concatenate([train.y, validation.y]))
    return Data(source, argument, train, validation, test, classes, commonest(train.y), names)


def _split(rows: Rows, percents: tuple[int, ...], seed: int) -> list[Rows]:
    """Return the parts of a stratified split."""
    return [Rows(rows.X[i], rows.y[i]) for i in stratified_split(rows.y, percents, seed=seed)]
