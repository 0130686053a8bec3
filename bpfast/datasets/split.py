"""Stratified splits that stay the same for ever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bpfast._check import bad_value, check_index, check_int

#: Stream of random numbers that splits use, apart from those that training uses.
SPLIT_STREAM: Final = 0x51


def stratified_split(
    y: ArrayLike, percents: Sequence[int], *, seed: int = 0
) -> tuple[NDArray[np.int64], ...]:
    """Draw parts of the rows that hold each class in the proportions of the whole.

    The rows are permuted at random, then sorted by class. The last part takes every k-th row of
    that order (k = 100 / percent, with the fractions carried along), the part before it every
    k-th of what is left, and so on. So each part's size is exact to one row, in all and in each
    class. Everything is in integers and the permutation is a counter-based one: the same
    arguments give the same parts on every machine and in every version.

    Parameters
    ----------
    y : array-like of int, shape (rows,)
        Class labels.
    percents : sequence of int
        Share of each part in percent, 1 to 100; together 100.
    seed : int, default 0
        Which of the random splits, >= 0.

    Returns
    -------
    tuple of ndarray of int64
        The rows of each part, ascending; no row is in two parts.

    Raises
    ------
    ValueError
        A part would be empty, or an argument is out of range.
    """
    from bpfast._core import permutation

    labels = np.asarray(y)
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise bad_value("y", "integers of shape (rows,)", labels)
    shares = [check_int(f"percents[{i}]", p, 1, 100) for i, p in enumerate(percents)]
    if sum(shares) != 100:
        raise ValueError(f"percents must add up to 100, got {sum(shares)}: {shares}")
    order = permutation(len(labels), check_index("seed", seed), SPLIT_STREAM)
    order = order[np.argsort(labels[order], kind="stable")]
    parts: list[NDArray[np.int64]] = []
    while shares:
        whole = sum(shares)
        quota = np.arange(len(order) + 1, dtype=np.int64) * shares.pop() // whole
        taken = np.diff(quota).astype(bool)
        parts.insert(0, np.sort(order[taken]))
        order = order[~taken]
    if any(len(part) == 0 for part in parts):
        sizes = ", ".join(str(len(part)) for part in parts)
        raise ValueError(f"y has {len(labels)} rows, too few for parts of {percents}%: {sizes}")
    return tuple(parts)
