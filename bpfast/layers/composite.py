"""The base of layers that are made of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfast.layers.base import Layer

if TYPE_CHECKING:
    from bpfast.layers.shapes import Shape


class Composite(Layer):
    """Base of the layers that only put others together: nothing of theirs is compiled.

    Freezing one (``trainable = False``) freezes all within it, wherever else that stands too.

    Parameters
    ----------
    name : str, optional
        Begins the names of what is within, as in ``block.0.kernel``.
    """

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of a row that comes out when one of `input_shape` goes in.

        Raises
        ------
        ShapeError
            The layers within do not fit each other, or the input.
        """
        from bpfast._graph import Graph

        graph = Graph(input_shape)
        return graph.shapes[self.place(graph, 0)]
