"""A model's tensors as steps: the layers that lead to each from another one, or what joins several.

Images have their channels first in the model, or last, which each step notes; vectors that were
images with channels first have their features in another order than ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bpfast._check import show
from bpfast.export.operators import FIRST, channels_axis
from bpfast.export.protobuf import Model, Node
from bpfast.layers.base import Layer
from bpfast.layers.shapes import Shape

Array = NDArray[Any]

#: Values of a row, at most: what is computed of shapes alone, without weights that fill a file.
MOST_VALUES: Final = 2**24


@dataclass(eq=False)
class Step:
    """A tensor of the model.

    Attributes
    ----------
    shape : tuple of int
        Of a row as bpfast has it, channels last.
    layout : str
        Where the model has the channels; FIRST or LAST, the same for vectors.
    parents : tuple of Step
        What it comes of: none for the input, one with `layers`, several with `join`.
    layers : tuple of Layer
        What stands between it and its only parent; none where the values are the same.
    join : {"", "add", "concat", "distance"}
    node : Node or None
        What gave it.
    order : ndarray or None
        Of a vector: where the model has each of our features.
    scaling : (mean, scale) or None
        What standardizes the input, 0 and 1 at first; None behind any other layer.
    top : Step or None
        The last one that all ways from the input to here lead through.
    depth : int
        Of such steps above.
    """

    shape: Shape
    layout: str
    parents: tuple[Step, ...] = ()
    layers: tuple[Layer, ...] = ()
    join: str = ""
    node: Node | None = None
    order: Array | None = None
    scaling: tuple[Array, Array] | None = None
    top: Step | None = field(init=False, default=None)
    depth: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if math.prod(self.shape) > MOST_VALUES:
            raise ValueError(f"a row must have at most {MOST_VALUES:,} values, got {self.shape}")
        if self.parents:
            top = self.parents[0]
            for other in self.parents[1:]:
                top = _common(top, other)
            self.top, self.depth = top, top.depth + 1

    @property
    def channels_axis(self) -> int:
        """The axis of the channels in the model's tensor."""
        return channels_axis(self.shape, self.layout)

    @property
    def theirs(self) -> Shape:
        """The sizes of the model's tensor, without the batch."""
        return (self.shape[-1], *self.shape[:-1]) if self.layout == FIRST else self.shape

    def again(self, node: Node, layout: str | None = None) -> Step:
        """Return the same values as another tensor, images perhaps in the other layout."""
        layout = self.layout if layout is None else layout
        return Step(self.shape, layout, (self,), node=node, order=self.order, scaling=self.scaling)


def _common(one: Step, other: Step) -> Step:
    """Return the last step that all ways to both lead through."""
    while one is not other:
        if one.depth < other.depth:
            one, other = other, one
        assert one.top is not None  # the input alone has none, and lies above all
        one = one.top
    return one


class Nodes:
    """What the nodes' functions share: the model, its tensors so far, the layers and their arrays.

    Attributes
    ----------
    values : dict of str to (Step or ValueError)
        By tensor; an exception is what a node that cannot be read gave, raised where it is needed.
    arrays : list of (Layer, dict)
        What the parameters and buffers of the layers are, by our names.
    """

    def __init__(self, model: Model, source: Step) -> None:
        self.model = model
        self.source = source
        self.values: dict[str, Step | ValueError] = {model.inputs[0].name: source}
        self.makers = {name: node for node in model.nodes for name in node.outputs}
        self.arrays: list[tuple[Layer, dict[str, Array]]] = []
        self._known: dict[object, Layer] = {}

    # ---- what nodes read

    def step(self, node: Node, index: int = 0) -> Step:
        """Return the tensor that is an input of a node."""
        name = node.inputs[index] if index < len(node.inputs) else ""
        value = self.values.get(name)
        if isinstance(value, ValueError):
            raise value
        if value is None:
            raise error(node, f"needs what the model computes as input {index}, got {show(name)}")
        return value

    def array(self, node: Node, index: int) -> Array | None:
        """Return the constant that is an input of a node; None where it is left out."""
        name = node.inputs[index] if index < len(node.inputs) else ""
        if not name:
            return None
        if name not in self.model.constants:
            raise error(node, f"needs a constant of numbers as input {index}, got {show(name)}")
        return self.model.constants[name]

    def needed(self, node: Node, index: int) -> Array:
        """Return the constant that must be an input of a node."""
        array = self.array(node, index)
        if array is None:
            raise error(node, f"needs a constant as input {index}")
        return array

    def numbers(self, node: Node, name: str, index: int) -> list[int] | None:
        """Return ints that are an attribute in older sets, and an input in newer ones."""
        given = node.attributes.get(name)
        array = self.array(node, index) if given is None else np.asarray(given)
        if array is None:
            return None
        if array.dtype.kind not in "iu" or array.ndim > 1:
            raise error(node, f"must have ints as {name}, got {array.dtype} of shape {array.shape}")
        return [int(number) for number in np.atleast_1d(array)]

    def bias(
        self, node: Node, units: int, behind: tuple[str, Array] | None
    ) -> tuple[list[str], Array | None]:
        """Return the names of a product's constants, and its bias: its own, or one added behind."""
        names, given = [node.op, *node.inputs[1:3]], self.array(node, 2)
        if given is not None:
            given = given * np.asarray(number(node, "beta", 1.0), given.dtype)
        elif behind is not None:
            names.append(behind[0])
            given = behind[1].ravel()
        if given is not None:
            given = per_channel(node, given, Step((units,), FIRST))
        return names, given

    def vector(self, node: Node, index: int, source: Step) -> Array | None:
        """Return a constant with a number for each channel, in our order."""
        array = self.array(node, index)
        return None if array is None else per_channel(node, array, source)

    # ---- what nodes give

    def hold(self, layer: Layer, arrays: Mapping[str, Array | None]) -> None:
        """Keep the arrays of a layer."""
        self.arrays.append((layer, {k: array for k, array in arrays.items() if array is not None}))

    def unary(
        self,
        node: Node,
        source: Step,
        layer: Layer,
        *,
        order: Array | None = None,
        constants: Sequence[object] = (),
        arrays: Mapping[str, Array | None] | None = None,
    ) -> Step:
        """Return what a layer gives; nodes with the same constants and arguments share theirs.

        `constants` are the names of the arrays, which tell whether they are the same.
        """
        if arrays is not None:
            same = None if source.order is None else source.order.tobytes()
            key = (*constants, repr(layer.config()), same)
            if key not in self._known:
                self._known[key] = layer
                self.hold(layer, arrays)
            layer = self._known[key]
        try:
            shape = layer.output_shape(source.shape)
        except ValueError as problem:
            raise error(node, str(problem)) from None
        return Step(shape, source.layout, (source,), (layer,), node=node, order=order)


def error(node: Node, text: str) -> ValueError:
    """Make the error that names a node."""
    return ValueError(f"{node} {text}")


def demand(node: Node, **options: object) -> None:
    """Raise unless each attribute, where it is given, has this value."""
    for name, wanted in options.items():
        value = node.attributes.get(name, wanted)
        if value != wanted:
            raise error(node, f"must have {name}={wanted!r}, got {show(value)}")


def number(node: Node, name: str, default: float | None = None) -> Any:
    """Return an attribute that is a number."""
    value = node.attributes.get(name, default)
    if not isinstance(value, (int, float)):
        raise error(node, f"must have a number as {name}, got {show(value)}")
    return value


def per_channel(node: Node, array: Array, source: Step) -> Array:
    """Return a constant that has a number for each channel of a step, or one for all."""
    channels = source.shape[-1]
    along = array.ndim < 2 or array.shape[-1] == array.size  # not along the rows
    if not along or array.size not in (1, channels) or array.dtype.kind != "f":
        raise error(node, f"needs {channels} numbers, got {array.dtype} of shape {array.shape}")
    array = np.broadcast_to(array.ravel(), (channels,))
    return array if source.order is None else array[source.order]


def layer_of(node: Node, make: Callable[..., Layer], *values: Any, **options: Any) -> Layer:
    """Return a layer; the error of an argument names the node."""
    try:
        return make(*values, **options)
    except (TypeError, ValueError) as problem:
        raise error(node, f"has no counterpart: {problem}") from None
