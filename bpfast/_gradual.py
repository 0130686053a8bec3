"""Gradual unfreezing."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, cast

from bpfast._callback import Callback, Logs
from bpfast._check import bad_type, bad_value, check_count
from bpfast.layers.base import Layer, is_list

if TYPE_CHECKING:
    from bpfast.network import Network

#: What `Network.freeze` takes.
_Which = Layer | str | int
#: Kinds of core layers that belong to the group of the layer before.
_NORMS = ("batchnorm", "layernorm", "rmsnorm")


class GradualUnfreezing(Callback):
    """Train the last layers alone at first, and `every` so many epochs one group more.

    Fine-tuning all layers at once lets the errors of a new head wash out what the body has learnt.

    Parameters
    ----------
    groups : list, optional
        From the bottom to the top: layers, paths or indices as `Network.freeze` takes them, or
        lists of such. What is in none stays as it is. None means each layer of the network that
        has parameters, composites whole, a normalisation with the layer before it.
    every : int, default 1
        Epochs, >= 1, from one group to the next; the paper's.

    Attributes
    ----------
    thawed : int
        Groups that learn, counted from the top; 0 before the first epoch.

    Raises
    ------
    TypeError, ValueError
        An argument is not one of the above; or, when a fit begins, a group is not of its network.

    Notes
    -----
    In epoch e of a fit the top 1 + e // every groups learn, all others are frozen; so a resumed fit
    goes on where it stood. The layers keep the last epoch's state when the fit ends.

    References
    ----------
    Howard & Ruder 2018, Universal language model fine-tuning for text classification, section 3.3.
    """

    def __init__(
        self, groups: Sequence[_Which | Sequence[_Which]] | None = None, *, every: int = 1
    ) -> None:
        if groups is not None and not is_list(groups):
            raise bad_type("groups", "a list of layers, paths, indices, or lists of them", groups)
        if groups is not None and not groups:
            raise bad_value("groups", "at least one", groups)
        self.groups = None if groups is None else [_group(i, each) for i, each in enumerate(groups)]
        self.every = check_count("every", every)
        self.thawed = 0

    def check_net(self, net: Network) -> None:
        """Raise unless every group is of the network."""
        from bpfast._reuse import chosen

        for i, group in enumerate(self.groups or []):
            chosen(net, group, f"groups[{i}]")

    def on_train_begin(self, logs: Logs) -> None:
        """Begin anew."""
        self.thawed = 0

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Freeze all groups but those whose time has come."""
        groups = self.groups or _groups(self.net)
        self.thawed = min(1 + epoch // self.every, len(groups))
        for group in groups[: -self.thawed]:
            self.net.freeze(*group)
        for group in groups[-self.thawed :]:
            self.net.unfreeze(*group)


def _group(index: int, value: object) -> tuple[_Which, ...]:
    """Return the layers of a group, each of a type that may stand for one."""
    group: tuple[Any, ...] = tuple(cast(Any, value)) if is_list(value) else (value,)
    if not group:
        raise bad_value(f"groups[{index}]", "at least one layer", value)
    for which in group:
        if isinstance(which, bool) or not isinstance(which, (Layer, str, Integral)):
            raise bad_type(f"groups[{index}]", "a layer, its path or its index", which)
    return group


def _groups(net: Network) -> list[tuple[str, ...]]:
    """Return the paths of the layers with parameters, norms with those before them."""
    from bpfast._reuse import is_within

    groups: list[list[str]] = []
    for use in net._plan.uses:
        if use.depth:
            continue
        inside = [
            layer
            for layer in net._plan.layers
            if is_within(layer.path, use.path) and (layer.weights or layer.tied)
        ]
        only_norms = all(layer.kind in _NORMS for layer in inside)
        if inside and groups and only_norms:
            groups[-1].append(use.path)
        elif inside:
            groups.append([use.path])
    return [tuple(group) for group in groups]
