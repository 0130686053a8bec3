"""What the layers with a kernel and a bias share: their arguments, and what the core reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bpfast import activations, constraints, initializers, regularizers
from bpfast._check import bad_value, check_bool
from bpfast.layers.base import Layer
from bpfast.layers.parameters import Parameter

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bpfast._initializer import Initializer
    from bpfast.constraints import Constraint
    from bpfast.layers.shapes import Shape
    from bpfast.regularizers import Regularizer

    Init = (
        str | Initializer | Mapping[str, Any] | ArrayLike | Callable[[tuple[int, ...]], ArrayLike]
    )


class Weighted(Layer):
    """Base of the layers that multiply by a kernel, add a bias and apply an activation.

    Parameters
    ----------
    activation : str
        One of `bpfast.activations.NAMES`.
    use_bias : bool
    weight_init, bias_init : str, Initializer, array_like or callable
        None for the kernel means he_normal before an activation like relu, else glorot_uniform.
    weight_regularizer, bias_regularizer : Regularizer, optional
    weight_constraint : Constraint or str, optional
    name : str, optional
    """

    def __init__(
        self,
        activation: str,
        *,
        use_bias: bool,
        weight_init: Init | None,
        bias_init: Init,
        weight_regularizer: Regularizer | Mapping[str, Any] | None,
        bias_regularizer: Regularizer | Mapping[str, Any] | None,
        weight_constraint: Constraint | Mapping[str, Any] | str | None,
        name: str | None,
    ) -> None:
        super().__init__(name=name)
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
        if self.bias_regularizer is not None and not self.use_bias:
            raise bad_value("bias_regularizer", "None with use_bias=False", bias_regularizer)

    def resolved_weight_init(self) -> Initializer:
        """Return the kernel's initializer, the default made explicit."""
        if self.weight_init is not None:
            return self.weight_init
        he = self.activation in activations.RELU_LIKE
        return initializers.get("he_normal" if he else "glorot_uniform")

    def kernel_and_bias(self, shape: Shape, groups: int = 1) -> dict[str, Parameter]:
        """Return a kernel of this shape, (..., inputs, units), and the bias of its units.

        Each position of a window counts as an input of a unit, and as a unit of an input.
        """
        *window, inputs, units = shape
        fan_in, fan_out = math.prod(window) * inputs, math.prod(window) * (units // groups)
        found = {"kernel": Parameter(shape, self.resolved_weight_init(), fan_in, fan_out)}
        if self.use_bias:
            found["bias"] = Parameter((units,), self.bias_init, fan_in, units, is_bias=True)
        return found

    def weighted_spec(self, units: int) -> dict[str, Any]:
        """Return what the core reads; 0.0 stands for a penalty or a limit that is off."""
        weight, bias, limit = self.weight_regularizer, self.bias_regularizer, self.weight_constraint
        return {
            "kind": self.kind,
            "units": units,
            "activation": self.activation,
            "use_kernel": True,
            "use_bias": self.use_bias,
            "l1": weight.l1 if weight else 0.0,
            "l2": weight.l2 if weight else 0.0,
            "bias_l1": bias.l1 if bias else 0.0,
            "bias_l2": bias.l2 if bias else 0.0,
            "max_norm": limit.max_norm if limit else 0.0,
            "non_negative": limit.non_negative if limit else False,
        }
