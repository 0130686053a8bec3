"""A convolution that does its max pooling itself gives what the two give apart, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

import bpfast as bp

#: Image; filters, kernel; strides, padding, dilation of the convolution; pool; padding of the pool.
CASES = [
    ((13, 14, 16), 32, 3, 1, "valid", 1, 2, "valid"),
    ((14, 13, 1), 16, 3, 1, "valid", 1, 2, "valid"),
    ((9, 8, 3), 5, (2, 3), 1, "same", 1, (2, 1), "same"),
    ((6, 17, 40), 33, (3, 2), (1, 2), "same", 1, 2, "valid"),
    ((12, 12, 2), 17, 3, 1, "same", (2, 1), 3, "same"),
]


def trained(case: tuple, activation: str, apart: bool, n_threads: int) -> tuple[bp.Network, list]:
    shape, filters, kernel, strides, padding, dilation, pool, pool_padding = case
    conv = bp.Conv2D(
        filters, kernel, activation,
        strides=strides, padding=padding, dilation=dilation, use_bias=False,
    )  # fmt: skip
    taken_apart = bp.Concatenate([[bp.Slice(0, 1)], [bp.Slice(1, filters)]])
    between = [taken_apart] if apart else []
    pooled = bp.MaxPool2D(pool, padding=pool_padding)
    first = bp.Conv2D(shape[2], 1, "tanh")  # so that the gradient to the image is wanted
    net = bp.Network(
        [first, conv, *between, pooled, bp.Flatten(), bp.Dense(3)],
        input_shape=shape, rng=1, n_threads=n_threads,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    net.parameters[:] = rng.normal(scale=0.2, size=net.parameters.size)
    X = np.round(rng.normal(size=(37, *shape)), 1)  # with equal ones in many a window
    net.fit(X, rng.integers(3, size=37), loss="cross_entropy", epochs=2, batch_size=17)
    return net, [net.predict(X), net.parameters]


@pytest.mark.parametrize("activation", ["relu", "identity", "tanh", "gelu"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_together_and_apart(case: tuple, activation: str) -> None:
    """Also the gradient to the layer before, and on two threads."""
    together, got = trained(case, activation, False, 1)
    apart, expected = trained(case, activation, True, 2)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert "with the max pooling of layer 2" in together.explain()
    assert "with the max pooling" not in apart.explain()


def test_who_else_reads_keeps_them_apart() -> None:
    """A second reader of the convolution, overlapping windows, groups, softmax over channels."""
    read = bp.Concatenate([[bp.MaxPool2D(2), bp.Flatten()], [bp.Flatten()]])
    for layers in (
        [bp.Conv2D(4, 3), read],
        [bp.Conv2D(4, 3), bp.MaxPool2D(3, strides=2), bp.Flatten()],
        [bp.Conv2D(4, 3, groups=2), bp.MaxPool2D(2), bp.Flatten()],
        [bp.Conv2D(4, 3, "softmax"), bp.MaxPool2D(2), bp.Flatten()],
    ):
        net = bp.Network([*layers, bp.Dense(2)], input_shape=(8, 8, 2))
        assert "with the max pooling" not in net.explain()
