"""A dense network: forward, backward, penalties, constraints, metrics.

Parameters are dicts as `Network.params`: "0.kernel" (inputs, outputs) and "0.bias". Layers are the
`bpfast.Dense` objects, of which only the attributes are read.
"""

from __future__ import annotations

import numpy as np

from reference import activations, losses
from reference.graph import regularizers


def forward(layers, params, x):
    """Each layer's input, pre-activation and output."""
    trace = []
    for i, layer in enumerate(layers):
        z = x @ params[f"{i}.kernel"]
        if layer.use_bias:
            z = z + params[f"{i}.bias"]
        y = activations.VALUES[layer.activation](z)
        trace.append((x, z, y))
        x = y
    return trace


def output(layers, params, x):
    return forward(layers, params, x)[-1][2]


def backward(layers, params, trace, dy, skip_last=False):
    """Gradients of the parameters and of the input; skip_last: dy is that of the last z."""
    gradients = {}
    for i in reversed(range(len(layers))):
        x, z, _ = trace[i]
        last = i == len(layers) - 1
        dz = dy if skip_last and last else activations.backward(layers[i].activation, dy, z)
        gradients[f"{i}.kernel"] = x.T @ dz
        if layers[i].use_bias:
            gradients[f"{i}.bias"] = dz.sum(axis=0)
        dy = dz @ params[f"{i}.kernel"].T
    return gradients, dy


FUSED = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}


def loss_and_gradient(layers, params, x, t, kind, parameter=0.0, weights=None):
    """Data term plus penalties, and the gradients of their sum."""
    trace = forward(layers, params, x)
    fused = FUSED.get(kind) == layers[-1].activation
    _, z, y = trace[-1]
    value, slope = losses.loss(kind, parameter, z if fused else y, t, weights)
    gradients, _ = backward(layers, params, trace, slope, skip_last=fused)
    for name, regularizer in regularizers(layers):
        w = params[name]
        value += regularizer.l1 * np.abs(w).sum() + regularizer.l2 / 2 * (w**2).sum()
        gradients[name] = gradients[name] + regularizer.l1 * np.sign(w) + regularizer.l2 * w
    return value, gradients


def constrained(layers, params):
    """The parameters moved to where their constraints allow."""
    result = dict(params)
    for i, layer in enumerate(layers):
        limit, w = layer.weight_constraint, params[f"{i}.kernel"]
        if limit is None:
            continue
        if limit.non_negative:
            w = np.maximum(w, 0)
        if limit.max_norm:
            norms = np.sqrt((w**2).sum(axis=0))
            w = w * np.minimum(1, limit.max_norm / np.where(norms > 0, norms, 1))
        result[f"{i}.kernel"] = w
    return result


def kink_distance(layers, params, x):
    """The least distance of any pre-activation from a kink of its activation."""
    trace = forward(layers, params, x)
    steps = zip(layers, trace, strict=True)
    return min(activations.kink_distance(layer.activation, z) for layer, (_, z, _) in steps)


# ---- metrics: output y, targets t, weights of rows --------------------------------------------


def accuracy(right, weights):
    return (weights * right).sum() / weights.sum()


def mse(y, t, weights):
    return (weights * ((y - t) ** 2).mean(axis=1)).sum() / weights.sum()


def mae(y, t, weights):
    return (weights * np.abs(y - t).mean(axis=1)).sum() / weights.sum()


def r2(y, t, weights):
    mean = (weights[:, None] * t).sum(axis=0) / weights.sum()
    residual = (weights[:, None] * (y - t) ** 2).sum(axis=0)
    spread = (weights[:, None] * (t - mean) ** 2).sum(axis=0)
    return (1 - residual / spread).mean()
