"""``bpfast evaluate``: score a model on test rows."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from bpfast.cli import story
from bpfast.cli.data import DIGITS, FASHION_MNIST, TABLE, load_data, source_of
from bpfast.cli.model import load_model
from bpfast.cli.scores import score
from bpfast.cli.table import SUFFIXES
from bpfast.cli.tabular import load_to_test
from bpfast.cli.train import finite


def run(arguments: argparse.Namespace) -> int:
    """Score and tell."""
    path = Path(arguments.model)
    model = load_model(path)
    argument = arguments.data or model.source
    if not arguments.data and model.source not in (DIGITS, FASHION_MNIST):
        raise ValueError(f"{path}: does not say what it was trained on; name the data after it")
    if (source_of(argument) == TABLE) != (model.schema is not None):
        reads = "images" if model.schema is None else f"tables ({', '.join(SUFFIXES)})"
        raise ValueError(f"{argument}: {path} reads {reads}")
    if model.schema is None:
        data = load_data(argument, model.seed)
        data = replace(data, classes=model.classes)
    else:
        schema = model.schema.read_as(arguments.header, arguments.delimiter)
        data = load_to_test(argument, schema, model.classes, model.seed)
    scores = score(model.net, data)
    story.say(story.data_line(data), *scores.lines)
    if arguments.json:
        result = {
            "model": str(path),
            "data": data.argument,
            "rows": len(data.test.y),
            **scores.values,
        }
        story.say(json.dumps(finite(result)))
    return 0
