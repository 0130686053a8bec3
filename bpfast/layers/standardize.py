"""Standardization of the inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bpfast.layers.base import Layer

if TYPE_CHECKING:
    from bpfast.layers.shapes import Shape


class Standardize(Layer):
    """Shift and scale each input column to mean 0 and standard deviation 1: y = (x - mean) scale.

    Fit measures mean and scale on its training rows; they are buffers of the network, saved with it
    and not trained. The scale is 1 over the population standard deviation (of the number of rows),
    and 1 for a constant column: scikit-learn's ``StandardScaler``, whose ``scale_`` divides.

    Parameters
    ----------
    name : str, optional
        Name of the layer.

    Notes
    -----
    Input and output have the same shape; of images each value at each position is a column. Allowed
    only as a network's first layer. Buffers ``name.mean`` and ``name.scale`` have that shape too.
    """

    kind: ClassVar[str] = "standardize"
    first_only: ClassVar[bool] = True

    def buffers(self, input_shape: Shape) -> dict[str, Shape]:
        """Return mean and scale."""
        return {"mean": input_shape, "scale": input_shape}
