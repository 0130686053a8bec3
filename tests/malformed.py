"""What the tables of malformed calls share: good data, a network, calls with one thing wrong."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from cases import everything

import bpfast as bp

ROWS, COLS, OUT = 37, 19, 3
RNG = np.random.default_rng(11)
X = RNG.integers(-8, 8, size=(ROWS, COLS)).astype(np.float64)
Y = RNG.normal(size=(ROWS, OUT))
LABELS = RNG.integers(OUT, size=ROWS)
WEIGHTS = RNG.uniform(0.5, 2, size=ROWS)
NAN, INF = math.nan, math.inf


def make() -> bp.Network:
    """A network with every kind of content that a call could spoil."""
    layers = [bp.Standardize(), bp.Dense(7, "relu"), bp.Dropout(0.1), bp.Dense(OUT)]
    net = bp.Network(layers, input_shape=COLS, rng=0)
    net.fit(X, Y, loss="mse", epochs=2, batch_size=8)
    net.metadata = {"who": "test"}
    return net


def with_value(base: np.ndarray, value: object, *place: int) -> np.ndarray:
    changed = base.copy()
    changed[place] = value
    return changed


def fit(**changes: object) -> Callable[[bp.Network], object]:
    """A call of fit with some arguments changed."""
    options = {"X": X, "y": Y, "loss": "mse", "epochs": 1, **changes}
    return lambda net: net.fit(**options)


def classify(**changes: object) -> Callable[[bp.Network], object]:
    return fit(**{"y": LABELS, "loss": "cross_entropy", **changes})


def predict(x: object) -> Callable[[bp.Network], object]:
    return lambda net: net.predict(x)


def read_only(a: np.ndarray) -> np.ndarray:
    a.flags.writeable = False
    return a


class Raises:
    """An object whose conversion to an array is refused by itself."""

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        raise ValueError("no array today")


# call, type of the error, what the message says
Row = tuple[Callable[[bp.Network], object], type[BaseException], str]


def check(net: bp.Network, row: Row) -> None:
    """The call raises its error, in one line, and nothing of the network has changed."""
    call, error, message = row
    before = everything(net)
    with pytest.raises(error, match=message) as caught:
        call(net)
    assert type(caught.value) is error or issubclass(type(caught.value), MemoryError)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert everything(net) == before
