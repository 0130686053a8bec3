"""Networks as text: summary and explain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfast import config
from bpfast._check import check_bool, show
from bpfast.layers import Dense

if TYPE_CHECKING:
    from bpfast.losses import Loss
    from bpfast.network import Network
    from bpfast.optimizers import Optimizer


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


def explain(
    net: Network,
    batch_size: int | None = None,
    *,
    speed: bool = False,
    loss: str | Loss | None = None,
    optimizer: str | Optimizer | None = None,
) -> str:
    """Return the plan of a training step as text; with `speed`, where its time goes.

    Parameters
    ----------
    batch_size : int, optional
        Rows, >= 1; by default that of the last fit, else 32.
    speed : bool, default False
        Train a copy on made-up data for about a second and show each piece of the step in
        microseconds, its share, GFLOP/s and threads, beside the speed of the kernels alone, and
        say what limits this network. Nothing of the network changes.
    loss, optimizer : optional
        What to time; by default those of the last fit, else the loss that goes with the output
        (``"mse"``, or the cross-entropy of softmax or sigmoid) and ``"adam"``.

    Returns
    -------
    str
        Lines of less than 100 characters. `bpfast._speed.measure` returns the numbers.

    Raises
    ------
    TypeError, ValueError
        An argument is not one of the above, or `loss` or `optimizer` came without `speed`.
    RuntimeError
        `speed` while another thread fits this network.

    Examples
    --------
    >>> net = bpfast.Network([784, 256, 10])
    >>> print(net.explain(128, speed=True, loss="cross_entropy"))  # doctest: +SKIP
    """
    from bpfast import _speed, _speed_text

    if check_bool("speed", speed):
        found = _speed.measure(net, batch_size=batch_size, loss=loss, optimizer=optimizer)
        return _speed_text.report(net, found)
    for name, value in (("loss", loss), ("optimizer", optimizer)):
        if value is not None:
            raise ValueError(f"{name} must be None without speed=True, got {show(value)}")
    batch_size = _speed.batch_size_of(net, batch_size)
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
