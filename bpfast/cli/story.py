"""What the command prints: every sentence, and the table of epochs."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import bpfast
from bpfast.callbacks import Callback
from bpfast.cli.data import DIGITS, FASHION_MNIST, FOLDER, TABLE, Data
from bpfast.cli.files import sha256
from bpfast.config import chosen_isa, thread_choice

if TYPE_CHECKING:
    from bpfast.cli.schema import Schema
    from bpfast.cli.train import Settings
    from bpfast.network import Network

#: Epochs that each have a row; after them only every so many.
FULL_ROWS: Final = 10
_ROWS_AFTER: Final = 4  # at most, and the last


def say(*lines: str) -> None:
    """Print lines of the result, at once; a reader that has enough (head) ends no training."""
    try:
        print(*lines, sep="\n", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell(line: str) -> None:
    """Print a message beside the result."""
    print(f"bpfast: {line}", file=sys.stderr, flush=True)


def machine_line(threads: int | None) -> str:
    """Say what runs: version, instruction set, threads and why so many."""
    count, reason = thread_choice(threads)
    reason = reason.replace("n_threads", "--threads")
    return f"bpfast {bpfast.__version__}, {chosen_isa()}, {_many(count, 'thread')} ({reason})"


def data_line(data: Data) -> str:
    """Say how many rows there are, and how they are split."""
    parts = {"training": data.train, "validation": data.validation, "test": data.test}
    rows = sum(len(part.y) for part in parts.values())
    sizes = ", ".join(f"{len(part.y):,} {name}" for name, part in parts.items() if len(part.y))
    classes = f"{len(data.classes):,} classes"
    if data.schema is None:
        shape = f"{data.train.X.shape[1]:,} pixels in {classes}"
    else:
        kind = "a quantity" if data.regression else f"of {classes}"
        columns = _many(len(data.schema.features), "column")
        shape = f"{columns}, {data.schema.target!r} {kind}"
    return f"{data.argument}: {_many(rows, 'row')} of {shape}: {sizes}"


def network_lines(net: Network, data: Data, settings: Settings, seed: int) -> list[str]:
    """Say what is trained, and how."""
    model = "" if settings.model == "mlp" else f"{settings.model} "
    traits = ["standardized inputs"] if settings.scale == "standard" else []
    traits += ["relu"] if settings.hidden else []
    traits += ["standardized target"] if data.regression else []
    dropped = any(isinstance(layer, bpfast.Dropout) for layer in net.layers)
    traits += [f"dropout {settings.dropout:g}"] if dropped else []
    traits += ["mirrored at random"] if settings.mirror else []
    traits += [f"moved by up to {_many(settings.shift, 'pixel')}"] if settings.shift else []
    traits += [f"l2 {settings.l2:g}"] if settings.l2 else []
    rate = (
        f"first steps of {settings.lr:g}" if settings.full_batch else f"rate {settings.lr:g} to 0"
    )
    return [
        f"network {', '.join([model + net.sizes, *traits])}: {net.parameters.size:,} parameters",
        f"{settings.optimizer}, {rate}, batches of {settings.batch_size:,}, "
        f"{_many(settings.epochs, 'epoch')}, seed {seed}",
    ]


def schema_lines(schema: Schema) -> list[str]:
    """Say which columns a model reads, and what it predicts."""
    lines = [f"target: {schema.target} ({schema.task})"]
    for feature in schema.features:
        values = "" if feature.values is None else f", one-hot: {', '.join(feature.values)}"
        fill = "" if feature.fill is None else f", {feature.fill:.9g} where missing"
        lines.append(f"column: {feature.name}{values}{fill}")
    if schema.dropped:
        lines.append(f"columns left out: {', '.join(schema.dropped)}")
    lines.append(
        f"test share: {schema.test_percent / 100:g}, of the file of SHA-256 {schema.sha256}"
    )
    return lines


def file_line(path: Path) -> str:
    """Say what was written."""
    return f"wrote {path}: {path.stat().st_size:,} bytes, SHA-256 {sha256(path)}"


def next_lines(data: Data, path: Path) -> list[str]:
    """Say what to do with the model, in a shell and in Python."""
    model = shlex.quote(str(path))
    if data.source in (FOLDER, TABLE):
        command = "evaluate" if data.source == FOLDER else "predict"
        rows = f"{command} {model} {shlex.quote(data.argument)}"
        code = f"print(bp.load({json.dumps(str(path))}).summary())"
    else:
        rows = f"predict {model} {data.argument}"
        load = {DIGITS: "load_digits()", FASHION_MNIST: "load_fashion_mnist()[2:]"}[data.source]
        code = (
            f"X, y = bp.datasets.{load}; "
            f"print(bp.load({json.dumps(str(path))}).predict_classes(X[:9]), y[:9])"
        )
    code = shlex.quote(f"import bpfast as bp; {code}")
    return [f"next: bpfast {rows}", f"      python -P -c {code}"]


def shown_epochs(epochs: int) -> set[int]:
    """Return the epochs, from 1, that have a row: the first ten, then few, and the last."""
    step = next(
        unit * 10**power
        for power in range(1, 20)
        for unit in (0.5, 1, 2)
        if epochs - FULL_ROWS <= _ROWS_AFTER * unit * 10**power
    )
    later = {epoch for epoch in range(0, epochs, int(step)) if epoch > FULL_ROWS}
    return {*range(1, min(epochs, FULL_ROWS) + 1), *later, epochs}


class EpochTable(Callback):
    """Print a row per epoch, thinned; on a terminal the epochs between on standard error.

    Parameters
    ----------
    epochs : int
        How many there will be.
    rows : int
        Training rows in each.
    metric : str
        What is shown beside the loss.
    every : bool, default False
        A row for every epoch.
    """

    def __init__(self, epochs: int, rows: int, metric: str, *, every: bool = False) -> None:
        self.epochs, self.rows = epochs, rows
        self.columns = ("loss", "val_loss", metric, f"val_{metric}")
        self._shown: Sequence[int] | set[int] = (
            range(1, epochs + 1) if every else shown_epochs(epochs)
        )
        self._live = sys.stderr is not None and sys.stderr.isatty()

    def on_train_begin(self, logs: Mapping[str, float]) -> None:
        """Print the heads of the columns."""
        heads = "".join(f"{name:>14}" for name in (*self.columns, "samples/s"))
        say(f"{'epoch':>5}{heads}")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Print the row of an epoch that has one."""
        speed = self.rows / logs["seconds"]
        if epoch + 1 in self._shown:
            self._replace_live("")
            numbers = "".join(f"{logs[name]:14.4f}" for name in self.columns)
            say(f"{epoch + 1:5d}{numbers}{speed:14,.0f}")
        else:
            self._replace_live(f"epoch {epoch + 1} of {self.epochs}, loss {logs['loss']:.4f}")

    def on_train_end(self, logs: Mapping[str, float]) -> None:
        """Take the live line away."""
        self._replace_live("")

    def _replace_live(self, text: str) -> None:
        """Write over the last line of the terminal."""
        if self._live:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _many(count: int, noun: str) -> str:
    """Write a count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
