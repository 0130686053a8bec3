"""Several quantiles at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bpfast._check import bad_value, check_open_fraction
from bpfast.callbacks import Callback
from bpfast.layers import Activation, Concatenate, Dense, Slice
from bpfast.layers.base import Layer
from bpfast.losses import Quantile
from bpfast.schedules import Schedule
from bpfast.sklearn._aim import Aim
from bpfast.sklearn._loop import Held
from bpfast.sklearn._params import keep
from bpfast.sklearn._regressor import BaseRegressor
from bpfast.sklearn._sklearn import with_callbacks

Array = NDArray[Any]


def check_quantiles(value: object) -> tuple[float, ...]:
    """Return quantiles in (0, 1), each larger than the one before.

    Raises
    ------
    TypeError, ValueError
        They are not.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise bad_value("quantiles", "a sequence of numbers in (0, 1)", value)
    found = tuple(check_open_fraction(f"quantiles[{i}]", q) for i, q in enumerate(value))
    if not found or any(b <= a for a, b in pairwise(found)):
        raise ValueError(f"quantiles must be numbers that increase, got {list(found)}")
    return found


def increasing(count: int) -> list[Layer]:
    """Return layers whose outputs never decrease from the first to the last.

    q_1 = z_1, q_k = q_(k-1) + softplus(z_k): the sum is a product with a fixed triangle of ones,
    whose chains go on from one output to the next. So q_k >= q_(k-1) holds for the rounded numbers.
    """
    if count == 1:
        return [Dense(1)]
    rest: list[Layer] = [Slice(1, count), Activation("softplus")]
    total = Dense(count, use_bias=False, weight_init=np.triu(np.ones((count, count))))
    total.trainable = False
    return [Dense(count), Concatenate([[Slice(0, 1)], rest]), total]


class QuantileMLPRegressor(BaseRegressor):
    """Multi-layer perceptron for several quantiles, which never cross.

    The network's outputs are the lowest quantile and the distances between neighbours, each made
    positive by a softplus (Park et al. 2022, incremental quantile functions); the loss is the mean
    of the quantiles' pinball losses (Koenker & Bassett 1978).

    Parameters
    ----------
    quantiles : sequence of float, default (0.1, 0.5, 0.9)
        In (0, 1), increasing.
    hidden_layer_sizes, activation, solver, ..., network
        As of `MLPClassifier`, which says what each is. With `early_stopping` the score of held-out
        rows is minus their loss. A `network` of the user's gives the quantiles in their order, and
        alone answers for their not crossing.

    Attributes
    ----------
    network_, coefs_, intercepts_, loss_, ..., feature_names_in_
        As of `MLPClassifier`, without `classes_`; the last of `coefs_` is fixed and sums up, and
        `out_activation_` is "identity".

    Notes
    -----
    y is one quantity (rows,), fitted in its own units: scale it where it is far from the size of 1.

    References
    ----------
    Koenker & Bassett 1978, Regression quantiles.
    Park, Maddix, Aubet, Kan, Gasthaus & Wang 2022, Learning quantile functions without quantile
    crossing for distribution-free time series forecasting.
    """

    def __init__(
        self,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
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
    ) -> QuantileMLPRegressor:
        """Train.

        Parameters
        ----------
        X : array or CSR matrix (rows, features)
        y : array (rows,)
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

    def predict_quantiles(self, X: ArrayLike) -> Array:
        """Return all quantiles, (rows, quantiles), in ascending order."""
        return self._outputs(X)

    def predict(self, X: ArrayLike) -> Array:
        """Return the quantile nearest to the median, (rows,)."""
        middle = np.argmin(np.abs(np.array(check_quantiles(self.quantiles)) - 0.5))
        return self._outputs(X)[:, middle]

    # ---- what BaseMLP asks

    def _y_options(self) -> dict[str, Any]:
        return {"y_numeric": True, "multi_output": False}

    def _aim(self, y: Array, weights: Array | None) -> Aim:
        quantiles = check_quantiles(self.quantiles)
        target = np.broadcast_to(y.reshape(-1, 1), (len(y), len(quantiles)))
        return Aim(target, Quantile(quantiles), increasing(len(quantiles)), "identity")

    def _held_score(self, aim: Aim, held: Held) -> float:
        """Return minus the loss."""
        scores = self.network_.evaluate(
            held.X, held.y, loss=aim.loss, metrics=(), sample_weight=held.weights
        )
        return -scores["loss"]
