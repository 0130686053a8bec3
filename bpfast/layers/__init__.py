"""The layers that networks are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bpfast._value import build
from bpfast.layers.base import Layer, check_layer
from bpfast.layers.dense import Dense
from bpfast.layers.dropout import Dropout
from bpfast.layers.standardize import Standardize

__all__ = ["TABLE", "Dense", "Dropout", "Layer", "Standardize", "check_layer", "from_config"]

#: Every layer that a model file can ask for, by class name.
TABLE: Final[dict[str, type[Layer]]] = {cls.__name__: cls for cls in (Dense, Dropout, Standardize)}


def from_config(config: Mapping[str, Any], argument: str = "layer") -> Layer:
    """Return a new layer made from what a layer's ``config()`` returned.

    Raises
    ------
    TypeError, ValueError
        The class is unknown, or a key or value is not one of its constructor's.
    """
    return build(argument, config, TABLE)
