"""Model files with what the command keeps beside the weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import bpfast as bp
from bpfast.cli.data import Data

if TYPE_CHECKING:
    from bpfast.network import Network


@dataclass(frozen=True)
class Model:
    """A network, and what `describe` wrote beside it.

    Attributes
    ----------
    net : Network
        The network.
    classes : ndarray of int64
        The label of each output.
    source : str
        What data it was trained on (`Data.source`); empty when the file does not say.
    seed : int
        The seed of their split.
    """

    net: Network
    classes: NDArray[np.int64]
    source: str
    seed: int


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
        classes = json.loads(metadata["classes"]) if "classes" in metadata else None
        seed = int(metadata.get("seed", "0"))
        labels = None if classes is None else np.array(classes, dtype=np.int64)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise ValueError(f"{path}: its metadata are not those that bpfast train writes") from None
    if labels is None:
        labels = np.arange(net.outputs)
    if labels.shape != (net.outputs,):
        raise ValueError(
            f"{path}: {net.outputs} outputs, but its metadata name {labels.size} classes"
        )
    return Model(net, labels, metadata.get("data", ""), seed)
