"""IDX files, the format of MNIST and its descendants.

::

    offset  size       what
    0       2          zero
    2       1          element type, see TYPES
    3       1          d, number of dimensions
    4       4 d        sizes, big-endian, the slowest first
    4+4d    the rest   elements, big-endian, row-major
"""

from __future__ import annotations

import gzip
import io
import math
import os
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: Element types by their code in the file.
TYPES: Final[dict[int, np.dtype[Any]]] = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}

_GZIP_MAGIC: Final = b"\x1f\x8b"
_MAX_DIMENSIONS: Final = 64  # NumPy's own limit
_MAX_DEFLATE_RATIO: Final = 1032  # 258 bytes out of 2 bits: deflate's densest code


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an IDX file, plain or compressed with gzip; its first bytes tell which.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    ndarray
        The elements in the file's shape and type (uint8, int8, int16, int32, float32 or float64),
        in the machine's byte order; writable.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not an IDX file, or holds more or less than its header says.

    References
    ----------
    LeCun, Cortes & Burges 1998, The MNIST database of handwritten digits, "File formats".
    """
    name = os.fspath(path)
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        compressed = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        if not compressed:
            return _read(file, name, size)
        try:
            with gzip.GzipFile(fileobj=file, mode="rb") as content:
                return _read(content, name, size * _MAX_DEFLATE_RATIO)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{name}: damaged gzip data: {error}") from None


def _read(file: io.BufferedReader | gzip.GzipFile, name: str, most: int) -> NDArray[Any]:
    """Read header and elements; `most` is how many bytes the file can hold at the very most."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES:
        raise ValueError(
            f"{name}: not an IDX file: it begins with {magic.hex(' ') or 'nothing'}, expected "
            f"00 00, a type of {', '.join(f'{code:02x}' for code in TYPES)}, and the dimensions"
        )
    dtype, dimensions = TYPES[magic[2]], magic[3]
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise ValueError(f"{name}: {dimensions} dimensions, expected 1 to {_MAX_DIMENSIONS}")
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise ValueError(
            f"{name}: truncated: {4 + len(header)} bytes, but the header of {dimensions} "
            f"dimensions has {4 + 4 * dimensions}"
        )
    shape = tuple(int(n) for n in np.frombuffer(header, ">u4"))
    expected = math.prod(shape) * dtype.itemsize  # Python's int: cannot overflow
    claim = f"its header says {' x '.join(map(str, shape))} elements of {dtype.itemsize}"
    if 4 + len(header) + expected > most:
        raise ValueError(
            f"{name}: truncated: {claim}, {expected} bytes, but the file holds at most "
            f"{max(most - 4 - len(header), 0)}"
        )
    data, held = bytearray(expected), 0
    into = memoryview(data)
    while held < expected:  # a gzip stream gives less than asked for at a time
        count = file.readinto(into[held:])
        if not count:
            raise ValueError(f"{name}: truncated: {claim}, {expected} bytes, but it holds {held}")
        held += count
    if file.read(1):
        raise ValueError(f"{name}: {claim}, {expected} bytes, but more follow")
    elements: NDArray[Any] = np.frombuffer(data, dtype)
    if not dtype.isnative:
        elements = elements.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return elements.reshape(shape)
