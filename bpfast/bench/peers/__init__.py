"""What bpfast is measured beside: one row a peer, one file a library.

A peer's file imports its library and is imported only in the process that measures it. Each is
written as its expert users would write it; all do the same work on the same data from the same
weights.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from typing import Any, Protocol

from bpfast.bench.data import Array
from bpfast.bench.workloads import Workload


class Trainer(Protocol):
    """Trains a workload; made with threads that are pinned already.

    Parameters
    ----------
    workload : Workload
    X, y : ndarray
        As from `data.rows`.
    threads : int
    dtype : default float32
        Of weights and arithmetic; tests compare in float64.
    """

    def __init__(
        self, workload: Workload, X: Array, y: Array, *, threads: int = 1, dtype: Any = ...
    ) -> None: ...

    def reset(self) -> None:
        """Go back to the start: weights, moments and steps."""

    def fit(self, epochs: int, *, shuffle: bool = True) -> list[float]:
        """Train some epochs; return each one's mean loss, when all the work is done."""

    def weights(self) -> Array:
        """Return the weights as one vector, in the order of `data.start`."""


class GradientTrainer(Trainer, Protocol):
    """A trainer that also stops before the update."""

    def gradient(self) -> float:
        """Compute the gradients of the mean loss of all rows; return the loss."""


class Predictor(Protocol):
    """Predicts the rows X (rows, inputs), from a NumPy array to a NumPy array.

    Its weights are those of `data.start`.
    """

    def __init__(self, workload: Workload, X: Array, *, threads: int = 1) -> None: ...

    def __call__(self) -> Array:
        """Return outputs (rows, outputs), or (outputs,) for a single row."""


@dataclass(frozen=True)
class Peer:
    """One way to train or predict.

    Attributes
    ----------
    name, title : str
        On the command line and in records; in tables.
    file : str
        Its module in this package.
    packages : tuple of str
        What must be installed; the version of the first is recorded.
    trainer, predictor : str
        Classes in `file`, empty where it does not do that.
    layers : bool, default False
        It also does networks of layers other than dense.
    short : tuple of str
        Kinds of workload that `bpfast bench` times it on: not what takes many seconds to compile,
        and of a library's two ways the faster one.
    """

    name: str
    title: str
    file: str
    packages: tuple[str, ...]
    trainer: str = "Trainer"
    predictor: str = "Predictor"
    short: tuple[str, ...] = ("fit", "predict")
    layers: bool = False

    def does(self, workload: Workload) -> bool:
        """Say whether it has a way to do this workload."""
        if workload.kind == "gradient":
            return self.name in ("bpfast", "numpy")
        if (workload.norm or workload.filters) and not self.layers:
            return False
        return bool(self.predictor if workload.kind == "predict" else self.trainer)

    def installed(self) -> bool:
        """Say whether all that it needs is installed, without importing it."""
        return all(importlib.util.find_spec(name) for name in self.packages)

    def load(self, workload: Workload) -> Any:
        """Return the class that does the workload."""
        module = importlib.import_module(f"{__name__}.{self.file}")
        return getattr(module, self.predictor if workload.kind == "predict" else self.trainer)

    def version(self) -> str:
        """Return the version of its library."""
        names = {"sklearn": "scikit-learn"}  # where the package and what is installed differ
        first = self.packages[0]
        return importlib.metadata.version(names.get(first, first))


ALL = {
    peer.name: peer
    for peer in (
        Peer("bpfast", "bpfast", "ours", ("bpfast",), layers=True),
        Peer("numpy", "NumPy", "numpy_good", ("numpy",)),
        Peer("numpy-naive", "naive NumPy", "numpy_naive", ("numpy",), predictor=""),
        Peer("sklearn", "scikit-learn", "sklearn_mlp", ("sklearn",)),
        Peer("torch", "PyTorch", "torch_cpu", ("torch",), layers=True),
        Peer("torch-compiled", "compiled PyTorch", "torch_cpu", ("torch",), "CompiledTrainer",
             "CompiledPredictor", short=(), layers=True),
        Peer("jax-jit", "JAX jit", "jax_cpu", ("jax",), short=("predict",), layers=True),
        Peer("jax-scan", "JAX scan", "jax_cpu", ("jax",), "ScanTrainer", predictor="",
             layers=True),
        Peer("onnxruntime", "onnxruntime", "onnx_runtime", ("onnxruntime", "onnx"), trainer=""),
    )
}  # fmt: skip
