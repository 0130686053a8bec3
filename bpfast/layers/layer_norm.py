"""Layer normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bpfast._check import check_bool, check_positive
from bpfast.layers.base import Layer
from bpfast.layers.parameters import Parameter, scale_and_shift

if TYPE_CHECKING:
    from bpfast.layers.shapes import Shape


class LayerNorm(Layer):
    """Normalise each row over its channels: y = gamma (x - mean) / sqrt(var + epsilon) + beta.

    mean and var are those of the row's channels, at each position of an image or sequence apart;
    var divides by their number. No batch is involved: training and inference are the same.

    Parameters
    ----------
    epsilon : float, default 1e-5
        Added to the variance, > 0 (the default is PyTorch's; Keras': 1e-3).
    center : bool, default True
        False leaves out beta.
    scale : bool, default True
        False leaves out gamma.
    name : str, optional
        Name of the layer.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range.

    Notes
    -----
    Input and output have the same shape. Parameters ``name.gamma`` and ``name.beta`` (channels,)
    start at 1 and 0. Over the last axis, as Keras' LayerNormalization and PyTorch's LayerNorm of
    one size.

    References
    ----------
    Ba, Kiros & Hinton 2016, Layer normalization.
    """

    kind: ClassVar[str] = "layernorm"

    def __init__(
        self,
        epsilon: float = 1e-5,
        *,
        center: bool = True,
        scale: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.epsilon = check_positive("epsilon", epsilon)
        self.center = check_bool("center", center)
        self.scale = check_bool("scale", scale)

    def spec(self, input_shape: Shape) -> dict[str, Any]:
        """Return what the core reads."""
        return {
            "kind": self.kind,
            "epsilon": self.epsilon,
            "use_kernel": self.scale,
            "use_bias": self.center,
        }

    def weights(self, input_shape: Shape) -> dict[str, Parameter]:
        """Return gamma and beta."""
        return scale_and_shift(input_shape[-1], self.scale, self.center)
