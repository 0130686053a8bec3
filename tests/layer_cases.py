"""Small networks with every layer beyond the dense core."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import bpfast as bp

Shape = tuple[int, ...]


class Case(NamedTuple):
    """An input shape, and a function that makes new layers for it."""

    shape: Shape
    make: Callable[[], list[bp.Layer]]


def shared_dense() -> list[bp.Layer]:
    again = bp.Dense(6, "tanh")
    return [bp.Dense(6), again, again, bp.Dense(3), again_of(3), bp.Dense(2)]


def again_of(units: int) -> bp.Layer:
    """A layer three times, one of them inside a skip."""
    layer = bp.Dense(units, "tanh")
    return bp.Residual([layer, bp.Residual([layer]), layer])


def shared_conv() -> list[bp.Layer]:
    again = bp.Conv2D(4, 3, "tanh", padding="same")
    return [bp.Conv2D(4, 3), again, bp.AvgPool2D(2), again, bp.Flatten(), bp.Dense(2)]


def shared_norm() -> list[bp.Layer]:
    again = bp.BatchNorm()
    return [bp.Dense(5), again, bp.Activation("tanh"), bp.Dense(5), again, bp.Dense(2)]


def shared_in_branches() -> list[bp.Layer]:
    again = bp.Dense(4, "tanh")
    return [bp.Concatenate([[again], [again, bp.Dense(3)], []]), bp.Dense(2)]


def autoencoder() -> list[bp.Layer]:
    first, second = bp.Dense(7, "tanh"), bp.Dense(3, "tanh")
    return [first, second, bp.Dense(tied_to=second, activation="tanh"), bp.Dense(tied_to=first)]


def tied_twice() -> list[bp.Layer]:
    first = bp.Dense(4, "tanh")
    return [
        first,
        bp.Dense(tied_to=first, activation="tanh"),
        first,
        bp.Dense(tied_to=first, use_bias=False),
    ]


def nested() -> list[bp.Layer]:
    inner = bp.Residual([bp.Dense(6, "tanh"), bp.BatchNorm()])
    branches = [[bp.Dense(3, "silu"), bp.LayerNorm()], [], [bp.Residual([bp.Dense(6)])]]
    return [
        bp.Dense(6),
        bp.Residual([bp.BatchNorm(), inner, bp.Dense(6, "tanh")], activation="tanh"),
        bp.Concatenate(branches),
        bp.Residual([bp.Dense(4, "tanh")]),
        bp.Dense(2),
    ]


def with_shortcut() -> list[bp.Layer]:
    """A block whose shortcut is ResNet's, and one that shares a layer with its shortcut."""
    again = bp.Dense(4, "tanh")
    return [
        bp.Residual(
            [bp.Conv2D(3, 3, "tanh", strides=2, padding="same"), bp.BatchNorm()],
            shortcut=[bp.Conv2D(3, 1, strides=2, use_bias=False), bp.BatchNorm()],
            activation="tanh",
        ),
        bp.GlobalAvgPool(),
        bp.Residual([bp.Dense(3, "tanh"), again], shortcut=[again, bp.LayerNorm()], name="block"),
        bp.Dense(2),
    ]


def small_cnn() -> list[bp.Layer]:
    return [
        bp.Conv2D(4, 3, use_bias=False),
        bp.BatchNorm(),
        bp.Activation("tanh"),
        bp.MaxPool2D(2),
        bp.Residual([bp.Conv2D(4, 3, "tanh", padding="same"), bp.Conv2D(4, 1)]),
        bp.Conv2D(6, 2, "silu", padding=1, groups=2),
        bp.GlobalAvgPool(),
        bp.Dense(3),
    ]


CASES = {
    "activation": Case((5,), lambda: [bp.Dense(6), bp.Activation("gelu"), bp.Dense(2)]),
    "softmax inside": Case((5,), lambda: [bp.Dense(6), bp.Activation("softmax"), bp.Dense(2)]),
    "batchnorm": Case((5,), lambda: [bp.BatchNorm()]),
    "batchnorm wide": Case((3,), lambda: [bp.Dense(70), bp.BatchNorm(), bp.Dense(2)]),
    "batchnorm bare": Case((5,), lambda: [bp.BatchNorm(center=False, scale=False), bp.Dense(2)]),
    "batchnorm center": Case((5,), lambda: [bp.Dense(4), bp.BatchNorm(scale=False)]),
    "batchnorm scale": Case((5,), lambda: [bp.Dense(4), bp.BatchNorm(center=False)]),
    "batchnorm of positions": Case((4, 3, 5), lambda: [bp.BatchNorm(), bp.Flatten()]),
    "batchnorm, tanh": Case(
        (5,), lambda: [bp.Dense(9), bp.BatchNorm(), bp.Activation("tanh"), bp.Dense(2)]
    ),
    "layernorm": Case((5,), lambda: [bp.LayerNorm()]),
    "layernorm wide": Case((3,), lambda: [bp.Dense(70), bp.LayerNorm(), bp.Dense(2)]),
    "layernorm of positions": Case((4, 3, 5), lambda: [bp.LayerNorm(), bp.Flatten()]),
    "rmsnorm": Case((5,), lambda: [bp.RMSNorm()]),
    "rmsnorm wide": Case((3,), lambda: [bp.Dense(70), bp.RMSNorm(), bp.Dense(2)]),
    "conv2d": Case((6, 5, 2), lambda: [bp.Conv2D(3, 3, "tanh"), bp.Flatten(), bp.Dense(2)]),
    "conv2d alone": Case((5, 4, 1), lambda: [bp.Conv2D(2, (3, 2)), bp.Flatten()]),
    "conv2d of one position": Case((1, 1, 5), lambda: [bp.Conv2D(4, 1, "tanh"), bp.Flatten()]),
    "conv2d same": Case(
        (5, 6, 2), lambda: [bp.Conv2D(3, 4, padding="same", strides=2), bp.Flatten()]
    ),
    "conv2d stride": Case(
        (7, 6, 3), lambda: [bp.Conv2D(4, 3, "tanh", strides=(2, 3)), bp.Flatten()]
    ),
    "conv2d dilated": Case(
        (7, 8, 2), lambda: [bp.Conv2D(3, (3, 2), dilation=(2, 3), padding=2), bp.Flatten()]
    ),
    "conv2d groups": Case(
        (5, 4, 6), lambda: [bp.Conv2D(9, 3, "tanh", groups=3, padding=1), bp.Flatten()]
    ),
    "conv2d depthwise": Case(
        (5, 4, 6), lambda: [bp.Conv2D(6, 3, groups=6, padding="same"), bp.Flatten()]
    ),
    "conv2d depthwise, two each": Case(
        (5, 4, 3), lambda: [bp.Conv2D(6, 3, groups=3), bp.Flatten()]
    ),
    "conv2d wide": Case(
        (4, 4, 5), lambda: [bp.Conv2D(70, 3, "tanh", padding="same"), bp.Flatten()]
    ),
    "conv2d no bias": Case((5, 5, 2), lambda: [bp.Conv2D(3, 3, use_bias=False), bp.Flatten()]),
    "conv1d": Case((9, 3), lambda: [bp.Conv1D(4, 3, "tanh", strides=2, padding=1), bp.Flatten()]),
    "conv1d dilated": Case((9, 4), lambda: [bp.Conv1D(4, 2, dilation=3, groups=2), bp.Flatten()]),
    "maxpool2d": Case((6, 7, 3), lambda: [bp.Conv2D(4, 2, "tanh"), bp.MaxPool2D(2), bp.Flatten()]),
    "maxpool2d overlapping": Case(
        (6, 7, 3), lambda: [bp.MaxPool2D(3, strides=(1, 2)), bp.Flatten(), bp.Dense(2)]
    ),
    "maxpool2d same": Case(
        (5, 6, 2),
        lambda: [bp.MaxPool2D((3, 2), strides=2, padding="same"), bp.Flatten(), bp.Dense(2)],
    ),
    "avgpool2d": Case((6, 7, 3), lambda: [bp.Conv2D(4, 2, "tanh"), bp.AvgPool2D(2), bp.Flatten()]),
    "avgpool2d same": Case(
        (5, 6, 2),
        lambda: [bp.AvgPool2D((3, 2), strides=2, padding="same"), bp.Flatten(), bp.Dense(2)],
    ),
    "maxpool1d": Case((8, 3), lambda: [bp.MaxPool1D(3, strides=2), bp.Flatten(), bp.Dense(2)]),
    "avgpool1d": Case((8, 3), lambda: [bp.AvgPool1D(2), bp.Flatten(), bp.Dense(2)]),
    "global pool": Case((4, 3, 5), lambda: [bp.GlobalAvgPool(), bp.Dense(2)]),
    "reshape": Case((12,), lambda: [bp.Reshape((2, 3, 2)), bp.Conv2D(2, 2), bp.Flatten()]),
    "slice": Case((40,), lambda: [bp.Dense(40), bp.Slice(3, 37), bp.Dense(2)]),
    "slice at first": Case((9,), lambda: [bp.Slice(2, 7), bp.Dense(2)]),
    "residual": Case((5,), lambda: [bp.Residual([bp.Dense(5, "tanh")]), bp.Dense(2)]),
    "residual projected": Case((5,), lambda: [bp.Residual([bp.Dense(7, "tanh")]), bp.Dense(2)]),
    "residual at last": Case((5,), lambda: [bp.Dense(4), bp.Residual([bp.Dense(4, "tanh")])]),
    "residual of conv": Case(
        (5, 4, 2),
        lambda: [
            bp.Residual([bp.Conv2D(3, 3, "tanh", padding="same")], activation="tanh"),
            bp.Flatten(),
        ],
    ),
    "residual with a shortcut": Case((5, 4, 2), with_shortcut),
    "concatenate": Case((5,), lambda: [bp.Concatenate([[bp.Dense(3, "tanh")], []]), bp.Dense(2)]),
    "concatenate of conv": Case(
        (5, 4, 2),
        lambda: [
            bp.Concatenate([[bp.Conv2D(3, 3, padding="same")], [bp.Conv2D(2, 1, "tanh")], []]),
            bp.Flatten(),
        ],
    ),
    "siamese distance": Case(
        (10,), lambda: [bp.Siamese([bp.Dense(7, "tanh"), bp.Dense(3)]), bp.Dense(2)]
    ),
    "siamese concatenate": Case(
        (10,), lambda: [bp.Siamese([bp.Dense(7, "tanh")], merge="concatenate"), bp.Dense(2)]
    ),
    "shared dense": Case((5,), shared_dense),
    "shared conv": Case((8, 8, 2), shared_conv),
    "shared norm": Case((5,), shared_norm),
    "shared in branches": Case((5,), shared_in_branches),
    "autoencoder": Case((9,), autoencoder),
    "tied twice": Case((9,), tied_twice),
    "nested": Case((5,), nested),
    "small cnn": Case((8, 7, 2), small_cnn),
}
