"""Networks as text: summary and explain; and what memory they need."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bpfast import config
from bpfast._check import check_bool, check_count, check_index, show
from bpfast._spec import core_rule
from bpfast.layers.composite import Composite
from bpfast.layers.dense import Dense

if TYPE_CHECKING:
    from bpfast._graph import Use
    from bpfast.layers.shapes import Shape
    from bpfast.losses import Loss
    from bpfast.network import Network
    from bpfast.optimizers import Optimizer


def summary(net: Network) -> str:
    """Return one line a layer: name, kind, output, activation, parameters; composites as a tree."""
    rows = [("layer", "kind", "output", "activation", "parameters")]
    trainable = net._plan.trainable()
    frozen = {name for name, t in net._plan.parameters.items() if not trainable[t.layer]}
    hidden: int | None = None  # depth of a composite that was shown before
    for use in net._plan.uses:
        if hidden is not None and use.depth > hidden:
            continue
        hidden = use.depth if use.first is not None else None
        rows.append(_row(net, use, frozen))
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
        f"{_values(net.input_shape)} inputs, {net.outputs} outputs"
    )
    return "\n".join([lines[0], rule, *lines[1:], rule, total])


def _row(net: Network, use: Use, frozen: set[str]) -> tuple[str, str, str, str, str]:
    """Return the cells of a layer in one of its places."""
    layer, names = use.layer, net._plan.parameters
    kind = type(layer).__name__
    if isinstance(layer, Dense) and layer.tied_to is not None:
        kind += f" tied to {net._plan.path_of(layer.tied_to)}"
    within = [name for name in names if f"{name}.".startswith(f"{use.first or use.path}.")]
    own = [name for name in within if name.rpartition(".")[0] == use.path]
    count = f"{sum(net.params[name].size for name in own):,}"
    if frozen.intersection(own):
        count += " frozen"
    activation = str(getattr(layer, "activation", ""))
    if isinstance(layer, Composite):
        count, activation = "", activation.replace("identity", "")
    if within and use.first is not None:
        count = f"shared with {use.first}"
    return "  " * use.depth + use.path, kind, _values(use.shape), activation, count


def _values(shape: Shape) -> str:
    """Write 784, or 28 x 28 x 1."""
    return " x ".join(map(str, shape))


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
    net._read_layers_if_idle()
    threads, reason = config.thread_choice(net.n_threads)
    flops = 6 * batch_size * net._plan.products()
    head = (
        f"one step of {batch_size} rows: {flops / 1e6:.3g} MFLOP, ISA {net._core.isa}, "
        f"up to {threads} thread{'s' if threads > 1 else ''} ({reason}), "
        f"{_bytes(net.memory_required(batch_size))} in all"
    )
    names = net._plan.names
    width = max(map(len, names))
    lines = (
        re.sub(r"layer (\d+) *", lambda m: f"layer {names[int(m[1])]:<{width}}  ", line).rstrip()
        for line in net._core.plan_lines(batch_size)
    )
    return "\n".join([head, *(f"  {line}" for line in lines)])


def _bytes(n: float) -> str:
    """Return a size with its unit."""
    for unit in ("B", "KB", "MB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} GB"


def memory_required(
    net: Network,
    batch_size: int,
    *,
    rows: int = 0,
    optimizer: str | Optimizer = "adam",
    average: bool = False,
) -> int:
    """Return the bytes that training takes beside the data and what callbacks keep of their own.

    Parameters, gradients, the snapshot of the last finite epoch, optimizer state, and the work
    memory of a batch.

    Parameters
    ----------
    batch_size : int
    rows : int, default 0
        Also the order of so many shuffled rows.
    optimizer : str or Optimizer, default "adam"
        Whose state it is.
    average : bool, default False
        Also the average of the weights, which `EMA` and `SWA` take in the network: once more the
        parameters, laid out as the optimizer's state. Their copy of it after the fit, and what
        `SWA` computes at the end of an epoch, come on top.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        An argument is not one of the above.
    MemoryError
        More bytes than can be addressed.
    """
    from bpfast import optimizers

    rule = str(core_rule(optimizers.get(optimizer))["rule"])
    size, count = check_count("batch_size", batch_size), check_index("rows", rows)
    averages = check_bool("average", average)
    net._read_layers_if_idle()
    parts = net._core.memory(size, count, rule, averages)
    return sum(parts.values())
