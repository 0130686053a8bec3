"""Standardization of the inputs."""

from __future__ import annotations

from typing import ClassVar

from bpfast.layers.base import Layer


class Standardize(Layer):
    """Shift and scale each input column to mean 0 and standard deviation 1: y = (x - mean) / scale.

    Fit measures mean and scale on its training rows; they are buffers of the network,
    saved with it and not trained. The scale is the population standard deviation (divided by the
    number of rows), and 1 for a constant column: scikit-learn's ``StandardScaler``.

    Parameters
    ----------
    name : str, optional
        Name of the layer.

    Notes
    -----
    Input and output shape (rows, features). Allowed only as a network's first layer.
    """

    kind: ClassVar[str] = "standardize"
    first_only: ClassVar[bool] = True
