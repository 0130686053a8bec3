"""What Network's arguments mean: layers, seeds, and the core's name for an optimizer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bpfast._check import bad_type, bad_value, check_count
from bpfast.layers.base import Layer, check_layer
from bpfast.layers.dense import Dense
from bpfast.layers.shapes import Shape, check_shape

if TYPE_CHECKING:
    from bpfast.optimizers import Optimizer


#: Element types of weights and arithmetic.
DTYPES = ("float32", "float64")


def core_rule(optimizer: Optimizer) -> dict[str, Any]:
    """Return the core's rule for an optimizer: SGD and Adam each stand for several."""
    spec: dict[str, Any] = dict(optimizer.spec())
    kind = spec.pop("kind")
    if kind == "sgd" and spec["momentum"] > 0:
        kind = "nesterov" if spec["nesterov"] else "momentum"
    spec.setdefault("bias_correction", kind == "adamw")
    return {**spec, "rule": "adam" if kind == "adamw" else kind}


def seed_of(rng: object) -> int:
    """Return the seed that `rng` stands for."""
    if rng is None:
        return int.from_bytes(os.urandom(8), "little") >> 1
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**63 - 1))
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool):
        if not 0 <= rng < 2**63:
            raise bad_value("rng", "from 0 to 2**63 - 1", rng)
        return int(rng)
    raise bad_type("rng", "an int, a numpy.random.Generator or None", rng)


def read_layers(layers: object, input_shape: object) -> tuple[list[Layer], Shape]:
    """Return checked layers and the shape of an input row."""
    if isinstance(layers, (str, bytes)) or not isinstance(layers, Sequence):
        raise bad_type("layers", "a list of sizes or of layers", layers)
    if all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in layers):
        sizes = [check_count(f"layers[{i}]", n) for i, n in enumerate(layers)]
        if len(sizes) < 2:
            raise bad_value("layers", "at least two sizes: inputs and outputs", layers)
        if input_shape is not None and check_shape("input_shape", input_shape) != (sizes[0],):
            raise ValueError(f"input_shape {input_shape!r} contradicts layers[0] = {sizes[0]}")
        hidden = [Dense(n, "relu", weight_init="he_normal") for n in sizes[1:-1]]
        return [*hidden, Dense(sizes[-1], weight_init="he_normal")], (sizes[0],)
    checked = [check_layer(f"layers[{i}]", layer) for i, layer in enumerate(layers)]
    if input_shape is None:
        raise ValueError("input_shape must be given with a list of layers")
    return checked, check_shape("input_shape", input_shape)
