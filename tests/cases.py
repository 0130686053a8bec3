"""Tables and small helpers that several test files share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from reference.losses import one_hot

import bpfast as bp
from bpfast import losses


@dataclass(frozen=True)
class LossCase:
    """A loss with one form of its targets."""

    loss: losses.Loss
    targets: str = "real"  # or labels, one_hot, soft, yes_no, counts
    last: str = "identity"  # activation of the output layer
    outputs: int = 3

    def __str__(self) -> str:
        name = repr(self.loss) if len(repr(self.loss)) < 60 else f"{self.loss.kind} of each"
        return f"{name}-{self.targets}-{self.last}-{self.outputs}"

    @property
    def parameter(self) -> float | np.ndarray:
        """One for all outputs, or one for each."""
        spec = self.loss.spec()
        return np.array(spec["each"]) if "each" in spec else float(spec["parameter"])

    def draw(self, rng: np.random.Generator, rows: int) -> np.ndarray:
        """Targets as `fit` takes them."""
        shape = (rows, self.outputs)
        if self.targets == "labels":
            return rng.integers(self.outputs, size=rows)
        if self.targets == "one_hot":
            return one_hot(rng.integers(self.outputs, size=rows), self.outputs)
        if self.targets == "soft":
            return rng.dirichlet(np.ones(self.outputs), size=rows)
        if self.targets == "yes_no":
            return rng.integers(2, size=shape)
        if self.targets == "counts":
            return rng.poisson(2.0, size=shape)
        return rng.normal(size=shape)

    def as_rows(self, y: np.ndarray) -> np.ndarray:
        """The same targets as rows of floats."""
        return one_hot(y, self.outputs) if self.targets == "labels" else y.astype(float)


LOSSES = [
    LossCase(losses.HalfSquaredError()),
    LossCase(losses.HalfSquaredError(), last="sigmoid"),
    LossCase(losses.MeanSquaredError()),
    LossCase(losses.MeanSquaredError(), last="softmax"),
    LossCase(losses.MeanSquaredError(), outputs=1),
    LossCase(losses.MeanAbsoluteError()),
    LossCase(losses.Huber(0.5)),
    LossCase(losses.Quantile(0.9)),
    LossCase(losses.Quantile((0.1, 0.5, 0.9))),
    LossCase(losses.Quantile(tuple(np.linspace(0.02, 0.98, 37).tolist())), outputs=37),
    LossCase(losses.CrossEntropy(), "labels"),
    LossCase(losses.CrossEntropy(), "labels", "softmax"),
    LossCase(losses.CrossEntropy(), "labels", outputs=37),
    LossCase(losses.CrossEntropy(), "one_hot"),
    LossCase(losses.CrossEntropy(), "soft", "softmax"),
    LossCase(losses.CrossEntropy(0.1), "labels"),
    LossCase(losses.CrossEntropy(0.1), "soft"),
    LossCase(losses.BinaryCrossEntropy(), "yes_no", outputs=1),
    LossCase(losses.BinaryCrossEntropy(), "yes_no", "sigmoid"),
    LossCase(losses.BinaryCrossEntropy(), "soft"),
    LossCase(losses.BinaryCrossEntropy(0.2), "yes_no", outputs=37),
    LossCase(losses.Poisson(), "counts"),
]

REGULARIZERS = [bp.L1(0.03), bp.L2(0.2), bp.ElasticNet(0.02, 0.1)]

OPTIMIZERS = [
    bp.SGD(0.05),
    bp.SGD(0.05, momentum=0.9),
    bp.SGD(0.05, momentum=0.8, nesterov=True),
    bp.Adam(0.02),
    bp.Adam(0.02, beta_1=0.8, beta_2=0.95, epsilon=1e-4),
    bp.Adam(0.02, bias_correction=False),
    bp.AdamW(0.02, weight_decay=0.3),
    bp.AdamW(0.02, weight_decay=0.3, bias_correction=False),
    bp.RMSprop(0.01, rho=0.7, epsilon=1e-4),
    bp.Adagrad(0.05, epsilon=1e-4),
    bp.Rprop(0.01, etas=(0.4, 1.3), step_limits=(0.006, 0.015)),
    bp.Lion(0.01, beta_1=0.7, beta_2=0.9),
    bp.Lion(0.01, weight_decay=0.2),
]


def sha256(net: bp.Network) -> str:
    """The hash of a network's weights."""
    return hashlib.sha256(net.parameters.tobytes()).hexdigest()


def everything(net: bp.Network) -> tuple[object, ...]:
    """All that a call could change: bits of tensors and state, counters, description, history."""
    tensors, description = net.__getstate__()["tensors"], net.__getstate__()["description"]
    bits = {name: array.tobytes() for name, array in tensors.items()}
    record = None if net.history is None else net.history.get_state()["history"]
    record = {k: v for k, v in (record or {}).items() if k != "seconds"}
    return bits, net._buffers.tobytes(), repr(description), repr(record), net._lock.owner


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are equal in dtype, shape and every bit."""
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """|a - b| / (|a| + |b|), by Euclidean norms; 0 when both are 0."""
    total = float(np.linalg.norm(a) + np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / total if total else 0.0


def double_net(layers: list[bp.Layer], inputs: int | tuple[int, ...], seed: int) -> bp.Network:
    """A float64 network whose biases are not zero, nor the scales of its norms one."""
    net = bp.Network(layers, input_shape=inputs, dtype="float64", rng=seed)
    draw = np.random.default_rng(seed)
    for name, view in net.params.items():
        if name.endswith((".bias", ".beta")):
            view[:] = draw.normal(scale=0.3, size=view.shape)
        elif name.endswith(".gamma"):
            view[:] = draw.normal(1.0, 0.3, size=view.shape)
    return net
