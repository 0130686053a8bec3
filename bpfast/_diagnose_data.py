"""What `Network.diagnose` asks of inputs and targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpfast import _core
from bpfast._check import listed
from bpfast._data import Rows
from bpfast._diagnosis import Finding
from bpfast._streams import USER
from bpfast.losses import Loss

#: Inputs should be of order 1 (LeCun, Bottou, Orr & Müller 1998, Efficient BackProp, section 4.3);
#: ten times that is left alone. A whole input that is a hundred times smaller is found too.
_LARGE: Final = 10.0
_SMALL: Final = 0.01

#: Columns are the same when they are, standardized, to this tolerance: copies, also in another
#: unit. Of float32 the rounding is 6e-8.
_SAME: Final = 1e-6
#: Rows in which a column must leave its commonest value before it can be anybody's copy: two pixels
#: that are on in the same single picture are no copies.
_EVIDENCE: Final = 10

#: Largest class / smallest class above which sets count as highly imbalanced in the literature
#: (Fernández et al. 2008; the KEEL collection), and the rows that the largest one must have.
_IMBALANCE: Final = 9.0
_LEAST_CLASS: Final = 10


def look_at_inputs(x: NDArray[Any], names: Sequence[str] | None, scaled: bool) -> Iterator[Finding]:
    """Yield what is wrong with input rows; `scaled`: the first layer normalises them."""
    x = x.astype(np.float64)
    name = [f"{i}" for i in range(x.shape[1])] if names is None else names

    def columns(which: NDArray[np.bool_] | NDArray[np.int64]) -> str:
        found = np.flatnonzero(which) if which.dtype == bool else which
        return f"column{'' if len(found) == 1 else 's'} {listed(name[i] for i in found)}"

    size = np.sqrt(np.mean(x**2, axis=0))
    if not scaled:
        large = size > _LARGE
        if large.any():
            yield Finding(
                "unscaled inputs",
                "inputs",
                f"{columns(large)}: root mean square up to {size.max():.3g}; about 1 is right",
                "standardize the columns: put bp.Standardize() first, or divide pixels by 255",
            )
        elif 0 < size.max() < _SMALL:
            yield Finding(
                "unscaled inputs",
                "inputs",
                f"all columns: root mean square at most {size.max():.3g}; about 1 is right",
                "standardize the columns: put bp.Standardize() first",
            )
    constant = (x == x[:1]).all(axis=0)
    second_bias = constant & (x[0] != 0) & (len(x) > 1)
    if second_bias.any():
        yield Finding(
            "constant columns",
            "inputs",
            f"{columns(second_bias)}: the same value in {len(x):,} rows",
            "leave such columns out: they say nothing",
        )
    pairs = _copies(x, ~constant)
    if pairs:
        shown = listed(f"{name[a]} = {name[b]}" for a, b in pairs)
        yield Finding(
            "duplicated columns",
            "inputs",
            f"the same but for unit and offset in {len(x):,} rows: {shown}",
            "keep one of them: copies share what one weight should hold",
        )


def _copies(x: NDArray[np.float64], varies: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return pairs of columns of which the second repeats the first.

    Equal columns have equal products with a random vector: of its order only neighbours need a
    look.
    """
    index = np.flatnonzero(varies)
    if len(index) < 2 or len(x) < 2 * _EVIDENCE:
        return []
    z = x[:, index]
    common = np.median(z, axis=0)
    often = (z != common).sum(axis=0) >= _EVIDENCE
    index, z = index[often], z[:, often]
    if len(index) < 2:
        return []
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    direction = np.empty(len(x))
    _core.fill(direction, "normal", 0.0, 1.0, 0, USER)
    order = np.argsort(direction @ z, kind="stable")
    pairs = [
        (int(min(index[a], index[b])), int(max(index[a], index[b])))
        for a, b in pairwise(order)
        if np.abs(z[:, a] - z[:, b]).max() < _SAME * np.abs(z[:, a]).max()
    ]
    return sorted(pairs)


def look_at_targets(rows: Rows, outputs: int, loss: Any) -> Iterator[Finding]:
    """Yield what is wrong with all targets: classes of very different size."""
    counts = _class_counts(rows, outputs, loss)
    if counts is None or counts.max() < _LEAST_CLASS:
        return
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[least] * _IMBALANCE < counts[most]:
        yield Finding(
            "label imbalance",
            "targets",
            f"class {most} has {counts[most]:,} of {counts.sum():,} rows, class {least} has "
            f"{counts[least]:,}",
            'fit with class_weight="balanced", collect more of the rare class, and judge by more '
            "than accuracy",
        )


def _class_counts(rows: Rows, outputs: int, loss: Any) -> NDArray[np.int64] | None:
    """Return the rows of each class, or None where there are no classes."""
    kind = loss.kind if isinstance(loss, Loss) else ""
    if rows.labels is not None:
        return np.bincount(rows.labels, minlength=outputs)
    target = rows.target()
    if kind == "cross_entropy":
        return np.bincount(np.argmax(target, axis=1), minlength=outputs)
    if kind == "binary_cross_entropy" and outputs == 1:
        return np.bincount((target[:, 0] > 0.5).astype(np.int64), minlength=2)
    return None
