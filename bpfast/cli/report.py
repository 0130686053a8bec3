"""``bpfast train --report``: a run as one page that needs nothing but itself.

Text from data, files and arguments is escaped wherever it goes; figures are inline SVG, and there
is no script and nothing to fetch.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

import bpfast
from bpfast import plot
from bpfast._figures import new_axes, svg
from bpfast.cli import story
from bpfast.cli.data import Data, encode
from bpfast.cli.files import check_output, sha256, write_text
from bpfast.cli.page import figure, lines, page, section, table, tiles

if TYPE_CHECKING:
    from bpfast._diagnosis import Diagnosis
    from bpfast._figures import Axes
    from bpfast.cli.scores import Score
    from bpfast.network import Network
    from bpfast.weight_monitor import WeightMonitor

#: What a page begins with: such a file may be overwritten.
_MARK: Final = "<!DOCTYPE html>\n<!-- a report of bpfast train -->\n"
_MOST_TENSORS: Final = 8  # that have figures
_MOST_CLASSES: Final = 40  # in a matrix that can be read


@dataclass(frozen=True)
class Run:
    """A training and what came of it.

    Attributes
    ----------
    command : str
        The command line.
    settings : dict of str to object
        What was chosen, by the user or for the data.
    record : dict of str to list of float
        Numbers of each epoch.
    monitor : WeightMonitor
        What the weights did.
    diagnosis : Diagnosis
        What is wrong.
    model : Path
        The file that was written.
    """

    command: str
    net: Network
    data: Data
    settings: Mapping[str, object]
    seed: int
    threads: int | None
    record: Mapping[str, list[float]]
    score: Score
    seconds: float
    monitor: WeightMonitor
    diagnosis: Diagnosis
    model: Path


def check(path: Path, *, force: bool) -> None:
    """See, before any work, whether the page can be drawn and written.

    Raises
    ------
    ImportError, OSError
        matplotlib is missing; the file may not or cannot be written.
    """
    new_axes(1, 1)
    check_output(path, force=force or _is_report(path), flag="--report")


def write(path: Path, run: Run) -> None:
    """Write the page."""
    title = f"{run.data.argument}: {run.net.sizes}"
    parts = [
        _summary(run),
        _curves(run),
        _weights(run),
        _diagnosis(run),
        "" if run.data.regression else _confusion(run),
        _settings(run),
    ]
    made = f"{time.strftime('%Y-%m-%d %H:%M')}, bpfast {bpfast.__version__}"
    write_text(path, _MARK + page(title, "".join(parts), made))


# ---- sections ----------------------------------------------------------------------------------


def _summary(run: Run) -> str:
    """Say what was trained, and how well."""
    values = run.score.values
    if run.data.regression:
        best = {"test r2": f"{values['test_r2']:.4f}", "test error": f"{values['test_rmse']:.4g}"}
        best["always guessing"] = f"{values['baseline_rmse']:.4g}"
    else:
        best = {"test accuracy": f"{100 * values['test_accuracy']:.2f}%"}
        best["always guessing"] = f"{100 * values['baseline_accuracy']:.2f}%"
    found = len(run.diagnosis.findings)
    numbers = {
        **best,
        "parameters": f"{run.net.parameters.size:,}",
        "epochs": f"{run.settings['epochs']}",
        "seconds": f"{run.seconds:.2f}",
        "findings": f"{found}" if found else "none",
    }
    told = [
        story.data_line(run.data),
        story.machine_line(run.threads),
        *run.score.lines,
    ]
    return section("Summary", tiles(numbers), lines(told), _pre(run.net.summary()))


def _curves(run: Run) -> str:
    """Draw the loss and the metrics over the epochs."""
    keys = [key for key in run.record if f"val_{key}" in run.record]
    drawn = [
        _drawn(f"curve-{key}", f"{key} over the epochs", plot.learning_curves, run.record, key)
        for key in keys
    ]
    return section("Learning curves", _grid(drawn))


def _weights(run: Run) -> str:
    """Draw what the weights and their gradients did."""
    monitor = run.monitor
    look = monitor.looks[-1]
    names = [name for name in look.tensors if name.endswith(".kernel")] or list(look.tensors)
    shown = names[:_MOST_TENSORS]
    whole = [_drawn("flow", "norms of the gradients", plot.gradient_flow, monitor)]
    if run.data.schema is None:  # images
        whole.append(_drawn("first", "weights of the first layer", plot.first_layer, run.net))
    drawn = []
    for i, name in enumerate(shown):
        drawn.append(_drawn(f"w{i}", f"weights of {name}", plot.weights, monitor, name))
        drawn.append(_drawn(f"g{i}", f"gradients of {name}", plot.gradients, monitor, name))
    numbers = table(
        ("tensor", "values", "mean", "deviation", "gradient norm", "update / weight"),
        [
            (
                name,
                f"{tensor.count:,}",
                *(
                    _number(getattr(tensor, key))
                    for key in ("mean", "std", "gradient_norm", "update_ratio")
                ),
            )
            for name, tensor in look.tensors.items()
        ],
    )
    units = table(
        ("layer", "activation", "units", "mean", "deviation", "dead", "saturated"),
        [
            (
                name,
                layer.activation,
                f"{layer.units:,}",
                _number(layer.mean),
                _number(layer.std),
                _share(layer.dead),
                _share(layer.saturated),
            )
            for name, layer in look.layers.items()
        ],
    )
    left_out = len(names) - len(shown)
    note = f"Figures of the first {len(shown)} kernels; {left_out} more are in the table."
    return section(
        "Weights and gradients",
        _grid(whole),
        _grid(drawn),
        lines([note] if left_out else []),
        f"<h3>After epoch {look.epoch + 1}</h3>",
        _grid([numbers, units], "tables"),
    )


def _diagnosis(run: Run) -> str:
    """Tell what is wrong, why one thinks so, and what to do."""
    findings = run.diagnosis.findings
    if not findings:
        return section("Diagnosis", lines([str(run.diagnosis)]))
    cards = []
    for finding in findings:
        where = f"{finding.severity}, {finding.layer}"
        cards.append(
            f'<article class="finding"><h3>{escape(finding.name)} '
            f"<small>{escape(where)}</small></h3>"
            f"<p>{escape(finding.evidence)}</p>"
            f"<p><strong>{escape(finding.advice)}</strong></p></article>"
        )
    return section("Diagnosis", *cards)


def _confusion(run: Run) -> str:
    """Draw which class was taken for which, and score each."""
    data, (X, y) = run.data, run.data.test
    true = encode(y, data.classes, "the test rows")
    found = run.net.predict_classes(X)
    names = [data.names[int(c)] if data.names else str(c) for c in data.classes.tolist()]
    drawn = []
    if len(names) <= _MOST_CLASSES:
        what = "true and predicted classes"
        drawn = [_drawn("confusion", what, plot.confusion, true, found, names, size=(4.9, 4.2))]
    rows = []
    for i, name in enumerate(names):
        there, said = true == i, found == i
        both = int((there & said).sum())
        rows.append(
            (
                name,
                f"{int(there.sum()):,}",
                _share(both / there.sum() if there.any() else np.nan),
                _share(both / said.sum() if said.any() else np.nan),
            )
        )
    scores = table(("class", "test rows", "recall", "precision"), rows)
    return section("Confusion matrix", _grid([*drawn, scores]))


def _settings(run: Run) -> str:
    """Tell what reproduces the run."""
    versions = {
        "bpfast": bpfast.__version__,
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "system": platform.platform(),
    }
    chosen = {key.replace("_", " "): _shown(value) for key, value in run.settings.items()}
    files = {
        "folder": str(Path.cwd()),
        "seed": str(run.seed),
        "data, SHA-256": data_hash(run.data),
        "model": str(run.model),
        "model, SHA-256": sha256(run.model),
    }
    return section(
        "Settings that reproduce this run",
        _pre(run.command, "wrapped"),
        _grid(
            (
                table(("setting", "value"), chosen.items()),
                table(("file", "value"), files.items()),
                table(("version", "value"), versions.items()),
            ),
            "tables",
        ),
    )


# ---- pieces ------------------------------------------------------------------------------------


def data_hash(data: Data) -> str:
    """Return the hash of all rows, as they are given to training, in hexadecimal."""
    digest = hashlib.sha256()
    for part in (data.train, data.validation, data.test):
        for array in part:
            digest.update(f"{array.dtype.str} {array.shape}".encode())
            digest.update(_bytes_of(array))
    return digest.hexdigest()


def _bytes_of(array: NDArray[Any]) -> bytes:
    """Return the values; text as UTF-8, whatever its longest."""
    return "\0".join(array.tolist()).encode() if array.dtype.kind in "UO" else array.tobytes()


def _is_report(path: Path) -> bool:
    """Whether there is a page that this command wrote."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MARK)) == _MARK.encode()


def _drawn(
    name: str,
    caption: str,
    draw: Any,
    *arguments: Any,
    size: tuple[float, float] = (4.2, 3.0),
) -> str:
    """Return what a function of `bpfast.plot` draws, as a figure of the page."""
    ax: Axes = draw(*arguments, ax=new_axes(*size))
    return figure(svg(ax, name.replace(" ", "-")), caption)


def _grid(parts: Iterable[str], kind: str = "figures") -> str:
    return f'<div class="grid {kind}">{"".join(parts)}</div>'


def _pre(text: str, kind: str = "") -> str:
    return f'<pre class="{kind}" tabindex="0">{escape(text)}</pre>'


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3g}"


def _share(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.1f}%"


def _shown(value: object) -> str:
    """Write a setting."""
    if isinstance(value, tuple | list):
        return ",".join(map(str, value)) or "none"
    return "-" if value is None else str(value)
