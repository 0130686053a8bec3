"""Weights from elsewhere: found by name, or else layer by layer in order.

A foreign file has bpfast's names and axes or PyTorch's. There a kernel is (outputs, inputs,
window...), and images are channels first: where a vector comes of images, its features, and with
them the rows of the kernel that reads it, are in another order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bpfast._check import bad_type, listed
from bpfast._data import as_array, check_finite
from bpfast._description import STATE
from bpfast._foreign import to_array
from bpfast.layers.base import join

if TYPE_CHECKING:
    from bpfast._plan import Plan
    from bpfast.layers.shapes import Shape
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
#: Kinds of core layers that leave each feature in its place.
_ELEMENTWISE = {
    "activation", "batchnorm", "dropout", "layernorm", "noise", "rmsnorm", "standardize",
}  # fmt: skip

#: The parts of each layer with weights, in order: by path, names or keys by role.
_Layers = dict[str, dict[str, str]]
#: Where PyTorch has each feature of a vector; None: where we have it.
_Order = NDArray[np.int64] | None


class Matches(NamedTuple):
    """What `Network.load_weights` found.

    Attributes
    ----------
    matched : list of str
        Names of the network whose values were copied.
    missing_keys, unexpected_keys, mismatched : list of str
        Parameters that nothing was found for; what the network has no place for; parameters with
        the two shapes that differ. All empty with ``strict=True``.
    by : {"name", "order"}
        Whether names fitted, or the layers with weights were matched first to first.
    sources : dict of str to str
        Where each of `matched` came from.
    reasons : dict of str to str
        Why each of the others was not.
    """

    matched: list[str]
    missing_keys: list[str]
    unexpected_keys: list[str]
    mismatched: list[str]
    by: str
    sources: dict[str, str]
    reasons: dict[str, str]


class Arrays(Protocol):
    """Arrays by name: a dict, or an open file."""

    def __iter__(self) -> Any: ...
    def __getitem__(self, name: str, /) -> Any: ...


class _MisfitError(ValueError):
    """Why two lists of layers do not fit in order."""


def copy_weights(net: Network, given: Arrays, strict: bool, *, ordered: bool = True) -> Matches:
    """Find what matches, check all of it, then copy; see `Network.load_weights`.

    `ordered`: the names stand in the order of the layers.
    """
    ours, theirs = _ours(net), _theirs(net, given)
    reader = _Reader(net, given)
    found = _by_name(net, ours, theirs, reader)
    if found.missing_keys or found.unexpected_keys or found.mismatched:
        try:
            found = _in_order(net, ours, theirs, reader, ordered)
        except _MisfitError as misfit:
            if strict:
                raise _does_not_fit(found, misfit) from None
            for name in (*found.missing_keys, *found.unexpected_keys):
                found.reasons[name] += f"; nor in order: {misfit}"
    for name in found.matched:
        reader.views[name][...] = reader.arrays[name]
    return found


def _does_not_fit(found: Matches, misfit: _MisfitError) -> ValueError:
    """Make the error that says what is wrong with the names, and with the order."""
    whats = ("missing", "unexpected", "mismatched")
    problems = [
        f"{what} {listed(names)}" for what, names in zip(whats, found[1:4], strict=True) if names
    ]
    return ValueError(
        f"src does not fit the network: {'; '.join(problems)}; nor in order: {misfit}"
    )


# ---- what there is ------------------------------------------------------------------------------


def _ours(net: Network) -> _Layers:
    """Return the names that may be copied: parameters, and statistics but those of the inputs."""
    measured = net._plan.measured_buffers()
    found: _Layers = {}
    for layer in net._plan.layers:
        names = {role: join(layer.path, role) for role in (*layer.weights, *layer.buffers)}
        if layer.owns and names and not set(names.values()) & set(measured):
            found[layer.path] = names
    return found


def _theirs(net: Network, given: Iterable[Any]) -> _Layers:
    """Return the keys of `given`; neither an optimizer's state nor statistics of inputs."""
    measured = net._plan.measured_buffers()
    found: _Layers = {}
    for key in given:
        if not isinstance(key, str):
            raise bad_type("a key of src", "a str", key)
        path, _, role = key.rpartition(".")
        if not key.startswith(STATE) and key not in measured and role != _IGNORED:
            found.setdefault(path, {})[role] = key
    return found


def _pairs(ours: dict[str, str], theirs: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Return, for roles of a layer of ours, the role and key of one of theirs that has them."""
    found = {}
    for role in ours:
        there = [r for r in dict.fromkeys((role, _TORCH.get(role, role))) if r in theirs]
        if len(there) == 2:
            both = sorted(theirs[r] for r in there)
            raise ValueError(f"src must have one of {both[0]!r} and {both[1]!r}, got both")
        if there:
            found[role] = (there[0], theirs[there[0]])
    return found


class _Reader:
    """Arrays for the network's names: read once, checked, turned into our order."""

    def __init__(self, net: Network, given: Arrays) -> None:
        self.views = {**net.params, **net.buffers}
        self.arrays: dict[str, NDArray[Any]] = {}  # for our names
        self._given, self._read = given, dict[str, NDArray[Any]]()
        self._itemsize = net.dtype.itemsize
        self._orders = {
            layer.path: order
            for layer, order in zip(net._plan.layers, input_orders(net._plan), strict=True)
            if layer.owns and (layer.weights or layer.buffers)
        }

    def fits(self, path: str, name: str, role: str, key: str, torch: bool) -> tuple[bool, Shape]:
        """Keep the array of a key for a name; return whether its shape fits, and that shape."""
        if key not in self._read:
            self._read[key] = as_array(f"src[{key!r}]", to_array(self._given[key]))
        source = array = self._read[key]
        if torch:
            array = _of_torch(role, source, self._orders.get(path))
        if array.shape != self.views[name].shape:
            return False, array.shape
        check_finite(f"src[{key!r}]", source, self._itemsize)
        if role == "running_variance" and array.min() < 0:
            raise ValueError(f"src[{key!r}] must not be negative, got {array.min()}")
        self.arrays[name] = array
        return True, array.shape


def _of_torch(role: str, array: NDArray[Any], order: _Order) -> NDArray[Any]:
    """Return PyTorch's array with our axes and features."""
    if role == "kernel" and array.ndim >= 2:
        array = array.transpose(*range(2, array.ndim), 1, 0)
    if order is not None and role != "bias" and array.shape[:1] == order.shape:
        array = array[order]  # the bias of a dense layer is of its outputs
    return array


# ---- two ways to match --------------------------------------------------------------------------


def _by_name(net: Network, ours: _Layers, theirs: _Layers, reader: _Reader) -> Matches:
    """Match what has the same name."""
    found = Matches([], [], [], [], "name", {}, {})
    left = {key for roles in theirs.values() for key in roles.values()}
    for path, names in ours.items():
        pairs = _pairs(names, theirs.get(path, {}))
        torch = any(role != there for role, (there, _) in pairs.items())
        for role, name in names.items():
            if role not in pairs:
                if name in net.params:
                    found.missing_keys.append(name)
                    found.reasons[name] = "src has nothing of this name"
                continue
            key = pairs[role][1]
            left.remove(key)
            fits, shape = reader.fits(path, name, role, key, torch)
            if fits:
                found.matched.append(name)
                found.sources[name] = key
            else:
                wanted = reader.views[name].shape
                found.mismatched.append(f"{name}: {shape} for {wanted}")
                found.reasons[name] = f"src has shape {shape} for {wanted}"
    found.unexpected_keys.extend(sorted(left))
    found.reasons.update(dict.fromkeys(sorted(left), "the network has nothing of this name"))
    return found


def _in_order(
    net: Network, ours: _Layers, theirs: _Layers, reader: _Reader, ordered: bool
) -> Matches:
    """Match the layers with weights first to first, or raise a _MisfitError."""
    if len(ours) != len(theirs):
        raise _MisfitError(f"src has {len(theirs)} layers with weights, the network {len(ours)}")
    found = Matches([], [], [], [], "order", {}, {})
    places = theirs if ordered else _by_number(theirs)
    for (path, names), place in zip(ours.items(), places, strict=True):
        pairs = _pairs(names, theirs[place])
        wanted = {role for role, name in names.items() if name in net.params}
        if len(pairs) != len(theirs[place]) or not wanted.issubset(pairs):
            raise _MisfitError(
                f"{place!r} has {listed(theirs[place])}, layer {path} {listed(names)}"
            )
        torch = any(role != there for role, (there, _) in pairs.items())
        for role, (_, key) in pairs.items():
            name = names[role]
            fits, shape = reader.fits(path, name, role, key, torch)
            if not fits:
                raise _MisfitError(f"{key!r} has shape {shape}, {name} {reader.views[name].shape}")
            found.matched.append(name)
            found.sources[name] = key
    return found


def _by_number(places: Iterable[str]) -> list[str]:
    """Return paths in the order of the numbers in which they differ."""

    def key(place: str) -> list[tuple[bool, int, str]]:
        return [
            (not part.isdecimal(), int(part) if part.isdecimal() else 0, part)
            for part in place.split(".")
        ]

    found = sorted(places, key=key)
    for one, other in pairwise(found):
        parts = zip(one.split("."), other.split("."), strict=False)
        differ = next(((a, b) for a, b in parts if a != b), ("0", "0"))
        if not all(part.isdecimal() for part in differ):
            raise _MisfitError(
                f"a file keeps no order, and {one!r} and {other!r} tell none: give a dict"
            )
    return found


# ---- channels first, channels last --------------------------------------------------------------


def input_orders(plan: Plan) -> Iterator[_Order]:
    """Give for each core layer the order of PyTorch's features in its first input."""
    values = _orders(plan)
    return (values[layer.inputs[0]] for layer in plan.layers)


def output_order(plan: Plan) -> _Order:
    """Return the order of PyTorch's features in the network's output."""
    return _orders(plan)[-1]


def _orders(plan: Plan) -> list[_Order]:
    """Return the order of each value; only vectors have one."""
    flat = plan.core_input[:2] == (1, 1)
    values = [channels_first(plan.input_shape) if flat else None]
    for layer in plan.layers:
        orders = [values[value] for value in layer.inputs]
        found: _Order = None
        if layer.kind == "reshape" and len(layer.shape) == 1:
            found = channels_first(layer.input_shape)
        elif layer.kind in _ELEMENTWISE or (layer.kind in ("add", "distance") and _same(orders)):
            found = orders[0]
        elif layer.kind == "concat" and any(order is not None for order in orders):
            found = joined_orders(orders, [_width(plan, value) for value in layer.inputs])
        values.append(found)
    return values


def _width(plan: Plan, value: int) -> int:
    """Return the features of a value."""
    return plan.layers[value - 1].shape[-1] if value else plan.core_input[-1]


def channels_first(shape: Shape) -> _Order:
    """Return where each value of a row of this shape stands when channels come first."""
    *positions, channels = shape
    size = int(np.prod(positions, dtype=np.int64))
    if size == 1 or channels == 1:
        return None
    return np.arange(size * channels).reshape(channels, size).T.ravel()


def _same(orders: Sequence[_Order]) -> bool:
    """Whether all orders are the same one."""
    first = orders[0]
    return all(
        other is first or (first is not None and other is not None and bool((first == other).all()))
        for other in orders
    )


def joined_orders(orders: Sequence[_Order], widths: Sequence[int]) -> _Order:
    """Return the order of vectors side by side."""
    starts = np.cumsum([0, *widths[:-1]])
    parts = [
        start + (np.arange(width) if order is None else order)
        for order, width, start in zip(orders, widths, starts, strict=True)
    ]
    return np.concatenate(parts)
