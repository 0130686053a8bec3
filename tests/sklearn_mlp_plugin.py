"""A pytest plugin: scikit-learn's own tests of its MLPs run with ours in their place.

    python -P -m pytest -p sklearn_mlp_plugin --pyargs sklearn.neural_network.tests.test_mlp

with tests/ on PYTHONPATH. The two names are set before the test module is imported. Tests of what
scikit-learn does not document are left out, each for its reason below.
"""

from __future__ import annotations

import pytest
import sklearn.neural_network

import bpfast.sklearn

PRIVATE = {
    "test_gradient": "calls _loss_grad_lbfgs",
    "test_learning_rate_warmstart": "reads _optimizer.learning_rate",
    "test_adaptive_learning_rate": "reads _optimizer.learning_rate",
    "test_n_iter_no_change": "reads _no_improvement_count",
    "test_n_iter_no_change_inf": "reads _no_improvement_count",
}

sklearn.neural_network.MLPClassifier = bpfast.sklearn.MLPClassifier
sklearn.neural_network.MLPRegressor = bpfast.sklearn.MLPRegressor


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of private attributes."""
    left_out = [item for item in items if getattr(item, "originalname", item.name) in PRIVATE]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
