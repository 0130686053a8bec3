"""The handwritten digits that the package carries.

Optical Recognition of Handwritten Digits, by E. Alpaydin and C. Kaynak (1998), from the UCI
Machine Learning Repository, https://doi.org/10.24432/C50P49, licensed under Creative Commons
Attribution 4.0 International (CC BY 4.0, https://creativecommons.org/licenses/by/4.0/). The 1,797
rows are those of the file optdigits.tes, which scikit-learn ships too; tools/pack_digits.py wrote
them, unchanged but for the format, as the two IDX files beside this module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bpfast.datasets.idx import read_idx

#: Credit that the licence asks for wherever the data go.
ATTRIBUTION: Final = (
    "Optical Recognition of Handwritten Digits, E. Alpaydin & C. Kaynak 1998, UCI Machine "
    "Learning Repository, https://doi.org/10.24432/C50P49, CC BY 4.0"
)

IMAGES: Final = "digits-images-idx3-ubyte.gz"
LABELS: Final = "digits-labels-idx1-ubyte.gz"


def load_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the 1,797 handwritten digits that the package carries.

    Each image has 8 x 8 pixels, row by row. A pixel is the number of ink dots, 0 to 16, in a
    4 x 4 block of the scanned bitmap.

    Returns
    -------
    X : ndarray of uint8, shape (1797, 64)
        Pixels, 0 to 16.
    y : ndarray of int64, shape (1797,)
        The digits, 0 to 9.

    References
    ----------
    Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, https://doi.org/10.24432/C50P49 (CC BY 4.0).
    """
    folder = Path(__file__).parent
    return read_idx(folder / IMAGES).reshape(-1, 64), read_idx(folder / LABELS).astype(np.int64)
