"""A folder of IDX files, named as those of MNIST."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpfast.datasets.idx import read_idx

#: What the names of the test files hold: MNIST's own, and what many other sets use.
TEST_NAMES: Final = ("t10k", "test")


class IdxFolder(NamedTuple):
    """Images as rows of pixels, and their labels; None for test files that are not there."""

    X_train: NDArray[Any]
    y_train: NDArray[np.int64]
    X_test: NDArray[Any] | None
    y_test: NDArray[np.int64] | None


def load_idx_folder(folder: str | os.PathLike[str]) -> IdxFolder:
    """Read a folder of IDX files, plain or compressed with gzip.

    Images and labels of the training rows are the files whose names hold ``train-images`` and
    ``train-labels``, those of the test rows ``t10k-images`` or ``test-images`` and likewise the
    labels; the test files may be missing.

    Parameters
    ----------
    folder : str or path-like
        Where the files are.

    Returns
    -------
    X_train, y_train, X_test, y_test
        Images of shape (rows, pixels) in the file's type, labels of shape (rows,) as int64.

    Raises
    ------
    OSError
        A file is missing or cannot be read.
    ValueError
        A file is not IDX, there are two for one part, or images and labels do not match.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    X_train, y_train = _load_part(folder, "train")
    for name in TEST_NAMES:
        if find_idx(folder, f"{name}-images") is not None:
            X_test, y_test = _load_part(folder, name)
            if X_test.shape[1:] != X_train.shape[1:]:
                raise ValueError(
                    f"{folder}: test images have {X_test.shape[1]} pixels, training images "
                    f"{X_train.shape[1]}"
                )
            return IdxFolder(X_train, y_train, X_test, y_test)
    return IdxFolder(X_train, y_train, None, None)


def find_idx(folder: Path, part: str) -> Path | None:
    """Return the file whose name holds `part`, or None; plain rather than compressed.

    Raises
    ------
    ValueError
        There are two, such as EMNIST's letters and digits in one folder.
    """
    found = sorted(path for path in folder.glob(f"*{part}*") if path.is_file())
    names = {path.name for path in found}
    found = [path for path in found if path.name.removesuffix(".gz") not in names - {path.name}]
    if len(found) > 1:
        raise ValueError(
            f"{folder}: {len(found)} files for {part}, expected one: "
            f"{', '.join(path.name for path in found[:4])}"
        )
    return found[0] if found else None


def _load_part(folder: Path, part: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Read images and labels that belong together."""
    images_path, labels_path = (_need(folder, f"{part}-{what}") for what in ("images", "labels"))
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim < 2:
        raise ValueError(f"{images_path}: shape {images.shape}, expected (rows, ...) of images")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{labels_path}: {labels.dtype} of shape {labels.shape}, expected integers of shape "
            f"({len(images)},)"
        )
    if len(labels) != len(images) or len(labels) == 0 or images.size == 0:
        raise ValueError(
            f"{images_path}: {len(images)} images of {images[:1].size} pixels, but {labels_path} "
            f"has {len(labels)} labels; expected as many, and at least one"
        )
    return images.reshape(len(images), -1), labels.astype(np.int64)


def _need(folder: Path, part: str) -> Path:
    """Return the file of `part`, which must be there."""
    path = find_idx(folder, part)
    if path is None:
        raise FileNotFoundError(
            f"{folder}: no file named *{part}*; expected IDX files named as MNIST's, such as "
            f"{part}-idx{3 if part.endswith('images') else 1}-ubyte.gz"
        )
    return path
