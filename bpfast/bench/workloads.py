"""The table of what is trained and predicted. Without NumPy: the command's help reads it.

A workload is dense layers with one activation inside, logits or values at the end, minibatches in a
new order each epoch, float32, data in memory. `data.py` makes rows and weights up.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Workload:
    """One network, and what is timed of it.

    Attributes
    ----------
    name : str
    sizes : tuple of int
        Inputs, units of each hidden layer, outputs.
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

    @property
    def rows(self) -> int:
        """Rows of the data."""
        return self.batch * self.steps

    @property
    def gflop(self) -> float:
        """10^9 operations of the matrix products of one step: two for each multiply-add.

        Forward, weight gradients and input gradients, these but for the first layer.
        """
        first = self.sizes[0] * self.sizes[1]
        all_layers = sum(inputs * outputs for inputs, outputs in pairwise(self.sizes))
        each_row = all_layers if self.kind == "predict" else 3 * all_layers - first
        return 2e-9 * self.batch * each_row

    def __str__(self) -> str:
        sizes = self.sizes
        middle = "-".join(map(str, sizes[1:-1]))
        if len(sizes) > 5 and len(set(sizes[1:-1])) == 1:
            middle = f"{len(sizes) - 2}x{sizes[1]}"
        network = f"{sizes[0]}-{middle}-{sizes[-1]} {self.activation}"
        if self.kind == "predict":
            return f"{network}, {self.batch} row{'s' * (self.batch > 1)}"
        loss = {"cross_entropy": "CE", "mse": "MSE"}[self.loss]
        optimizer = f", {self.optimizer}" if self.kind == "fit" else ""
        return f"{network}, {loss}{optimizer}, batch {self.batch}"


#: Learning rates and what else the optimizers take, the same for all.
RATES = {"adam": 1e-3, "momentum": 1e-2}
MOMENTUM = 0.9
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def _fit(
    name: str, sizes: tuple[int, ...], activation: str, loss: str, optimizer: str, *counts: int
) -> Workload:
    """Return a row of the table below."""
    return Workload(name, sizes, activation, counts[0], "fit", loss, optimizer, *counts[1:])


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
    )
}

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
