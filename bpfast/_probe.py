"""A quiet copy of a network's core, for looking: its gradient and the outputs of its layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bpfast import _core
from bpfast._build import named
from bpfast._callable_run import call_loss
from bpfast._data import Rows
from bpfast.losses import Loss
from bpfast.weight_monitor import SATURATED, LayerLook, layer_look, seen_layers

if TYPE_CHECKING:
    from bpfast.network import Network

#: What a core layer's spec gets: no dropout, no noise, and after one batch BatchNorm's running
#: statistics are that batch's.
_QUIET: dict[str, dict[str, float]] = {
    "dropout": {"rate": 0.0},
    "noise": {"rate": 0.0},
    "dense": {"weight_dropout": 0.0},
    "batchnorm": {"momentum": 1.0},
}


class Probe:
    """One batch through a copy of a network, forward and backward.

    The copy has weights, gradients and statistics of its own: nothing of the network changes.

    Parameters
    ----------
    net : Network
    rows : Rows
        One batch.
    loss : Loss or callable
    objective : _core.Objective
        Of a `Loss`.

    Attributes
    ----------
    loss : float
        The data term.
    grads : dict of str to ndarray
        By name, as `Network.grads`; of loss and penalty.
    layers : dict of str to LayerLook
        Outputs by path.
    sizes : list of float
        Root mean square of each value: the input, then what each core layer gives.
    """

    def __init__(
        self,
        net: Network,
        rows: Rows,
        loss: Loss | Callable[..., Any],
        objective: _core.Objective,
    ) -> None:
        plan = net._plan
        specs = [{**spec, **_QUIET.get(spec["kind"], {})} for spec in plan.specs()]
        core = _core.Net(specs, plan.core_input, net.dtype.itemsize, net._core.isa, net.seed)
        np.asarray(core.parameters())[...] = net.parameters
        np.asarray(core.buffers())[...] = net._buffers
        if plan.standardizes and not net._measured:
            core.standardize(rows.x)
        known = objective if isinstance(loss, Loss) else None
        run = _core.Run(core, None, None, known, len(rows), *net._threads())
        if known is not None:
            self.loss = run.loss(rows.core())[0]
        else:
            out = np.empty((len(rows), net.outputs), net.dtype)
            run.forward(rows.x, out)
            self.loss, slope = call_loss(loss, rows.target(), out)  # type: ignore[arg-type]
            run.backward(slope, False)
        starts = {(layer, int(bias)): at for layer, at, _, _, bias in core.tensors()}
        self.grads = named(plan.parameters, np.asarray(core.gradients()), starts)
        self._look(net, core, rows)

    def _look(self, net: Network, core: _core.Net, rows: Rows) -> None:
        """Find `layers` and `sizes`."""
        plan = net._plan
        bounds = {
            i: SATURATED.get(activation, (math.nan, math.nan))
            for i, activation in seen_layers(plan).values()
        }
        none = (math.nan, math.nan)
        wanted = [(i, *bounds.get(i, none)) for i in range(len(plan.layers))]
        figures = _core.outputs(core, rows.x, wanted)
        self.layers: dict[str, LayerLook] = {
            path: layer_look(activation, figures[i])
            for path, (i, activation) in seen_layers(plan).items()
        }
        self.sizes = [1.0 if plan.standardizes else root_mean_square(rows.x)]
        for layer, (units, _, mean, std, *_) in zip(plan.layers, figures, strict=True):
            own = math.hypot(mean, std) if units else self.sizes[layer.inputs[0]]
            self.sizes.append(own)


def root_mean_square(x: NDArray[Any]) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
