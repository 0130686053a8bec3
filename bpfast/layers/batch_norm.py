"""Batch normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bpfast._check import check_bool, check_number, check_positive
from bpfast.layers.base import Layer
from bpfast.layers.parameters import Parameter, scale_and_shift

if TYPE_CHECKING:
    from bpfast.layers.shapes import Shape


class BatchNorm(Layer):
    """Normalise each channel over the batch: y = gamma (x - mean) / sqrt(var + epsilon) + beta.

    In training mean and var are those of the batch, over its rows and, of images and sequences,
    their positions; var divides by their number. Running statistics follow them,

        running = (1 - momentum) running + momentum new,

    where the new variance divides by the number less one. Inference uses the running statistics,
    and so does training while the layer is not trainable (as in Keras).

    Parameters
    ----------
    momentum : float, default 0.1
        Weight of the new value, in (0, 1] (PyTorch's convention and default; in Keras' it would
        be 0.9, whose default is 0.99).
    epsilon : float, default 1e-5
        Added to the variance, > 0 (the default is PyTorch's).
    center : bool, default True
        False leaves out beta.
    scale : bool, default True
        False leaves out gamma.
    name : str, optional
        Name of the layer.

    Attributes
    ----------
    trainable : bool
        False keeps gamma, beta and the running statistics as they are.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range.

    Notes
    -----
    Input and output have the same shape. Parameters ``name.gamma`` and ``name.beta`` (channels,)
    start at 1 and 0; buffers ``name.running_mean`` and ``name.running_variance`` (channels,) at 0
    and 1. A layer before it needs no bias: the mean takes it away. Where the layer object stands in
    several places, they share all four.

    References
    ----------
    Ioffe & Szegedy 2015, Batch normalization: accelerating deep network training by reducing
    internal covariate shift.
    """

    kind: ClassVar[str] = "batchnorm"

    def __init__(
        self,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
        *,
        center: bool = True,
        scale: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.momentum = check_number("momentum", momentum, 0.0, 1.0, low_open=True)
        self.epsilon = check_positive("epsilon", epsilon)
        self.center = check_bool("center", center)
        self.scale = check_bool("scale", scale)

    def spec(self, input_shape: Shape) -> dict[str, Any]:
        """Return what the core reads."""
        return {
            "kind": self.kind,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "use_kernel": self.scale,
            "use_bias": self.center,
        }

    def weights(self, input_shape: Shape) -> dict[str, Parameter]:
        """Return gamma and beta."""
        return scale_and_shift(input_shape[-1], self.scale, self.center)

    def buffers(self, input_shape: Shape) -> dict[str, Shape]:
        """Return the running statistics."""
        return dict.fromkeys(("running_mean", "running_variance"), input_shape[-1:])
