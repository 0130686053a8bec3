"""Streams of random numbers of Python's own, as src/prim/prim.h numbers them (BP_STREAM_*)."""

from __future__ import annotations

from typing import Final

#: The order of an epoch's rows.
SHUFFLE: Final = 1
#: Choices beside the training: rows held out, samples of rows.
USER: Final = 2
