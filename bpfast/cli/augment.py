"""Training images that change from epoch to epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bpfast as bp
from bpfast.cli.recipes import image_shape


class Augment(bp.Callback):
    """Turn and move every image at random, before each epoch.

    Parameters
    ----------
    images : ndarray (rows, pixels)
        Square images of one channel; changed in place, which `fit` sees: it reads them where they
        are.
    seed : int
        Of the draws.
    mirror : bool
        Turn left to right with probability 1/2.
    shift : int
        Pixels by which each moves at most, down or up and to the right or left, all ways equally
        probable; what comes in from outside is 0.

    References
    ----------
    Krizhevsky, Sutskever & Hinton 2012, ImageNet classification with deep convolutional neural
    networks, section 4.1.
    """

    def __init__(self, images: NDArray[Any], seed: int, *, mirror: bool, shift: int) -> None:
        self._images = images.reshape(len(images), *image_shape(images.shape[1])[:2])
        edge = (shift, shift)
        self._framed = np.pad(self._images, ((0, 0), edge, edge))
        self._rng = np.random.default_rng(seed)
        self._mirror, self._shift = mirror, shift

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Make other images of the first ones."""
        images, side, ways = self._images, self._images.shape[1], 2 * self._shift + 1
        way = self._rng.integers(ways**2, size=len(images))
        for number in range(ways**2):
            y, x = divmod(number, ways)
            chosen = way == number
            images[chosen] = self._framed[chosen, y : y + side, x : x + side]
        if self._mirror:
            turned = self._rng.random(len(images)) < 0.5
            images[turned] = images[turned, :, ::-1]
