"""An activation as a layer of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bpfast import activations
from bpfast.layers.base import Layer

if TYPE_CHECKING:
    from bpfast._graph import Graph
    from bpfast.layers.shapes import Shape


class Activation(Layer):
    """Apply an activation: y = f(x).

    For what stands behind a normalisation or a sum; straight behind a `Dense` or convolution
    without activation the two are computed in one, as if that layer had it.

    Parameters
    ----------
    activation : str
        One of `bpfast.activations.NAMES`.
    name : str, optional
        Name of the layer.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range.

    Notes
    -----
    Input and output have the same shape, whatever it is; softmax is over the channels of each
    position. No parameters. A layer before it does not see it: before relu, give that layer
    ``weight_init="he_normal"`` (its own default without activation is glorot_uniform).
    """

    kind: ClassVar[str] = "activation"

    def __init__(self, activation: str, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.activation = activations.get(activation)

    def spec(self, input_shape: Shape) -> dict[str, Any]:
        """Return what the core reads."""
        return {"kind": self.kind, "activation": self.activation}

    def place(self, graph: Graph, value: int) -> int:
        """Put the layer behind a value of the graph; the identity is not there."""
        return value if self.activation == "identity" else super().place(graph, value)
