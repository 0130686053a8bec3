"""The layers that networks are made of, each in its own file, imported when it is first used."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bpfast.layers.activation import Activation as Activation
    from bpfast.layers.avg_pool import AvgPool1D as AvgPool1D
    from bpfast.layers.avg_pool import AvgPool2D as AvgPool2D
    from bpfast.layers.base import Layer as Layer
    from bpfast.layers.batch_norm import BatchNorm as BatchNorm
    from bpfast.layers.concatenate import Concatenate as Concatenate
    from bpfast.layers.configs import from_config as from_config
    from bpfast.layers.conv import Conv1D as Conv1D
    from bpfast.layers.conv import Conv2D as Conv2D
    from bpfast.layers.dense import Dense as Dense
    from bpfast.layers.dropout import Dropout as Dropout
    from bpfast.layers.flatten import Flatten as Flatten
    from bpfast.layers.gaussian_noise import GaussianNoise as GaussianNoise
    from bpfast.layers.global_avg_pool import GlobalAvgPool as GlobalAvgPool
    from bpfast.layers.layer_norm import LayerNorm as LayerNorm
    from bpfast.layers.max_pool import MaxPool1D as MaxPool1D
    from bpfast.layers.max_pool import MaxPool2D as MaxPool2D
    from bpfast.layers.reshape import Reshape as Reshape
    from bpfast.layers.residual import Residual as Residual
    from bpfast.layers.rms_norm import RMSNorm as RMSNorm
    from bpfast.layers.siamese import Siamese as Siamese
    from bpfast.layers.slice import Slice as Slice
    from bpfast.layers.standardize import Standardize as Standardize

#: Every layer, and the file that it is in.
FILES: Final = {
    "Activation": "activation",
    "AvgPool1D": "avg_pool",
    "AvgPool2D": "avg_pool",
    "BatchNorm": "batch_norm",
    "Concatenate": "concatenate",
    "Conv1D": "conv",
    "Conv2D": "conv",
    "Dense": "dense",
    "Dropout": "dropout",
    "Flatten": "flatten",
    "GaussianNoise": "gaussian_noise",
    "GlobalAvgPool": "global_avg_pool",
    "LayerNorm": "layer_norm",
    "MaxPool1D": "max_pool",
    "MaxPool2D": "max_pool",
    "RMSNorm": "rms_norm",
    "Reshape": "reshape",
    "Residual": "residual",
    "Siamese": "siamese",
    "Slice": "slice",
    "Standardize": "standardize",
}

#: What else is public here.
_OTHERS: Final = {"Layer": "base", "from_config": "configs"}

if not TYPE_CHECKING:  # which reads the imports above
    __all__ = ["FILES", "TABLE", *_OTHERS, *FILES]


class _Table(Mapping[str, "type[Layer]"]):
    """The classes by name."""

    def __getitem__(self, name: str) -> type[Layer]:
        cls: type[Layer] = getattr(importlib.import_module(f"{__name__}.{FILES[name]}"), name)
        return cls

    def __iter__(self) -> Iterator[str]:
        return iter(FILES)

    def __len__(self) -> int:
        return len(FILES)


#: Every layer that a model file can ask for, by class name.
TABLE: Final[Mapping[str, type[Layer]]] = _Table()


def __getattr__(name: str) -> Any:
    """Import a layer when it is first used (PEP 562)."""
    file = FILES.get(name) or _OTHERS.get(name)
    if file is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{file}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_OTHERS, *FILES})
