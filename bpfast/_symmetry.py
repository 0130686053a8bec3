"""The warning about hidden units that can never differ."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from bpfast.layers import Dense

if TYPE_CHECKING:
    from bpfast.network import Network


def _same_columns(a: NDArray[Any]) -> bool:
    """Return whether all columns are equal; the first two elements decide nearly always."""
    return bool(a[0, 0] == a[0, 1] and (a == a[:, :1]).all())


def warn_of_symmetry(net: Network) -> None:
    """Warn, naming the layer, when a hidden layer's units share incoming and outgoing weights.

    Such units get equal gradients for ever: the layer works like one unit (Rumelhart, Hinton &
    Williams 1986 break the symmetry with random weights). Dropout would set them apart: a masked
    layer is left alone.
    """
    hidden = [i for i, layer in enumerate(net.layers) if isinstance(layer, Dense)]
    for here, after in pairwise(hidden):
        layer, following = net.layers[here], net.layers[after]
        assert isinstance(layer, Dense)
        assert isinstance(following, Dense)
        masked = layer.weight_dropout or following.weight_dropout or after > here + 1
        if layer.units < 2 or masked:
            continue
        name = net._names[here]
        same = _same_columns(net.params[f"{name}.kernel"])
        same = same and _same_columns(net.params[f"{net._names[after]}.kernel"].T)
        if same and (not layer.use_bias or _same_columns(net.params[f"{name}.bias"][None])):
            warnings.warn(
                f"the {layer.units} units of hidden layer {name} have equal weights and will stay "
                "equal: initialise them randomly",
                stacklevel=5,
            )
            return
