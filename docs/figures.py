"""The figures of the README, from a training on the digits: ``python docs/figures.py``.

Needs ``pip install '.[plot]'``; takes some seconds, and writes the PNG files beside itself.
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

import bpfast as bp

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Train, and draw."""
    X, y = bp.datasets.load_digits()
    held, rest = slice(0, 400), slice(400, None)
    layers = [
        bp.Standardize(),
        bp.Dense(64, "relu", name="first"),
        bp.Dense(32, "relu", name="second"),
        bp.Dense(10, name="out"),
    ]
    net = bp.Network(layers, input_shape=64, rng=0)
    test = net.find_lr(X[rest], y[rest], loss="cross_entropy")
    monitor = bp.WeightMonitor()
    history = net.fit(
        X[rest],
        y[rest],
        loss="cross_entropy",
        optimizer=bp.Adam(test.suggestion),
        epochs=12,
        validation_data=(X[held], y[held]),
        callbacks=[monitor],
    )

    figure = Figure((9, 5.4), layout="constrained")
    axes = figure.subplots(2, 2)
    bp.plot.learning_curves(history, ax=axes[0, 0])
    bp.plot.learning_rate_test(test, ax=axes[0, 1])
    bp.plot.weights(monitor, "first.kernel", ax=axes[1, 0])
    bp.plot.gradient_flow(monitor, ax=axes[1, 1])
    figure.savefig(HERE / "training.png", dpi=80)

    figure = Figure((9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    bp.plot.first_layer(net, ax=left)
    bp.plot.confusion(y[held], net.predict_classes(X[held]), ax=right)
    figure.savefig(HERE / "network.png", dpi=80)


if __name__ == "__main__":
    main()
