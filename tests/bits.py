"""Prints the bits of trained networks, one line each: two builds must print the same."""

from __future__ import annotations

import hashlib

import numpy as np

import bpfast as bp
from bpfast import config

LAYERS = {
    "dropout": [bp.Standardize(), bp.Dense(96, "relu"), bp.Dropout(0.3), bp.Dense(5)],
    "dropconnect": [bp.Dense(70, "gelu", weight_dropout=0.2), bp.Dense(5)],
    "deep": [
        bp.Dense(33, "tanh"),
        bp.Dense(17, "silu", weight_regularizer=bp.L2(1e-3)),
        bp.Dense(5),
    ],
}
OPTIMIZERS = [bp.Adam(0.01), bp.SGD(0.01, momentum=0.9, clip_norm=1.0), bp.Lion(1e-3)]


def bits(layers: list[bp.Layer], optimizer: bp.Optimizer, dtype: str, n_threads: int) -> str:
    """Hash weights, history and predictions after three epochs."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(700, 40)), rng.integers(5, size=700)
    net = bp.Network(layers, input_shape=40, dtype=dtype, rng=1, n_threads=n_threads)
    net.fit(
        X, y, loss="cross_entropy", optimizer=optimizer, epochs=3, batch_size=64,
        validation_split=0.2, metrics=["accuracy"],
    )  # fmt: skip
    record = {k: v for k, v in net.history.history.items() if k != "seconds"}
    seen = net.parameters.tobytes() + net.predict(X).tobytes() + repr(record).encode()
    return hashlib.sha256(seen).hexdigest()


if __name__ == "__main__":
    config.exact_threads = True  # where there are threads
    for name, layers in LAYERS.items():
        for optimizer in OPTIMIZERS:
            for dtype in ("float32", "float64"):
                for n_threads in (1, 4):
                    found = bits(layers, optimizer, dtype, n_threads)
                    print(found, name, optimizer.kind, dtype, n_threads)
