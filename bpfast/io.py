"""Model files: safetensors, with the architecture as JSON in the metadata.

A file holds the parameters by name (``0.kernel`` (inputs, outputs), ``0.bias``), running statistics
(``1.running_mean``) and those of a Standardize layer (``0.mean``, ``0.scale``), the optimizer's
state (``optimizer.<slot>.<parameter>``; ``optimizer.average.<parameter>`` where a fit that can be
resumed averages its weights), and under the one metadata key ``bpfast`` everything else:
layers as their arguments, composites with those within, a further use of one as
``{"shared": path}`` of the first. It has no time stamp: equal networks make equal files.

A file is read tensor by tensor into the network, after all of its header was found to fit.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bpfast._check import check_count, check_path, one_line, show
from bpfast._description import AVERAGE, SCHEMA, STATE, Description, Tensors
from bpfast._description import read as read_description
from bpfast._spec import core_rule
from bpfast.layers.base import config_of

if TYPE_CHECKING:
    from bpfast.network import Network

#: The metadata key.
KEY = "bpfast"
#: Names of dtypes in safetensors files that are NumPy's too.
_DTYPES = {"F16": "float16", "F32": "float32", "F64": "float64"}


# ---- a network as parts ------------------------------------------------------------------------


def to_parts(net: Network) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return copies of the tensors, and a description in JSON types."""
    tensors = {name: view.copy() for name, view in net.params.items()}
    unknown = () if net._measured else net._plan.measured_buffers()
    tensors |= {name: view.copy() for name, view in net.buffers.items() if name not in unknown}
    slots: list[str] = []
    if net._optimizer is not None:
        slots = net._core.slot_names(str(core_rule(net._optimizer)["rule"]))
    for index, slot in enumerate(slots):
        state = np.empty_like(net.parameters)
        if net._core.read_state(index, state):
            tensors |= {f"{STATE}{slot}.{k}": v for k, v in net._views(state).items()}
    mean = np.empty_like(net.parameters)
    if net._core.read_average(mean):
        tensors |= {f"{AVERAGE}{k}": v for k, v in net._views(mean).items()}
    progress = None if net._progress is None else asdict(net._progress.freeze())
    description = {
        "schema": SCHEMA,
        "dtype": net.dtype.name,
        "input_shape": list(net.input_shape),
        "layers": config_of(net.layers, "", {}),
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
    TypeError, ValueError
        A part is missing, unknown, or of the wrong shape.
    """
    held = _Arrays(tensors)
    found = read_description(description)
    _fill(net, found, held, found.check(held), n_threads)


class _Arrays(dict[str, NDArray[Any]]):
    """Tensors in memory."""

    def kind(self, name: str) -> tuple[str, tuple[int, ...]]:
        """Return the dtype's name and the shape."""
        return self[name].dtype.name, self[name].shape


def _fill(
    net: Network, found: Description, tensors: Tensors, measured: bool, n_threads: int | None
) -> None:
    """Make the network and copy the tensors, which were checked, one at a time."""
    net._setup(found.layers, found.input_shape, found.dtype, found.seed, n_threads)
    unknown = () if measured else found.plan.measured_buffers()
    for name, view in (*net.params.items(), *net.buffers.items()):
        if name not in unknown:
            view[...] = tensors[name]
    net._measured = measured
    if found.optimizer is not None:
        net._set_optimizer(found.optimizer)
        for index, slot in enumerate(found.slots):
            state = np.empty_like(net.parameters)
            for name, view in net._views(state).items():
                view[...] = tensors[f"{STATE}{slot}.{name}"]
            net._core.write_state(index, state)
    if found.averages(tensors):
        mean = np.empty_like(net.parameters)
        for name, view in net._views(mean).items():
            view[...] = tensors[f"{AVERAGE}{name}"]
        net._core.set_average(0.0, 0)
        net._core.write_average(mean)
    net._core.set_counters(found.seed, found.step, found.epoch)
    net._loss, net._metrics = found.loss, found.metrics
    net._progress, net.metadata = found.progress, found.metadata


# ---- writing -----------------------------------------------------------------------------------


def save(net: Network, path: str | os.PathLike[str], metadata: dict[str, str]) -> None:
    """Write a model file with these notes."""
    from safetensors.numpy import save as to_bytes

    target = check_path("path", path)
    tensors, description = to_parts(net)
    description["metadata"] = metadata
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    write_atomically(target, to_bytes(tensors, {KEY: text}))


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file by its new content, whole or not at all, also when the machine stops."""
    if path.exists() and not path.is_file():  # a device would be replaced by a file
        code = errno.EISDIR if path.is_dir() else errno.EINVAL
        raise OSError(code, os.strerror(code), str(path))
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".bpfast.", suffix=".tmp")
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


# ---- reading -----------------------------------------------------------------------------------


class _FileTensors:
    """The tensors of an open safetensors file: each is read when it is asked for."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._names = frozenset(file.keys())

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __getitem__(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] | None = None
        with contextlib.suppress(TypeError, AttributeError, ValueError):
            array = self._file.get_tensor(name)
        if array is None or array.dtype.kind == "V":  # the package ml_dtypes knows bfloat16
            dtype, shape = self.kind(name)
            raise ValueError(f"tensor {show(name)} must fit NumPy, got {dtype} {shape}")
        return array

    def kind(self, name: str) -> tuple[str, tuple[int, ...]]:
        """Return the dtype's name, NumPy's where it has one, and the shape."""
        part = self._file.get_slice(name)
        return _DTYPES.get(part.get_dtype(), part.get_dtype()), tuple(part.get_shape())


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[_FileTensors, dict[str, str]]]:
    """Open a safetensors file and give its tensors and metadata.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        _check_header(path)
        file: Any = safe_open(path, framework="numpy")
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is not a readable safetensors file: {one_line(error)}") from None
    with file:
        yield _FileTensors(file), dict(file.metadata() or {})


def _check_header(path: Path) -> None:
    """Raise where `path` is no plain file, or its header would take far more memory than the file.

    What else is wrong with a header the library says. It maps the file, so opening a device or a
    pipe could wait forever.
    """
    info = path.stat()
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(info.st_mode):
        raise ValueError("it is a device, pipe or socket")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length <= min(info.st_size, _MOST_HEADER):
            _check_values(file.read(length), info.st_size)


#: The most bytes of a header that safetensors reads.
_MOST_HEADER = 100_000_000
#: Bytes in memory for each sign of a JSON text that stands for a value: an object (in a header: a
#: tensor), a list, an element, half a string. Upper bounds, for CPython.
_COSTS = {b"{": 512, b"[": 64, b",": 32, b'"': 32}
_ALLOWANCE = 32 * 2**20


def _check_values(text: bytes, size: int) -> None:
    """Raise a ValueError when the values of a JSON text would take more than twice the file.

    Numbers of a history take less, so that a network's own file always passes; a text of nothing
    but ``[],[],`` takes twenty times its length.
    """
    cost = sum(text.count(sign) * each for sign, each in _COSTS.items())
    most = 2 * size + _ALLOWANCE
    if cost > most:
        raise ValueError(f"its header must take at most {most} bytes in memory, got about {cost}")


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
    TypeError
        An argument is not one of the above.
    ValueError
        It is not a model file of bpfast, or it is damaged. No code from the file ever runs.
    MemoryError
        The network does not fit.

    Notes
    -----
    Memory: the network, and one tensor at a time. The file must not be changed meanwhile, which
    `Network.save` never does: it replaces whole files.
    """
    from bpfast.network import Network

    source = check_path("path", path)
    if n_threads is not None:
        check_count("n_threads", n_threads)
    net = Network.__new__(Network)
    with opened(source) as (tensors, metadata):
        if KEY not in metadata:
            raise ValueError(f"{source} is not a model file of bpfast (no {KEY!r} metadata)")
        try:
            _check_values(metadata[KEY].encode(), source.stat().st_size)
            found = read_description(json.loads(metadata[KEY]))
            measured = found.check(tensors)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{source} is damaged: {one_line(error)}") from None
        except RecursionError:
            raise ValueError(f"{source} is damaged: its description is nested too deeply") from None
        _fill(net, found, tensors, measured, n_threads)
    return net
