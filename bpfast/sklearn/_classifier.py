"""The classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bpfast.callbacks import Callback
from bpfast.layers import Dense
from bpfast.losses import BinaryCrossEntropy, CrossEntropy
from bpfast.schedules import Schedule
from bpfast.sklearn._aim import Aim
from bpfast.sklearn._base import BaseMLP, sample_weights
from bpfast.sklearn._loop import Held
from bpfast.sklearn._params import keep
from bpfast.sklearn._sklearn import (
    ClassifierMixin,
    LabelBinarizer,
    column_or_1d,
    compute_sample_weight,
    only_if,
    type_of_target,
    unique_labels,
    with_callbacks,
)

Array = NDArray[Any]


def stochastic(est: Any) -> bool:
    """Whether the solver goes batch by batch, so that there is `partial_fit`."""
    return est.solver in ("sgd", "adam")


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]
    """Multi-layer perceptron for classes, in place of scikit-learn's of the same name.

    What scikit-learn's has means the same here, with the same defaults: initial weights, held-out
    rows and the scale of `alpha` are equal for an equal `random_state`; only the order of the rows
    in an epoch is drawn otherwise. Keyword arguments beyond it change nothing until they are set.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        Units of each hidden layer; none for a linear model.
    activation : str, default "relu"
        Of hidden layers: ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, or another of
        `bpfast.activations`.
    solver : {"lbfgs", "sgd", "adam"}, default "adam"
        L-BFGS-B of SciPy on all rows at once, or batch by batch.
    alpha : float, default 1e-4
        L2 penalty: alpha/2 sum w^2 over the kernels, divided by the weight of a batch's rows.
    batch_size : int or "auto", default "auto"
        min(200, rows).
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        For sgd: invscaling divides by (rows seen + 1)^`power_t` after each epoch; adaptive divides
        by 5 where training would stop, until 1e-6.
    learning_rate_init : float, default 1e-3
    power_t : float, default 0.5
    max_iter : int, default 200
        Most epochs, or iterations of lbfgs; a ConvergenceWarning when they are used up.
    shuffle : bool, default True
    random_state : int, RandomState or None, default None
    tol : float, default 1e-4
        Least improvement of the loss (with `early_stopping` of the score) that counts; for lbfgs
        the largest gradient at which it has converged.
    verbose : bool or int, default False
        Print each epoch's loss.
    warm_start : bool, default False
        `fit` goes on from the weights there are.
    momentum : float in [0, 1], default 0.9
    nesterovs_momentum : bool, default True
        For sgd.
    early_stopping : bool, default False
        Hold out `validation_fraction` of the rows, stratified by class, stop by their accuracy and
        end with the best weights.
    validation_fraction : float in [0, 1), default 0.1
    beta_1, beta_2, epsilon : float, defaults 0.9, 0.999, 1e-8
        For adam, which adds epsilon before the correction of bias (Kingma & Ba 2014, section 2).
    n_iter_no_change : int or inf, default 10
        More epochs than this without improvement end training.
    max_fun : int, default 15000
        Most evaluations of the loss by lbfgs.
    dropout : float in [0, 1), default 0
        After each hidden layer.
    batch_norm, layer_norm : bool, default False
        Between product and activation of each hidden layer.
    residual : bool, default False
        Hidden layers but the first add their input, projected where sizes differ.
    label_smoothing : float in [0, 1), default 0
        See `bpfast.losses.CrossEntropy`.
    class_weight : dict, list of dict, "balanced" or None, default None
        Factors of rows by their class.
    schedule : Schedule, str or callable, optional
        Of the learning rate by epoch, in place of `learning_rate`; see `bpfast.schedules`.
    clip_norm, clip_value : float, optional
        Limits of the gradient; see `bpfast.optimizers`.
    callbacks : sequence of bpfast.Callback, optional
    n_jobs : int, optional
        Most threads; None and -1 for the machine's limit. It never changes results.
    network : Network or callable, optional
        Used in place of hidden layers and output: training begins with a copy of the network,
        weights included, or with what ``network(inputs, outputs, rng)`` returns, rng an int.
        Outputs: one for two classes, else one for each class.

    Attributes
    ----------
    classes_ : ndarray (classes,)
    network_ : Network
        The fitted network, softmax or sigmoid included.
    coefs_, intercepts_ : list of ndarray
        Kernels (inputs, outputs) and biases of its dense layers: views, which may be changed or
        replaced.
    loss_, best_loss_ : float
        The last and the least training loss, penalty included; `best_loss_` is None with
        `early_stopping`.
    loss_curve_ : list of float
    validation_loss_curve_ : list of float
        Of held-out rows, without penalty; empty when there are none.
    validation_scores_, best_validation_score_ : list of float and float, or None
        Accuracies with `early_stopping`.
    n_iter_, t_ : int
        Epochs of the last fit; rows seen in all.
    n_layers_, n_outputs_ : int
        Layers with a bias, and one for the input; the network's outputs.
    out_activation_ : {"softmax", "logistic"}
    n_features_in_, feature_names_in_
        As of all scikit-learn's estimators.

    Notes
    -----
    Weights have the dtype of the X that is fitted, float32 or float64. Sample weights divide by a
    batch's sum, as scikit-learn's; a batch of zero weight makes no step. The penalty in `loss_` is
    that of the epoch's first and last weights, where scikit-learn adds up each batch's.
    """

    def __init__(
        self,
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
        label_smoothing: float = 0.0,
        class_weight: Mapping[Any, float] | Sequence[Mapping[Any, float]] | str | None = None,
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
    ) -> MLPClassifier:
        """Train.

        Parameters
        ----------
        X : array or CSR matrix (rows, features)
        y : array (rows,) of class labels of any type, or (rows, labels) of 0 and 1
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

    @only_if(stochastic)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
    ) -> MLPClassifier:
        """Train for one epoch on these rows, from where the last call ended.

        Parameters
        ----------
        X, y, sample_weight
            As of `fit`.
        classes : array (classes,), optional
            All labels there will be: needed in the first call.

        Returns
        -------
        self
        """
        if not hasattr(self, "classes_"):
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            several = type_of_target(y).startswith("multilabel")
            self._learn_classes(y if several else np.asarray(classes))
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                f"{self.classes_!r}"
            )
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Return class labels (rows,), or 0 and 1 (rows, labels)."""
        shares = self._outputs(X, probabilities=True)
        if self._multilabel:
            return (shares > 0.5).astype(np.int64)
        index = shares.argmax(axis=1)
        if self.n_outputs_ == 1:
            index = ((shares[:, 0] > 0.5) & (len(self.classes_) == 2)).astype(np.int64)
        labels: Array = self.classes_[index]
        return labels

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return the probability of each class, (rows, classes), or of each label."""
        shares = self._outputs(X, probabilities=True)
        if self.n_outputs_ > 1 or self._multilabel:
            return shares
        return np.hstack([1.0 - shares, shares])

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Return the logarithms of `predict_proba`."""
        shares = self.predict_proba(X)
        return np.log(shares, out=shares)

    def __sklearn_tags__(self) -> Any:
        """Say what the estimator takes."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    # ---- what BaseMLP asks

    def _y_options(self) -> dict[str, Any]:
        return {}

    def _learn_classes(self, y: Any) -> None:
        """Fit the classes and how they are written: as one label, or as several."""
        self._label_binarizer = LabelBinarizer().fit(y)
        self.classes_ = self._label_binarizer.classes_
        self._multilabel = self._label_binarizer.y_type_.startswith("multilabel")

    def _read_y(self, y: Any, *, anew: bool) -> Array:
        """Return indices of classes (rows,), or 0 and 1 (rows, labels)."""
        if getattr(y, "ndim", 1) == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if anew or not hasattr(self, "classes_"):
            self._learn_classes(y)
        else:
            self._check_classes(unique_labels(y))
        if self._multilabel:
            table: Array = self._label_binarizer.transform(y)
            return table.astype(np.uint8)
        index: Array = np.searchsorted(self.classes_, y)
        return index

    def _check_classes(self, found: Array) -> None:
        """Raise where labels are not those of before."""
        if self.warm_start and set(found) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {found}"
            )
        if len(np.setdiff1d(found, self.classes_, assume_unique=True)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {found}."
            )

    def _read_weights(
        self, X: Any, y: Array, sample_weight: Any, incremental: bool
    ) -> Array | None:
        weights = sample_weights(X, sample_weight)
        if self.class_weight is None:
            return weights
        if incremental and self.class_weight == "balanced":
            raise ValueError("class_weight 'balanced' needs all rows: give partial_fit a dict")
        labels = y if self._multilabel else self.classes_[y]
        factors: Array = compute_sample_weight(self.class_weight, labels)
        return factors if weights is None else weights * factors

    def _strata(self, y: Array) -> Array | None:
        """Return the classes; of more than two only where each part can have all of them."""
        if self._multilabel:
            return None
        if len(self.classes_) <= 2:
            return y.astype(bool).reshape(-1, 1)  # theirs: named True and False in messages
        counts = np.bincount(y)
        counts = counts[counts > 0]
        least = min(self.validation_fraction, 1 - self.validation_fraction) * len(y)
        return y if counts.min() >= 2 and least >= len(counts) else None

    def _aim(self, y: Array, weights: Array | None) -> Aim:
        smoothing = self.label_smoothing
        if self._multilabel:
            labels = y.shape[1]
            loss = BinaryCrossEntropy(smoothing)
            head = Dense(labels, "sigmoid")
            return Aim(y, loss, [head], "logistic", scale=labels, shown=labels)
        if len(self.classes_) > 2:
            head = Dense(len(self.classes_), "softmax")
            return Aim(y.astype(np.int64), CrossEntropy(smoothing), [head], "softmax")
        target = y.astype(np.uint8).reshape(-1, 1)
        return Aim(target, BinaryCrossEntropy(smoothing), [Dense(1, "sigmoid")], "logistic")

    def _metric(self, aim: Aim) -> str | None:
        return None if self._multilabel else "accuracy"

    def _held_score(self, aim: Aim, held: Held) -> float:
        """Return the share of rows whose labels are all right."""
        right = ((self.network_.predict_proba(held.X) > 0.5) == held.y).all(axis=1)
        return float(np.average(right, weights=held.weights))
