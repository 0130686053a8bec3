"""The regressor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bpfast._check import bad_value
from bpfast.callbacks import Callback
from bpfast.layers import Dense
from bpfast.losses import TABLE, HalfSquaredError, Loss, MeanAbsoluteError, Poisson
from bpfast.schedules import Schedule
from bpfast.sklearn._aim import Aim
from bpfast.sklearn._base import BaseMLP
from bpfast.sklearn._classifier import stochastic
from bpfast.sklearn._loop import Held
from bpfast.sklearn._params import keep
from bpfast.sklearn._sklearn import (
    RegressorMixin,
    column_or_1d,
    only_if,
    r2_score,
    with_callbacks,
)

Array = NDArray[Any]

#: What `loss` may name: ours for quantities, and scikit-learn's two.
LOSSES: Final[dict[str, type[Loss]]] = {
    "squared_error": HalfSquaredError,
    "absolute_error": MeanAbsoluteError,
    **{name: cls for name, cls in TABLE.items() if not name.endswith("cross_entropy")},
}


def loss_of(value: object) -> Loss:
    """Return the loss that a name or object stands for.

    Raises
    ------
    ValueError
        It is none for quantities.
    """
    if isinstance(value, Loss) and value.kind in LOSSES:
        return value
    if isinstance(value, str) and value in LOSSES:
        return LOSSES[value]()
    raise bad_value("loss", f"one of {', '.join(LOSSES)}, or such a Loss", value)


class BaseRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]
    """What the regressors share: quantities are read as they are."""

    def _read_y(self, y: Array, *, anew: bool) -> Array:
        """Return y as (rows,) or (rows, outputs)."""
        if y.ndim == 2 and y.shape[1] == 1:
            column: Array = column_or_1d(y, warn=True)
            return column
        return y

    @only_if(stochastic)
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> BaseRegressor:
        """Train for one epoch on these rows, from where the last call ended.

        Parameters
        ----------
        X, y, sample_weight
            As of `fit`.

        Returns
        -------
        self
        """
        self._fit(X, y, sample_weight, incremental=True)
        return self


class MLPRegressor(BaseRegressor):
    """Multi-layer perceptron for quantities, in place of scikit-learn's of the same name.

    Parameters
    ----------
    loss : str or Loss, default "squared_error"
        ``"squared_error"`` is half the mean over rows of the sum over outputs, as scikit-learn's
        (which reports the mean over outputs, as `loss_` does here); ``"poisson"`` reads counts and
        predicts rates, the exponential of the output. Others are those of `bpfast.losses`, such as
        ``"mae"``, ``bp.losses.Huber(2.0)`` or ``bp.losses.Quantile(0.9)``.
    hidden_layer_sizes, activation, solver, ..., network
        As of `MLPClassifier`, which says what each is. With `early_stopping` the held-out rows are
        not stratified, and their score is R2.

    Attributes
    ----------
    network_, coefs_, intercepts_, loss_, ..., feature_names_in_
        As of `MLPClassifier`, without `classes_`.
    out_activation_ : {"identity", "exp"}

    Notes
    -----
    y is fitted in its own units: scale it (`sklearn.compose.TransformedTargetRegressor`) where it
    is far from the size of 1, as with scikit-learn's.
    """

    def __init__(
        self,
        loss: str | Loss = "squared_error",
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        batch_norm: bool = False,
        layer_norm: bool = False,
        residual: bool = False,
        schedule: Schedule | str | Any = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        callbacks: Sequence[Callback] | None = None,
        n_jobs: int | None = None,
        network: Any = None,
    ) -> None:
        keep(self, locals())

    @with_callbacks
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        validation_data: Any = None,
    ) -> MLPRegressor:
        """Train.

        Parameters
        ----------
        X : array or CSR matrix (rows, features)
        y : array (rows,) or (rows, outputs)
        sample_weight : array (rows,), optional
            >= 0.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Recorded in `validation_loss_curve_`; with `early_stopping` used instead of a split.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            An argument is out of range, or X and y do not fit; or weights became infinite.
        """
        self._fit(X, y, sample_weight, validation_data)
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Return predictions (rows,), or (rows, outputs) for several."""
        values = self._outputs(X)
        if self.out_activation_ == "exp":
            values = np.exp(values)
        return values[:, 0] if values.shape[1] == 1 else values

    def __sklearn_tags__(self) -> Any:
        """Say what the estimator takes."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _aim(self, y: Array, weights: Array | None) -> Aim:
        loss = loss_of(self.loss)
        target = y.reshape(len(y), -1)
        outputs = target.shape[1]
        head = [Dense(outputs)]
        if self.loss == "squared_error":  # theirs: its gradient is that of the sum
            return Aim(target, loss, head, "identity", shown=1 / outputs)
        if isinstance(loss, Poisson):
            counts = target.astype(np.float64)
            alone = counts * np.log(counts, where=counts > 0, out=np.zeros_like(counts)) - counts
            offset = float(np.average(alone, weights=weights, axis=0).sum())
            return Aim(target, loss, head, "exp", scale=outputs, shown=outputs, offset=offset)
        return Aim(target, loss, head, "identity")

    def _metric(self, aim: Aim) -> str | None:
        return "r2" if aim.out_activation == "identity" else None

    def _held_score(self, aim: Aim, held: Held) -> float:
        """Return R2 of the rates; NaN where they overflow."""
        with np.errstate(over="ignore"):
            rates = np.exp(self.network_.predict(held.X))
        if not np.isfinite(rates).all():
            return float("nan")
        return float(r2_score(held.y, rates, sample_weight=held.weights))
