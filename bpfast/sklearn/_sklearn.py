"""All that the estimators take from scikit-learn, and where its versions differ.

Only what scikit-learn documents is used, so that one code serves 1.6 and what is newest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

try:
    import sklearn
except ModuleNotFoundError as error:
    raise ImportError(
        "bpfast.sklearn needs scikit-learn 1.6 or newer: pip install 'bpfast[sklearn]'"
    ) from error

_VERSION = tuple(int(part) for part in re.findall(r"\d+", sklearn.__version__)[:2])
if _VERSION < (1, 6):
    raise ImportError(
        f"bpfast.sklearn needs scikit-learn 1.6 or newer, got {sklearn.__version__}: "
        "pip install 'bpfast[sklearn]'"
    )

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.metrics import r2_score  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.preprocessing import LabelBinarizer  # noqa: E402
from sklearn.utils import check_array, check_random_state, column_or_1d  # noqa: E402
from sklearn.utils.class_weight import compute_sample_weight  # noqa: E402
from sklearn.utils.metaestimators import available_if  # noqa: E402
from sklearn.utils.multiclass import type_of_target, unique_labels  # noqa: E402
from sklearn.utils.validation import check_is_fitted, validate_data  # noqa: E402

__all__ = [
    "ClassifierMixin",
    "ConvergenceWarning",
    "Estimator",
    "LabelBinarizer",
    "RegressorMixin",
    "check_array",
    "check_is_fitted",
    "check_random_state",
    "column_or_1d",
    "compute_sample_weight",
    "only_if",
    "r2_score",
    "train_test_split",
    "type_of_target",
    "unique_labels",
    "validate_data",
    "with_callbacks",
]

F = TypeVar("F", bound=Callable[..., Any])

if _VERSION >= (1, 9):  # the first with callbacks
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback import with_callbacks as _with_callbacks

    class Estimator(CallbackSupportMixin, BaseEstimator):  # type: ignore[misc]
        """The base of all estimators, with `set_callbacks`."""

    def with_callbacks(method: F) -> F:
        """Let a method take down what scikit-learn's callbacks have set up, however it ends."""
        wrapped: F = _with_callbacks(method)
        return wrapped

else:

    class Estimator(BaseEstimator):  # type: ignore[misc,no-redef]
        """The base of all estimators."""

    def with_callbacks(method: F) -> F:
        """Return the method: this version has no callbacks."""
        return method


def only_if(check: Callable[[Any], bool]) -> Callable[[F], F]:
    """Let an estimator have a method only where `check(estimator)` is true."""
    decorate: Callable[[F], F] = available_if(check)
    return decorate
