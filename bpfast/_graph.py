"""A network as the core sees it: composites taken apart, values numbered, parameters named.

The layers of a network are placed one behind the other, each of which adds its *core layers*, the
kinds of ``src/ops/ops.inc``. Value 0 is the network's input, value i + 1 what core layer i gives.
A layer object that is placed again shares the parameters of its first place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bpfast.errors import ShapeError
from bpfast.layers.base import MOST_DEPTH, Layer, join
from bpfast.layers.shapes import Shape, check_size

if TYPE_CHECKING:
    from bpfast.layers.parameters import Parameter

#: Places, and core layers, of one network: composites that share could ask for any number.
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
        self._check_number(len(self.uses))
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

    def _check_number(self, layers: int) -> None:
        """Raise before so many layers have one more."""
        if layers >= MOST_LAYERS:
            raise ValueError(
                f"layers must be at most {MOST_LAYERS:,} in all, composites taken apart"
            )

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
        self._check_number(len(self.layers))
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
