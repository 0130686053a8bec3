"""What a network asks of the core: its layers numbered, all that they keep under names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from bpfast._graph import CoreLayer, Graph
from bpfast.errors import ShapeError
from bpfast.layers.base import Layer, join
from bpfast.layers.shapes import Shape, core_shape, show_shape
from bpfast.layers.weighted import Weighted


class Tensor(NamedTuple):
    """Parameters or a buffer by name: of which core layer, and their shape."""

    layer: int
    part: int  # of parameters: 0 kernel, 1 bias; of buffers: their order
    shape: Shape


class Plan:
    """A network's core layers, numbered, with the names of all that they keep.

    Parameters
    ----------
    layers : sequence of Layer
    input_shape : tuple of int

    Attributes
    ----------
    layers : list of CoreLayer
        The last one gives the output.
    core_input : tuple of int
        Shape of the input as the core has it.
    uses : list of Use
        Layers in their places, composites before what is in them.
    names : list of str
        Of the layer that each core layer is part of.
    parameters, buffers : dict of str to Tensor
        In the core's order.
    activation : str
        Of the output.

    Raises
    ------
    ShapeError, ValueError
        Layers do not fit each other, names are not unique, there is nothing to train, or the output
        is no vector.
    MemoryError
        A row is larger than any memory.
    """

    def __init__(self, layers: Sequence[Layer], input_shape: Shape) -> None:
        graph = Graph(input_shape)
        output = graph.chain(layers, 0)
        self.input_shape = input_shape
        self.uses = [use for use in graph.uses if use is not None]
        self.layers, self.core_input = _simplified(graph, output)
        self.names = [layer.path for layer in self.layers]
        self.parameters: dict[str, Tensor] = {}
        self.buffers: dict[str, Tensor] = {}
        self._name_tensors()
        if not self.parameters:
            raise ValueError("layers must have at least one with parameters, such as Dense")
        shape = graph.shapes[output]
        if len(shape) != 1:
            raise ShapeError(
                f"the output must be a vector, got shape {shape}: end with Flatten() or "
                "GlobalAvgPool()"
            )
        self.activation = str(self.layers[-1].spec.get("activation", "identity"))

    @property
    def standardizes(self) -> bool:
        """Whether a Standardize layer stands first, whose statistics are measured."""
        return self.layers[0].kind == "standardize"

    def path_of(self, layer: Layer) -> str:
        """Return the path of the first place of a layer."""
        return next(use.path for use in self.uses if use.layer is layer)

    def measured_buffers(self) -> list[str]:
        """Return the names of the buffers that the first fit measures."""
        return [
            name for name in self.buffers if self.standardizes and self.buffers[name].layer == 0
        ]

    def specs(self) -> list[dict[str, Any]]:
        """Return what the core reads, one dict a core layer."""
        return [
            {
                **layer.spec,
                "inputs": layer.inputs,
                "shares": 0 if layer.shares is None else 1 + layer.shares,
                "tied": layer.tied,
                "trainable": trainable,
                "lr_scale": scale,
            }
            for layer, trainable, scale in zip(
                self.layers, self.trainable(), self.lr_scales(), strict=True
            )
        ]

    def trainable(self) -> list[bool]:
        """Return which core layers are trained: neither they nor what they are part of is frozen.

        A shared layer is frozen everywhere when it is somewhere.
        """
        flags = [all(part.trainable for part in layer.around) for layer in self.layers]
        for i, layer in enumerate(self.layers):
            if not layer.owns and layer.shares is not None:
                flags[layer.shares] = flags[layer.shares] and flags[i]
        return [
            flags[i] if layer.owns or layer.shares is None else flags[layer.shares]
            for i, layer in enumerate(self.layers)
        ]

    def lr_scales(self) -> list[float]:
        """Return the learning rate's factor of each core layer: of all that it is part of.

        What is shared learns as in its first place, whose core layer owns it.
        """
        return [math.prod(part.lr_scale for part in layer.around) for layer in self.layers]

    def sizes(self) -> str:
        """Return the sizes on the way, those within composites left out: 784-256-10."""
        shapes = [self.input_shape]
        for use in self.uses:
            if use.depth == 0 and (isinstance(use.layer, Weighted) or use.shape != shapes[-1]):
                shapes.append(use.shape)
        return "-".join(show_shape(shape) for shape in shapes)

    def products(self) -> int:
        """Return the multiplications of a row's forward pass."""
        return sum(layer.products() for layer in self.layers)

    def _name_tensors(self) -> None:
        """Fill `parameters` and `buffers`; a ValueError when two would have one name."""
        for i, layer in enumerate(self.layers):
            if not layer.owns:
                continue
            for key, weight in layer.weights.items():
                name = join(layer.path, key)
                if name in self.parameters:
                    raise ValueError(f"layer {layer.path}: another layer is called so already")
                self.parameters[name] = Tensor(i, int(weight.is_bias), weight.shape)
            for part, (key, shape) in enumerate(layer.buffers.items()):
                self.buffers[join(layer.path, key)] = Tensor(i, part, shape)


def _simplified(graph: Graph, output: int) -> tuple[list[CoreLayer], tuple[int, int, int]]:
    """Return the core layers without those that others can do, and the input's shape for them.

    An activation goes into the linear layer before it, when nothing else reads that one's output. A
    reshaping goes where the core sees no difference, and at the start, where the core can be given
    the input in its new shape.
    """
    reads = Counter(value for layer in graph.layers for value in layer.inputs)
    reads[output] += 1
    input_shape = graph.shapes[0]
    same = list(range(len(graph.shapes)))  # the value that a value is, now
    kept: list[int] = []
    for i, layer in enumerate(graph.layers):
        layer.inputs = [same[value] for value in layer.inputs]
        source = layer.inputs[0]
        before = graph.layers[source - 1] if source else None
        if before is not None and reads[source] == 1 and _takes(before, layer):
            before.spec["activation"] = layer.spec["activation"]
        elif layer.kind == "reshape" and core_shape(layer.input_shape) == core_shape(layer.shape):
            pass
        elif layer.kind == "reshape" and reads[0] == 1 and source == 0:
            input_shape = layer.shape
        elif layer.kind == "reshape" and reads[source] == 1 and _stands_first(before, reads):
            assert before is not None
            input_shape = before.input_shape = before.shape = layer.shape
        else:
            kept.append(i)
            continue
        same[i + 1] = source
        reads[source] += reads[i + 1] - 1
    number = {0: 0, **{i + 1: new + 1 for new, i in enumerate(kept)}}
    layers = [graph.layers[i] for i in kept]
    for layer in layers:
        layer.inputs = [number[value] for value in layer.inputs]
        if layer.shares is not None:
            layer.shares = number[layer.shares + 1] - 1
    return layers, core_shape(input_shape)


def _takes(before: CoreLayer, layer: CoreLayer) -> bool:
    """Whether the activation `layer` can be that of the linear layer before it."""
    kinds = ("dense",) if layer.spec.get("activation") == "softmax" else ("dense", "conv")
    linear = before.kind in kinds and before.spec["activation"] == "identity"
    return linear and layer.kind == "activation"


def _stands_first(layer: CoreLayer | None, reads: Counter[int]) -> bool:
    """Whether this is a standardize layer that alone reads the network's input."""
    return layer is not None and layer.kind == "standardize" and reads[0] == 1
