"""The rows that a data argument names, split and with their classes counted from 0."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpfast.datasets.digits import load_digits
from bpfast.datasets.fashion_mnist import CLASS_NAMES, load_fashion_mnist
from bpfast.datasets.folder import load_idx_folder
from bpfast.datasets.split import stratified_split

DIGITS: Final = "digits"
FASHION_MNIST: Final = "fashion-mnist"
FOLDER: Final = "idx"

#: Percent of training, validation and test rows where no test rows are given, and where they are.
SPLIT_ALL: Final = (72, 8, 20)
SPLIT_TRAINING: Final = (90, 10)


class Rows(NamedTuple):
    """Inputs (rows, features) and labels (rows,) of one part."""

    X: NDArray[Any]
    y: NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """What is trained and tested on.

    Attributes
    ----------
    source : str
        ``digits``, ``fashion-mnist`` or ``idx``.
    argument : str
        The data argument that names it.
    train, validation, test : Rows
        Labels as in the files.
    names : tuple of str
        What the classes are called, by label from 0; empty where a label says it itself.
    """

    source: str
    argument: str
    train: Rows
    validation: Rows
    test: Rows
    names: tuple[str, ...] = ()

    @property
    def classes(self) -> NDArray[np.int64]:
        """The labels, ascending."""
        return np.unique(np.concatenate([self.train.y, self.validation.y]))

    @property
    def stem(self) -> str:
        """Name for a file made from these data."""
        return default_stem(self.argument)


def source_of(argument: str) -> str:
    """Return what kind of data an argument names."""
    return argument if argument in (DIGITS, FASHION_MNIST) else FOLDER


def default_stem(argument: str) -> str:
    """Return the name, without suffix, of a file made from the data that an argument names."""
    if source_of(argument) == FOLDER:
        return Path(argument).resolve().name or FOLDER
    return argument


def load_data(argument: str, seed: int) -> Data:
    """Load the data that an argument names, split by `seed`.

    Raises
    ------
    OSError, ValueError
        They are not there, or cannot be trained on.
    """
    source = source_of(argument)
    if source == DIGITS:
        train, validation, test = _split(Rows(*load_digits()), SPLIT_ALL, seed)
        return Data(source, argument, train, validation, test)
    if source == FASHION_MNIST:
        X, y, X_test, y_test = load_fashion_mnist()
        train, validation = _split(Rows(X, y), SPLIT_TRAINING, seed)
        return Data(source, argument, train, validation, Rows(X_test, y_test), CLASS_NAMES)
    if not Path(argument).is_dir():
        raise FileNotFoundError(
            f"{argument}: neither {DIGITS}, {FASHION_MNIST} nor a folder of IDX files"
        )
    folder = load_idx_folder(argument)
    rows = Rows(folder.X_train, folder.y_train)
    if folder.X_test is None or folder.y_test is None:
        train, validation, test = _split(rows, SPLIT_ALL, seed)
        return Data(source, argument, train, validation, test)
    train, validation = _split(rows, SPLIT_TRAINING, seed)
    return Data(source, argument, train, validation, Rows(folder.X_test, folder.y_test))


def encode(labels: NDArray[np.int64], classes: NDArray[np.int64], what: str) -> NDArray[np.int64]:
    """Return each label's place in `classes`, which are ascending.

    Raises
    ------
    ValueError
        A label is not among them.
    """
    strange = np.setdiff1d(labels, classes)
    if len(strange):
        raise ValueError(
            f"{what} hold labels that the model has not learnt: {_some(strange)}; it knows "
            f"{_some(classes)}"
        )
    return np.searchsorted(classes, labels)


def _split(rows: Rows, percents: tuple[int, ...], seed: int) -> list[Rows]:
    """Return the parts of a stratified split."""
    return [Rows(rows.X[i], rows.y[i]) for i in stratified_split(rows.y, percents, seed=seed)]


def _some(values: NDArray[np.int64]) -> str:
    """Write the first few values."""
    return ", ".join(map(str, values[:10].tolist())) + (", ..." if len(values) > 10 else "")
