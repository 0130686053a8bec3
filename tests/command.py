"""Runs the command ``bpfast`` for the tests, in this process."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bpfast.cli import main


@dataclass
class Result:
    """Exit code and what went to the two streams."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        """The object on the last line."""
        return json.loads(self.out.splitlines()[-1])


def bp(*arguments: object) -> Result:
    """Run the command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
    return Result(code, out.getvalue(), err.getvalue())


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write an array of bytes as an IDX file."""
    header = bytes([0, 0, 0x08, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(header + array.astype(np.uint8).tobytes())
