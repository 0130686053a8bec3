"""Other libraries: those that tests compare bpfast with, and those of its extras."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest


def require(name: str) -> ModuleType:
    """Import a peer, or skip the calling module; with BPFAST_PEERS=1 it must be there."""
    if os.environ.get("BPFAST_PEERS") == "1":
        return importlib.import_module(name)
    return pytest.importorskip(name)
