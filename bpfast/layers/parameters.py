"""What a layer says of its parameters: names, shapes, and how they start."""

from __future__ import annotations

from typing import NamedTuple

from bpfast._initializer import Initializer
from bpfast.initializers import Ones, Zeros
from bpfast.layers.shapes import Shape


class Parameter(NamedTuple):
    """One array of parameters.

    Attributes
    ----------
    shape : tuple of int
    init : Initializer
    fan_in, fan_out : int
        Inputs that feed one unit, and units that one input feeds.
    is_bias : bool
        Whether it is what the core calls a bias, else a kernel.
    """

    shape: Shape
    init: Initializer
    fan_in: int
    fan_out: int
    is_bias: bool = False


def scale_and_shift(channels: int, scale: bool, center: bool) -> dict[str, Parameter]:
    """Return gamma, which starts at 1, and beta, at 0, of a normalisation."""
    found = {}
    if scale:
        found["gamma"] = Parameter((channels,), Ones(), 1, channels)
    if center:
        found["beta"] = Parameter((channels,), Zeros(), 1, channels, is_bias=True)
    return found
