"""Real data to train on: one set inside the package, one that Debian packages, and IDX files."""

from bpfast.datasets.digits import load_digits
from bpfast.datasets.fashion_mnist import load_fashion_mnist
from bpfast.datasets.folder import load_idx_folder
from bpfast.datasets.idx import read_idx
from bpfast.datasets.split import stratified_split

__all__ = [
    "load_digits",
    "load_fashion_mnist",
    "load_idx_folder",
    "read_idx",
    "stratified_split",
]
