"""Write the seeds of the corpus: small model files, one of each kind of content."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import bpfast as bp

CORPUS = Path(__file__).parent / "corpus"


def networks() -> dict[str, bp.Network]:
    """The networks, by the name of their file; schema1_*.safetensors are files of before."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    plain = bp.Network([3, 2], rng=0)
    fitted = bp.Network(
        [
            bp.Standardize(),
            bp.Dense(4, "tanh", name="hidden", weight_regularizer=bp.L2(1e-3)),
            bp.Dropout(0.1),
            bp.Dense(2, use_bias=False, weight_constraint="non_negative"),
        ],
        input_shape=3,
        dtype="float64",
        rng=0,
    )
    fitted.metadata = {"who": "seed"}
    fitted.fit(X, y, loss="huber", metrics=["mae"], epochs=2, batch_size=4)
    stopped = bp.Network([3, 2], rng=0)
    stopped.fit(
        X,
        y,
        loss="mse",
        optimizer=bp.SGD(0.1, momentum=0.5),
        metrics=["r2"],
        epochs=2,
        batch_size=4,
        schedule=bp.schedules.ReduceOnPlateau("loss"),
        callbacks=[
            bp.EarlyStopping("loss"),
            bp.LambdaCallback(on_batch_end=lambda batch, logs: batch == 1),
        ],
    )
    shared = bp.Dense(3, "tanh", name="shared")
    composed = bp.Network(
        [
            bp.Flatten(),
            bp.Residual([shared, bp.Dropout(0.1), shared], activation="relu", name="block"),
            bp.Concatenate([[], [bp.Dense(2), bp.Activation("silu")], [bp.Slice(0, 1)]]),
            bp.Siamese([bp.Dense(3), bp.Residual([bp.Dense(2)])]),
            bp.Dense(3, name="up"),
            bp.Dense(tied_to=shared, name="down"),
            bp.Dense(2),
        ],
        input_shape=(3, 1),
        rng=0,
    )
    composed.fit(X, y, loss="mse", optimizer="sgd", epochs=1, batch_size=4)
    norm = bp.BatchNorm(0.2, name="norm")
    images = bp.Network(
        [
            bp.Standardize(),
            bp.Conv2D(4, (3, 2), "relu", padding="same", strides=(1, 2), groups=2, name="conv"),
            norm,
            bp.Residual([bp.Conv2D(4, 3, padding=1, dilation=1, use_bias=False), norm]),
            bp.MaxPool2D(2, strides=1, padding="same"),
            bp.AvgPool2D((2, 1)),
            bp.GaussianNoise(0.1),
            bp.RMSNorm(),
            bp.GlobalAvgPool(),
            bp.LayerNorm(scale=False),
            bp.Dense(2),
        ],
        input_shape=(4, 3, 2),
        rng=0,
    )
    pixels = rng.integers(0, 256, size=(12, 4, 3, 2), dtype=np.uint8)
    images.fit(pixels, y, loss="mse", optimizer="sgd", epochs=1, batch_size=8)
    return {
        "plain": plain,
        "fitted": fitted,
        "stopped": stopped,
        "composed": composed,
        "images": images,
    }


if __name__ == "__main__":
    CORPUS.mkdir(exist_ok=True)
    for name, net in networks().items():
        net.save(CORPUS / f"{name}.safetensors")
