"""Write the digits that the package carries from scikit-learn's copy of them.

    pip install scikit-learn && python tools/pack_digits.py

The result is the same bytes on every machine with the same zlib: no time, no file name.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

FOLDER = Path(__file__).resolve().parent.parent / "bpfast" / "datasets"


def write_idx(name: str, array: np.ndarray) -> None:
    """Write an array of bytes as a compressed IDX file."""
    header = bytes([0, 0, 0x08, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    packed = gzip.compress(header + array.tobytes(), 9, mtime=0)
    (FOLDER / name).write_bytes(packed)
    print(f"{FOLDER / name}: {len(packed)} bytes")


def main() -> None:
    """Check what came, and write it."""
    data = load_digits()
    images, labels = data.images.astype(np.uint8), data.target.astype(np.uint8)
    if images.shape != (1797, 8, 8) or not np.array_equal(images, data.images):
        raise SystemExit("these are not the 1,797 images of 8 x 8 whole numbers")
    write_idx("digits-images-idx3-ubyte.gz", images)
    write_idx("digits-labels-idx1-ubyte.gz", labels)


if __name__ == "__main__":
    main()
