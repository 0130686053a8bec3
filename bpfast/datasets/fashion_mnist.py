"""Fashion-MNIST, read from where Debian's package or the user put it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bpfast.datasets.folder import find_idx, load_idx_folder

#: Where the Debian package dataset-fashion-mnist puts the files.
SYSTEM_FOLDER: Final = Path("/usr/share/datasets/fashion-mnist")

#: What the labels 0 to 9 mean.
CLASS_NAMES: Final = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def load_fashion_mnist(
    folder: str | os.PathLike[str] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    """Return Fashion-MNIST: 70,000 grey images of clothing, 28 x 28 pixels, in ten classes.

    Parameters
    ----------
    folder : str or path-like, optional
        Where the four IDX files are, plain or compressed. Without it they are looked for in the
        folder that the environment variable BPFAST_DATA names, or in a folder ``fashion-mnist``
        in that one, then in /usr/share/datasets/fashion-mnist, where Debian's package
        dataset-fashion-mnist puts them.

    Returns
    -------
    X_train : ndarray of uint8, shape (60000, 784)
        Pixels, 0 to 255, row by row.
    y_train : ndarray of int64, shape (60000,)
        Labels, 0 to 9; `CLASS_NAMES` says what they mean.
    X_test, y_test : ndarray, shapes (10000, 784) and (10000,)
        The published test rows.

    Raises
    ------
    FileNotFoundError
        The files are nowhere; the message says how to get them.
    ValueError
        They are damaged, or another set's.

    References
    ----------
    Xiao, Rasul & Vollgraf 2017, Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms, arXiv:1708.07747.
    """
    places = _places(folder)
    found = next((place for place in places if find_idx(place, "train-images")), None)
    if found is None:
        raise FileNotFoundError(
            f"Fashion-MNIST is not in {' or '.join(map(str, places))}: install the Debian package "
            "dataset-fashion-mnist, or set BPFAST_DATA to a folder that holds "
            "train-images-idx3-ubyte.gz and the three other files"
        )
    data = load_idx_folder(found)
    for X, y, rows in ((data.X_train, data.y_train, 60_000), (data.X_test, data.y_test, 10_000)):
        if X is None or y is None or X.shape != (rows, 784) or X.dtype != np.uint8:
            came = "nothing" if X is None else f"{X.dtype} of shape {X.shape}"
            raise ValueError(f"{found}: expected uint8 images of shape ({rows}, 784), got {came}")
        if y.min() < 0 or y.max() > 9:
            raise ValueError(f"{found}: expected labels 0 to 9, got {y.min()} to {y.max()}")
    assert data.X_test is not None
    assert data.y_test is not None
    return data.X_train, data.y_train, data.X_test, data.y_test


def _places(folder: str | os.PathLike[str] | None) -> list[Path]:
    """Return the folders to look in, the first that has the files counts."""
    if folder is not None:
        return [Path(folder)]
    data = os.environ.get("BPFAST_DATA")
    own = [Path(data, "fashion-mnist"), Path(data)] if data else []
    return [*own, SYSTEM_FOLDER]
