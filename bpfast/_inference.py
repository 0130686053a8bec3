"""What a trained network says: single rows, probabilities, classes, scores."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bpfast import _core, losses
from bpfast._check import bad_type
from bpfast._data import as_array, as_inputs, as_rows, as_weights, is_row
from bpfast._score import Scorer
from bpfast.errors import ShapeError

if TYPE_CHECKING:
    from bpfast.network import Network

Array = NDArray[Any]


def predict_one(net: Network, x: ArrayLike, out: Array | None) -> Array:
    """Return the output for one row; see `Network.predict_one`."""
    row = as_array("x", x)
    if not is_row(row.shape, net.input_shape):
        raise ShapeError(f"x must have shape {net.input_shape}, got {row.shape}")
    if out is None:
        out = np.empty(net.outputs, net.dtype)
    elif type(out) is not np.ndarray:
        raise bad_type("out", "a NumPy array", out)
    elif out.shape != (net.outputs,) or out.dtype != net.dtype or not out.flags.c_contiguous:
        raise ShapeError(
            f"out must be contiguous {net.dtype} ({net.outputs},), got {out.dtype} {out.shape}"
        )
    elif not out.flags.writeable:
        raise ValueError("out must be writeable, got a read-only array")
    net._core.predict(as_inputs(row[None], net.input_shape, net.dtype.itemsize, "x"), out, 1)
    return out


def _ends(net: Network) -> tuple[str, str | None]:
    """Return the last layer's activation, and the kind of the last fit's loss."""
    return net._plan.activation, None if net._loss is None else net._loss.kind


def head_of(net: Network) -> str | None:
    """Return "softmax" or "sigmoid", whichever makes probabilities of the outputs, or None."""
    last, kind = _ends(net)
    if last in ("softmax", "sigmoid"):
        return last
    fused = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}
    return fused.get(kind or "") if last == "identity" else None


def probabilities(net: Network, X: ArrayLike) -> Array:
    """Return probabilities; see `Network.predict_proba`."""
    out, head = net.predict(X), head_of(net)
    last, kind = _ends(net)
    if head is None:
        raise ValueError(
            "predict_proba needs a softmax or sigmoid output, or a fit with loss 'cross_entropy' "
            f"or 'binary_cross_entropy'; got activation {last!r} and loss {kind!r}"
        )
    if head != last:
        _core.activate(head, out)
    return out


def yes_or_no(net: Network) -> bool:
    """Whether each output is a class of its own, which a row may be of or not."""
    last, kind = _ends(net)
    return kind == "binary_cross_entropy" or (kind is None and last == "sigmoid")


def classes(net: Network, X: ArrayLike) -> Array:
    """Return class labels; see `Network.predict_classes`."""
    shares = probabilities(net, X)
    if net.outputs > 1 and not yes_or_no(net):
        return cast(Array, shares.argmax(axis=1))
    yes = (shares > 0.5).astype(np.int64)
    return yes[:, 0] if net.outputs == 1 else yes


def noted_classes(net: Network) -> list[Any] | None:
    """Return the labels in a note of `bpfast train` or `from_sklearn`, one a class, or None."""
    try:
        labels = json.loads(net.metadata.get("classes", "null"))
    except (ValueError, RecursionError):  # the note is the user's to change
        return None
    return labels if isinstance(labels, list) and len(labels) == max(net.outputs, 2) else None


def evaluate(
    net: Network,
    X: ArrayLike,
    y: ArrayLike,
    loss: Any,
    metrics: Iterable[Any] | None,
    sample_weight: ArrayLike | None,
) -> dict[str, float]:
    """Return loss and metrics; see `Network.evaluate`."""
    if loss is None and net._loss is None:
        raise ValueError("loss must be given: this network was never fitted")
    chosen = cast(Any, net._loss) if loss is None else losses.get(loss)
    known = chosen if isinstance(chosen, losses.Loss) else None
    rows = as_rows(X, y, net.input_shape, net.outputs, known, net.dtype.itemsize)
    rows = rows.weighted(as_weights(rows, sample_weight, None, known, net.outputs))
    return Scorer(net, chosen, net._metrics if metrics is None else metrics, rows).evaluate(rows)
