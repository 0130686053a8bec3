"""scikit-learn's multilayer perceptrons, as networks and as weights."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from cases import same_bits
from peers import require

import bpfast as bp
from bpfast.convert import from_sklearn

mlp = require("sklearn.neural_network")
ConvergenceWarning = require("sklearn.exceptions").ConvergenceWarning

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
QUANTITIES = X @ RNG.normal(size=(5, 2))
THREE = np.array(["jay", "robin", "wren"])[np.arange(60) % 3]


def fitted(kind, y, **options):
    estimator = kind(hidden_layer_sizes=(7, 4), max_iter=5, random_state=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X, y)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_regressor(activation):
    estimator = fitted(mlp.MLPRegressor, QUANTITIES, activation=activation)
    net = from_sklearn(estimator)
    assert net.dtype == np.float64
    np.testing.assert_allclose(net.predict(X), estimator.predict(X), rtol=0, atol=1e-12)
    assert "classes" not in net.metadata


@pytest.mark.parametrize(
    ("labels", "last"),
    [(THREE, "softmax"), (THREE == "jay", "sigmoid"), (QUANTITIES > 0, "sigmoid")],
    ids=["three", "two", "several"],
)
def test_classifier(labels, last, tmp_path):
    estimator = fitted(mlp.MLPClassifier, labels)
    net = from_sklearn(estimator)
    assert net.layers[-1].activation == last
    expected = estimator.predict_proba(X)
    found = net.predict_proba(X)
    if found.shape[1] == 1:  # of two classes the second's
        expected = expected[:, 1:]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    net.save(tmp_path / "net")
    classes = json.loads(bp.load(tmp_path / "net").metadata["classes"])
    if last == "softmax":
        named = np.array(classes)[net.predict_classes(X)]
        assert (named == estimator.predict(X)).all()
    elif found.shape[1] == 1:
        assert classes == [False, True]


def test_float32():
    estimator = fitted(mlp.MLPRegressor, QUANTITIES)
    net = from_sklearn(estimator, dtype="float32", rng=3)
    assert (net.dtype, net.seed) == (np.float32, 3)
    expected = estimator.predict(X)
    np.testing.assert_allclose(net.predict(X), expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_weights_for_a_network_of_ones_own():
    estimator = fitted(mlp.MLPClassifier, THREE)
    layers = [
        bp.Standardize(),
        bp.Dense(7, "relu"),
        bp.Dropout(0.1),
        bp.Dense(4, "relu"),
        bp.Dense(3),
    ]
    net = bp.Network(layers, input_shape=5, dtype="float64", rng=0)
    found = net.load_weights(estimator)
    assert found.by == "order"
    for name, array in zip(
        net.params,
        [a for p in zip(estimator.coefs_, estimator.intercepts_, strict=True) for a in p],
        strict=True,
    ):
        assert same_bits(net.params[name], array)
    with pytest.raises(ValueError, match="src has 3 layers with weights, the network 2"):
        bp.Network([5, 7, 3]).load_weights(estimator)
    with pytest.raises(ValueError, match=r"'0.kernel' has shape \(5, 7\), 0.kernel \(5, 8\)"):
        bp.Network([5, 8, 4, 3]).load_weights(estimator)


def test_refused():
    with pytest.raises(ValueError, match="estimator must be fitted: call its fit first"):
        from_sklearn(mlp.MLPClassifier())
    with pytest.raises(ValueError, match="src must be fitted"):
        bp.Network([5, 3]).load_weights(mlp.MLPRegressor())
    with pytest.raises(
        TypeError, match=r"estimator must be an MLPClassifier .*, got the class MLPR"
    ):
        from_sklearn(mlp.MLPRegressor)
    estimator = fitted(mlp.MLPRegressor, QUANTITIES)
    estimator.out_activation_ = "exp"
    with pytest.raises(ValueError, match=r"activations must be of identity, .*, got 'exp'"):
        from_sklearn(estimator)
