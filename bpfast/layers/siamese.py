"""The same layers on two inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bpfast._check import bad_value, check_choice
from bpfast.errors import ShapeError
from bpfast.layers.base import Layer, check_layers
from bpfast.layers.composite import Composite
from bpfast.layers.slice import Slice

if TYPE_CHECKING:
    from bpfast._graph import Graph

MERGES = ("distance", "concatenate")


class Siamese(Composite):
    """Lead each half of the input through the same layers, and compare: y = |f(a) - f(b)|.

    For pairs: whether two images show the same thing, which of two is better. The two uses of the
    layers share their parameters; gradients of both add up.

    Parameters
    ----------
    layers : list of Layer
        f, at least one; composites too.
    merge : "distance" or "concatenate", default "distance"
        The absolute difference of the two results, feature by feature; or both side by side.
    name : str, optional
        Name of the layer.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range.

    Notes
    -----
    Input shape (..., 2 n): features (channels) 0 .. n - 1 are a, the others b. Output shape that of
    f(a), or with twice as many features.

    References
    ----------
    Bromley, Guyon, LeCun, Saeckinger & Shah 1993, Signature verification using a "siamese" time
    delay neural network.
    Koch, Zemel & Salakhutdinov 2015, Siamese neural networks for one-shot image recognition (the
    absolute difference).
    """

    def __init__(
        self, layers: Sequence[Layer], merge: str = "distance", *, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        self.layers = check_layers("layers", layers)
        if not self.layers:
            raise bad_value("layers", "at least one layer", layers)
        self.merge = check_choice("merge", merge, MERGES)

    def place(self, graph: Graph, value: int) -> int:
        """Put the layers behind a value of the graph; return the value that comes out."""
        shape = graph.shapes[value]
        if shape[-1] % 2:
            raise ShapeError(f"needs an even number of features, got an input of shape {shape}")
        half = shape[-1] // 2
        parts = [Slice(0, half), Slice(half, 2 * half)]
        left, right = (graph.chain(self.layers, part.place(graph, value)) for part in parts)
        out = graph.shapes[left]
        if self.merge == "distance":
            return graph.add({"kind": "distance"}, [left, right], out)
        return graph.add({"kind": "concat"}, [left, right], (*out[:-1], 2 * out[-1]))
