"""Single batches: the calls for one's own losses and loops, on the steps that fit runs too."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bpfast import _core
from bpfast._callable_run import call_loss
from bpfast._data import as_inputs, as_rows, as_sparse_or_dense, as_weights
from bpfast._score import objective
from bpfast.errors import ShapeError
from bpfast.losses import Loss

if TYPE_CHECKING:
    from bpfast.network import Network
    from bpfast.optimizers import Optimizer

Array = NDArray[Any]

#: What a run is kept by: the loss, None for forward and backward, and whether y holds labels.
_Key = tuple[str | None, bool]
_PLAIN: _Key = (None, False)


class Batches:
    """The runs of a network that take one batch at a time; one is kept for each loss."""

    def __init__(self, net: Network) -> None:
        self._net_ref = weakref.ref(net)
        self._runs: dict[_Key, tuple[int, _core.Run]] = {}
        self._forwarded: tuple[_core.Run, int] | None = None

    @property
    def _net(self) -> Network:
        """The network, which owns this object."""
        net = self._net_ref()
        assert net is not None
        return net

    def forward(self, X: ArrayLike, training: bool) -> Array:
        """Return the output of one batch."""
        net = self._net
        x = as_sparse_or_dense(X, net.input_shape, net.dtype.itemsize)
        if len(x) == 0:
            raise ShapeError("X must have at least one row")
        out = np.empty((len(x), net.outputs), net.dtype)
        self._forwarded = None
        if training:
            run = self._run(len(x), None)
            run.forward(x, out)
            self._forwarded = (run, len(x))
        else:
            net._core.predict(x, out, *net._threads())
        return out

    def backward(self, dY: ArrayLike, accumulate: bool) -> Array:
        """Return the gradient with respect to the last forward's inputs."""
        net = self._net
        if self._forwarded is None:
            raise RuntimeError("backward needs forward(X, training=True) before it")
        run, rows = self._forwarded
        dy = as_inputs(dY, (net.outputs,), net.dtype.itemsize, "dY")
        if len(dy) != rows:
            raise ShapeError(f"dY must have {rows} rows as the last forward, got {len(dy)}")
        dx = np.empty((rows, net.inputs), net.dtype)
        run.backward(dy, accumulate, dx)
        return dx.reshape(rows, *net.input_shape)

    def loss_and_gradient(
        self, X: ArrayLike, y: ArrayLike, loss: Loss | Callable[..., Any], sample_weight: object
    ) -> float:
        """Return loss plus penalty, and leave their gradient in the network."""
        net = self._net
        if not isinstance(loss, Loss):
            if sample_weight is not None:
                raise ValueError("sample_weight needs a loss by name; weigh in your own")
            value, slope = call_loss(loss, y, self.forward(X, True))
            self.backward(slope, False)
            return value + net._core.penalty()
        value, penalty = self.objective(X, y, loss, sample_weight)()
        return float(value + penalty)

    def objective(
        self, X: ArrayLike, y: ArrayLike, loss: Loss, sample_weight: object
    ) -> Callable[[], tuple[float, float]]:
        """Check the batch once; what is returned gives loss and penalty, and leaves gradients."""
        net = self._net
        rows = as_rows(X, y, net.input_shape, net.outputs, loss, net.dtype.itemsize)
        rows = rows.weighted(as_weights(rows, sample_weight, None, loss, net.outputs))
        run, data = self._run(len(rows), loss, rows.labels is not None), rows.core()
        return lambda: run.loss(data)

    def step(self, optimizer: str | Optimizer) -> None:
        """Make one optimizer step from the gradients, on any run there is."""
        from bpfast import optimizers

        chosen = optimizers.get(optimizer)
        run = next(iter(self._runs.values()))[1] if self._runs else self._run(1, None)
        self._net._set_optimizer(chosen)
        run.apply(chosen.learning_rate)

    def _run(self, rows: int, loss: Loss | None, labels: bool = False) -> _core.Run:
        """Return a run for so many rows; another loss replaces the last one's."""
        key: _Key = (None if loss is None else repr(loss), labels)
        if rows == 0:
            raise ShapeError("X must have at least one row")
        if key not in self._runs or self._runs[key][0] < rows:
            net = self._net
            aim = None if loss is None else objective(loss, net.outputs, labels)
            run = _core.Run(net._core, None, None, aim, rows, *net._threads())
            kept = {k: v for k, v in self._runs.items() if k == _PLAIN}
            self._runs = {**kept, key: (rows, run)}
        return self._runs[key][1]
