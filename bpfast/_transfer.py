"""Weights from elsewhere: found by name and shape, bpfast's names or PyTorch's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from numpy.typing import NDArray

from bpfast._check import bad_type, listed
from bpfast._data import as_array, check_finite
from bpfast._description import STATE

if TYPE_CHECKING:
    from bpfast.network import Network

#: What PyTorch calls a parameter or buffer, by our name. Of a kernel the axes differ too.
_TORCH = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "running_variance": "running_var",
}
#: What PyTorch's normalisations count beside that.
_IGNORED = "num_batches_tracked"


class Matches(NamedTuple):
    """What `Network.load_weights` found."""

    matched: list[str]
    missing_keys: list[str]
    unexpected_keys: list[str]
    mismatched: list[str]


class Arrays(Protocol):
    """Arrays by name: a dict, or an open file."""

    def __iter__(self) -> Any: ...
    def __getitem__(self, name: str, /) -> Any: ...


def copy_weights(net: Network, given: Arrays, strict: bool) -> Matches:
    """Find what matches, check all of it, then copy; see `Network.load_weights`."""
    sources = _sources(net, given)
    views = {**net.params, **_running(net)}
    found = Matches([], [], sorted(set(sources) - set(views)), [])
    arrays: dict[str, NDArray[Any]] = {}
    for name, view in views.items():
        if name not in sources:
            if name in net.params:
                found.missing_keys.append(name)
            continue
        key = sources[name]
        source = array = as_array(f"src[{key!r}]", given[key])
        if key != name and name.endswith(".kernel"):
            array = _of_torch(source)
        if array.shape != view.shape:
            found.mismatched.append(f"{name}: {array.shape} for {view.shape}")
            continue
        check_finite(f"src[{key!r}]", source, net.dtype.itemsize)
        if name.endswith(".running_variance") and array.min() < 0:
            raise ValueError(f"src[{key!r}] must not be negative, got {array.min()}")
        found.matched.append(name)
        arrays[name] = array
    if strict and (found.missing_keys or found.unexpected_keys or found.mismatched):
        problems = [
            f"{what} {listed(names)}"
            for what, names in zip(("missing", "unexpected", "mismatched"), found[1:], strict=True)
            if names
        ]
        raise ValueError(f"src does not fit the network: {'; '.join(problems)}")
    for name, array in arrays.items():
        views[name][...] = array
    return found


def _running(net: Network) -> dict[str, NDArray[Any]]:
    """Return the buffers that come with weights: not those that the first fit measures."""
    measured = net._plan.measured_buffers()
    return {name: view for name, view in net.buffers.items() if name not in measured}


def _of_torch(array: NDArray[Any]) -> NDArray[Any]:
    """Return a kernel (window..., inputs, outputs) of PyTorch's (outputs, inputs, window...)."""
    if array.ndim < 2:
        return array
    return array.transpose(*range(2, array.ndim), 1, 0)


def _sources(net: Network, given: Iterable[Any]) -> dict[str, str]:
    """Return the key of `given` for each of our names; those of no layer are kept as they are."""
    measured = net._plan.measured_buffers()
    ours = {}
    for name in (*net.params, *net.buffers):
        path, _, role = name.rpartition(".")
        ours[f"{path}.{_TORCH.get(role, role)}"] = name
    sources: dict[str, str] = {}
    for key in given:
        if not isinstance(key, str):
            raise bad_type("a key of src", "a str", key)
        if key.startswith(STATE) or key in measured or key.rpartition(".")[2] == _IGNORED:
            continue  # not parameters: state and statistics of inputs stay the network's own
        name = ours.get(key, key)
        if name in sources:
            both = sorted((sources[name], key))
            raise ValueError(f"src must have one of {both[0]!r} and {both[1]!r}, got both")
        sources[name] = key
    return sources
