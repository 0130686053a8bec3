"""``bpfast evaluate``: score a model on test rows."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bpfast.cli import story
from bpfast.cli.data import FOLDER, encode, load_data
from bpfast.cli.model import load_model
from bpfast.cli.train import finite


def run(arguments: argparse.Namespace) -> int:
    """Score and tell."""
    path = Path(arguments.model)
    model = load_model(path)
    argument = arguments.data or model.source
    if not arguments.data and model.source in ("", FOLDER):
        raise ValueError(f"{path}: does not say what it was trained on; name the data after it")
    data = load_data(argument, model.seed)
    y = encode(data.test.y, model.classes, "the test rows")
    scores = model.net.evaluate(data.test.X, y)
    predicted = model.classes[model.net.predict_classes(data.test.X)]
    story.say(story.data_line(data), *story.score_lines(data, predicted, scores))
    if arguments.json:
        result = {
            "model": str(path),
            "data": data.argument,
            "rows": len(y),
            "test_loss": scores["loss"],
            "test_accuracy": scores["accuracy"],
            "baseline_accuracy": story.majority(data)[1],
        }
        story.say(json.dumps(finite(result)))
    return 0
