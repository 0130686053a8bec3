"""A network as the core sees it: composites taken apart, values numbered, parameters named.

The layers of a network are placed one behind the other, each of which adds its *core layers*, the
kinds of ``src/ops/ops.inc``. Value 0 is the network's input, value i + 1 what core layer i gives.
A layer object that is placed again shares the parameters of its first place.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bpfast.errors import ShapeError
from bpfast.layers.base import MOST_DEPTH, Layer, join
from bpfast.layers.shapes import Shape, check_size, core_shape, show_shape
from bpfast.layers.weighted import Weighted

if TYPE_CHECKING:
    from bpfast.layers.parameters import Parameter

#: Core layers of one network: shared composites within each other could ask for any number.
MOST_LAYERS = 10_000


@dataclass(slots=True)
class CoreLayer:
    """A layer of the core, its parameters under their names.

    Attributes
    ----------
    spec : dict
        Fields of ``bpfast_layer``, but for those below.
    path : str
        Of the layer that it is part of.
    inputs : list of int
        Values.
    input_shape, shape : tuple of int
        Of the first input, and of what it gives.
    around : tuple of Layer
        The layers that it is part of, the outermost first: one that is frozen freezes it.
    weights, buffers : dict
        What is its own, or that it shares.
    shares : int or None
        The earlier core layer that owns them.
    tied : bool
        The kernel is that layer's, transposed; the rest its own.
    """

    spec: dict[str, Any]
    path: str
    inputs: list[int]
    input_shape: Shape
    shape: Shape
    around: tuple[Layer, ...]
    weights: dict[str, Parameter]
    buffers: dict[str, Shape]
    shares: int | None = None
    tied: bool = False

    @property
    def owns(self) -> bool:
        """Whether its parameters and buffers, but for a tied kernel, are its own."""
        return self.shares is None or self.tied

    @property
    def kind(self) -> str:
        """The row of ops.inc."""
        return str(self.spec["kind"])

    def products(self) -> int:
        """Return the multiplications of a row's forward pass through its kernel."""
        if self.kind not in ("dense", "conv"):
            return 0
        if "kernel" not in self.weights:
            return math.prod(self.input_shape) * self.shape[0]
        return math.prod(self.shape[:-1]) * math.prod(self.weights["kernel"].shape)


class Use(NamedTuple):
    """A layer in one of its places, for people to read."""

    layer: Layer
    path: str
    depth: int
    shape: Shape
    first: str | None  # the path of its first place, when this is a later one


class Tensor(NamedTuple):
    """Parameters or a buffer by name: of which core layer, and their shape."""

    layer: int
    part: int  # of parameters: 0 kernel, 1 bias; of buffers: their order
    shape: Shape


class Graph:
    """Core layers under construction.

    Parameters
    ----------
    input_shape : tuple of int

    Attributes
    ----------
    shapes : list of tuple
        Of each value.
    """

    def __init__(self, input_shape: Shape) -> None:
        self.shapes: list[Shape] = [input_shape]
        self.layers: list[CoreLayer] = []
        self.uses: list[Use | None] = []
        self._owners: dict[int, int] = {}  # core layer that owns an object's parameters, by id
        self._firsts: dict[int, str] = {}  # path of an object's first place, by id
        self._made: dict[int, Layer] = {}
        self._around: list[Layer] = []
        self._path = ""

    @property
    def path(self) -> str:
        """Of the layer that is being placed."""
        return self._path

    # ---- for layers: placing themselves

    def chain(self, layers: Sequence[Layer], value: int) -> int:
        """Put layers behind a value, one behind the other; return the last one's value."""
        names = [str(i) if layer.name is None else layer.name for i, layer in enumerate(layers)]
        known: dict[str, int] = {}
        for i, (name, layer) in enumerate(zip(names, layers, strict=True)):
            other = known.setdefault(name, i)
            if layers[other] is not layer:
                where = f"layer {self._path}: layers" if self._path else "layers"
                raise ValueError(f"{where}[{i}].name {name!r} is already that of layers[{other}]")
        for name, layer in zip(names, layers, strict=True):
            value = self.put(layer, value, name)
        return value

    def put(self, layer: Layer, value: int, name: str) -> int:
        """Put a layer behind a value, under this name; return its value."""
        if len(self._around) >= MOST_DEPTH:
            raise ValueError(f"layer {self._path}: layers may be {MOST_DEPTH} deep, not deeper")
        if layer.first_only and (self._around or self.layers or value):
            raise ValueError(
                f"layer {join(self._path, name)}: {type(layer).__name__} must be the first layer"
            )
        with self.inside(name):
            place, depth = len(self.uses), len(self._around)
            first = self._firsts.get(id(layer))
            self._firsts.setdefault(id(layer), self._path)
            self.uses.append(None)
            self._around.append(layer)
            try:
                out = layer.place(self, value)
            except ShapeError as error:
                if error.layer is not None:
                    raise
                what = f"layer {self._path} ({type(layer).__name__})"
                raise ShapeError(f"{what} {error}", layer=self._path) from None
            finally:
                self._around.pop()
            self.uses[place] = Use(layer, self._path, depth, self.shapes[out], first)
        return out

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Let paths begin with this name, within the present one."""
        before, self._path = self._path, join(self._path, name)
        try:
            yield
        finally:
            self._path = before

    def add(
        self,
        spec: dict[str, Any],
        inputs: list[int],
        shape: Shape,
        *,
        layer: Layer | None = None,
        weights: dict[str, Parameter] | None = None,
        buffers: dict[str, Shape] | None = None,
        tied_to: Layer | None = None,
    ) -> int:
        """Add a core layer; return its value.

        Parameters
        ----------
        spec : dict
            Kind and arguments.
        inputs : list of int
            Values.
        shape : tuple of int
            Of what it gives.
        layer : Layer, optional
            The object whose parameters it has.
        weights, buffers : dict, optional
            Of that object.
        tied_to : Layer, optional
            The object whose kernel, transposed, it uses.
        """
        if len(self.layers) >= MOST_LAYERS:
            raise ValueError(
                f"layers must be at most {MOST_LAYERS:,} in all, composites taken apart"
            )
        check_size(f"layer {self._path}", shape)
        index = len(self.layers)
        added = CoreLayer(
            spec,
            self._path,
            inputs,
            self.shapes[inputs[0]],
            shape,
            tuple(self._around),
            weights or {},
            buffers or {},
        )
        if tied_to is not None:
            added.shares, added.tied = self._owners[id(tied_to)], True
        if layer is not None and (added.weights or added.buffers):
            owner = self._owners.setdefault(id(layer), index)
            if owner != index:
                self._share(added, owner)
        self.layers.append(added)
        self.shapes.append(shape)
        return index + 1

    def _share(self, here: CoreLayer, owner: int) -> None:
        """Let a core layer have the parameters of another, which must be the same."""
        first = self.layers[owner]

        def shapes(of: CoreLayer) -> tuple[list[Shape], list[Shape]]:
            return [p.shape for p in of.weights.values()], list(of.buffers.values())

        if shapes(here) != shapes(first):
            raise ShapeError(
                f"shares its parameters with layer {first.path}, which has an input of shape "
                f"{first.input_shape}, got an input of shape {here.input_shape}"
            )
        if here.tied:
            raise ValueError(
                f"layer {self._path}: a tied layer with a bias may stand in one place only, got "
                f"a second beside layer {first.path}"
            )
        here.shares = owner

    def owner(self, layer: Layer) -> CoreLayer | None:
        """Return the core layer that has the parameters of a layer placed before, or None."""
        index = self._owners.get(id(layer))
        return None if index is None else self.layers[index]

    def made(self, layer: Layer, make: Callable[[], Layer]) -> Layer:
        """Return what `make` returned for this layer at its first place."""
        if id(layer) not in self._made:
            self._made[id(layer)] = make()
        return self._made[id(layer)]

    def split_softmax(self, value: int) -> int:
        """Make a layer of its own of a softmax within the core layer that gives `value`."""
        layer = self.layers[value - 1]
        if layer.spec["activation"] != "softmax":
            return value
        layer.spec["activation"] = "identity"
        return self.add({"kind": "activation", "activation": "softmax"}, [value], layer.shape)


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
            }
            for layer, trainable in zip(self.layers, self.trainable(), strict=True)
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
