"""A network's first weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from bpfast import _core
from bpfast._check import bad_value
from bpfast._data import check_finite
from bpfast._initializer import Initializer
from bpfast.layers import Dense

if TYPE_CHECKING:
    from bpfast.network import Network


#: No normal draw is so many standard deviations from the mean.
_FARTHEST = 10.0


def draw_weights(net: Network) -> None:
    """Fill the parameters as the layers' initializers say, from the network's seed."""
    for layer, _, rows, cols, is_bias in net._core.tensors():
        dense = cast(Dense, net.layers[layer])
        name = net._names[layer]
        init: Initializer = dense.bias_init if is_bias else dense.resolved_weight_init()
        view = net.params[f"{name}.{'bias' if is_bias else 'kernel'}"]
        fan_in = net.params[f"{name}.kernel"].shape[0] if is_bias else rows
        kind, a, b = init.spec(fan_in, cols)
        argument = f"{'bias_init' if is_bias else 'weight_init'} of layer {name}"
        if kind == "given":
            values = init.values(view.shape)
            assert values is not None
            check_finite(argument, values, net.dtype.itemsize)
            view[...] = values
        elif kind == "orthogonal" and is_bias:
            raise ValueError(f"{argument} cannot be orthogonal")
        else:
            if 2 * max(abs(a), _FARTHEST * abs(b)) > float(np.finfo(net.dtype).max):
                raise bad_value(argument, f"within the range of {net.dtype}", repr(init))
            _core.fill(view, kind, a, b, net.seed, 2 * layer + is_bias)
