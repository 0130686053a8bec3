"""BatchNorm's running statistics for weights that were not trained into place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bpfast import _core
from bpfast._streams import SHUFFLE

if TYPE_CHECKING:
    from bpfast.network import Network


def refresh_statistics(net: Network, x: NDArray[Any], batch_size: int) -> None:
    """Set the running statistics of trained BatchNorm layers to means over batches of these rows.

    The batches are of equal size but for one row, of at least two, and drawn as an epoch's are.
    """
    plan, trained = net._plan, net._plan.trainable()
    share = {}  # of a batch's statistics in the running ones, where these were zero
    for name, tensor in plan.buffers.items():
        layer = plan.layers[tensor.layer]
        if layer.kind == "batchnorm" and trained[tensor.layer]:
            uses = 1 + sum(other.shares == tensor.layer for other in plan.layers)
            share[name] = 1.0 - (1.0 - float(layer.spec["momentum"])) ** uses
    if not share or len(x) < 2:
        return
    counters, before = net._core.counters(), net._buffers.copy()
    order = np.asarray(_core.permutation(len(x), counters["seed"], SHUFFLE, counters["epoch"]))
    sums = {name: np.zeros(net.buffers[name].shape) for name in share}
    try:
        for rows in np.array_split(order, -(-len(x) // max(batch_size, 2))):
            for name in share:
                net.buffers[name][...] = 0
            net._current_batches().forward(x[rows], True)
            for name, total in sums.items():
                total += len(rows) * net.buffers[name].astype(np.float64)
        for name, total in sums.items():
            net.buffers[name][...] = total / (len(x) * share[name])
    except BaseException:
        net._buffers[...] = before
        raise
