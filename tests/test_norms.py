"""Normalisation and noise where batches are special: one value, far from zero, step by step.

What they are on ordinary batches, test_layer_gradients.py and test_layers_torch.py show.
"""

from __future__ import annotations

import numpy as np
import pytest
from cases import same_bits
from reference.layers import running

import bpfast as bp

EPSILON = 1e-5


def net_of(layers: list[bp.Layer], shape: tuple[int, ...] | int, dtype: str = "float64"):
    return bp.Network(layers, input_shape=shape, dtype=dtype, rng=0)


def test_batchnorm_by_hand():
    """One channel, x = 1, 2, 3, 6: mean 3, deviations -2, -1, 0, 3, variance 14/4."""
    net = net_of([bp.BatchNorm(momentum=0.5)], 1)
    net.params["0.gamma"][:], net.params["0.beta"][:] = 2.0, 10.0
    x = np.array([[1.0], [2.0], [3.0], [6.0]])
    deviation = np.sqrt(3.5 + EPSILON)
    t = np.array([[-2.0], [-1.0], [0.0], [3.0]]) / deviation
    np.testing.assert_allclose(net.forward(x, training=True), 2 * t + 10, rtol=1e-15)
    dy = np.array([[1.0], [0.0], [0.0], [1.0]])  # mean 1/2; mean of dy t = 1/4 t_0 + 1/4 t_3
    slope = 0.25 / deviation
    dx = net.backward(dy)
    np.testing.assert_allclose(dx, 2 / deviation * (dy - 0.5 - t * slope), rtol=1e-14, atol=1e-16)
    np.testing.assert_allclose(net.grads["0.gamma"], [1 / deviation], rtol=1e-15)
    assert net.grads["0.beta"] == [2.0]
    assert net.buffers["0.running_mean"] == [1.5]  # half of 3
    np.testing.assert_allclose(net.buffers["0.running_variance"], [0.5 + 0.5 * 14 / 3], rtol=1e-15)
    inferred = (x - 1.5) / np.sqrt(0.5 + 7 / 3 + EPSILON) * 2 + 10
    np.testing.assert_allclose(net.predict(x), inferred, rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_value_is_its_own_mean(dtype, rng):
    """One row alone: beta, no gradient, and nothing learnt; with positions it has a variance."""
    net = net_of([bp.BatchNorm()], 35, dtype)
    net.params["0.beta"][:] = rng.normal(size=35)
    x = (1e3 * rng.normal(size=(1, 35))).astype(dtype)
    assert same_bits(net.forward(x, training=True)[0], net.params["0.beta"])
    dy = rng.normal(size=(1, 35)).astype(dtype)
    assert not net.backward(dy).any()
    assert not net.grads["0.gamma"].any()
    assert same_bits(net.grads["0.beta"], dy[0])
    assert not net.buffers["0.running_mean"].any()
    assert (net.buffers["0.running_variance"] == 1).all()

    image = net_of([bp.BatchNorm(), bp.Flatten()], (2, 3, 5), dtype)
    x = rng.normal(size=(1, 2, 3, 5)).astype(dtype)
    image.forward(x, training=True)
    mean, variance = running(np.zeros(5), np.ones(5), x.astype(float), 0.1)
    np.testing.assert_allclose(image.buffers["0.running_mean"], mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(image.buffers["0.running_variance"], variance, rtol=1e-5)


@pytest.mark.parametrize("kind", [bp.BatchNorm, bp.LayerNorm])
@pytest.mark.parametrize("offset", [1e2, 1e4])
@pytest.mark.parametrize("rows", [8, 100, 1001])
def test_values_far_from_zero(kind, offset, rows, rng):
    """float32 keeps the deviations: a difference of squares would have lost them at 1e4.

    The mean rounds to half a unit of the offset, 2^-24 of it, and that shifts every deviation.
    """
    x = (offset + rng.normal(size=(rows, 64))).astype(np.float32)
    net = net_of([kind()], 64, "float32")
    axis = 0 if kind is bp.BatchNorm else 1
    exact = x.astype(float)
    exact = (exact - exact.mean(axis, keepdims=True)) / np.sqrt(
        exact.var(axis, keepdims=True) + EPSILON
    )
    # deviations of 1, of eight rows as little as a fifth; sums of 8 or 64 round some times more
    assert np.abs(net.forward(x, training=True) - exact).max() <= 20 * 2.0**-24 * offset


def test_constant_columns_and_rows():
    """No variance: the deviations are zero, not NaN, and so is the gradient's part along them."""
    x = np.full((9, 6), 3.0, np.float32)
    for kind in (bp.BatchNorm, bp.LayerNorm):
        net = net_of([kind()], 6, "float32")
        assert not net.forward(x, training=True).any()
        assert np.isfinite(net.backward(np.eye(9, 6, dtype=np.float32))).all()
    zero = net_of([bp.RMSNorm()], 6, "float32")
    assert not zero.forward(0 * x, training=True).any()
    assert np.isfinite(zero.backward(np.eye(9, 6, dtype=np.float32))).all()


# ---- noise ---------------------------------------------------------------------------------------


def noise(rows: int, shape: tuple[int, ...], dtype: str, step: int = 0) -> np.ndarray:
    """What a layer of deviation 1/2 adds to zeros, divided by 1/2."""
    net = net_of([bp.GaussianNoise(0.5), bp.Flatten(), bp.Dense(1)], shape, dtype)
    for _ in range(step):
        net.forward(np.zeros((1, *shape)), training=True)
        net.backward(np.zeros((1, 1)))
        net.step(bp.SGD(0.1))
    weights = net.params["2.kernel"]
    found = np.empty((rows, weights.size))
    for j in range(weights.size):  # read through a layer of one weight
        weights[:] = 0
        weights[j] = 2
        found[:, j] = net.forward(np.zeros((rows, *shape)), training=True)[:, 0]
    return found


def test_noise_is_normal():
    """Mean, variance, fourth moment and neighbours within 5 standard errors; a fixed seed."""
    z = noise(2000, (7,), "float64").ravel()
    error = 1 / np.sqrt(z.size)
    assert abs(z.mean()) < 5 * error
    assert abs((z**2).mean() - 1) < 5 * np.sqrt(2) * error
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96) * error
    assert abs((z[1:] * z[:-1]).mean()) < 5 * error


@pytest.mark.parametrize("shape", [(7,), (2, 3, 5)])
def test_noise_is_of_the_step_row_and_column(shape):
    """Rows may come in any number, in either dtype; the next step draws anew."""
    single, double = noise(20, shape, "float32"), noise(20, shape, "float64")
    assert same_bits(noise(9, shape, "float64"), double[:9])
    # float32 rounds the angle, 2 pi / 2^24, the radius, at most 5.8, and vmath.h's functions
    assert np.abs(single - double).max() <= 60 * 2.0**-23
    later = noise(20, shape, "float64", step=1)
    assert (later != double).all()
    assert np.unique(np.concatenate([double, later])).size == 2 * double.size


def test_noise_is_for_training(rng):
    """Inference and the gradient pass it by."""
    net = net_of([bp.GaussianNoise(0.5), bp.Dense(4)], 6)
    plain = net_of([bp.Dense(4)], 6)
    plain.parameters[:] = net.parameters
    X, dy = rng.normal(size=(30, 6)), rng.normal(size=(30, 4))
    assert same_bits(net.predict(X), plain.predict(X))
    assert not np.array_equal(net.forward(X, training=True), plain.forward(X, training=True))
    assert same_bits(net.backward(dy), plain.backward(dy))
