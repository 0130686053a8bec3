"""Training images that change from epoch to epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bpfast as bp
from bpfast.cli.recipes import image_shape


class Mirror(bp.Callback):
    """Turn every image left to right with probability 1/2, before each epoch.

    Parameters
    ----------
    images : ndarray (rows, pixels)
        Square images of one channel; changed in place, which `fit` sees: it reads them where they
        are.
    seed : int
        Of the draws.

    References
    ----------
    Krizhevsky, Sutskever & Hinton 2012, ImageNet classification with deep convolutional neural
    networks, section 4.1.
    """

    def __init__(self, images: NDArray[Any], seed: int) -> None:
        self._images = images.reshape(len(images), *image_shape(images.shape[1])[:2])
        self._rng = np.random.default_rng(seed)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Turn half of the images."""
        turned = self._rng.random(len(self._images)) < 0.5
        self._images[turned] = self._images[turned, :, ::-1]
