"""``bpfast info``: what is in a model file."""

from __future__ import annotations

import argparse
from pathlib import Path

import bpfast as bp
from bpfast.cli import story
from bpfast.cli.files import sha256


def run(arguments: argparse.Namespace) -> int:
    """Describe the file."""
    path = Path(arguments.model)
    net = bp.load(path)
    story.say(
        f"{path}: {path.stat().st_size:,} bytes, SHA-256 {sha256(path)}",
        net.summary(),
        *(f"{key}: {value}" for key, value in sorted(net.metadata.items())),
    )
    if arguments.speed:
        story.say("", net.explain(speed=True))
    return 0
