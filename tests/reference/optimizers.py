"""Optimizers: each function changes one array w by one step and keeps its memory in `state`.

`t` counts steps from 1. The keyword arguments are those of the classes of `bpfast.optimizers`.
"""

from __future__ import annotations

import numpy as np


def sgd(w, g, state, t, learning_rate, momentum, nesterov):
    v = momentum * state.get("v", 0) + learning_rate * g
    state["v"] = v
    return w - (momentum * v + learning_rate * g if nesterov else v)


def adam(w, g, state, t, learning_rate, beta_1, beta_2, epsilon, bias_correction):
    m = state["m"] = beta_1 * state.get("m", 0) + (1 - beta_1) * g
    v = state["v"] = beta_2 * state.get("v", 0) + (1 - beta_2) * g * g
    if bias_correction:
        m, v = m / (1 - beta_1**t), v / (1 - beta_2**t)
    return w - learning_rate * m / (np.sqrt(v) + epsilon)


def adamw(w, g, state, t, learning_rate, weight_decay, **rest):
    return adam(w - learning_rate * weight_decay * w, g, state, t, learning_rate, **rest)


def rmsprop(w, g, state, t, learning_rate, rho, epsilon):
    v = state["v"] = rho * state.get("v", 0) + (1 - rho) * g * g
    return w - learning_rate * g / (np.sqrt(v) + epsilon)


def adagrad(w, g, state, t, learning_rate, epsilon):
    s = state["s"] = state.get("s", 0) + g * g
    return w - learning_rate * g / (np.sqrt(s) + epsilon)


def rprop(w, g, state, t, learning_rate, etas, step_limits):
    last = state.get("last", np.zeros_like(w))
    step = state.get("step", np.full_like(w, learning_rate))
    turn = np.sign(g) * np.sign(last)
    step = np.where(turn > 0, np.minimum(etas[1] * step, step_limits[1]), step)
    step = np.where(turn < 0, np.maximum(etas[0] * step, step_limits[0]), step)
    g = np.where(turn < 0, 0, g)
    state["last"], state["step"] = g, step
    return w - np.sign(g) * step


def lion(w, g, state, t, learning_rate, beta_1, beta_2, weight_decay):
    m = state.get("m", 0)
    state["m"] = beta_2 * m + (1 - beta_2) * g
    direction = np.sign(beta_1 * m + (1 - beta_1) * g)
    return w - learning_rate * (direction + weight_decay * w)


RULES = {f.__name__: f for f in (sgd, adam, adamw, rmsprop, adagrad, rprop, lion)}


def clipped(gradients, clip_norm, clip_value):
    """The gradients after both limits, the norm of all of them first."""
    if clip_norm is not None:
        norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
        if norm > clip_norm:
            gradients = {k: g * clip_norm / norm for k, g in gradients.items()}
    if clip_value is not None:
        gradients = {k: np.clip(g, -clip_value, clip_value) for k, g in gradients.items()}
    return gradients


def step(optimizer, params, gradients, states, t):
    """One step of a `bpfast` optimizer on dicts of arrays; returns the new ones."""
    numbers = dict(optimizer.arguments())
    gradients = clipped(gradients, numbers.pop("clip_norm"), numbers.pop("clip_value"))
    rule = RULES[optimizer.kind]
    return {k: rule(w, gradients[k], states[k], t, **numbers) for k, w in params.items()}
