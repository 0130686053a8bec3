"""What a WeightMonitor has seen, drawn by NumPy: looks with known figures."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

import bpfast as bp


def tensor_look(values: np.ndarray, gradient: np.ndarray) -> SimpleNamespace:
    counts, edges = np.histogram(values, 32)
    slopes, slope_edges = np.histogram(gradient, 32)
    return SimpleNamespace(
        count=values.size,
        mean=float(values.mean()),
        std=float(values.std()),
        norm=float(np.sqrt((values**2).sum())),
        min=float(values.min()),
        max=float(values.max()),
        histogram=counts,
        edges=edges,
        gradient_norm=float(np.sqrt((gradient**2).sum())),
        gradient_mean=float(gradient.mean()),
        gradient_std=float(gradient.std()),
        gradient_histogram=slopes,
        gradient_edges=slope_edges,
        update_ratio=1e-3,
    )


def monitor_of(net: bp.Network, epochs: int = 6) -> SimpleNamespace:
    """A monitor that has looked at each epoch: weights spread, gradients shrink."""
    rng = np.random.default_rng(0)
    looks = []
    for epoch in range(epochs):
        tensors = {}
        for place, (name, value) in enumerate(net.params.items()):
            w = value + rng.normal(scale=0.02 * epoch, size=value.shape)
            g = rng.normal(scale=0.1 * 0.7**epoch / (1 + place), size=value.shape)
            tensors[name] = tensor_look(np.asarray(w, float), g)
        layers = {
            name.rpartition(".")[0]: SimpleNamespace(
                activation="relu", mean=0.4, std=0.6, dead=0.03, saturated=np.nan, units=32
            )
            for name in net.params
        }
        looks.append(SimpleNamespace(epoch=epoch, tensors=tensors, layers=layers))
    return SimpleNamespace(looks=looks, epochs=list(range(epochs)))
