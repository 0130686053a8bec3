"""Maxima over windows."""

from __future__ import annotations

from typing import ClassVar

from bpfast.layers.pooling import Pool


class MaxPool2D(Pool):
    """Take the largest value of each channel in each window, over images.

    Parameters
    ----------
    pool_size : int or (int, int), default 2
        Height and width of the window.
    strides : int or (int, int), optional
        Positions from one window to the next; None means `pool_size`, windows side by side.
    padding : "valid", "same", int or (int, int), default "valid"
        Positions added around the image: none; as many as give ceil(size / strides)
        outputs, half of them (rounded down) before; or so many on each side, at most half
        of the window. Positions outside of it are not there: a window's maximum is over its
        positions inside.
    name : str, optional
        Name of the layer.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range.

    Notes
    -----
    Input shape (rows, height, width, channels), output shape (rows, height', width', channels).
    No parameters. The gradient goes to the first of equal maxima, in the order of the
    positions.

    References
    ----------
    Ranzato et al. 2007, Unsupervised learning of invariant feature hierarchies.
    """

    kind: ClassVar[str] = "maxpool"
    axes: ClassVar[int] = 2


class MaxPool1D(Pool):
    """Take the largest value of each channel in each window, over sequences.

    Parameters
    ----------
    pool_size : int, default 2
        Length of the window.
    strides : int, optional
        Positions from one window to the next; None means `pool_size`, windows side by side.
    padding : "valid", "same" or int, default "valid"
        Positions added around the sequence: none; as many as give ceil(size / strides)
        outputs, half of them (rounded down) before; or so many on each side, at most half
        of the window. Positions outside of it are not there: a window's maximum is over its
        positions inside.
    name : str, optional
        Name of the layer.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range.

    Notes
    -----
    Input shape (rows, length, channels), output shape (rows, length', channels). No parameters.
    The gradient goes to the first of equal maxima, in the order of the positions.

    References
    ----------
    Ranzato et al. 2007, Unsupervised learning of invariant feature hierarchies.
    """

    kind: ClassVar[str] = "maxpool"
    axes: ClassVar[int] = 1
