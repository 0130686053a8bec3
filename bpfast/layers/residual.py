"""Skip connections that add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bpfast import activations
from bpfast._check import bad_value
from bpfast.errors import ShapeError
from bpfast.layers.activation import Activation
from bpfast.layers.base import Layer, check_layers
from bpfast.layers.composite import Composite
from bpfast.layers.conv import Conv1D, Conv2D
from bpfast.layers.dense import Dense

if TYPE_CHECKING:
    from bpfast._graph import Graph
    from bpfast.layers.shapes import Shape


class Residual(Composite):
    """Add the input to what the layers make of it: y = activation(x + f(x)).

    Where f changes the shape, the input is projected: y = activation(x V + f(x)), V a linear layer
    without bias that the network has beside the others, ``name.projection.kernel``: a `Dense` for
    vectors, for images and sequences a convolution of kernel size 1, with strides where f(x) is
    smaller. Other ways past f are given as ``shortcut``.

    Parameters
    ----------
    layers : list of Layer
        f, at least one; composites too.
    shortcut : list of Layer, optional
        g of y = activation(g(x) + f(x)), at least one layer, whose output has the shape of f(x):
        ``[Conv2D(32, 1, strides=2, use_bias=False), BatchNorm()]`` is that of ResNets. None means
        the input itself, or its projection.
    activation : str, default "identity"
        Applied to the sum: ``"relu"`` in He et al. 2015, none in their later form, whose blocks
        begin with normalisation and activation (2016).
    name : str, optional
        Name of the layer.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range.

    Notes
    -----
    Input of any shape, output of the shape of f(x): no strides take one to the other where a
    convolution without padding is in f. Parameters of layer i of a given shortcut are
    ``name.shortcut.i.kernel``.

    References
    ----------
    He, Zhang, Ren & Sun 2015, Deep residual learning for image recognition, equations 1 and 2.
    He, Zhang, Ren & Sun 2016, Identity mappings in deep residual networks.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        shortcut: Sequence[Layer] | None = None,
        activation: str = "identity",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.layers = check_layers("layers", layers)
        if not self.layers:
            raise bad_value("layers", "at least one layer", layers)
        self.shortcut = None if shortcut is None else check_layers("shortcut", shortcut)
        if self.shortcut == ():
            raise bad_value("shortcut", "at least one layer, or None", shortcut)
        self.activation = activations.get(activation)

    def place(self, graph: Graph, value: int) -> int:
        """Put the layers behind a value of the graph; return the value that comes out."""
        out = graph.chain(self.layers, value)
        shape, wanted = graph.shapes[value], graph.shapes[out]
        if self.shortcut is not None:
            with graph.inside("shortcut"):
                value = graph.chain(self.shortcut, value)
            if graph.shapes[value] != wanted:
                raise ShapeError(
                    f"cannot add what the shortcut gives, of shape {graph.shapes[value]}, to "
                    f"{wanted}, which the layers give"
                )
        elif shape != wanted:
            added = graph.made(self, lambda: projection(shape, wanted))
            value = graph.put(added, value, "projection")
        total = graph.add({"kind": "add"}, [value, out], wanted)
        return Activation(self.activation).place(graph, total)


def projection(shape: Shape, wanted: Shape) -> Layer:
    """Return the linear layer that takes rows of one shape to another.

    Raises
    ------
    ShapeError
        No strides do.
    """
    if len(shape) == len(wanted):
        if len(shape) == 1:
            return Dense(wanted[0], use_bias=False)
        strides = [-(-n // m) for n, m in zip(shape[:-1], wanted[:-1], strict=True)]
        if tuple(-(-n // s) for n, s in zip(shape[:-1], strides, strict=True)) == wanted[:-1]:
            if len(shape) == 2:
                return Conv1D(wanted[-1], 1, strides=strides[0], use_bias=False)
            return Conv2D(wanted[-1], 1, strides=(strides[0], strides[1]), use_bias=False)
    hint = ": padding='same' keeps sizes" if len(shape) == len(wanted) > 1 else ""
    raise ShapeError(f"cannot add an input of shape {shape} to {wanted}{hint}")
