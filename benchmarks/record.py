"""The file of a machine's results, where each benchmark has a part of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bpfast.bench.machine import describe

RESULTS = Path(__file__).resolve().parent / "results"


def path(isa: str = "") -> Path:
    """Return this machine's file, named by what is public about the CPU and any cap on the ISA."""
    return RESULTS / f"{'-'.join(filter(None, [describe()['name'], isa]))}.json"


def read(file: Path) -> dict[str, Any]:
    """Return what a file holds; nothing if there is none."""
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def write(file: Path, key: str, part: Any) -> None:
    """Put one benchmark's part into a file, beside what others left there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**read(file), "machine": describe(), key: part}, indent=1)
    file.write_text(text + "\n")
