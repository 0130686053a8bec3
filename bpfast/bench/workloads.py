"""The table of what is trained and predicted. Without NumPy: the command's help reads it.

A workload is dense layers with one activation inside, logits or values at the end, minibatches in a
new order each epoch, float32, data in memory. One has BatchNorm between each hidden layer's product
and its activation, and no biases there; one begins with convolutions. `data.py` makes rows and
weights up.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any


@dataclass(frozen=True)
class Workload:
    """One network, and what is timed of it.

    Attributes
    ----------
    name : str
    sizes : tuple of int
        Inputs, units of each hidden dense layer, outputs.
    activation : {"tanh", "relu"}
        Of the hidden layers.
    batch : int
        Rows of a minibatch, or of a call that predicts.
    kind : {"fit", "gradient", "predict"}, default "fit"
        What is timed: training, forward and backward of one batch, or predicting one.
    loss : {"mse", "cross_entropy"}, default "mse"
    optimizer : {"adam", "momentum"}, default "adam"
        At the rates of `RATES`; of "fit" alone.
    steps : int, default 1
        Minibatches of an epoch; there is no ragged one.
    epochs : int, default 1
        Epochs of one call of "fit": more where an epoch takes under a few milliseconds, since the
        call itself would show.
    norm : bool, default False
        BatchNorm after each hidden dense layer.
    image : tuple of int, optional
        Height, width and channels of the inputs, where there are convolutions.
    filters : tuple of int, default ()
        Of each convolution before the dense layers: windows of 3 x 3 that stay inside, bias,
        activation, then the largest of each 2 x 2.
    """

    name: str
    sizes: tuple[int, ...]
    activation: str
    batch: int
    kind: str = "fit"
    loss: str = "mse"
    optimizer: str = "adam"
    steps: int = 1
    epochs: int = 1
    norm: bool = False
    image: tuple[int, int, int] | None = None
    filters: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of the data."""
        return self.batch * self.steps

    @property
    def maps(self) -> list[tuple[int, int, int]]:
        """Height, width and channels of the inputs, and after each convolution and its pool."""
        found = [self.image] if self.image else []
        for filters in self.filters:
            height, width, _ = found[-1]
            found.append(((height - 2) // 2, (width - 2) // 2, filters))
        return found

    @property
    def dense(self) -> tuple[int, ...]:
        """What goes into the first dense layer, and the units of all."""
        return (prod(self.maps[-1]) if self.image else self.sizes[0], *self.sizes[1:])

    @property
    def gflop(self) -> float:
        """10^9 operations of the products of one step: two for each multiply-add.

        Forward, weight gradients and input gradients, these but for the first layer.
        """
        before = self.maps[:-1]
        layers = [
            (h - 2) * (w - 2) * 9 * c * n for (h, w, c), n in zip(before, self.filters, strict=True)
        ]
        layers += [inputs * outputs for inputs, outputs in pairwise(self.dense)]
        each_row = sum(layers) if self.kind == "predict" else 3 * sum(layers) - layers[0]
        return 2e-9 * self.batch * each_row

    def __str__(self) -> str:
        sizes = self.sizes
        middle = "-".join(map(str, sizes[1:-1]))
        if len(sizes) > 5 and len(set(sizes[1:-1])) == 1:
            middle = f"{len(sizes) - 2}x{sizes[1]}"
        inputs = "x".join(map(str, self.image or sizes[:1]))
        first = "-".join([inputs, *(f"conv{n}" for n in self.filters)])
        network = f"{first}-{middle}-{sizes[-1]} {self.activation}{', BatchNorm' * self.norm}"
        if self.kind == "predict":
            return f"{network}, {self.batch} row{'s' * (self.batch > 1)}"
        loss = {"cross_entropy": "CE", "mse": "MSE"}[self.loss]
        optimizer = f", {self.optimizer}" if self.kind == "fit" else ""
        return f"{network}, {loss}{optimizer}, batch {self.batch}"


#: Learning rates and what else the optimizers take, the same for all.
RATES = {"adam": 1e-3, "momentum": 1e-2}
MOMENTUM = 0.9
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
#: BatchNorm's, as in PyTorch: the weight of a batch in the running statistics.
NORM_MOMENTUM, NORM_EPSILON = 0.1, 1e-5


def _fit(
    name: str,
    sizes: tuple[int, ...],
    activation: str,
    loss: str,
    optimizer: str,
    batch: int,
    steps: int,
    epochs: int = 1,
    **layers: Any,
) -> Workload:
    """Return a row of the table below."""
    return Workload(name, sizes, activation, batch, "fit", loss, optimizer, steps, epochs, **layers)


TRAINING = {
    w.name: w
    for w in (
        # Name, sizes, activation, loss, optimizer, batch, steps of an epoch, epochs of a call.
        _fit("T0", (4, 16, 3), "tanh", "cross_entropy", "momentum", 16, 200, 20),
        _fit("T1", (8, 64, 64, 4), "tanh", "mse", "adam", 64, 200, 20),
        _fit("T2", (64, 128, 10), "relu", "cross_entropy", "adam", 32, 100, 20),
        _fit("T3", (100, 256, 256, 1), "relu", "mse", "adam", 256, 100),
        _fit("T3b", (100, 256, 256, 1), "relu", "mse", "adam", 1024, 25),
        _fit("T4", (784, 512, 256, 10), "relu", "cross_entropy", "adam", 128, 60),
        _fit("T5", (1024, 2048, 2048, 1024), "relu", "mse", "momentum", 512, 8),
        _fit("T6", (256, *[256] * 8, 10), "relu", "cross_entropy", "adam", 128, 40),
        _fit("T6bn", (256, *[256] * 8, 10), "relu", "cross_entropy", "adam", 128, 40, norm=True),
        _fit("T7", (784, 128, 10), "relu", "cross_entropy", "adam", 64, 40,
             image=(28, 28, 1), filters=(16, 32)),
    )
}  # fmt: skip

PREDICTION = {
    w.name: w
    for rows in (1, 1024)
    for w in (
        Workload(f"P1x{rows}", (8, 64, 64, 4), "tanh", rows, "predict"),
        Workload(f"P2x{rows}", (64, 128, 10), "relu", rows, "predict"),
        Workload(f"P3x{rows}", (784, 512, 256, 10), "relu", rows, "predict"),
    )
}
ALL = TRAINING | PREDICTION
