"""Where the time of a training step goes: measured on a copy of a network, with made-up data."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bpfast import _core, losses, optimizers
from bpfast._build import measure_inputs
from bpfast._check import bad_type, check_count
from bpfast._data import as_rows
from bpfast._score import Scorer
from bpfast._spec import core_rule

if TYPE_CHECKING:
    from bpfast.network import Network
    from bpfast.optimizers import Optimizer

#: Seconds of steps to measure, and the fewest rounds: each is an epoch without and one with clocks.
SECONDS = 0.8
FEWEST_ROUNDS = 2
#: An epoch of made-up data: at most so many batches and inputs, and about so many seconds. Short
#: ones are seldom interrupted by other processes, and their median is less often.
MOST_BATCHES, MOST_INPUTS, EPOCH_SECONDS = 256, 2**22, 1e-3
#: How often kernels are timed meanwhile.
SAMPLES = 8
#: Kernels that make pieces of their own within a step's.
_MAPS = {"forward": "activation", "backward": "derivative"}
#: FLOP/s of one core on small layers, to choose the length of an epoch before anything is measured.
GUESSED_RATE = 25e9


@dataclass(frozen=True)
class Piece:
    """One piece of a training step.

    Attributes
    ----------
    what : str
        mask (DropConnect), gather, forward, activation, loss, backward, derivative, update (with
        its weight gradient where `flops` is not 0), gradient (stored, for a later update), norm,
        prepare (scores, the next batch) or wait (at barriers).
    layer : int or None
        Its index; None where it belongs to no layer.
    seconds : float
        Median; of several threads, their mean.
    flops : float
        Operations of its matrix product in all threads; 0 without one.
    threads : int
        That took part.
    balance : float
        Mean over the longest of the threads' times; 1 is even.
    """

    what: str
    layer: int | None
    seconds: float
    flops: float = 0.0
    threads: int = 1
    balance: float = 1.0

    @property
    def rate(self) -> float:
        """FLOP/s of all threads together; 0 without a product."""
        return self.flops / self.seconds if self.flops and self.seconds > 0 else 0.0


@dataclass(frozen=True)
class Speed:
    """A measured training step.

    Attributes
    ----------
    batch_size : int
    loss : Loss
    optimizer : Optimizer
    threads, allowed : int
        Threads that ran, and the most that might have.
    step_seconds : float
        Of one step as `fit` runs it, without clocks; a median.
    pieces : tuple of Piece
        In the order of a step.
    busy : tuple of float
        Each thread's share of the step that was not spent waiting.
    interrupted : float
        Share of the time in which the first thread would have worked, but had no CPU.
    product_rate, gradient_rate : float
        FLOP/s of one thread's micro-kernels on operands in L1: of forward and backward products,
        and of weight gradients.
    update_seconds : float
        Of the optimizer's rule alone on all trained parameters, in L1, on one thread.
    trained_bytes : int
        Weights, transposed weights and optimizer state that a step passes over.
    l2_bytes : int
        Of one core; 0 when unknown.
    """

    batch_size: int
    loss: losses.Loss
    optimizer: Optimizer
    threads: int
    allowed: int
    step_seconds: float
    pieces: tuple[Piece, ...]
    busy: tuple[float, ...]
    interrupted: float
    product_rate: float
    gradient_rate: float
    update_seconds: float
    trained_bytes: int
    l2_bytes: int

    @property
    def disturbed(self) -> bool:
        """Whether other processes show in the times: steps of less than 1 ms fit between them."""
        long = self.sum_seconds > 1e-3
        return (long and self.interrupted > 0.1) or self.step_seconds > 1.25 * self.sum_seconds

    @property
    def sum_seconds(self) -> float:
        """Of all pieces together, the clocks included."""
        return sum(piece.seconds for piece in self.pieces)

    def share(self, *pieces: Piece) -> float:
        """Part of the pieces' sum that these are."""
        return sum(piece.seconds for piece in pieces) / self.sum_seconds

    def kernel_rate(self, piece: Piece) -> float:
        """FLOP/s of the kernel that a product rests on, on all threads."""
        one = self.gradient_rate if piece.what in ("gradient", "update") else self.product_rate
        return one * self.threads


def measure(
    net: Network, *, batch_size: int | None = None, loss: Any = None, optimizer: Any = None
) -> Speed:
    """Time the training step of a network.

    A copy of it trains on standard normal inputs and targets that fit the loss, at a learning rate
    of 0: nothing of `net` changes. Takes one to two seconds; larger networks, five steps.

    Parameters
    ----------
    net : Network
    batch_size : int, optional
        Rows, >= 1; that of the last fit by default, else 32.
    loss : str or Loss, optional
        That of the last fit by default; else cross-entropy after softmax, binary cross-entropy
        after sigmoid, or ``"mse"``.
    optimizer : str or Optimizer, optional
        That of the last fit by default, else ``"adam"``.

    Raises
    ------
    TypeError, ValueError
        An argument is not one of the above, or the loss does not go with the network's output.
    RuntimeError
        Another thread fits this network.
    """
    rows = batch_size_of(net, batch_size)
    chosen = _loss_of(net, loss)
    rule = optimizers.get(_default(optimizer, net._optimizer, "adam"))
    net._lock.check_idle("explain")
    copy = net.clone()
    with copy._lock:
        copy._set_optimizer(rule)
        return _measure(copy, rows, chosen, rule)


def batch_size_of(net: Network, batch_size: int | None) -> int:
    """Return the batch size that was given, or that of the last fit, or 32."""
    return check_count("batch_size", _default(batch_size, net._batch_size, 32))


def _default(*values: Any) -> Any:
    """Return the first that is not None."""
    return next(value for value in values if value is not None)


def _loss_of(net: Network, loss: Any) -> losses.Loss:
    """Return the loss to time."""
    usual = "mse"
    if net._plan.layers[-1].kind == "dense":
        by_activation = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}
        usual = by_activation.get(net._plan.activation, usual)
    found = losses.get(_default(loss, net._loss, usual))
    if not isinstance(found, losses.Loss):
        raise bad_type("loss", "a name or a Loss (a function runs outside of the step)", loss)
    return found


def _made_up(net: Network, rows: int, loss: losses.Loss) -> Any:
    """Return rows of the right shape for this loss."""
    rng = np.random.default_rng(0)
    shape = (rows, net.outputs)
    normal: Any = rng.standard_normal
    x = normal((rows, net.inputs), net.dtype)
    y: NDArray[Any]
    if loss.kind == "cross_entropy":
        y = rng.integers(net.outputs, size=rows)
    elif loss.kind == "binary_cross_entropy":
        y = rng.integers(2, size=shape).astype(net.dtype)
    elif loss.kind == "poisson":
        y = rng.poisson(1.0, size=shape).astype(net.dtype)
    else:
        y = normal(shape, net.dtype)
    return as_rows(x, y, net.input_shape, net.outputs, loss, net.dtype.itemsize)


def _measure(net: Network, batch_size: int, loss: losses.Loss, rule: Optimizer) -> Speed:
    """Time steps of `net`, which is a copy."""
    guess = 6 * max(net._plan.products(), 1) * batch_size / GUESSED_RATE
    by_inputs = MOST_INPUTS // (batch_size * net.inputs)
    batches = max(1, min(MOST_BATCHES, by_inputs, int(EPOCH_SECONDS / guess)))
    rows = _made_up(net, batches * batch_size, loss)
    measure_inputs(net, rows.x)
    threads, exact = net._threads()
    run = _core.Run(
        net._core,
        rows.core(),
        None,
        Scorer(net, loss, (), rows).objective,
        batch_size,
        threads,
        exact,
        sweep=net._sweep,
        ignore_faults=True,
        planned_epochs=1e6,
    )
    table = _core.pieces(run)
    kernels = _Kernels(net, table)
    whole, laps, on_cpu = _rounds(run, batches, kernels)
    team = laps.shape[1]
    busy = 1 - np.median(laps[:, :, -1] / laps.sum(axis=2), axis=0)
    shown = table if team > 1 else table[:-1]  # one thread never waits: that was the clock
    pieces = [
        piece
        for column, found in enumerate(shown)
        if found is not None
        for piece in _split(len(net._plan.layers), found, laps[:, :, column], kernels)
    ]
    trained = sum(int(p[3]) for p in table if p is not None and p[0] == "update")
    slots = len(net._core.slot_names(str(core_rule(rule)["rule"])))
    return Speed(
        batch_size=batch_size,
        loss=loss,
        optimizer=rule,
        threads=team,
        allowed=threads,
        step_seconds=whole,
        pieces=tuple(pieces),
        busy=tuple(busy.tolist()) if team > 1 else (1.0,),
        interrupted=max(0.0, float(busy[0]) - on_cpu),
        product_rate=1 / kernels.seconds("product"),
        gradient_rate=1 / kernels.seconds("gradient"),
        update_seconds=trained * kernels.seconds("update"),
        trained_bytes=trained * net.dtype.itemsize * (2 + slots),
        l2_bytes=_l2_bytes(),
    )


class _Kernels:
    """Kernels alone in L1, timed again and again while the step is: clocks of CPUs change.

    Parameters
    ----------
    net : Network
    table : list
        Of `_core.pieces`.
    """

    def __init__(self, net: Network, table: list[Any]) -> None:
        self.samples = 0
        self._net = net._core
        self._seconds: dict[tuple[str, int], list[float]] = {}
        self._same: dict[tuple[str, int], tuple[str, int]] = {}
        known: dict[tuple[str, str], int] = {}
        for what, layer, _, _, activation in filter(None, table):
            if activation is not None:
                kernel = _MAPS[what]
                first = layer if activation == "softmax" else known.get((kernel, activation), layer)
                known[kernel, activation] = first
                self._same[kernel, layer] = kernel, first
        for key in (("product", 0), ("gradient", 0), ("update", 0), *self._same.values()):
            self._seconds[key] = []

    def sample(self) -> None:
        """Time each once more."""
        self.samples += 1
        for (kernel, layer), found in self._seconds.items():
            found.append(_core.kernel_seconds(self._net, kernel, layer))

    def seconds(self, kernel: str, layer: int = 0) -> float:
        """Return the median for one operation or element."""
        key = kernel, layer
        return float(np.median(self._seconds[self._same.get(key, key)]))


def _rounds(
    run: _core.Run, batches: int, kernels: _Kernels
) -> tuple[float, NDArray[np.float64], float]:
    """Return seconds of a step, and of its pieces by epoch, (epochs, threads, pieces).

    Both are medians: of the epochs without clocks, and of the steps of each with. The two kinds
    take turns, so what disturbs the machine disturbs both. The third value is the part of the
    time in which this thread was on a CPU.
    """
    columns = len(_core.pieces(run))
    rates = np.zeros(1)
    whole: list[float] = []
    laps: list[NDArray[np.float64]] = []
    spent = on_cpu = 0.0

    def plain() -> float:
        run.begin_epoch(rates, {})
        start = time.perf_counter()
        run.steps(batches, math.inf, math.inf, time.monotonic)
        return time.perf_counter() - start

    plain()  # warms up
    kernels.sample()
    while len(whole) < FEWEST_ROUNDS or spent < SECONDS:
        start, start_cpu = time.perf_counter(), time.thread_time()
        whole.append(plain() / batches)
        seconds = np.zeros((batches, run.threads, columns))
        run.begin_epoch(rates, {})
        _, team = _core.profile(run, batches, seconds)
        laps.append(np.median(seconds[:, :team], axis=0))
        spent += time.perf_counter() - start
        on_cpu += time.thread_time() - start_cpu
        if spent >= SECONDS / SAMPLES * kernels.samples:
            kernels.sample()
    sizes = [len(part) for part in laps]  # a run tries some, and may get fewer than it asks for
    team = max(set(sizes), key=sizes.count)
    kept = np.stack([part for part in laps if len(part) == team])
    return float(np.median(whole)), kept, on_cpu / spent


def _split(n_layers: int, found: Any, laps: NDArray[np.float64], kernels: _Kernels) -> list[Piece]:
    """Return a piece; an activation or derivative within it becomes one of its own.

    That part is the kernel's own time, measured in L1, where the step has its operands too.
    """
    what, layer, flops, elements, activation = found
    index = layer if layer < n_layers else None
    by_thread = np.median(laps, axis=0)
    seconds, longest = float(np.median(laps.mean(axis=1))), float(by_thread.max())
    threads = max(1, int((by_thread > 0.05 * longest).sum()))
    balance = float(by_thread.mean()) / longest if longest > 0 else 1.0
    whole = Piece(what, index, seconds, flops, threads, balance)
    if activation is None:
        return [whole]
    name = _MAPS[what]
    if not flops:  # no gradient to the inputs: nothing but the derivative
        return [replace(whole, what=name)]
    own = elements * kernels.seconds(name, layer) / laps.shape[1]
    part = replace(whole, what=name, seconds=min(own, seconds), flops=0.0)
    rest = replace(whole, seconds=seconds - part.seconds)
    return [rest, part] if what == "forward" else [part, rest]


def _l2_bytes() -> int:
    """Return the size of a core's second-level cache; 0 when the system does not tell."""
    for cache in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            if (cache / "level").read_text().strip() == "2":
                size = (cache / "size").read_text().strip()
                return int(size[:-1]) * {"K": 2**10, "M": 2**20}[size[-1]]
        except (OSError, ValueError, KeyError, IndexError):
            continue
    return 0
