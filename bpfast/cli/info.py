"""``bpfast info``: what is in a model file."""

from __future__ import annotations

import argparse
from pathlib import Path

from bpfast.cli import story
from bpfast.cli.data import TABLE
from bpfast.cli.files import sha256
from bpfast.cli.model import load_model


def run(arguments: argparse.Namespace) -> int:
    """Describe the file."""
    path = Path(arguments.model)
    model = load_model(path)
    net = model.net
    metadata = {key: value for key, value in net.metadata.items() if key != TABLE}
    story.say(
        f"{path}: {path.stat().st_size:,} bytes, SHA-256 {sha256(path)}",
        net.summary(),
        *(f"{key}: {value}" for key, value in sorted(metadata.items())),
        *(() if model.schema is None else story.schema_lines(model.schema)),
        *(() if net._loss is None else [f"loss: {net._loss}"]),
        *([f"metrics: {', '.join(net._metrics)}"] if net._metrics else []),
    )
    if arguments.speed:
        story.say("", net.explain(speed=True))
    return 0
