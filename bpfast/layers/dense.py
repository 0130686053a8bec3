"""The fully connected layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from bpfast._check import bad_type, bad_value, check_count, check_fraction
from bpfast.errors import ShapeError
from bpfast.layers.parameters import Parameter
from bpfast.layers.shapes import check_rank
from bpfast.layers.weighted import Weighted

if TYPE_CHECKING:
    from bpfast._graph import Graph
    from bpfast.constraints import Constraint
    from bpfast.layers.shapes import Shape
    from bpfast.layers.weighted import Init
    from bpfast.regularizers import Regularizer


class Dense(Weighted):
    """A fully connected layer: y = activation(x W + b).

    Parameters
    ----------
    units : int, optional
        Number of outputs, >= 1; only with `tied_to` may it be left out.
    activation : str, default "identity"
        One of `bpfast.activations.NAMES`.
    tied_to : Dense, optional
        An earlier layer of the network whose kernel, transposed, is this layer's kernel:
        y = activation(x V^T + b), V the kernel of `tied_to`, b this layer's own. Gradients of both
        uses add up. There are as many units as `tied_to` has inputs, and as many inputs as it has
        units; what concerns the kernel is said there.
    use_bias : bool, default True
        False leaves out b.
    weight_init : str, Initializer, array_like or callable, optional
        How W starts; see `bpfast.initializers`. None means he_normal before an activation like
        relu (He et al. 2015), else glorot_uniform (Glorot & Bengio 2010).
    bias_init : str, Initializer, array_like or callable, default "zeros"
        How b starts.
    weight_regularizer, bias_regularizer : Regularizer, optional
        Penalties on W and on b; see `bpfast.regularizers`.
    weight_constraint : Constraint or str, optional
        A limit that W keeps; see `bpfast.constraints`.
    weight_dropout : float, default 0
        DropConnect: in training each step leaves out each weight with this probability, in
        [0, 1), and scales the others by 1 / (1 - weight_dropout). One mask serves the whole
        batch (Wan et al. 2013 draw one per row). At inference W is used as it is.
    name : str, optional
        Name of the layer; its parameters are ``name.kernel`` and ``name.bias``.

    Attributes
    ----------
    trainable : bool
        False keeps W and b as they are in training. May be set at any time, as may `lr_scale`; see
        `Layer`.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range.

    Notes
    -----
    Input shape (rows, inputs), output shape (rows, units), kernel W (inputs, units) as in Keras
    (PyTorch's weight is its transpose), bias b (units,). The order of the arguments is Keras'.

    References
    ----------
    Rumelhart, Hinton & Williams 1986, Learning representations by back-propagating errors.
    Vincent et al. 2010, Stacked denoising autoencoders, section 3.1 (tied weights).
    Wan et al. 2013, Regularization of neural networks using DropConnect.
    """

    kind: ClassVar[str] = "dense"

    def __init__(
        self,
        units: int | None = None,
        activation: str = "identity",
        *,
        tied_to: Dense | None = None,
        use_bias: bool = True,
        weight_init: Init | None = None,
        bias_init: Init = "zeros",
        weight_regularizer: Regularizer | Mapping[str, Any] | None = None,
        bias_regularizer: Regularizer | Mapping[str, Any] | None = None,
        weight_constraint: Constraint | Mapping[str, Any] | str | None = None,
        weight_dropout: float = 0.0,
        name: str | None = None,
    ) -> None:
        super().__init__(
            activation,
            use_bias=use_bias,
            weight_init=weight_init,
            bias_init=bias_init,
            weight_regularizer=weight_regularizer,
            bias_regularizer=bias_regularizer,
            weight_constraint=weight_constraint,
            name=name,
        )
        self.units = None if units is None and tied_to is not None else check_count("units", units)
        self.weight_dropout = check_fraction("weight_dropout", weight_dropout)
        self.tied_to = self._check_tied(tied_to)

    def _check_tied(self, tied_to: object) -> Dense | None:
        """Return a layer with a kernel of its own, which alone has arguments on that, or None."""
        if tied_to is None:
            return None
        if not isinstance(tied_to, Dense):
            raise bad_type("tied_to", "a Dense or None", tied_to)
        if tied_to.tied_to is not None:
            raise ValueError("tied_to must have a kernel of its own, got a layer that is tied too")
        for name in ("weight_init", "weight_regularizer", "weight_constraint"):
            if getattr(self, name) is not None:
                raise bad_value(name, "None with tied_to", getattr(self, name))
        if self.weight_dropout:
            raise bad_value("weight_dropout", "0 with tied_to", self.weight_dropout)
        return tied_to

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (units,)."""
        hint = ": add Flatten() or GlobalAvgPool() before it" if len(input_shape) > 1 else ""
        check_rank(input_shape, 1, hint=hint)
        if self.units is None:
            raise ShapeError("has the units that the layer it is tied to has inputs")
        return (self.units,)

    def spec(self, input_shape: Shape) -> dict[str, Any]:
        """Return what the core reads."""
        (units,) = self.output_shape(input_shape)
        return {**self.weighted_spec(units), "weight_dropout": self.weight_dropout}

    def weights(self, input_shape: Shape) -> dict[str, Parameter]:
        """Return the kernel (inputs, units), and the bias."""
        return self.kernel_and_bias(input_shape + self.output_shape(input_shape))

    def place(self, graph: Graph, value: int) -> int:
        """Put the layer behind a value of the graph; return the value that comes out."""
        if self.tied_to is None:
            return super().place(graph, value)
        shape = graph.shapes[value]
        owner = graph.owner(self.tied_to)
        if owner is None:
            raise ValueError(f"layer {graph.path}: tied_to must be an earlier layer of the network")
        inputs, units = owner.weights["kernel"].shape
        if self.units not in (None, inputs):
            raise ShapeError(f"must have the {inputs} units that tie it, got units={self.units}")
        if shape != (units,):
            raise ShapeError(f"is tied to a layer of {units} units, got an input of shape {shape}")
        weights = self.kernel_and_bias((units, inputs))
        del weights["kernel"]
        spec = {**self.weighted_spec(inputs), "weight_dropout": 0.0}
        return graph.add(
            spec, [value], (inputs,), layer=self, weights=weights, tied_to=self.tied_to
        )
