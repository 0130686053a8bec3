"""Inputs, targets and weights: checked once, here, before any work; never copied whole."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from bpfast import _core, _sparse
from bpfast._check import bad_type, bad_value, check_non_negative
from bpfast._sparse import Sparse
from bpfast._streams import USER
from bpfast.errors import ShapeError

if TYPE_CHECKING:
    from bpfast.layers.shapes import Shape
    from bpfast.losses import Loss

#: The element types that the core reads, in native byte order.
_SOURCES = frozenset(np.dtype(name) for name in _core.SOURCES)

#: Losses whose targets lie in [0, 1], and the one whose targets are counts.
_PROBABILITIES = ("cross_entropy", "binary_cross_entropy")


@dataclass(slots=True)
class Rows:
    """Checked arrays, and the C view of them.

    Attributes
    ----------
    x : ndarray (rows, inputs)
        Or a `Sparse`, which stands for one: rows by index, shape and dtype.
    y : ndarray (rows, outputs) or None
        None where `labels` stand for it.
    labels : ndarray of int64 (rows,) or None
    weights : ndarray of float64 (rows,) or None
    streamed : bool
        x is a memory map that is searched for NaN while it is read.
    """

    x: NDArray[Any]
    y: NDArray[Any] | None
    labels: NDArray[np.int64] | None
    weights: NDArray[np.float64] | None = None
    streamed: bool = False

    def __len__(self) -> int:
        return len(self.x)

    def core(self) -> _core.Data:
        """Return the view that C reads; it keeps the arrays alive."""
        return _core.Data(self.x, self.y, self.labels, self.weights)

    def take(self, rows: NDArray[np.int64]) -> Rows:
        """Return a copy of some rows."""
        return Rows(*(None if a is None else a[rows] for a in self._arrays()))  # type: ignore[arg-type]

    def weighted(self, weights: NDArray[np.float64] | None) -> Rows:
        """Return the same rows with these weights."""
        if weights is None and self.weights is None:
            return self
        return Rows(self.x, self.y, self.labels, weights, self.streamed)

    def target(self) -> NDArray[Any]:
        """Return labels or targets, whichever there are."""
        found = self.y if self.labels is None else self.labels
        assert found is not None
        return found

    def _arrays(self) -> tuple[NDArray[Any] | None, ...]:
        return self.x, self.y, self.labels, self.weights


def as_array(name: str, value: object) -> NDArray[Any]:
    """Return `value` as an ndarray of a numeric type that the core reads."""
    array = value if type(value) is np.ndarray else _convert(name, value)
    if array.dtype in _SOURCES:
        return array
    if array.dtype.kind == "O" and array.ndim == 0:
        raise bad_type(name, "an array of numbers", value)
    if array.dtype.kind in "USO":
        hint = "; for class names use bpfast.sklearn's estimators" if name.startswith("y") else ""
        raise TypeError(f"{name} must be numeric, got dtype {array.dtype}{hint}")
    if not array.dtype.isnative:
        raise TypeError(f"{name} must be in native byte order, got dtype {array.dtype.str}")
    raise TypeError(f"{name} must have a real dtype of at most 64 bits, got {array.dtype}")


def _convert(name: str, value: object) -> NDArray[Any]:
    """Return an ndarray of what is not just that."""
    masked = sys.modules.get("numpy.ma")  # without it no array is masked
    if masked is not None and isinstance(value, masked.MaskedArray):
        raise TypeError(f"{name} must not be a masked array: fill or drop the masked values first")
    if hasattr(value, "toarray"):
        raise TypeError(
            f"{name} must be dense, got a sparse {type(value).__name__}: X of fit, predict and "
            "evaluate may be CSR (.tocsr()), all else needs .toarray()"
        )
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"{name} must be a rectangular array: {error}") from None


def check_finite(name: str, array: NDArray[Any] | Sparse, itemsize: int) -> None:
    """Raise a ValueError that names the first element not finite in the network's dtype."""
    if isinstance(array, Sparse):
        _sparse.check_finite(name, array, itemsize)
        return
    if array.dtype.kind != "f" or len(array) == 0:
        return
    flat = array if array.ndim <= 2 else array.reshape(len(array), -1)
    row = _core.find_bad_row(flat, itemsize)
    if row == len(flat):
        return
    values = np.atleast_1d(flat[row])
    limit = np.finfo(np.float32 if itemsize == 4 else np.float64).max
    column = int(np.argmax(~(np.abs(values) <= limit)))
    place = f"row {row}" + (f", column {column}" if array.ndim == 2 else "")
    if array.ndim > 2:
        index = np.unravel_index(row * flat.shape[1] + column, array.shape)
        place = f"({', '.join(map(str, index))})"
    raise ValueError(f"{name} must be finite, got {values[column]} at {place}")


def as_sparse_or_dense(
    value: object, shape: Shape, itemsize: int, name: str = "X", *, scan: bool = True
) -> NDArray[Any]:
    """Return what `as_inputs` does, but of compressed rows (CSR) a `Sparse`."""
    if not isinstance(value, Sparse) and not _sparse.is_csr(value):
        return as_inputs(value, shape, itemsize, name, scan=scan)
    if not isinstance(value, Sparse):
        value = _sparse.as_sparse(name, value, math.prod(shape), _SOURCES)
    if scan:
        _sparse.check_finite(name, value, itemsize)
    return cast("NDArray[Any]", value)


def as_inputs(
    value: object, shape: Shape, itemsize: int, name: str = "X", *, scan: bool = True
) -> NDArray[Any]:
    """Return X as (rows, values of a row), finite where `scan` asks for a look at all of it.

    It may come as (rows, *shape), one channel left out, or as it is returned. Only a layout that
    has no such view is copied.
    """
    array = as_array(name, value)
    features = math.prod(shape)
    if array.ndim != 2 or array.shape[1] != features:
        if len(shape) == 1 or array.ndim == 0 or not is_row(array.shape[1:], shape):
            raise _not_rows(name, array, shape)
        array = array.reshape(len(array), features)
    if scan:
        check_finite(name, array, itemsize)
    return array


def is_row(given: tuple[int, ...], shape: Shape) -> bool:
    """Whether an array of this shape is one row: as it is, flat, or without its one channel."""
    return given in (shape, (math.prod(shape),)) or (shape[-1] == 1 and given == shape[:-1])


def _not_rows(name: str, array: NDArray[Any], shape: Shape) -> ShapeError:
    """Return the error of inputs that are no rows of this shape."""
    if len(shape) == 1 and array.ndim == 2:
        return ShapeError(f"{name} must have {shape[0]} columns, got shape {array.shape}")
    expected = f"(rows, {', '.join(map(str, shape))})"
    flat = "" if len(shape) == 1 else f" or (rows, {math.prod(shape)})"
    return ShapeError(
        f"{name} must have shape {expected}{flat}, got {array.ndim} dimensions {array.shape}"
    )


def as_rows(
    X: object,
    y: object,
    shape: Shape,
    outputs: int,
    loss: Loss | None,
    itemsize: int,
    suffix: str = "",
    *,
    may_stream: bool = False,
    dense: bool = False,
) -> Rows:
    """Return checked rows; `suffix` distinguishes validation data in messages.

    With `may_stream` a memory map X is left to be searched for NaN while it is read. With `dense`
    an X of compressed rows is refused.
    """
    name_x, name_y = f"X{suffix}", f"y{suffix}"
    streamed = may_stream and isinstance(X, np.memmap)
    read = as_inputs if dense else as_sparse_or_dense
    x = read(X, shape, itemsize, name_x, scan=not streamed)
    if len(x) == 0:
        raise ShapeError(f"{name_x} must have at least one row, got shape {x.shape}")
    array = as_array(name_y, y)
    if array.ndim == 0 or len(array) != len(x):
        raise ShapeError(
            f"{name_y} must have as many rows as {name_x}: {len(x)}, got shape {array.shape}"
        )
    labels = None
    if loss is not None and loss.kind == "cross_entropy":
        if outputs == 1:
            raise ValueError(
                "loss 'cross_entropy' needs at least 2 outputs, got 1; "
                "use 'binary_cross_entropy' for one"
            )
        if array.ndim == 1 or array.shape[1:] == (1,):
            labels = _as_labels(name_y, array, outputs)
    targets = None if labels is not None else _as_targets(name_y, array, outputs)
    if targets is not None:
        check_finite(name_y, targets, itemsize)
        _check_range(name_y, targets, loss)
    return Rows(x, targets, labels, None, streamed)


def _as_labels(name: str, array: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Return class labels 0 .. classes - 1 as contiguous int64."""
    flat = array.reshape(-1)
    expected = f"class labels 0 to {classes - 1} for {classes} outputs"
    if flat.dtype.kind == "f":
        whole = np.isfinite(flat) & (flat == np.floor(flat))
        if not whole.all():
            row = int(np.argmin(whole))
            raise ValueError(f"{name} must hold whole class labels, got {flat[row]} at row {row}")
        inside = (flat >= 0) & (flat < classes)  # more would not fit an integer
        if not inside.all():
            row = int(np.argmin(inside))
            raise ValueError(f"{name} must hold {expected}, got {flat[row]} at row {row}")
    labels = np.require(flat, np.int64, ["C", "A"])
    row = _core.find_bad_label(labels, classes)
    if row < len(labels):
        raise ValueError(f"{name} must hold {expected}, got {flat[row]} at row {row}")
    return labels


def _as_targets(name: str, array: NDArray[Any], outputs: int) -> NDArray[Any]:
    """Return targets as (rows, outputs); (rows,) means one output."""
    shaped = array.reshape(-1, 1) if array.ndim == 1 and outputs == 1 else array
    if shaped.ndim != 2 or shaped.shape[1] != outputs:
        expected = f"(rows, {outputs})" + (" or (rows,)" if outputs == 1 else "")
        hint = ""
        if array.ndim == 1 and array.dtype.kind in "iub":
            hint = "; class labels go with loss 'cross_entropy'"
        raise ShapeError(f"{name} must have shape {expected}, got {array.shape}{hint}")
    return shaped


def _check_range(name: str, targets: NDArray[Any], loss: Loss | None) -> None:
    """Raise a ValueError where the loss has no meaning for a target."""
    if loss is None or (loss.kind not in _PROBABILITIES and loss.kind != "poisson"):
        return
    high = np.inf if loss.kind == "poisson" else 1
    if targets.min() >= 0 and targets.max() <= high:
        return
    row, column = np.argwhere(~((targets >= 0) & (targets <= high)))[0]
    expected = "not negative" if loss.kind == "poisson" else "between 0 and 1"
    raise ValueError(
        f"{name} must be {expected} for loss {loss.kind!r}, "
        f"got {targets[row, column]} at row {row}, column {column}"
    )


def as_weights(
    rows: Rows,
    sample_weight: object,
    class_weight: object,
    loss: Loss | None,
    outputs: int,
    suffix: str = "",
) -> NDArray[np.float64] | None:
    """Return one weight a row, class weights included; None where all are 1."""
    weights: NDArray[np.float64] | None = None
    name = f"sample_weight{suffix}"
    if sample_weight is not None:
        given = as_array(name, sample_weight)
        if given.shape != (len(rows),):
            raise ShapeError(f"{name} must have shape ({len(rows)},), got {given.shape}")
        weights = np.require(given, np.float64, ["C", "A"])
        if not np.isfinite(weights).all() or weights.min() < 0:
            row = int(np.argmin(np.isfinite(weights) & (weights >= 0)))
            raise ValueError(
                f"{name} must be finite and not negative, got {weights[row]} at row {row}"
            )
    if class_weight is not None:
        by_class = _class_weights(rows, class_weight, loss, outputs)
        weights = by_class if weights is None else weights * by_class
        name = "class_weight" if sample_weight is None else f"{name} times class_weight"
    if weights is not None:
        with np.errstate(over="ignore"):
            total = weights.sum()
        if not 0 < total < np.inf:
            raise ValueError(f"{name} must have a finite sum above 0, got {total} over all rows")
    return weights


def _class_weights(
    rows: Rows, class_weight: object, loss: Loss | None, outputs: int
) -> NDArray[np.float64]:
    """Return the weight of each row's class."""
    if loss is None or loss.kind not in _PROBABILITIES:
        kind = getattr(loss, "kind", "a function")
        raise ValueError(f"class_weight needs a classification loss, got loss {kind!r}")
    if rows.labels is not None:
        classes, labels = outputs, rows.labels
    elif outputs > 1 and loss.kind == "cross_entropy":
        classes, labels = outputs, np.argmax(rows.target(), axis=1)
    elif outputs == 1:
        classes, labels = 2, (rows.target()[:, 0] > 0.5).astype(np.int64)
    else:
        raise ValueError(f"class_weight has no meaning for {outputs} yes-or-no outputs")
    table = np.ones(classes)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise bad_value("class_weight", "a dict, 'balanced' or None", class_weight)
        counts = np.bincount(labels, minlength=classes)
        present = counts > 0  # weights as scikit-learn's: rows / (classes present * count)
        table[present] = len(labels) / (present.sum() * counts[present])
        return table[labels]
    if not isinstance(class_weight, Mapping):
        raise bad_type("class_weight", "a dict, 'balanced' or None", class_weight)
    for label, weight in class_weight.items():
        whole = isinstance(label, (int, np.integer)) and not isinstance(label, bool)
        if not whole or not 0 <= label < classes:
            raise bad_value("class_weight", f"a dict with keys 0 to {classes - 1}", label)
        table[label] = check_non_negative(f"class_weight[{label}]", weight)
    return table[labels]


def held_out(rows: Rows, share: float, seed: int) -> tuple[Rows, Rows]:
    """Return the rows to train on and a share to validate on, stratified for class labels.

    The choice depends on the seed alone, so that a resumed fit holds out the same rows.
    """
    order = _core.permutation(len(rows), seed, USER)
    if rows.labels is not None:  # class by class, each in the drawn order
        order = order[np.argsort(rows.labels[order], kind="stable")]
        groups = np.split(order, np.flatnonzero(np.diff(rows.labels[order])) + 1)
    else:
        groups = [order]
    counts = [round(share * len(group)) for group in groups]
    held = np.sort(np.concatenate([g[:n] for g, n in zip(groups, counts, strict=True)]))
    kept = np.sort(np.concatenate([g[n:] for g, n in zip(groups, counts, strict=True)]))
    if len(held) == 0 or len(kept) == 0:
        raise ValueError(
            f"validation_split={share} of {len(rows)} rows leaves {len(kept)} to train on and "
            f"{len(held)} to validate on"
        )
    return rows.take(kept), rows.take(held)
