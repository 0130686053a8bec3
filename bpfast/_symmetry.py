"""The warning about hidden units that can never differ."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from bpfast.network import Network


def _same_columns(a: NDArray[Any]) -> bool:
    """Return whether all columns are equal; the first two elements decide nearly always."""
    return bool(a[0, 0] == a[0, 1] and (a == a[:, :1]).all())


def warn_of_symmetry(net: Network) -> None:
    """Warn, naming the layer, when a hidden layer's units share incoming and outgoing weights.

    Such units get equal gradients for ever: the layer works like one unit (Rumelhart, Hinton &
    Williams 1986 break the symmetry with random weights). Dropout would set them apart: only dense
    layers without masks, each read by the next alone, are looked at.
    """
    layers = net._plan.layers
    readers: dict[int, list[int]] = {}
    for i, layer in enumerate(layers):
        for value in layer.inputs:
            readers.setdefault(value, []).append(i)
    for i, layer in enumerate(layers):
        after = readers.get(i + 1, [])
        pair = [layer, *(layers[j] for j in after)]
        dense = all(each.kind == "dense" and each.shares is None for each in pair)
        if len(pair) != 2 or not dense or layer.shape[0] < 2:
            continue
        if any(each.spec["weight_dropout"] for each in pair):
            continue
        same = _same_columns(net.params[f"{layer.path}.kernel"])
        same = same and _same_columns(net.params[f"{pair[1].path}.kernel"].T)
        bias = f"{layer.path}.bias"
        if same and (bias not in net.params or _same_columns(net.params[bias][None])):
            warnings.warn(
                f"the {layer.shape[0]} units of hidden layer {layer.path} have equal weights and "
                "will stay equal: initialise them randomly",
                stacklevel=5,
            )
            return
