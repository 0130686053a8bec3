"""Model files with what the command keeps beside the weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import bpfast as bp
from bpfast.cli.data import TABLE, Data
from bpfast.cli.schema import Schema

if TYPE_CHECKING:
    from bpfast.network import Network


@dataclass(frozen=True)
class Model:
    """A network, and what `describe` wrote beside it.

    Attributes
    ----------
    net : Network
        The network.
    classes : ndarray of int64 or str
        The label of each output; empty where the output is a quantity.
    source : str
        What data it was trained on (`Data.source`); empty when the file does not say.
    seed : int
        The seed of their split.
    schema : Schema or None
        The columns of the table that it was trained on.
    """

    net: Network
    classes: NDArray[Any]
    source: str
    seed: int
    schema: Schema | None = None


def describe(data: Data, seed: int, settings: dict[str, object]) -> dict[str, str]:
    """Return the metadata of a model; no time, path or thread count, so equal runs are equal."""
    metadata = {
        "data": data.source,
        "classes": json.dumps(data.classes.tolist()),
        "seed": str(seed),
        "settings": json.dumps(settings),
    }
    if data.names:
        metadata["class_names"] = json.dumps(data.names)
    if data.schema is not None:
        metadata[TABLE] = data.schema.to_json()
    return metadata


def load_model(path: Path) -> Model:
    """Load a model file; one that no `train` wrote has its outputs as classes.

    Raises
    ------
    OSError, ValueError
        It is not there, or damaged.
    """
    net = bp.load(path)
    metadata = net.metadata
    try:
        seed = int(metadata.get("seed", "0"))
        schema = Schema.from_json(metadata[TABLE]) if TABLE in metadata else None
        classes = _labels(json.loads(metadata["classes"])) if "classes" in metadata else None
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ValueError(f"{path}: its metadata are not those that bpfast train writes") from None
    if classes is None:
        classes = np.arange(net.outputs)
    outputs = 1 if schema is not None and schema.regression else len(classes)
    if outputs != net.outputs:
        raise ValueError(
            f"{path}: {net.outputs} outputs, but its metadata name {len(classes)} classes"
        )
    if schema is not None and schema.inputs != net.inputs:
        raise ValueError(
            f"{path}: {net.inputs} inputs, but its metadata name columns for {schema.inputs}"
        )
    return Model(net, classes, metadata.get("data", ""), seed, schema)


def _labels(values: object) -> NDArray[Any]:
    """Return the labels of a file's metadata.

    Raises
    ------
    TypeError, OverflowError
        They are not all whole numbers, or all text.
    """
    if isinstance(values, list):
        if all(isinstance(value, str) for value in values) and values:
            return np.array(values)
        if all(type(value) is int for value in values):
            return np.array(values, np.int64)
    raise TypeError("expected a list of whole numbers or of text")
