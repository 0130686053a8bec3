"""How a model does on test rows, beside guessing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpfast.cli.data import Data, encode

if TYPE_CHECKING:
    from bpfast.network import Network

_MISTAKES: Final = 3  # that are told


class Score(NamedTuple):
    """Numbers by name, and the lines that tell them."""

    values: dict[str, float]
    lines: list[str]


def score(net: Network, data: Data) -> Score:
    """Return how `net` does on the test rows.

    Raises
    ------
    ValueError
        They hold labels that are not among the classes.
    """
    return _quantities(net, data) if data.regression else _classes(net, data)


def commonest_mistakes(
    true: NDArray[Any], predicted: NDArray[Any]
) -> list[tuple[int | str, int | str, int]]:
    """Return the commonest pairs (label, label read instead, how often), the commonest first."""
    wrong = true != predicted
    pairs, counts = np.unique(
        np.stack([true[wrong], predicted[wrong]], axis=1), axis=0, return_counts=True
    )
    order = np.argsort(-counts, kind="stable")[:_MISTAKES]
    return [(pairs[i, 0].item(), pairs[i, 1].item(), int(counts[i])) for i in order]


def _classes(net: Network, data: Data) -> Score:
    """Say how often the right class was found, and what was taken for what."""
    X, y = data.test
    scores = net.evaluate(X, encode(y, data.classes, "the test rows"))
    predicted = data.classes[net.predict_classes(X)]
    baseline = float((y == data.guess).mean())
    right = int((predicted == y).sum())
    lines = [
        f"test accuracy {scores['accuracy']:.4f} ({right:,} of {len(y):,} rows), "
        f"loss {scores['loss']:.4f}; always guessing {_name(data, data.guess)!r}: {baseline:.4f}"
    ]
    mistakes = [
        f"{_name(data, true)} read as {_name(data, read)}: "
        f"{'once' if times == 1 else f'{times:,} times'}"
        for true, read, times in commonest_mistakes(y, predicted)
    ]
    lines.append(f"commonest mistakes: {'; '.join(mistakes)}" if mistakes else "no mistakes")
    values = {
        "test_loss": scores["loss"],
        "test_accuracy": scores["accuracy"],
        "baseline_accuracy": baseline,
    }
    return Score(values, lines)


def _quantities(net: Network, data: Data) -> Score:
    """Say how far off the numbers are, in the target's units."""
    X, y = data.test
    scores = net.evaluate(X, y)
    rmse = scores["loss"] ** 0.5
    baseline = float(((y - data.guess) ** 2).mean() ** 0.5)
    line = (
        f"test error (root mean square) {rmse:.4g}, mean absolute {scores['mae']:.4g}, "
        f"r2 {scores['r2']:.4f} ({len(y):,} rows); always guessing {data.guess:.4g}: {baseline:.4g}"
    )
    values = {
        "test_loss": scores["loss"],
        "test_rmse": rmse,
        "test_mae": scores["mae"],
        "test_r2": scores["r2"],
        "baseline_rmse": baseline,
    }
    return Score(values, [line])


def _name(data: Data, label: int | str) -> str:
    """Return what a label is called."""
    known = isinstance(label, int) and 0 <= label < len(data.names)
    return data.names[int(label)] if known else str(label)
