"""Branches side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bpfast._check import bad_type, bad_value
from bpfast.errors import ShapeError
from bpfast.layers.base import Layer, check_layers, is_list
from bpfast.layers.composite import Composite

if TYPE_CHECKING:
    from bpfast._graph import Graph


class Concatenate(Composite):
    """Lead the input through several branches and join what comes out: y = [f(x), g(x), ...].

    Parameters
    ----------
    branches : list of lists of Layer
        At least two. An empty list passes the input on: ``Concatenate([[], [Dense(64)]])`` is the
        concatenating skip of dense networks (Huang et al. 2017).
    name : str, optional
        Name of the layer. Parameters of branch b, layer i are ``name.b.i.kernel``.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range.

    Notes
    -----
    Input of any shape; the branches' outputs may differ in their features (channels) alone, whose
    sum the output has. Branches that begin with `Slice` have a part of the features each.

    References
    ----------
    Huang, Liu, van der Maaten & Weinberger 2017, Densely connected convolutional networks.
    """

    def __init__(self, branches: Sequence[Sequence[Layer]], *, name: str | None = None) -> None:
        super().__init__(name=name)
        if not is_list(branches):
            raise bad_type("branches", "a list of lists of layers", branches)
        self.branches = tuple(
            check_layers(f"branches[{i}]", branch) for i, branch in enumerate(branches)
        )
        if len(self.branches) < 2:
            raise bad_value("branches", "at least two lists of layers", branches)

    def place(self, graph: Graph, value: int) -> int:
        """Put the branches behind a value of the graph; return the value that comes out."""
        joined: int | None = None
        for i, branch in enumerate(self.branches):
            with graph.inside(str(i)):
                out = graph.chain(branch, value)
            joined = out if joined is None else _join(graph, joined, out)
        assert joined is not None
        return joined


def _join(graph: Graph, left: int, right: int) -> int:
    """Concatenate two values of the graph; return the value that comes out."""
    one, other = graph.shapes[left], graph.shapes[right]
    if one[:-1] != other[:-1]:
        raise ShapeError(f"cannot join branches of shapes {one} and {other}")
    return graph.add({"kind": "concat"}, [left, right], (*one[:-1], one[-1] + other[-1]))
