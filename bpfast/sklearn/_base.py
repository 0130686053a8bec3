"""What the estimators share: how a fit begins and ends, outputs, copies."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpfast._check import bad_type
from bpfast.errors import ShapeError
from bpfast.network import Network
from bpfast.sklearn import _build, _lbfgs, _loop, _params, _tasks
from bpfast.sklearn._aim import Aim
from bpfast.sklearn._loop import Held
from bpfast.sklearn._sklearn import (
    Estimator,
    check_array,
    check_is_fitted,
    check_random_state,
    train_test_split,
    validate_data,
)

Array = NDArray[Any]

#: Version of the pickled state. A newer one is refused; older ones are read.
SCHEMA = 1


def inputs(X: Any) -> Any:
    """Return checked inputs as `Network` takes them: of compressed rows each column once."""
    if hasattr(X, "toarray") and not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


class BaseMLP(Estimator):
    """What `MLPClassifier`, `MLPRegressor` and `QuantileMLPRegressor` share.

    A subclass says what y means (`_read_y`, `_aim`) and what an output does (`predict`).
    """

    def __sklearn_tags__(self) -> Any:
        """Say what the estimator takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # ---- training

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation_data: Any = None,
        *,
        incremental: bool = False,
    ) -> None:
        """Check everything, then train on."""
        params = self.get_params(deep=False)
        _params.check_params(params)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        tasks = None
        if not incremental:
            told = {"sample_weight": sample_weight, "validation_data": validation_data}
            tasks = _tasks.tasks_of(self, X, y, told)
        X, y = self._read_data(X, y, reset=first)
        y = self._read_y(y, anew=first and not incremental)
        weights = self._read_weights(X, y, sample_weight, incremental)
        held = self._read_validation(validation_data)
        rng = check_random_state(self.random_state)
        aim = self._aim(y, weights)
        made_of = _build.made_of(params)
        if first or not hasattr(self, "network_"):
            self.network_ = _build.build(params, X.shape[1], aim.head, X.dtype.name, rng)
            self._made_of = made_of
        elif made_of != self._made_of:
            raise ValueError(
                f"warm_start and partial_fit go on with a network of {self._made_of}, "
                f"got {made_of}: fit with warm_start=False"
            )
        if first:
            self._begin(aim)
        else:
            self._take_coefs()
        if self.solver == "lbfgs":
            _lbfgs.minimize(self, X, weights, aim, tasks)
        else:
            if self.early_stopping and held is None:
                X, y, weights, held = self._hold_out(X, y, weights, rng)
                aim = self._aim(y, weights)
            _loop.train(self, X, weights, aim, held, tasks, incremental=incremental)
        self._show_coefs(aim)
        if tasks is not None:
            tasks.end()
        if not np.isfinite(self.network_.parameters).all():
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )

    def _begin(self, aim: Aim) -> None:
        """Begin the record of a first fit."""
        self.n_iter_ = self.t_ = 0
        self._show_coefs(aim)
        self.__dict__.pop("_best", None)
        self.__dict__.pop("_first_step", None)
        self._no_improvement_count = 0
        if self.solver == "lbfgs":
            return
        self.loss_curve_: list[float] = []
        self.validation_loss_curve_: list[float] = []
        stops = self.early_stopping
        self.best_loss_ = None if stops else np.inf
        self.best_validation_score_ = -np.inf if stops else None
        self.validation_scores_: list[float] | None = [] if stops else None

    def _read_data(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any]:
        """Return X in float32 or float64, dense or CSR, and y as an array."""
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=(np.float64, np.float32),
            reset=reset,
            **{"multi_output": True, **self._y_options()},
        )
        return inputs(X), y

    def _y_options(self) -> dict[str, Any]:
        """Return what `validate_data` must know of y."""
        return {"y_numeric": True}

    def _read_y(self, y: Array, *, anew: bool) -> Array:
        """Return y as `_aim` takes it, in one row for each of X."""
        raise NotImplementedError

    def _aim(self, y: Array, weights: Array | None) -> Aim:
        """Return what the network is trained for."""
        raise NotImplementedError

    def _read_weights(
        self, X: Any, y: Array, sample_weight: Any, incremental: bool
    ) -> Array | None:
        """Return one weight a row, or None."""
        return sample_weights(X, sample_weight)

    def _read_validation(self, data: Any) -> Held | None:
        """Return the rows that the user gave to validate on."""
        if data is None:
            return None
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            raise bad_type("validation_data", "(X, y) or (X, y, sample_weight)", data)
        X, y = self._read_data(data[0], data[1], reset=False)
        y = self._read_y(y, anew=False)
        weights = sample_weights(X, data[2]) if len(data) == 3 else None
        return Held(X, self._aim(y, weights).target, weights)

    def _hold_out(
        self, X: Any, y: Array, weights: Array | None, rng: Any
    ) -> tuple[Any, Array, Array | None, Held]:
        """Return what is left to train on, and the rows that decide when to stop."""
        kept, held = train_test_split(
            np.arange(X.shape[0]),
            random_state=rng,
            test_size=self.validation_fraction,
            stratify=self._strata(y),
        )
        if len(held) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        their_weights = None if weights is None else weights[held]
        target = self._aim(y[held], their_weights).target
        return (
            X[kept],
            y[kept],
            None if weights is None else weights[kept],
            Held(X[held], target, their_weights),
        )

    def _strata(self, y: Array) -> Array | None:
        """Return the classes whose shares a split keeps."""
        return None

    def _metric(self, aim: Aim) -> str | None:
        """Return the name of the score of held rows where the core computes it."""
        return None

    def _held_score(self, aim: Aim, held: Held) -> float:
        """Return the score of held rows otherwise."""
        raise NotImplementedError

    # ---- inference

    def _outputs(self, X: Any, *, probabilities: bool = False) -> Array:
        """Return the network's outputs, or probabilities, for X as the user gave it."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", reset=False)
        self._take_coefs()
        predict = self.network_.predict_proba if probabilities else self.network_.predict
        return predict(inputs(X))

    # ---- weights that are shown, and may be replaced

    def _show_coefs(self, aim: Aim) -> None:
        """Show the dense layers' parameters: views of the network's."""
        net = self.network_
        self.coefs_ = _build.coefs(net)
        self.intercepts_ = _build.intercepts(net)
        self.n_layers_ = len(self.intercepts_) + 1
        self.n_outputs_ = net.outputs
        self.out_activation_ = aim.out_activation

    def _take_coefs(self) -> None:
        """Take over arrays that were put in place of those shown."""
        net = self.network_
        for name, views in (
            ("coefs_", _build.coefs(net)),
            ("intercepts_", _build.intercepts(net)),
        ):
            shown = getattr(self, name)
            if [np.shape(given) for given in shown] != [view.shape for view in views]:
                raise ShapeError(
                    f"{name} must have the shapes {[view.shape for view in views]}, "
                    f"got {[np.shape(given) for given in shown]}"
                )
            for view, given in zip(views, shown, strict=True):
                if given is not view:
                    view[...] = given

    # ---- copies

    def _fitted_parts(self) -> dict[str, Any]:
        """Return what makes a copy of this object one that is fitted so far."""
        net: Network = self.network_.clone()
        shown = {"coefs_": _build.coefs(net), "intercepts_": _build.intercepts(net)}
        return {"network_": net, **shown}

    def __getstate__(self) -> dict[str, Any]:
        """Return arrays and plain values; the weights once."""
        if "network_" in vars(self) and "coefs_" in vars(self):
            self._take_coefs()
        state: dict[str, Any] = dict(super().__getstate__())
        if "network_" in state:
            state.pop("coefs_", None)
            state.pop("intercepts_", None)
        return {**state, "_bpfast_schema": SCHEMA}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Take what `__getstate__` returned.

        Raises
        ------
        ValueError
            A newer bpfast has written it.
        """
        found = dict(state)
        schema = found.pop("_bpfast_schema", SCHEMA)
        if schema > SCHEMA:
            raise ValueError(
                f"this {type(self).__name__} was pickled by a newer bpfast: schema {schema}, this "
                f"one reads up to {SCHEMA}"
            )
        super().__setstate__(found)
        if "network_" in found:
            self.coefs_ = _build.coefs(self.network_)
            self.intercepts_ = _build.intercepts(self.network_)


def sample_weights(X: Any, given: Any) -> Array | None:
    """Return weights of rows as float64 (rows,), or None; one number stands for all rows.

    Raises
    ------
    ValueError
        They are not finite, negative, all zero, or not one for each row.
    """
    if given is None:
        return None
    rows = X.shape[0]
    if isinstance(given, numbers.Number):
        weights = np.full(rows, given, np.float64)
    else:
        weights = check_array(
            given, ensure_2d=False, dtype=np.float64, order="C", input_name="sample_weight"
        )
    if weights.shape != (rows,):
        raise ValueError(f"sample_weight must have shape ({rows},), got {weights.shape}")
    if weights.min() < 0:
        raise ValueError(f"sample_weight must not be negative, got {weights.min()}")
    if not weights.any():
        raise ValueError("sample_weight must have a weight that is not zero")
    return weights
