"""Model files: safetensors, with the architecture as JSON in the metadata.

A file holds the parameters by name (``0.kernel`` (inputs, outputs), ``0.bias``), the statistics of
a Standardize layer (``0.mean``, ``0.scale``), the optimizer's state
(``optimizer.<slot>.<parameter>``), and under the one metadata key ``bpfast`` everything else. It
has no time stamp: equal networks make equal files.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bpfast import losses, optimizers
from bpfast._spec import core_rule, read_layers
from bpfast.errors import ShapeError
from bpfast.layers import from_config as layer_from_config

if TYPE_CHECKING:
    from bpfast.network import Network

#: Metadata key, and the newest version of what stands under it that this code reads.
KEY = "bpfast"
SCHEMA = 1
_STATE = "optimizer."


class Matches(NamedTuple):
    """What `Network.load_weights` found."""

    matched: list[str]
    missing_keys: list[str]
    unexpected_keys: list[str]
    mismatched: list[str]


def to_parts(net: Network) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return copies of the tensors, and a description in JSON types."""
    tensors = {name: view.copy() for name, view in net.params.items()}
    if net._measured:
        first = net._names[0]
        mean, scale = net._buffers.reshape(2, net.inputs)
        tensors |= {f"{first}.mean": mean.copy(), f"{first}.scale": scale.copy()}
    slots: list[str] = []
    if net._optimizer is not None:
        slots = net._core.slot_names(str(core_rule(net._optimizer)["rule"]))
    for index, slot in enumerate(slots):
        state = np.empty_like(net.parameters)
        if net._core.read_state(index, state):
            tensors |= {f"{_STATE}{slot}.{k}": v for k, v in net._views(state).items()}
    progress = None if net._progress is None else asdict(net._progress.freeze())
    description = {
        "schema": SCHEMA,
        "dtype": net.dtype.name,
        "inputs": net.inputs,
        "layers": [layer.config() for layer in net.layers],
        "counters": net._core.counters(),
        "loss": None if net._loss is None else net._loss.config(),
        "metrics": net._metrics,
        "optimizer": None if net._optimizer is None else net._optimizer.config(),
        "progress": progress,
        "metadata": net.metadata,
    }
    return tensors, description


def from_parts(
    tensors: Mapping[str, NDArray[Any]],
    description: Mapping[str, Any],
    net: Network,
    n_threads: int | None = None,
) -> None:
    """Make `net`, an instance without content, from what `to_parts` returned.

    Raises
    ------
    ValueError
        A part is missing, unknown, or of the wrong shape.
    """
    from bpfast._fit import Progress

    if description.get("schema") != SCHEMA:
        raise ValueError(
            f"schema must be {SCHEMA}, got {description.get('schema')!r}: newer bpfast?"
        )
    given = [layer_from_config(c, f"layers[{i}]") for i, c in enumerate(description["layers"])]
    layers, inputs = read_layers(given, int(description["inputs"]))
    counters = description["counters"]
    net._setup(layers, inputs, description["dtype"], int(counters["seed"]), n_threads)
    net._core.set_counters(int(counters["seed"]), int(counters["step"]), int(counters["epoch"]))
    left = dict(tensors)
    for name, view in net.params.items():
        _copy(view, left.pop(name, None), name)
    first = net._names[0]
    if f"{first}.mean" in left:
        mean, scale = net._buffers.reshape(2, -1)
        _copy(mean, left.pop(f"{first}.mean"), f"{first}.mean")
        _copy(scale, left.pop(f"{first}.scale", None), f"{first}.scale")
        net._measured = True
    if description["optimizer"] is not None:
        step = int(counters["step"])
        optimizer = optimizers.get(description["optimizer"])
        net._set_optimizer(optimizer)
        for index, slot in enumerate(net._core.slot_names(str(core_rule(optimizer)["rule"]))):
            state = np.empty_like(net.parameters)
            for name, view in net._views(state).items():
                key = f"{_STATE}{slot}.{name}"
                _copy(view, left.pop(key, None), key)
            net._core.write_state(index, state)
        net._core.set_counters(int(counters["seed"]), step, int(counters["epoch"]))
    if left:
        raise ValueError(f"unexpected tensors: {', '.join(sorted(left)[:5])}")
    loss = description["loss"]
    known = None if loss is None else losses.get(loss)
    net._loss = known if isinstance(known, losses.Loss) else None
    net._metrics = [str(name) for name in description["metrics"]]
    progress = description["progress"]
    net._progress = None if progress is None else Progress(**progress)
    net.metadata = {str(k): str(v) for k, v in description["metadata"].items()}


def _copy(view: NDArray[Any], values: NDArray[Any] | None, name: str) -> None:
    """Copy one tensor, or say what is wrong with it."""
    if values is None:
        raise ValueError(f"tensor {name} is missing")
    if values.shape != view.shape or values.dtype != view.dtype:
        raise ShapeError(
            f"tensor {name} must be {view.dtype} {view.shape}, got {values.dtype} {values.shape}"
        )
    view[...] = values


def save(net: Network, path: str | os.PathLike[str]) -> None:
    """Write a model file: a temporary file beside it, flushed, then renamed over it."""
    from safetensors.numpy import save as to_bytes

    tensors, description = to_parts(net)
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    write_atomically(Path(path), to_bytes(tensors, {KEY: text}))


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file by its new content, whole or not at all, also when the machine stops."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode if path.exists() else _mode_of_new_files()
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _mode_of_new_files() -> int:
    """Return the permissions that the process gives new files (mkstemp gives 0600)."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def read(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return a safetensors file's tensors and metadata.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    with Path(path).open("rb"):  # the library's own message does not name the file
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, TypeError, AttributeError) as error:
        raise ValueError(f"{os.fspath(path)} is not a readable safetensors file: {error}") from None


def load(path: str | os.PathLike[str], *, n_threads: int | None = None) -> Network:
    """Return the network that `Network.save` wrote.

    Parameters
    ----------
    path : str or Path
    n_threads : int, optional
        As of `Network`; not part of the file.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not a model file of bpfast, or it is damaged.
    """
    from bpfast.network import Network

    tensors, metadata = read(path)
    if KEY not in metadata:
        raise ValueError(f"{os.fspath(path)} is not a model file of bpfast (no {KEY!r} metadata)")
    net = Network.__new__(Network)
    try:
        description = json.loads(metadata[KEY])
        from_parts(tensors, description, net, n_threads)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{os.fspath(path)} is damaged: {error}") from None
    return net


def load_weights(
    net: Network, src: str | os.PathLike[str] | Mapping[str, ArrayLike], *, strict: bool
) -> Matches:
    """Copy weights by name and shape; see `Network.load_weights`."""
    given: Mapping[str, ArrayLike] = src if isinstance(src, Mapping) else read(src)[0]
    arrays: dict[str, NDArray[Any]] = {}
    for key, value in given.items():
        name, _, role = key.rpartition(".")
        if key.startswith(_STATE) or key in (f"{net._names[0]}.mean", f"{net._names[0]}.scale"):
            continue  # not parameters: state and statistics stay the network's own
        array = np.asarray(value)
        arrays[f"{name}.kernel" if role == "weight" else key] = (
            array.T if role == "weight" else array
        )
    found = Matches([], [], sorted(set(arrays) - set(net.params)), [])
    for name, view in net.params.items():
        if name not in arrays:
            found.missing_keys.append(name)
        elif arrays[name].shape != view.shape:
            found.mismatched.append(f"{name}: {arrays[name].shape} for {view.shape}")
        else:
            found.matched.append(name)
    if strict and (found.missing_keys or found.unexpected_keys or found.mismatched):
        problems = [
            f"{what} {', '.join(names[:5])}"
            for what, names in zip(("missing", "unexpected", "mismatched"), found[1:], strict=True)
            if names
        ]
        raise ValueError(f"src does not fit the network: {'; '.join(problems)}")
    for name in found.matched:
        net.params[name][...] = arrays[name]
    return found
