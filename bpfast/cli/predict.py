"""``bpfast predict``: a line of text for each row; for a table after a line of names."""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpfast.cli import story
from bpfast.cli.data import DIGITS, FASHION_MNIST, TABLE, load_data, source_of
from bpfast.cli.files import check_output, write_text
from bpfast.cli.model import Model, load_model
from bpfast.cli.table import SUFFIXES, is_table, load_arrays, read_table, some
from bpfast.datasets.idx import read_idx


def run(arguments: argparse.Namespace) -> int:
    """Predict and write."""
    out = Path(arguments.out) if arguments.out else None
    if out is not None:
        check_output(out, force=arguments.force)
    model = load_model(Path(arguments.model))
    regression = model.schema is not None and model.schema.regression
    if arguments.proba and regression:
        raise ValueError(f"--proba: {arguments.model} predicts a quantity, which has none")
    X = read_rows(arguments, model)
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    if model.schema is not None:
        lines.writerow(model.classes.tolist() if arguments.proba else [model.schema.target])
    if arguments.proba:
        np.savetxt(text, model.net.predict_proba(X), fmt="%.9g", delimiter=",")
    elif regression:
        np.savetxt(text, model.net.predict(X), fmt="%.9g")
    else:
        lines.writerows([label] for label in model.classes[model.net.predict_classes(X)].tolist())
    if out is None:
        print(text.getvalue(), end="")
    else:
        write_text(out, text.getvalue())
        written = len(X) + (model.schema is not None)
        story.tell(f"wrote {written:,} lines to {out}")
    return 0


def read_rows(arguments: argparse.Namespace, model: Model) -> NDArray[Any]:
    """Return the rows to predict, as the model reads them.

    Raises
    ------
    OSError, ValueError, ImportError
        They are not there, damaged, or do not go with the model.
    """
    source = source_of(arguments.rows)
    if model.schema is not None:
        if source != TABLE:
            raise ValueError(
                f"{arguments.rows}: {arguments.model} reads tables ({', '.join(SUFFIXES)})"
            )
        schema = model.schema.read_as(arguments.header, arguments.delimiter)
        table = read_table(Path(arguments.rows), header=schema.header, delimiter=schema.delimiter)
        X = schema.read_inputs(table)
        if table.named and (unused := schema.unused(table)):
            story.tell(f"{table.path}: columns that the model does not read: {some(unused)}")
        return X
    if source in (DIGITS, FASHION_MNIST):
        return load_data(arguments.rows, model.seed).test.X
    return read_array(Path(arguments.rows))


def read_array(path: Path) -> NDArray[Any]:
    """Read a .npy or IDX file as rows; its first bytes tell which.

    Raises
    ------
    OSError, ValueError
        It is not there, damaged, or of neither kind.
    """
    with path.open("rb") as file:
        is_npy = file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX
    if not is_npy and is_table(path.name) and path.suffix != ".npy":
        raise ValueError(f"{path}: the model was trained on images; expected a .npy or IDX file")
    rows = load_arrays(path) if is_npy else read_idx(path)
    if isinstance(rows, dict) or rows.ndim == 0:
        raise ValueError(f"{path}: expected one array of rows")
    return rows[None] if rows.ndim == 1 else rows.reshape(len(rows), -1)
