"""What must hold for any bytes as a model file: a typed error of one line, or a sound network."""

from __future__ import annotations

import json
import struct
import warnings
from pathlib import Path

import numpy as np

import bpfast as bp

#: The kinds of error that a bad file may cause, in `load` and when what it holds is used.
LOADING = (ValueError, OSError, MemoryError)
USING = (ValueError, TypeError, FloatingPointError, MemoryError)


def split(data: bytes) -> tuple[dict, dict, bytes]:
    """Take a file apart: header, description, numbers; a ValueError where it is no model file."""
    if len(data) < 8:
        raise ValueError("too short")
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    return header, json.loads(header["__metadata__"]["bpfast"]), data[8 + length :]


def join(header: dict, description: object, numbers: bytes) -> bytes:
    """Put a file together."""
    header["__metadata__"]["bpfast"] = json.dumps(description)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def check(data: bytes, folder: Path) -> bp.Network | None:
    """Load the bytes; return the network, or None when a typed error came."""
    path = folder / "model.safetensors"
    path.write_bytes(data)
    own = bp.Network([3, 2], rng=0)
    before = own.parameters.tobytes()
    try:
        own.load_weights(path)
    except LOADING as error:
        check_message(error)
        assert own.parameters.tobytes() == before
    try:
        net = bp.load(path, n_threads=1)
    except LOADING as error:
        check_message(error)
        return None
    use(net, folder)
    return net


def check_message(error: BaseException) -> None:
    """Raise unless the message is one line of readable length."""
    assert "\n" not in str(error), repr(str(error))
    assert 0 < len(str(error)) < 2000


def use(net: bp.Network, folder: Path) -> None:
    """A network that was loaded predicts, is saved as it is, and goes on with its fit."""
    assert net.predict(np.zeros((2, net.inputs))).shape == (2, net.outputs)
    assert repr(net)
    assert net.summary()
    net.save(folder / "a")
    bp.load(folder / "a").save(folder / "b")
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()
    progress = net._progress
    if progress is None or progress.rows > 64 or progress.epoch > 100:
        return
    shape = (progress.rows, net.outputs)
    options = {"loss": net._loss or "mse", "optimizer": net._optimizer or "sgd"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            net.fit(
                np.zeros((progress.rows, net.inputs)), np.zeros(shape), **options, resume=True,
                epochs=progress.epoch + 1, batch_size=progress.batch_size, metrics=net._metrics,
            )  # fmt: skip
        except USING as error:
            check_message(error)
    net.predict(np.zeros((2, net.inputs)))
