"""Shapes of one row: (n,) a vector, (length, channels) a sequence, (height, width, channels)."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from bpfast._check import bad_type, bad_value, check_count
from bpfast.errors import ShapeError

Shape = tuple[int, ...]

#: What the numbers of a shape are, by how many there are.
KINDS = {1: "(n,)", 2: "(length, channels)", 3: "(height, width, channels)"}


def check_shape(name: str, value: object) -> Shape:
    """Return an int, or a sequence of one to three, as the shape of a row; each is 1 or more.

    Raises
    ------
    TypeError, ValueError
        It is none of these.
    MemoryError
        So many values cannot be addressed.
    """
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        if not 1 <= len(value) <= 3:
            expected = ", ".join(["an int", *KINDS.values()])
            raise bad_value(name, f"one of {expected}", value)
        shape = tuple(check_count(f"{name}[{i}]", n) for i, n in enumerate(value))
    elif isinstance(value, (dict, set)):
        raise bad_type(name, "an int or a tuple of ints", value)
    else:
        shape = (check_count(name, value),)
    check_size(name, shape)
    return shape


def check_size(what: str, shape: Shape) -> None:
    """Raise a MemoryError when a row of this shape cannot be addressed."""
    if math.prod(shape) > sys.maxsize:
        raise MemoryError(f"{what}: a row of shape {shape} needs more bytes than can be addressed")


def show_shape(shape: Shape) -> str:
    """Write 784, or 28x28x1."""
    return "x".join(map(str, shape))


def core_shape(shape: Shape) -> tuple[int, int, int]:
    """Return the shape as the core has it: height, width, channels."""
    height, width, channels = (1,) * (3 - len(shape)) + shape
    return height, width, channels


def check_rank(shape: Shape, *ranks: int, hint: str = "") -> None:
    """Raise a ShapeError unless `shape` has one of these numbers of dimensions."""
    if len(shape) not in ranks:
        expected = " or ".join(KINDS[rank] for rank in ranks)
        raise ShapeError(f"needs an input of shape {expected}, got {shape}{hint}")
