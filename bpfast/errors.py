"""The exceptions of bpfast that Python does not have already."""

from __future__ import annotations


class ShapeError(ValueError):
    """An array has the wrong number of dimensions, rows or columns, or layers do not fit.

    Parameters
    ----------
    message : str
        One line.
    layer : str, optional
        Name of the layer whose input does not fit; None where it was an array.
    """

    def __init__(self, message: str, *, layer: str | None = None) -> None:
        super().__init__(message)
        self.layer = layer


class DivergenceError(FloatingPointError):
    """The loss or a weight became NaN or infinite during training.

    The network then holds the weights of the last finite epoch.

    Parameters
    ----------
    message : str
        One line: what became non-finite, and where.
    layer : str, optional
        Name of the first layer that was not finite; None when only the loss was.
    epoch, batch : int, optional
        Where it was seen, counted from 0 within one fit; ``batch`` is None when it was seen at
        the end of an epoch.
    """

    def __init__(
        self,
        message: str = "training diverged",
        *,
        layer: str | None = None,
        epoch: int | None = None,
        batch: int | None = None,
    ) -> None:
        super().__init__(message)
        self.layer = layer
        self.epoch = epoch
        self.batch = batch
