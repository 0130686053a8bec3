"""The networks of ``bpfast train --model``, and what they are trained with by default."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import bpfast as bp

if TYPE_CHECKING:
    from bpfast.layers import Layer

LARGE_SIDE: Final = 10  # pixels from which convolutions may leave a border out


@dataclass(frozen=True)
class Recipe:
    """A kind of network.

    Attributes
    ----------
    layers : callable ``(inputs, hidden, dropout, penalty) -> list of Layer``
        All but what is done to the inputs and the last layer.
    hidden : tuple of int
        Units, or channels and at last units, as `layers` reads them.
    epochs, batch_size : (int, int)
        With few training rows, and with many.
    dropout : float
        For classes; quantities get half.
    lr : float
        Highest learning rate; 0 for the optimizer's own.
    images : bool
        Whether it reads rows as square images of one channel.
    scale : "standard" or "none"
        Of the inputs. Pixels of an image have one scale: a deviation for each would blow up the few
        marks in its corners.
    shift : (int, int)
        Pixels by which images move at random, with few training rows, and with many.
    schedule : callable ``epochs -> Schedule``
        How the rate comes to 0.
    """

    layers: Callable[[int, Sequence[int], float, bp.L2 | None], list[Layer]]
    hidden: tuple[int, ...]
    epochs: tuple[int, int]
    batch_size: tuple[int, int]
    dropout: float
    lr: float = 0.0
    images: bool = False
    scale: str = "standard"
    shift: tuple[int, int] = (0, 0)
    schedule: Callable[[int], bp.schedules.Schedule] = bp.schedules.Cosine


def _mlp(inputs: int, hidden: Sequence[int], dropout: float, penalty: bp.L2 | None) -> list[Layer]:
    """Return dense layers with relu."""
    layers: list[Layer] = []
    for units in hidden:
        layers.append(bp.Dense(units, "relu", weight_regularizer=penalty))
        layers += _dropout(dropout)
    return layers


def _resmlp(
    inputs: int, hidden: Sequence[int], dropout: float, penalty: bp.L2 | None
) -> list[Layer]:
    """Return residual blocks of the kind of He et al. 2016: normalisation and relu come first.

    Half of the dropout is the inputs' share.
    """
    layers = _dropout(dropout / 2)
    for i, units in enumerate(hidden):
        dense = bp.Dense(units, weight_init="he_normal", weight_regularizer=penalty)
        layers.append(bp.Residual([*_normed(dropout), dense]) if i else dense)
    return [*layers, *_normed(dropout)] if hidden else []


def _cnn(inputs: int, hidden: Sequence[int], dropout: float, penalty: bp.L2 | None) -> list[Layer]:
    """Return stages of a convolution 3 x 3, a maximum over 2 x 2, normalisation and relu.

    The last of `hidden` are the units of a dense layer. The maximum comes before the normalisation,
    which then has a quarter of the values to see. Dropout stands behind the last normalisation
    alone, which would otherwise learn a variance that predictions do not have (Li, Chen, Hu & Yang
    2019). Images of less than ten pixels keep their border.
    """
    layers: list[Layer] = []
    side = image_shape(inputs)[0]
    for channels in hidden[:-1]:
        valid = side >= LARGE_SIDE
        conv = bp.Conv2D(
            channels,
            3,
            padding="valid" if valid else "same",
            use_bias=False,
            weight_init="he_normal",
            weight_regularizer=penalty,
        )
        layers += [conv, bp.MaxPool2D(2), bp.BatchNorm(), bp.Activation("relu")]
        side = (side - 2 * valid) // 2
    layers += [bp.Flatten()]
    for units in hidden[-1:]:
        dense = bp.Dense(units, use_bias=False, weight_init="he_normal", weight_regularizer=penalty)
        layers += [dense, *_normed(dropout)]
    return layers


def _normed(dropout: float) -> list[Layer]:
    """Return what comes before or behind a linear layer with normalisation."""
    return [bp.BatchNorm(), bp.Activation("relu"), *_dropout(dropout)]


def _dropout(rate: float) -> list[Layer]:
    """Return a dropout layer, or nothing."""
    return [bp.Dropout(rate)] if rate else []


#: By the name that ``--model`` takes.
RECIPES: Final = {
    "mlp": Recipe(_mlp, (256, 128), (40, 15), (32, 128), 0.2),
    "cnn": Recipe(
        _cnn,
        (32, 64, 56),
        (40, 20),
        (32, 128),
        0.0,
        4e-3,
        images=True,
        scale="none",
        shift=(0, 1),
        schedule=bp.schedules.OneCycle,
    ),
    "resmlp": Recipe(
        _resmlp,
        (512, 512, 512, 512),
        (40, 30),
        (32, 256),
        0.4,
        4e-3,
        schedule=bp.schedules.OneCycle,
    ),
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
        raise ValueError(f"expected square images of one channel, got {pixels:,} pixels")
    return side, side, 1
