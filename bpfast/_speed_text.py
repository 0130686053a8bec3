"""A measured training step as text: a table of its pieces, and what limits it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bpfast._spec import core_rule
from bpfast.layers.shapes import show_shape

if TYPE_CHECKING:
    from bpfast._speed import Piece, Speed
    from bpfast.network import Network

WIDTH, NAME_WIDTH = 88, 12
#: Pieces in groups, as the sentences name them.
_GROUPS = {
    "forward": "forward products",
    "backward": "backward products",
    "gradient": "weight gradients",
    "update": "weight gradients and updates",
    "norm": "the norm of the gradients",
    "activation": "activations",
    "derivative": "activations",
    "mask": "weight masks",
    "gather": "the gather of the batch",
    "loss": "the loss",
    "prepare": "the work between steps",
    "wait": "waiting at barriers",
}
#: What a figure must pass to be spoken of: shares of a step, and part of the kernels' speed.
MANY_WAITS, MANY_MAPS, MANY_COSTS, MANY_UPDATES = 0.1, 0.15, 0.35, 0.25
NEAR = 0.7
MOST_SENTENCES = 4


def report(net: Network, speed: Speed) -> str:
    """Return the table and the sentences."""
    return "\n".join([*_head(net, speed), "", *_table(net, speed), "", *_foot(net, speed)])


# ---- the table ----------------------------------------------------------------------------------


def _head(net: Network, speed: Speed) -> list[str]:
    """Return what was measured."""
    rate = speed.batch_size / speed.step_seconds
    flops = sum(piece.flops for piece in speed.pieces)
    return [
        f"one training step of {speed.batch_size:,} rows: {_time(speed.step_seconds)}, "
        f"{rate:,.0f} rows/s, {_rate(flops / speed.step_seconds)} GFLOP/s",
        _short(f"{net._plan.sizes()} {net.dtype}, {speed.loss!r}, {speed.optimizer!r}"),
        f"{_count(speed.threads, 'thread')} of {speed.allowed}, ISA {net._core.isa}",
    ]


def _table(net: Network, speed: Speed) -> list[str]:
    """Return one line a piece, and their sum."""
    many = speed.threads > 1
    header = ["step", "layer", "work", "time", "share", "GFLOP/s", "of kernel"]
    rows = [header + ["threads"] * many]
    for piece in speed.pieces:
        name = "" if piece.layer is None else _short(net._plan.names[piece.layer], NAME_WIDTH)
        cells = [_what(net, piece), name, _work(net, speed, piece), _time(piece.seconds)]
        cells += [_percent(speed.share(piece)), "", ""]
        if piece.flops:
            cells[5:] = [_rate(piece.rate), _percent(piece.rate / speed.kernel_rate(piece))]
        if many:
            alone = piece.what in ("wait", "prepare")
            cells.append("" if alone else f"{piece.threads}, {_percent(piece.balance)}")
        rows.append(cells)
    rows.append(["sum", "", "with the clocks", _time(speed.sum_seconds), _percent(1.0)])
    rows.append(["step", "", "as fit runs it", _time(speed.step_seconds)])
    rows = [[*row, *[""] * (len(rows[0]) - len(row))] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if i < 3 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return [lines[0], rule, *lines[1:-2], rule, *lines[-2:]]


def _what(net: Network, piece: Piece) -> str:
    """Return the first column."""
    if piece.layer is not None and piece.what in ("activation", "derivative"):
        prime = "'" if piece.what == "derivative" else ""
        return f"  {_activation(net, piece)}{prime}"
    return piece.what


def _activation(net: Network, piece: Piece) -> str:
    """Return the activation of a piece's layer."""
    spec = {} if piece.layer is None else net._plan.layers[piece.layer].spec
    return str(spec.get("activation", ""))


def _work(net: Network, speed: Speed, piece: Piece) -> str:
    """Return what a piece works on."""
    fixed = {
        "gather": f"{speed.batch_size:,} x {net.inputs:,}",
        "loss": f"{speed.batch_size:,} x {net.outputs:,}",
        "mask": "all masked weights",
        "norm": "all gradients",
        "prepare": "scores, next batch",
        "wait": "at barriers",
    }
    if piece.layer is None:
        return fixed[piece.what]
    layer = net._plan.layers[piece.layer]
    rule = core_rule(speed.optimizer)["rule"]
    before, after = show_shape(layer.input_shape), show_shape(layer.shape)
    weights = " + ".join(show_shape(weight.shape) for weight in layer.weights.values())
    if layer.kind == "dense":
        before, after = f"{layer.input_shape[0]:,}", f"{layer.shape[0]:,}"
        weights = f"{before} x {after}"
    name = "" if layer.kind in ("dense", "conv") else f"{layer.kind} "
    relu = layer.spec.get("activation") == "relu" and layer.kind in ("dense", "conv")
    return {
        "forward": f"{name}{before} -> {after}" + ", relu" * relu,
        "backward": (
            f"{name}{before} <- {after}" if piece.flops or name else "no gradient to the inputs"
        ),
        "gradient": weights,
        "update": f"{weights}, {rule}",
    }.get(piece.what, f"{name}{speed.batch_size:,} x {after}")


def _foot(net: Network, speed: Speed) -> list[str]:
    """Return the reference figures and the sentences."""
    threads = " a thread" if speed.allowed > 1 else ""
    facts = (
        f"Kernels alone, operands in L1: products {_rate(speed.product_rate)} GFLOP/s{threads}, "
        f"weight gradients {_rate(speed.gradient_rate)}; the rule of "
        f"{type(speed.optimizer).__name__} {_time(speed.update_seconds / speed.threads)} a step."
    )
    busy = ", ".join(f"thread {i} {_percent(part)}" for i, part in enumerate(speed.busy))
    teams = (
        "Threads: how many took part, and the mean of their times over the longest. At work: "
        f"{busy} of the step."
    )
    parts = [facts, teams] if speed.threads > 1 else [facts]
    text = [" ".join(parts), " ".join(sentences(speed, net._plan.names))]
    return [line for part in text for line in textwrap.wrap(part, WIDTH)]


# ---- what limits it -----------------------------------------------------------------------------


def sentences(speed: Speed, names: Sequence[str]) -> list[str]:
    """Return one to four sentences on what limits the step; `names` are the layers'."""
    groups = {name: _group(speed, name) for name in dict.fromkeys(_GROUPS.values())}
    shares = {name: speed.share(*pieces) for name, pieces in groups.items()}
    largest = max(groups, key=lambda name: shares[name])
    advice = {
        "activations": "relu would be faster",
        "waiting at barriers": f"a larger batch, or n_threads={speed.threads - 1}, wastes less",
    }
    found = []
    if speed.disturbed:
        found.append(
            "Other processes used the CPUs meanwhile, which lengthens long pieces and waits: "
            "measure again on an idle machine."
        )
    found.append(_largest(speed, groups[largest], names, advice.get(largest)))
    for name, least in (("activations", MANY_MAPS), ("waiting at barriers", MANY_WAITS)):
        if name != largest and shares[name] > least:
            found.append(f"{_percent(shares[name])} goes to {name}: {advice[name]}.")
    if speed.threads < speed.allowed:
        extra = "a second thread" if speed.threads == 1 else f"more than {speed.threads} threads"
        found.append(f"The step is too short for {extra} to gain anything.")
    fixed = sum(shares[_GROUPS[what]] for what in ("gather", "loss", "prepare"))
    if fixed > MANY_COSTS:
        found.append(
            f"Gather, loss and the work between steps take {_percent(fixed)}: there is little "
            "arithmetic a row to hide them."
        )
    if not speed.disturbed:
        found += _products(speed)
    return found[:MOST_SENTENCES]


def _group(speed: Speed, name: str) -> list[Piece]:
    return [piece for piece in speed.pieces if _GROUPS[piece.what] == name]


def _largest(speed: Speed, group: list[Piece], names: Sequence[str], advice: str | None) -> str:
    """Return the sentence on the largest group, or on the one layer in it that decides."""
    first = max(group, key=lambda piece: piece.seconds)
    where = ""
    if first.layer is not None and speed.share(first) > 0.5:
        group, where = [first], f" of layer {names[first.layer]}"
    text = f"{_percent(speed.share(*group))} of the step goes to {_GROUPS[first.what]}{where}"
    seconds, flops = sum(p.seconds for p in group), sum(p.flops for p in group)
    if not flops:
        return f"{text}: {advice}." if advice else f"{text}."
    threads = f" on {speed.threads} threads" if speed.threads > 1 else ""
    return (
        f"{text}, at {_rate(flops / seconds)} GFLOP/s; the kernel alone reaches "
        f"{_rate(speed.kernel_rate(first))}{threads}."
    )


def _products(speed: Speed) -> list[str]:
    """Return the sentence on how near the products come to their kernels, and why not nearer."""
    products = [piece for piece in speed.pieces if piece.flops]
    updates = [piece for piece in speed.pieces if piece.what == "update"]
    if not products:
        return []
    spent, ideal = sum(piece.seconds for piece in updates), _ideal(speed, updates)
    if speed.share(*updates) > MANY_UPDATES and ideal < NEAR * spent:
        rule = speed.update_seconds / speed.threads
        where = "tiles that are not full and for writing weights in both orders"
        if speed.trained_bytes > speed.l2_bytes * speed.threads > 0:
            where = (
                f"moving weights in both orders and optimizer state "
                f"({_bytes(speed.trained_bytes)}; an L2 cache holds {_bytes(speed.l2_bytes)})"
            )
        return [
            f"Of the updates' {_time(spent)} their products at kernel speed would take "
            f"{_time(ideal)} and the rule {_time(rule)}, which leaves "
            f"{_time(max(spent - ideal - rule, 0.0))} for {where}. A larger batch makes fewer "
            "updates."
        ]
    efficiency = _ideal(speed, products) / sum(piece.seconds for piece in products)
    text = f"All products together run at {_percent(efficiency)} of their kernels' speed"
    if efficiency < NEAR:
        return [f"{text}: layers or batch are too small to fill the tiles."]
    return [f"{text}: less arithmetic or more threads is what would help."]


def _ideal(speed: Speed, pieces: list[Piece]) -> float:
    """Return the seconds that the products of these pieces would take at their kernels' speed."""
    return sum(piece.flops / speed.kernel_rate(piece) for piece in pieces)


# ---- numbers ------------------------------------------------------------------------------------


def _time(seconds: float) -> str:
    """Return microseconds, to three digits or the unit."""
    micro = 1e6 * seconds
    return f"{micro:.2f} us" if micro < 10 else f"{micro:,.{int(micro < 100)}f} us"


def _rate(per_second: float) -> str:
    """Return giga per second, to three digits or the unit."""
    giga = per_second / 1e9
    return f"{giga:.2f}" if giga < 10 else f"{giga:.{int(giga < 100)}f}"


def _percent(part: float) -> str:
    return f"{100 * part:.{int(part < 0.0995)}f}%"


def _bytes(n: float) -> str:
    return f"{n / 1e6:.3g} MB" if n >= 1e6 else f"{n / 1e3:.3g} KB"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' if n > 1 else ''}"


def _short(text: str, width: int = WIDTH) -> str:
    """Cut what would not fit."""
    return text if len(text) <= width else f"{text[: width - 3]}..."
