"""Activations, their derivatives, and where the derivatives jump.

A new activation needs a row in `VALUES`; a row in `SLOPES` adds the comparison of gradients.
"""

from __future__ import annotations

import math

import numpy as np

erf = np.vectorize(math.erf, otypes=[float])

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
ROOT = math.sqrt(2 / math.pi)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def normal_density(z):
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def gelu_tanh_slope(z):
    t = np.tanh(ROOT * (z + 0.044715 * z**3))
    return (1 + t) / 2 + z / 2 * (1 - t * t) * ROOT * (1 + 3 * 0.044715 * z * z)


#: y = f(z), for rows z
VALUES = {
    "identity": lambda z: z,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    "selu": lambda z: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(z)),
    "gelu": lambda z: z / 2 * (1 + erf(z / math.sqrt(2))),
    "gelu_tanh": lambda z: z / 2 * (1 + np.tanh(ROOT * (z + 0.044715 * z**3))),
    "silu": lambda z: z * sigmoid(z),
    "mish": lambda z: z * np.tanh(softplus(z)),
    "softplus": softplus,
    "softsign": lambda z: z / (1 + np.abs(z)),
    "hard_sigmoid": lambda z: np.clip(z + 3, 0, 6) / 6,
    "hard_swish": lambda z: z * np.clip(z + 3, 0, 6) / 6,
    "softmax": softmax,
}

#: dy/dz, where each output depends on one input alone
SLOPES = {
    "identity": np.ones_like,
    "sigmoid": lambda z: sigmoid(z) * (1 - sigmoid(z)),
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "relu": lambda z: np.where(z > 0, 1.0, 0.0),
    "leaky_relu": lambda z: np.where(z > 0, 1.0, 0.01),
    "elu": lambda z: np.where(z > 0, 1.0, np.exp(z)),
    "selu": lambda z: SELU_SCALE * np.where(z > 0, 1.0, SELU_ALPHA * np.exp(z)),
    "gelu": lambda z: (1 + erf(z / math.sqrt(2))) / 2 + z * normal_density(z),
    "gelu_tanh": gelu_tanh_slope,
    "silu": lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z))),
    "mish": lambda z: np.tanh(softplus(z)) + z * sigmoid(z) * (1 - np.tanh(softplus(z)) ** 2),
    "softplus": sigmoid,
    "softsign": lambda z: 1 / (1 + np.abs(z)) ** 2,
    "hard_sigmoid": lambda z: np.where(np.abs(z) < 3, 1 / 6, 0.0),
    "hard_swish": lambda z: np.where(z < -3, 0.0, np.where(z > 3, 1.0, (2 * z + 3) / 6)),
}

#: points without a derivative, or with a jump in the second
KINKS = {
    "relu": (0,),
    "leaky_relu": (0,),
    "elu": (0,),
    "selu": (0,),
    "softsign": (0,),
    "hard_sigmoid": (-3, 3),
    "hard_swish": (-3, 3),
}


def backward(name, dy, z):
    """The gradient with respect to z."""
    if name == "softmax":
        y = softmax(z)
        return y * (dy - (dy * y).sum(axis=1, keepdims=True))
    return dy * SLOPES[name](z)


def kink_distance(name, z):
    """The least distance of any element from a kink."""
    return min((np.abs(z - kink).min() for kink in KINKS.get(name, ())), default=np.inf)
