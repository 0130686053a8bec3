"""``bpfast predict``: a line of text for each row."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpfast.cli import story
from bpfast.cli.data import FOLDER, load_data, source_of
from bpfast.cli.files import check_output, write_text
from bpfast.cli.model import load_model
from bpfast.datasets.idx import read_idx


def run(arguments: argparse.Namespace) -> int:
    """Predict and write."""
    out = Path(arguments.out) if arguments.out else None
    if out is not None:
        check_output(out, force=arguments.force)
    model = load_model(Path(arguments.model))
    if source_of(arguments.rows) == FOLDER:
        X = read_rows(Path(arguments.rows))
    else:
        X = load_data(arguments.rows, model.seed).test.X
    text = io.StringIO()
    if arguments.proba:
        np.savetxt(text, model.net.predict_proba(X), fmt="%.9g", delimiter=",")
    else:
        np.savetxt(text, model.classes[model.net.predict_classes(X)], fmt="%d")
    if out is None:
        print(text.getvalue(), end="")
    else:
        write_text(out, text.getvalue())
        story.tell(f"wrote {len(X):,} lines to {out}")
    return 0


def read_rows(path: Path) -> NDArray[Any]:
    """Read a .npy or IDX file as rows; its first bytes tell which.

    Raises
    ------
    OSError, ValueError
        It is not there, damaged, or of neither kind.
    """
    with path.open("rb") as file:
        is_npy = file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX
    if is_npy:
        try:
            rows: NDArray[Any] = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path}: damaged or unsuitable .npy file: {error}") from None
    else:
        rows = read_idx(path)
    if rows.ndim == 0:
        raise ValueError(f"{path}: a single number, expected rows")
    return rows[None] if rows.ndim == 1 else rows.reshape(len(rows), -1)
