"""Estimators for scikit-learn: networks in pipelines, searches and cross-validation.

Needs the extra ``sklearn``: ``pip install 'bpfast[sklearn]'``. `MLPClassifier` and `MLPRegressor`
stand in for scikit-learn's estimators of these names, argument for argument;
`QuantileMLPRegressor` has no counterpart there.
"""

from bpfast.sklearn._classifier import MLPClassifier
from bpfast.sklearn._quantile import QuantileMLPRegressor
from bpfast.sklearn._regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "QuantileMLPRegressor"]
