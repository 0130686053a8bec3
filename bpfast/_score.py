"""From the core's sums over rows to a loss and metrics by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bpfast import _core, metrics
from bpfast._callable_run import call_loss
from bpfast._check import check_real
from bpfast._data import Rows
from bpfast.losses import Loss, MeanSquaredError

if TYPE_CHECKING:
    from bpfast.network import Network

#: Metrics on the output itself, which class labels do not have.
_ON_OUTPUTS = ("mse", "mae", "r2")


class Scorer:
    """What a fit or an evaluation measures.

    Parameters
    ----------
    net : Network
    loss : Loss or callable
    wanted : iterable of str or callable
        Metrics.
    rows : Rows
        Whose targets say whether there are class labels.

    Raises
    ------
    ValueError
        The loss does not go with the output's activation, or a metric not with class labels.
    """

    def __init__(
        self,
        net: Network,
        loss: Loss | Callable[..., Any],
        wanted: Iterable[Any],
        rows: Rows,
    ) -> None:
        self.net = net
        self.loss = loss
        _check_output(net, loss)
        entries = metrics.get(wanted)
        self.functions = [(name, f) for name, f in entries if f is not None]
        self.builtin = [name for name, f in entries if f is None]
        labels = rows.labels is not None
        for name in _ON_OUTPUTS:
            if labels and name in self.builtin:
                raise ValueError(f"metrics: {name!r} needs target rows, y holds class labels")
        # A callable loss is scored in Python; its rows still give the metrics.
        self.objective = objective(
            loss if isinstance(loss, Loss) else MeanSquaredError(),
            net.outputs,
            labels,
            accuracy="accuracy" in self.builtin,
            errors="mse" in self.builtin or "mae" in self.builtin,
            residuals="r2" in self.builtin,
        )

    def names(self) -> list[str]:
        """Return the metrics' names, the core's first."""
        return [*self.builtin, *(name for name, _ in self.functions)]

    def from_sums(
        self, sums: Mapping[str, float], residuals: Iterable[float], spread: NDArray[Any] | None
    ) -> dict[str, float]:
        """Return loss and the core's metrics of an epoch's or an evaluation's sums."""
        total = sums["weight_sum"] or np.nan
        scores = {"loss": sums["loss_sum"] / total}
        sources = {"accuracy": "correct", "mse": "squared", "mae": "absolute"}
        for name in self.builtin:
            if name == "r2":
                assert spread is not None
                scores[name] = _r2(np.fromiter(residuals, float), spread)
            else:
                scores[name] = sums[sources[name]] / total
        return scores

    def spread(self, rows: Rows) -> NDArray[np.float64] | None:
        """Return each output's weighted sum of squares about its mean, for r2."""
        if "r2" not in self.builtin:
            return None
        targets = rows.target().astype(np.float64, order="C")  # sums depend on the layout
        weights = np.ones(len(rows)) if rows.weights is None else rows.weights
        mean = (weights[:, None] * targets).sum(axis=0) / weights.sum()
        squares: NDArray[np.float64] = (weights[:, None] * (targets - mean) ** 2).sum(axis=0)
        return squares

    def in_python(self, rows: Rows) -> dict[str, float]:
        """Return the callables' values on the current weights."""
        if not self.functions and isinstance(self.loss, Loss):
            return {}
        output = self.net.predict(rows.x)
        values = {
            name: check_real(f"the metric {name}", f(rows.target(), output))
            for name, f in self.functions
        }
        if not isinstance(self.loss, Loss):
            values["loss"] = call_loss(self.loss, rows.target(), output)[0]
        return values

    def evaluate(self, rows: Rows) -> dict[str, float]:
        """Return loss and all metrics of these rows."""
        residuals = np.zeros(self.net.outputs) if "r2" in self.builtin else None
        threads, _ = self.net._threads()
        sums = self.net._core.evaluate(rows.core(), self.objective, threads, residuals)
        scores = self.from_sums(sums, () if residuals is None else residuals, self.spread(rows))
        return {**scores, **self.in_python(rows)}


def objective(loss: Loss, outputs: int, labels: bool, **wanted: bool) -> _core.Objective:
    """Return what the core minimises, and which metrics it takes on the way.

    Raises
    ------
    ValueError
        The loss does not go with so many outputs.
    """
    loss.check_outputs(outputs)
    spec = loss.spec()
    return _core.Objective(spec["kind"], spec["parameter"], labels, each=spec.get("each"), **wanted)


def _check_output(net: Network, loss: Loss | Callable[..., Any]) -> None:
    """Raise where the loss applies an activation that the output has had already.

    Behind a `Dense` the core takes the value before the activation instead.
    """
    fused = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}
    kind = loss.kind if isinstance(loss, Loss) else ""
    last = net._plan.layers[-1]
    if kind in fused and last.kind != "dense" and net._plan.activation != "identity":
        raise ValueError(
            f"loss {kind!r} works on the output before {fused[kind]}: leave out the last layer's "
            f"{net._plan.activation!r}, or end with a Dense that has {fused[kind]!r}"
        )


def _r2(residuals: NDArray[np.float64], spread: NDArray[np.float64]) -> float:
    """Return the mean over outputs; a constant output counts 1 when it is met exactly, else 0."""
    constant = spread == 0
    ratio = residuals / np.where(constant, 1.0, spread)
    return float(np.where(constant, (residuals == 0).astype(float), 1.0 - ratio).mean())
