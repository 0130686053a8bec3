"""Trains dense neural networks on CPUs by backpropagation: small, fast, the same bits every run.

Names are imported when first used, so that ``import bpfast`` costs nothing.
"""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpfast import layers

__version__ = "0.1.0"

#: Where each public name lives; a name that maps to "" is a module of the package.
_EXPORTS = {
    "Network": "network",
    "load": "io",
    "isas": "config",
    "set_num_threads": "config",
    "show_config": "config",
    "Layer": "layers",
    **dict.fromkeys(layers.FILES, "layers"),
    "Adagrad": "optimizers",
    "Adam": "optimizers",
    "AdamW": "optimizers",
    "Lion": "optimizers",
    "RMSprop": "optimizers",
    "Rprop": "optimizers",
    "SGD": "optimizers",
    "ElasticNet": "regularizers",
    "L1": "regularizers",
    "L2": "regularizers",
    "MaxNorm": "constraints",
    "NonNegative": "constraints",
    "EMA": "callbacks",
    "SWA": "callbacks",
    "Callback": "callbacks",
    "Checkpoint": "callbacks",
    "EarlyStopping": "callbacks",
    "GradualUnfreezing": "callbacks",
    "History": "callbacks",
    "LambdaCallback": "callbacks",
    "Progress": "callbacks",
    "TensorBoard": "callbacks",
    "WeightMonitor": "weight_monitor",
    "DivergenceError": "errors",
    "ShapeError": "errors",
    "activations": "",
    "callbacks": "",
    "constraints": "",
    "convert": "",
    "datasets": "",
    "errors": "",
    "initializers": "",
    "losses": "",
    "metrics": "",
    "optimizers": "",
    "plot": "",
    "regularizers": "",
    "schedules": "",
}

__all__ = [
    "EMA",
    "L1",
    "L2",
    "SGD",
    "SWA",
    "Adagrad",
    "Adam",
    "AdamW",
    "Callback",
    "Checkpoint",
    "DivergenceError",
    "EarlyStopping",
    "ElasticNet",
    "GradualUnfreezing",
    "History",
    "LambdaCallback",
    "Layer",
    "Lion",
    "MaxNorm",
    "Network",
    "NonNegative",
    "Progress",
    "RMSprop",
    "Rprop",
    "ShapeError",
    "TensorBoard",
    "WeightMonitor",
    "__version__",
    "activations",
    "callbacks",
    "constraints",
    "convert",
    "datasets",
    "errors",
    "initializers",
    "isas",
    "layers",
    "load",
    "losses",
    "metrics",
    "optimizers",
    "plot",
    "regularizers",
    "schedules",
    "set_num_threads",
    "show_config",
    *layers.FILES,
]

logging.getLogger(__name__).addHandler(logging.NullHandler())

if TYPE_CHECKING:
    from bpfast import (
        activations,
        callbacks,
        constraints,
        convert,
        datasets,
        errors,
        initializers,
        losses,
        metrics,
        optimizers,
        plot,
        regularizers,
        schedules,
    )
    from bpfast.callbacks import (
        EMA,
        SWA,
        Callback,
        Checkpoint,
        EarlyStopping,
        GradualUnfreezing,
        History,
        LambdaCallback,
        Progress,
        TensorBoard,
    )
    from bpfast.config import isas, set_num_threads, show_config
    from bpfast.constraints import MaxNorm, NonNegative
    from bpfast.errors import DivergenceError, ShapeError
    from bpfast.io import load
    from bpfast.layers import *  # noqa: F403
    from bpfast.layers import Layer
    from bpfast.network import Network
    from bpfast.optimizers import SGD, Adagrad, Adam, AdamW, Lion, RMSprop, Rprop
    from bpfast.regularizers import L1, L2, ElasticNet
    from bpfast.weight_monitor import WeightMonitor


def __getattr__(name: str) -> Any:
    """Import a public name, or the compiled core, when it is first used (PEP 562)."""
    if name == "_core":
        return _import_core()
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_EXPORTS[name] or name}")
    value = getattr(module, name) if _EXPORTS[name] else module
    globals()[name] = value
    return value


def _import_core() -> Any:
    """Return the compiled core; in a clone, which has none, say what to do."""
    try:
        return importlib.import_module(f"{__name__}._core")
    except ModuleNotFoundError as error:
        folder = Path(__file__).resolve().parent
        if error.name != f"{__name__}._core" or not (folder.parent / "pyproject.toml").exists():
            raise
        raise ImportError(
            f"{folder} is the source folder of bpfast, without its compiled part. Start Python "
            "elsewhere (or with -P) to use the installed package, or build the clone in place: "
            "pip install --no-build-isolation -e ."
        ) from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
