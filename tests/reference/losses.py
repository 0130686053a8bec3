"""Losses: each function returns one value a row, and its gradient with respect to the output z."""

from __future__ import annotations

import numpy as np

from reference.activations import sigmoid, softmax, softplus


def share(t, z):
    """t z, and 0 where t is 0: an infinite z costs nothing there."""
    return np.where(t == 0, 0.0, t * np.where(t == 0, 0.0, z))


def half_squared_error(z, t, _):
    return ((z - t) ** 2).sum(axis=1) / 2, z - t


def mse(z, t, _):
    return ((z - t) ** 2).mean(axis=1), 2 * (z - t) / z.shape[1]


def mae(z, t, _):
    return np.abs(z - t).mean(axis=1), np.sign(z - t) / z.shape[1]


def huber(z, t, delta):
    r = z - t
    value = np.where(np.abs(r) <= delta, r * r / 2, delta * (np.abs(r) - delta / 2))
    return value.mean(axis=1), np.clip(r, -delta, delta) / z.shape[1]


def quantile(z, t, tau):
    r = t - z
    value = np.maximum(tau * r, (tau - 1) * r)
    slope = np.where(r > 0, -tau, np.where(r < 0, 1 - tau, 0.0))
    return value.mean(axis=1), slope / z.shape[1]


def cross_entropy(z, t, smoothing):
    t = (1 - smoothing) * t + smoothing / z.shape[1]
    total = z.max(axis=1) + np.log(np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1))
    value = share(t, total[:, None] - z).sum(axis=1)
    return value, softmax(z) * t.sum(axis=1, keepdims=True) - t


def binary_cross_entropy(z, t, smoothing):
    t = (1 - smoothing) * t + smoothing / 2
    value = share(t, softplus(-z)) + share(1 - t, softplus(z))
    return value.mean(axis=1), (sigmoid(z) - t) / z.shape[1]


def poisson(z, t, _):
    return (np.exp(z) - share(t, z)).mean(axis=1), (np.exp(z) - t) / z.shape[1]


ROWS = {
    f.__name__: f
    for f in (
        half_squared_error,
        mse,
        mae,
        huber,
        quantile,
        cross_entropy,
        binary_cross_entropy,
        poisson,
    )
}

#: distance from where the gradient jumps, given z, t and the parameter
KINKS = {
    "mae": lambda z, t, _: np.abs(z - t).min(),
    "huber": lambda z, t, delta: np.abs(np.abs(z - t) - delta).min(),
    "quantile": lambda z, t, _: np.abs(z - t).min(),
}


def one_hot(labels, classes):
    return np.eye(classes)[labels]


def loss(kind, parameter, z, t, weights=None):
    """The weighted mean over rows, and its gradient."""
    values, slopes = ROWS[kind](z, t, parameter)
    w = np.ones(len(z)) if weights is None else weights
    return (w * values).sum() / w.sum(), w[:, None] * slopes / w.sum()
