"""A network's arrays by name, and the values that they start with."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bpfast import _core
from bpfast._check import bad_value
from bpfast._data import check_finite

if TYPE_CHECKING:
    from bpfast._plan import Tensor
    from bpfast.network import Network


#: No normal draw is so many standard deviations from the mean.
_FARTHEST = 10.0


def named(
    tensors: Mapping[str, Tensor], flat: NDArray[Any], starts: Mapping[tuple[int, int], int]
) -> dict[str, NDArray[Any]]:
    """Return shaped views of a vector; `starts` says where the parts of core layers begin in it."""
    views = {}
    for name, tensor in tensors.items():
        start = starts[tensor.layer, tensor.part]
        views[name] = flat[start : start + math.prod(tensor.shape)].reshape(tensor.shape)
    return views


def measure_inputs(net: Network, x: NDArray[Any]) -> None:
    """Let Standardize layers take their statistics from these rows, unless they have some."""
    if net._plan.standardizes and not net._measured:
        net._core.standardize(x)
        net._measured = True


def draw_weights(net: Network, skip: Collection[str] = ()) -> None:
    """Fill the parameters as the layers' initializers say, from the network's seed.

    Those whose names are in `skip` stay as they are. The stream of random numbers is given by the
    core layer: 2 i for its kernel, 2 i + 1 for its bias.
    """
    for name, tensor in net._plan.parameters.items():
        if name in skip:
            continue
        path, _, key = name.rpartition(".")
        weight = net._plan.layers[tensor.layer].weights[key]
        view = net.params[name]
        kind, a, b = weight.init.spec(weight.fan_in, weight.fan_out)
        argument = f"{'bias_init' if weight.is_bias else 'weight_init'} of layer {path}"
        if kind == "given":
            values = weight.init.values(view.shape)
            assert values is not None
            check_finite(argument, values, net.dtype.itemsize)
            view[...] = values
        elif kind == "orthogonal" and weight.is_bias:
            raise ValueError(f"{argument} cannot be orthogonal")
        else:
            if 2 * max(abs(a), _FARTHEST * abs(b)) > float(np.finfo(net.dtype).max):
                raise bad_value(argument, f"within the range of {net.dtype}", repr(weight.init))
            rows = view if weight.is_bias else view.reshape(-1, view.shape[-1])
            _core.fill(rows, kind, a, b, net.seed, 2 * tensor.layer + tensor.part)
