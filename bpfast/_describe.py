"""Networks as text: summary and explain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfast import config
from bpfast.layers import Dense

if TYPE_CHECKING:
    from bpfast.network import Network


def summary(net: Network) -> str:
    """Return one line a layer: name, kind, output, activation, parameters."""
    rows = [("layer", "kind", "output", "activation", "parameters")]
    features = net.inputs
    for name, layer in zip(net._names, net.layers, strict=True):
        features = layer.out_features(features)
        count = sum(v.size for key, v in net.params.items() if key.rpartition(".")[0] == name)
        activation = layer.activation if isinstance(layer, Dense) else ""
        rows.append((name, type(layer).__name__, str(features), activation, f"{count:,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = [
        "  ".join(
            cell.rjust(w) if i in (2, 4) else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    size = net.parameters.size
    total = (
        f"{size:,} parameters, {_bytes(net.parameters.nbytes)} as {net.dtype}; "
        f"{net.inputs} inputs, {net.outputs} outputs"
    )
    return "\n".join([lines[0], rule, *lines[1:], rule, total])


def explain(net: Network, batch_size: int) -> str:
    """Return what a training step does at this batch size, in order."""
    threads, reason = config.thread_choice(net.n_threads)
    flops = 6 * batch_size * sum(v.size for k, v in net.params.items() if k.endswith(".kernel"))
    head = (
        f"one step of {batch_size} rows: {flops / 1e6:.3g} MFLOP, ISA {net._core.isa}, "
        f"up to {threads} thread{'s' if threads > 1 else ''} ({reason}), "
        f"{_bytes(net.memory_required(batch_size))} in all"
    )
    return "\n".join([head, *(f"  {line}" for line in net._core.plan_lines(batch_size))])


def _bytes(n: float) -> str:
    """Return a size with its unit."""
    for unit in ("B", "KB", "MB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} GB"
