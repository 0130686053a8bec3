"""Files that the command writes: may it, and what it wrote."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Final

from bpfast.io import KEY, write_atomically

_MAX_HEADER: Final = 100_000_000  # bytes; the limit of the safetensors library


def check_output(path: Path, *, force: bool, own: bool = False, flag: str = "--out") -> None:
    """See, before any work, whether `path` may be written.

    Parameters
    ----------
    path : Path
        The file to write.
    force : bool
        Allow any regular file to be overwritten.
    own : bool, default False
        Allow a model file that bpfast wrote to be overwritten.
    flag : str, default "--out"
        The argument that names it.

    Raises
    ------
    OSError
        It may not, or cannot.
    """
    folder = path.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{path}: the folder {folder} is not writable")
    if not os.path.lexists(path):
        return
    if not path.is_file():  # a folder, a device, a dangling link: never
        raise FileExistsError(f"{path}: exists and is not a regular file")
    if not force and not (own and is_own_model(path)):
        came = "was not written by bpfast" if own else "exists"
        raise FileExistsError(f"{path}: {came}; --force overwrites it, {flag} names another file")


def is_own_model(path: Path) -> bool:
    """Say whether a file is a model that bpfast wrote, from its header alone."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, _MAX_HEADER):
            return False
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError):
            return False
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    return isinstance(metadata, dict) and KEY in metadata


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    write_atomically(path, text.encode())


def sha256(path: Path) -> str:
    """Return the hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
