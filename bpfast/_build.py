"""A network's first weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from bpfast import _core
from bpfast._initializer import Initializer
from bpfast.layers import Dense

if TYPE_CHECKING:
    from bpfast.network import Network


def draw_weights(net: Network) -> None:
    """Fill the parameters as the layers' initializers say, from the network's seed."""
    for layer, _, rows, cols, is_bias in net._core.tensors():
        dense = cast(Dense, net.layers[layer])
        name = net._names[layer]
        init: Initializer = dense.bias_init if is_bias else dense.resolved_weight_init()
        view = net.params[f"{name}.{'bias' if is_bias else 'kernel'}"]
        fan_in = net.params[f"{name}.kernel"].shape[0] if is_bias else rows
        kind, a, b = init.spec(fan_in, cols)
        if kind == "given":
            view[...] = init.values(view.shape)
        elif kind == "orthogonal" and is_bias:
            raise ValueError(f"bias_init of layer {name} cannot be orthogonal")
        else:
            _core.fill(view, kind, a, b, net.seed, 2 * layer + is_bias)
