"""Numbers that judge a network, beside the loss.

======== ======================================================================================
name     definition
======== ======================================================================================
accuracy Share of right rows: the class with the greatest output; for one output, whether its
         probability exceeds 1/2; for several yes-or-no labels, the share of right labels.
mse      Mean over rows and outputs of (output - y)^2.
mae      Mean over rows and outputs of abs(output - y).
r2       1 - sum (output - y)^2 / sum (y - mean(y))^2, per output, then the mean over outputs:
         scikit-learn's ``r2_score`` with its default ``multioutput="uniform_average"``.
======== ======================================================================================

A metric may also be a function ``(y, output) -> float``; its ``__name__`` is the key in the
history. Callbacks that monitor a metric take ``accuracy`` and ``r2`` as better when larger, any
other as better when smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from bpfast._check import bad_type, bad_value, check_callable, check_choice

#: A metric of the user's own.
MetricFunction = Callable[[Any, Any], float]

#: The metrics that the library computes itself.
NAMES: Final = ("accuracy", "mse", "mae", "r2")

#: Keys of the history that no metric may take.
RESERVED: Final = frozenset({"loss", "penalty", "learning_rate", "seconds", "epoch"})


def get(value: object, argument: str = "metrics") -> list[tuple[str, MetricFunction | None]]:
    """Return the metrics as (key, function) pairs, None for the library's own.

    Parameters
    ----------
    value : str, callable, or an iterable of these
        Names of `NAMES`, or functions ``(y, output) -> float`` with a ``__name__``.
    argument : str
        What the messages call it.

    Raises
    ------
    TypeError, ValueError
        An entry is neither, two have one key, or a key is taken by the history.
    """
    if isinstance(value, str) or callable(value):
        value = (value,)
    if not isinstance(value, Iterable):
        raise bad_type(argument, "a sequence of names and functions (y, output)", value)
    result: dict[str, MetricFunction | None] = {}
    for position, entry in enumerate(value):
        label = f"{argument}[{position}]"
        key, function = _one(label, entry)
        if key in result or key in RESERVED or key.startswith("val_"):
            raise bad_value(label, "a metric whose name is free", key)
        result[key] = function
    return list(result.items())


def _one(label: str, entry: object) -> tuple[str, MetricFunction | None]:
    """Return the key and the function of one entry."""
    if isinstance(entry, str):
        return check_choice(label, entry, NAMES), None
    if not callable(entry):
        raise bad_type(label, f"one of {', '.join(NAMES)}, or a function (y, output)", entry)
    function: MetricFunction = check_callable(label, entry, "(y, output)")
    name = getattr(entry, "__name__", None)
    if not isinstance(name, str):
        raise bad_type(label, "a function with a __name__ (functools.partial has none)", entry)
    return name, function
