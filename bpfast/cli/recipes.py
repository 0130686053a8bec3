"""The networks of ``bpfast train --model``, and what they are trained with by default."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import bpfast as bp

if TYPE_CHECKING:
    from bpfast.layers import Layer


@dataclass(frozen=True)
class Recipe:
    """A kind of network.

    Attributes
    ----------
    layers : callable ``(hidden, dropout, penalty) -> list of Layer``
        All but what is done to the inputs and the last layer.
    hidden : tuple of int
        Units, channels or blocks, as `layers` reads them.
    epochs, batch_size : (int, int)
        With few training rows, and with many.
    dropout : float
        For classes; quantities get half.
    lr : float
        First learning rate; 0 for the optimizer's own.
    images : bool
        Whether it reads rows as square images of one channel.
    """

    layers: Callable[[Sequence[int], float, bp.L2 | None], list[Layer]]
    hidden: tuple[int, ...]
    epochs: tuple[int, int]
    batch_size: tuple[int, int]
    dropout: float
    lr: float = 0.0
    images: bool = False


def _mlp(hidden: Sequence[int], dropout: float, penalty: bp.L2 | None) -> list[Layer]:
    """Return dense layers with relu."""
    layers: list[Layer] = []
    for units in hidden:
        layers.append(bp.Dense(units, "relu", weight_regularizer=penalty))
        layers += _dropout(dropout)
    return layers


def _resmlp(hidden: Sequence[int], dropout: float, penalty: bp.L2 | None) -> list[Layer]:
    """Return residual blocks of the kind of He et al. 2016: normalisation and relu come first."""
    layers: list[Layer] = []
    for i, units in enumerate(hidden):
        dense = bp.Dense(units, weight_init="he_normal", weight_regularizer=penalty)
        before = [bp.BatchNorm(), bp.Activation("relu"), *_dropout(dropout)] if i else []
        layers.append(bp.Residual([*before, dense]) if i else dense)
    return [*layers, bp.BatchNorm(), bp.Activation("relu"), *_dropout(dropout)]


def _cnn(hidden: Sequence[int], dropout: float, penalty: bp.L2 | None) -> list[Layer]:
    """Return stages of a convolution 3 x 3, normalisation, relu and a maximum over 2 x 2."""
    layers: list[Layer] = []
    for channels in hidden:
        layers += [
            bp.Conv2D(
                channels,
                3,
                padding="same",
                use_bias=False,
                weight_init="he_normal",
                weight_regularizer=penalty,
            ),
            bp.BatchNorm(),
            bp.Activation("relu"),
            bp.MaxPool2D(2),
        ]
    return [*layers, bp.Flatten(), *_dropout(dropout)]


def _dropout(rate: float) -> list[Layer]:
    """Return a dropout layer, or nothing."""
    return [bp.Dropout(rate)] if rate else []


#: By the name that ``--model`` takes.
RECIPES: Final = {
    "mlp": Recipe(_mlp, (256, 128), (40, 15), (32, 128), 0.2),
    "cnn": Recipe(_cnn, (32, 64), (40, 12), (32, 128), 0.4, 3e-3, images=True),
    "resmlp": Recipe(_resmlp, (256, 256, 256), (40, 20), (32, 128), 0.3, 2e-3),
}


def image_shape(pixels: int) -> tuple[int, int, int]:
    """Return the shape of square images of so many grey pixels.

    Raises
    ------
    ValueError
        There are none.
    """
    side = math.isqrt(pixels)
    if side * side != pixels:
        raise ValueError(f"--model cnn needs square images of one channel, got {pixels:,} pixels")
    return side, side, 1
