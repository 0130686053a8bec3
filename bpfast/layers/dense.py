"""The fully connected layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from bpfast import activations, constraints, initializers, regularizers
from bpfast._check import bad_value, check_bool, check_count, check_fraction
from bpfast.layers.base import Layer

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bpfast._initializer import Initializer
    from bpfast.constraints import Constraint
    from bpfast.regularizers import Regularizer

    Init = (
        str | Initializer | Mapping[str, Any] | ArrayLike | Callable[[tuple[int, ...]], ArrayLike]
    )


class Dense(Layer):
    """A fully connected layer: y = activation(x W + b).

    Parameters
    ----------
    units : int
        Number of outputs, >= 1.
    activation : str, default "identity"
        One of `bpfast.activations.NAMES`.
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
        False keeps W and b as they are in training. May be set at any time before a fit.

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
    Wan et al. 2013, Regularization of neural networks using DropConnect.
    """

    kind: ClassVar[str] = "dense"

    def __init__(
        self,
        units: int,
        activation: str = "identity",
        *,
        use_bias: bool = True,
        weight_init: Init | None = None,
        bias_init: Init = "zeros",
        weight_regularizer: Regularizer | Mapping[str, Any] | None = None,
        bias_regularizer: Regularizer | Mapping[str, Any] | None = None,
        weight_constraint: Constraint | Mapping[str, Any] | str | None = None,
        weight_dropout: float = 0.0,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.units = check_count("units", units)
        self.activation = activations.get(activation)
        self.use_bias = check_bool("use_bias", use_bias)
        self.weight_init: Initializer | None = (
            None if weight_init is None else initializers.get(weight_init)
        )
        self.bias_init: Initializer = initializers.get(bias_init, "bias_init")
        self.weight_regularizer: Regularizer | None = regularizers.get(weight_regularizer)
        self.bias_regularizer: Regularizer | None = regularizers.get(
            bias_regularizer, "bias_regularizer"
        )
        self.weight_constraint: Constraint | None = constraints.get(weight_constraint)
        self.weight_dropout = check_fraction("weight_dropout", weight_dropout)
        if self.bias_regularizer is not None and not self.use_bias:
            raise bad_value("bias_regularizer", "None with use_bias=False", bias_regularizer)

    def resolved_weight_init(self) -> Initializer:
        """Return the kernel's initializer, the default made explicit."""
        if self.weight_init is not None:
            return self.weight_init
        he = self.activation in activations.RELU_LIKE
        return initializers.get("he_normal" if he else "glorot_uniform")

    def out_features(self, in_features: int) -> int:
        """Return the number of units."""
        super().out_features(in_features)
        return self.units

    def spec(self) -> dict[str, Any]:
        """Return what the core reads; 0.0 stands for a penalty or a limit that is off."""
        weight, bias, limit = self.weight_regularizer, self.bias_regularizer, self.weight_constraint
        return {
            "kind": self.kind,
            "units": self.units,
            "activation": self.activation,
            "use_bias": self.use_bias,
            "weight_dropout": self.weight_dropout,
            "l1": weight.l1 if weight else 0.0,
            "l2": weight.l2 if weight else 0.0,
            "bias_l1": bias.l1 if bias else 0.0,
            "bias_l2": bias.l2 if bias else 0.0,
            "max_norm": limit.max_norm if limit else 0.0,
            "non_negative": limit.non_negative if limit else False,
            "trainable": self.trainable,
        }
