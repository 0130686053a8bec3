"""Gradients beside central differences of the network's own values, in float64.

With h = 1e-6 the difference quotient of a smooth function is off by h^2 f'''/6, about 1e-12, and by
rounding, about 1e-16 f / h = 1e-10: well within 1e-6 of a gradient near 1. Inputs should be 1e-3
away from every kink, far more than h moves them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cases import relative
from reference import graph

import bpfast as bp

H = 1e-6
TOLERANCE = 1e-6
CLEAR = 1e-3


def numeric(f: Callable[[], float], x: np.ndarray) -> np.ndarray:
    """The central differences of f with respect to x, which is changed in place and put back."""
    slope = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        held = x[i]
        x[i] = held + H
        above = f()
        x[i] = held - H
        slope[i] = (above - f()) / (2 * H)
        x[i] = held
    return slope


def rounding(value: float) -> float:
    """What rounding alone makes of a difference quotient of values that large: some 10 ulp."""
    return 10 * float(np.spacing(abs(value))) / (2 * H)


def close(a: np.ndarray, b: np.ndarray, tolerance: float, floor: float = 0.0) -> bool:
    """Whether a and b are equal but for a part of their size, or `floor` an element."""
    return relative(a, b) <= tolerance or np.linalg.norm(a - b) <= floor * np.sqrt(a.size)


def check_loss(
    net: bp.Network, X: np.ndarray, y: np.ndarray, floor: float = 0.0, **options
) -> None:
    """Compare `loss_and_gradient` with differences of its own value."""
    net.loss_and_gradient(X, y, **options)
    analytic = {name: g.copy() for name, g in net.grads.items()}
    for name, view in net.params.items():
        found = numeric(lambda: net.loss_and_gradient(X, y, **options), view)
        assert close(analytic[name], found, TOLERANCE, floor), name


def check_passes(
    net: bp.Network, X: np.ndarray, rng: np.random.Generator, floor: float = 0.0
) -> None:
    """Compare `backward`, dX included, with differences of a random weighting of the output."""
    R = rng.normal(size=net.forward(X, training=True).shape)

    def objective() -> float:
        return float((R * net.forward(X, training=True)).sum()) + net._core.penalty()

    objective()
    dX = net.backward(R)
    analytic = {name: g.copy() for name, g in net.grads.items()}
    for name, view in net.params.items():
        assert close(analytic[name], numeric(objective, view), TOLERANCE, floor), name
    assert close(dX.reshape(X.shape), numeric(objective, X), TOLERANCE, floor)
    # A second pass that accumulates adds the gradient, but not the penalties', once more.
    net.forward(X, training=True)
    again = net.backward(R, accumulate=True)
    assert again.tobytes() == dX.tobytes()
    penalties = {name: r.l1 * np.sign(net.params[name]) + r.l2 * net.params[name]
                 for name, r in graph.regularizers(net.layers)}  # fmt: skip
    for name, g in net.grads.items():
        expected = 2 * analytic[name] - penalties.get(name, 0)
        assert close(g, expected, 1e-12, 1e-6 * floor), name
