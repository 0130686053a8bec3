"""Averages of the weights over a fit, which generalise better than the last ones."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bpfast._callback import Callback, Logs
from bpfast._check import (
    bad_type,
    check_bool,
    check_count,
    check_fraction,
    check_index,
    check_int,
    check_number,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bpfast._fit import Fit
    from bpfast.network import Array, Network


class Average(Callback):
    """What EMA and SWA share; the network holds the average, and so do its files.

    Attributes
    ----------
    average : ndarray (n,) or None
        After the fit: the average, in the order of `Network.parameters`; None where none began.
    """

    def __init__(self, use_at_end: bool) -> None:
        self.use_at_end = check_bool("use_at_end", use_at_end)
        self.average: Array | None = None
        self._rows: Array | None = None
        self._swapped = False  # the network has the average, and the core the weights to go on from

    def attach(self, fit: Fit) -> None:
        """Note the training rows."""
        super().attach(fit)
        self._rows = fit.rows.x

    @property
    def _begun(self) -> bool:
        """Whether anything was averaged."""
        raise NotImplementedError

    def _reset(self) -> None:
        """Let nothing be averaged."""
        raise NotImplementedError

    def _go_on(self) -> None:
        """Let the core go on with an average that it has."""

    def on_train_begin(self, logs: Logs) -> None:
        """Forget earlier fits."""
        self._reset()
        self.average, self._swapped = None, False

    def on_train_end(self, logs: Logs) -> None:
        """Put the average in place, but not in mid-epoch: a fit may resume there."""
        import numpy as np

        net, progress = self.net, self.net._progress
        rows, self._rows = self._rows, None
        found = net.parameters.copy()
        if not net._core.read_average(found):
            self._reset()  # it went with the optimizer's state after a divergence
        elif self._begun:
            self.average = found
            net._core.set_average(0.0, 0)
        if progress is not None and progress.cursor:
            return
        finite = self.average is not None and bool(np.isfinite(self.average).all())
        if finite and self.use_at_end:
            if progress is not None:
                net._core.write_average(net.parameters)
                self._swapped = True
            assert rows is not None
            self.apply(net, rows, batch_size=net._batch_size or 1)
        if progress is None:
            net._core.drop_average()

    def apply(self, net: Network, X: ArrayLike, *, batch_size: int = 32) -> None:
        """Give a network the average, and BatchNorm layers statistics that fit it.

        Parameters
        ----------
        net : Network
            Its layers are those of the fit.
        X : array (rows, inputs) or (rows, *input_shape)
            The training rows. The running statistics become the means over batches of them, in
            training mode (as PyTorch's ``update_bn``); those of frozen layers stay.
        batch_size : int, default 32

        Raises
        ------
        RuntimeError
            There is no average.
        ValueError
            The network has another number of parameters.
        """
        from bpfast._data import as_sparse_or_dense
        from bpfast._statistics import refresh_statistics

        if self.average is None:
            raise RuntimeError("apply needs an average: fit with this callback before it")
        if net.parameters.shape != self.average.shape:
            raise ValueError(
                f"net must have {self.average.size} parameters, got {net.parameters.size}"
            )
        rows = as_sparse_or_dense(X, net.input_shape, net.dtype.itemsize)
        size = check_count("batch_size", batch_size)
        net.parameters[...] = self.average
        refresh_statistics(net, rows, size)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        swapped = check_bool("state['swapped']", state.get("swapped", False))
        if swapped and self._begun:
            core, weights = self.net._core, self.net.parameters
            kept = weights.copy()
            core.read_average(kept)
            core.write_average(weights)
            weights[...] = kept
        if self._begun:
            self._go_on()


class EMA(Average):
    """Average the weights of all steps, the newest most: an exponential moving average.

    After n steps the average is

        sum_i decay^(n - i) w_i / sum_i decay^(n - i),    i = 1 .. n,

    w_i the weights after step i: there is no bias towards where it began. It is taken in the step
    loop, block by block beside the update.

    Parameters
    ----------
    decay : float, default 0.999
        In (0, 1]: how much of an older step counts. The last 1 / (1 - decay) steps make most of it;
        1 is the plain mean of all (Polyak & Juditsky). The default is a usual one for fits of some
        thousand steps.
    start_epoch : int, default 0
        The first epoch whose steps count.
    use_at_end : bool, default True
        At the end of the fit the network gets the average, and BatchNorm layers the statistics that
        go with it: means over batches of the training rows. Until then everything, validation
        included, is of the weights that are trained. Behind `EarlyStopping`, which puts back the
        weights of one epoch, this comes last if it stands last.

    Attributes
    ----------
    average : ndarray (n,) or None
        After the fit: the average, in the order of `Network.parameters`.

    Notes
    -----
    It takes the memory of the parameters once more. Model files that are written meanwhile hold it,
    so that a resumed fit ends with the same weights. After a divergence there is no average.

    References
    ----------
    Polyak & Juditsky 1992, Acceleration of stochastic approximation by averaging. Kingma & Ba 2014,
    Adam, section 7.2, and algorithm 1 for the correction of the bias.

    Examples
    --------
    >>> net.fit(X, y, loss="mse", callbacks=[bp.EMA(0.99)])  # doctest: +SKIP
    """

    def __init__(
        self, decay: float = 0.999, *, start_epoch: int = 0, use_at_end: bool = True
    ) -> None:
        super().__init__(use_at_end)
        self.decay = check_number("decay", decay, 0.0, 1.0, low_open=True)
        self.start_epoch = check_index("start_epoch", start_epoch)
        self._start: int | None = None  # the optimizer's steps before the first that counts

    @property
    def _begun(self) -> bool:
        return self._start is not None

    def _go_on(self) -> None:
        assert self._start is not None
        self.net._core.set_average(self.decay, self._start)

    def _reset(self) -> None:
        self._start = None

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Begin with the average when it is time."""
        if self._start is None and epoch >= self.start_epoch:
            core = self.net._core
            core.write_average(self.net.parameters)  # what is frozen stays as it is
            self._start = core.counters()["step"]
            self._go_on()

    def get_state(self) -> dict[str, Any]:
        """Return where it began, in JSON types; the network has the average."""
        return {"start": self._start, "swapped": self._swapped}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        start = _checked(state).get("start")
        steps = self.net._core.counters()["step"]
        self._start = None if start is None else check_int("state['start']", start, 0, steps)
        super().set_state(state)


class SWA(Average):
    """Average the weights at the ends of epochs: stochastic weight averaging.

    All epochs that count do so alike. It works best where the learning rate stays high or cycles
    from `start` on, so that the weights move around in a flat region of the loss.

    Parameters
    ----------
    start : int or float, default 0.75
        The first epoch that counts, from 0; or, as a float in [0, 1), that share of the fit's
        epochs. The default is the paper's.
    every : int, default 1
        Every so many epochs from then on; where the rate cycles, the length of a cycle.
    use_at_end : bool, default True
        As of `EMA`.

    Attributes
    ----------
    average : ndarray (n,) or None
        After the fit: the average, in the order of `Network.parameters`.

    Notes
    -----
    As of `EMA`.

    References
    ----------
    Izmailov et al. 2018, Averaging weights leads to wider optima and better generalization.
    """

    def __init__(
        self, start: int | float = 0.75, *, every: int = 1, use_at_end: bool = True
    ) -> None:
        super().__init__(use_at_end)
        whole = isinstance(start, numbers.Integral)
        self.start: int | float = (
            check_index("start", start) if whole else check_fraction("start", start)
        )
        self.every = check_count("every", every)
        self._first = 0
        self._count = 0

    @property
    def _begun(self) -> bool:
        return self._count > 0

    def _reset(self) -> None:
        self._count = 0

    def on_train_begin(self, logs: Logs) -> None:
        """Forget earlier fits."""
        whole = isinstance(self.start, int)
        self._first = int(self.start if whole else self.start * logs["epochs"])
        super().on_train_begin(logs)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Take the epoch's weights into the average."""
        net = self.net
        if epoch < self._first or (epoch - self._first) % self.every:
            return
        mean = net.parameters.astype(float)
        if self._count > 0:
            before = net.parameters.copy()
            net._core.read_average(before)
            mean = before + (mean - before) / (self._count + 1)
        net._core.write_average(mean.astype(net.dtype))
        self._count += 1

    def get_state(self) -> dict[str, Any]:
        """Return how many epochs count so far, in JSON types; the network has the average."""
        return {"count": self._count, "swapped": self._swapped}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        self._count = check_index("state['count']", _checked(state).get("count"))
        super().set_state(state)


def _checked(state: object) -> Mapping[str, Any]:
    """Return a state, or raise where it is none."""
    if not isinstance(state, Mapping):
        raise bad_type("state", "a dict", state)
    return state


def check_one_average(callbacks: tuple[Callback, ...], argument: str) -> None:
    """Raise where two would average: a network holds one average."""
    found = sum(isinstance(c, Average) for c in callbacks)
    if found > 1:
        raise ValueError(f"{argument} must have at most one EMA or SWA, got {found}")
