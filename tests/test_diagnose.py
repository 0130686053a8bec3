"""Network.diagnose: names planted troubles, is silent about healthy networks, changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import everything

import bpfast as bp
from bpfast import datasets

D = bp.Dense
Call = tuple[bp.Network, np.ndarray, np.ndarray, dict[str, Any]]
FEW, MANY = range(3), range(20)


def digits() -> tuple[np.ndarray, np.ndarray]:
    images, labels = datasets.load_digits()
    return images.reshape(len(images), -1) / 16.0, labels


def curve(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(1000, 8))
    return X, np.sin(X[:, :1]) + X[:, 1:2] * X[:, 2:3] + 0.1 * rng.normal(size=(1000, 1))


def classifier(*layers: bp.Layer, seed: int, **options: Any) -> Call:
    X, y = digits()
    net = bp.Network([*layers, D(10, name="last")], input_shape=64, rng=seed)
    return net, X, y, {"loss": "cross_entropy", **options}


def regressor(*layers: bp.Layer, seed: int, **options: Any) -> Call:
    X, y = curve(seed)
    net = bp.Network([*layers, D(1, name="last")], input_shape=8, rng=seed)
    return net, X, y, {"loss": "mse", **options}


def relus(seed: int, **options: Any) -> Call:
    return classifier(D(64, "relu", name="a"), D(64, "relu", name="b"), seed=seed, **options)


def tanhs(seed: int, **options: Any) -> Call:
    return regressor(D(32, "tanh", name="a"), D(32, "tanh", name="b"), seed=seed, **options)


# ---- troubles -----------------------------------------------------------------------------------


def zero_init(seed: int) -> Call:
    zero = {"weight_init": "zeros"}
    return classifier(D(64, "relu", name="a", **zero), D(32, "relu", name="b", **zero), seed=seed)


def constant_init(seed: int) -> Call:
    call = regressor(D(32, "tanh", name="a"), seed=seed)
    call[0].parameters[...] = 0.3
    return call


def dead_relu(seed: int) -> Call:
    call = relus(seed)
    call[0].params["b.bias"][...] = -10
    return call


def saturated_sigmoid(seed: int) -> Call:
    call = regressor(D(32, "tanh", name="a"), D(32, "sigmoid", name="b"), seed=seed)
    call[0].params["b.kernel"][...] *= 50
    return call


def saturated_tanh(seed: int) -> Call:
    call = tanhs(seed)
    call[0].params["a.kernel"][...] *= 50
    return call


def forty_tanhs(seed: int) -> Call:
    small = bp.initializers.Normal(0, 0.1)
    layers = [D(64, "tanh", weight_init=small, name=f"t{i}") for i in range(40)]
    return classifier(*layers, seed=seed)


def exploding_init(seed: int) -> Call:
    large = bp.initializers.Normal(0, 1.0)
    layers = [D(64, "relu", weight_init=large, name=f"r{i}") for i in range(4)]
    return classifier(*layers, seed=seed)


def exploding_answers(seed: int) -> Call:
    large = bp.initializers.Normal(0, 1.0)
    return classifier(D(128, "relu", weight_init=large, name="a"),
                      D(128, "relu", weight_init=large, name="b"), seed=seed)  # fmt: skip


def unscaled(seed: int) -> Call:
    net, X, y, options = tanhs(seed)
    return net, X * 1e4, y, options


def unscaled_column(seed: int) -> Call:
    net, X, y, options = relus(seed)
    X = X.copy()
    X[:, 20] *= 1e4
    return net, X, y, {**options, "feature_names": [f"pixel {i}" for i in range(64)]}


def hundredfold_adam(seed: int) -> Call:
    return relus(seed, optimizer=bp.Adam(0.1))


def hundredfold_momentum(seed: int) -> Call:
    return tanhs(seed, optimizer=bp.SGD(2.0, momentum=0.9))


def hundredth(seed: int) -> Call:
    return relus(seed, optimizer=bp.SGD(1e-6))


def duplicated(seed: int) -> Call:
    net, X, y, options = tanhs(seed)
    X = X.copy()
    X[:, 6] = X[:, 2]
    return net, X, y, options


def rare_class(seed: int) -> Call:
    net, X, y, options = relus(seed)
    keep = (y != 3) | (np.cumsum(y == 3) <= 12)
    return net, X[keep], y[keep], options


TROUBLES: dict[str, tuple[Callable[[int], Call], str, str, str]] = {
    "zero init": (zero_init, "symmetric units", "a", "100% of its 64 units"),
    "constant init": (constant_init, "symmetric units", "a", "100% of its 32 units"),
    "dead relu": (dead_relu, "dead relu", "b", "100% of its 64 units have no positive"),
    "saturated sigmoid": (saturated_sigmoid, "saturated sigmoid", "b", "slope is below"),
    "saturated tanh": (saturated_tanh, "saturated tanh", "a", "slope is below"),
    "forty tanh layers": (forty_tanhs, "vanishing gradients", "t0", "times a layer"),
    "exploding init": (exploding_init, "exploding activations", "r0", "times the size of"),
    "exploding answers": (exploding_answers, "exploding activations", "a", "constant answer"),
    "unscaled": (unscaled, "unscaled inputs", "inputs", "columns 0, 1, 2, 3, 4 and 3 more"),
    "unscaled column": (unscaled_column, "unscaled inputs", "inputs", "column pixel 20: "),
    "rate of Adam": (hundredfold_adam, "learning rate too high", "training", "learning rate 0.1"),
    "rate of SGD": (hundredfold_momentum, "learning rate too high", "training", "rate 2"),
    "rate near zero": (hundredth, "learning rate too low", "training", "learning rate 1e-06"),
    "copy of a column": (duplicated, "duplicated columns", "inputs", ": 2 = 6"),
    "rare class": (rare_class, "label imbalance", "targets", "class 3 has 12"),
}


def names_it(trouble: str, seed: int) -> None:
    make, name, layer, evidence = TROUBLES[trouble]
    net, X, y, options = make(seed)
    found = net.diagnose(X, y, **options)
    assert not found.healthy
    named = {(f.name, f.layer): f.evidence for f in found}
    assert (name, layer) in named, str(found)
    assert evidence in named[name, layer]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_planted_troubles_are_named(trouble: str) -> None:
    for seed in FEW:
        names_it(trouble, seed)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("trouble", TROUBLES)
def test_planted_troubles_are_named_for_twenty_seeds(trouble: str) -> None:
    for seed in MANY:
        names_it(trouble, seed)


# ---- health -------------------------------------------------------------------------------------


def cnn(seed: int) -> Call:
    X, y = digits()
    layers = [bp.Conv2D(8, 3, "relu"), bp.MaxPool2D(2), bp.Flatten(), D(32, "relu"), D(10)]
    net = bp.Network(layers, input_shape=(8, 8, 1), rng=seed)
    return net, X.reshape(-1, 8, 8, 1), y, {"loss": "cross_entropy"}


def residual(seed: int) -> Call:
    def block() -> bp.Layer:
        return bp.Residual([D(64, use_bias=False), bp.BatchNorm(), bp.Activation("relu")])

    return classifier(bp.Standardize(), D(64, "relu"), block(), block(), block(), bp.Dropout(0.2),
                      seed=seed)  # fmt: skip


HEALTHY = {"digits": relus, "curve": tanhs, "residual": residual, "cnn": cnn}


def is_silent(make: Callable[[int], Call], seed: int) -> None:
    """Before a training, and after it."""
    net, X, y, options = make(seed)
    found = net.diagnose(X, y, **options)
    assert found.healthy, str(found)
    net.fit(X, y, **options, epochs=5)
    found = net.diagnose(X, y, **options)
    assert found.healthy, str(found)
    assert str(found).startswith("no trouble found in ")
    assert found.steps >= 12


@pytest.mark.parametrize("make", HEALTHY.values(), ids=HEALTHY)
def test_healthy_networks_get_no_finding(make: Callable[[int], Call]) -> None:
    is_silent(make, 0)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("make", HEALTHY.values(), ids=HEALTHY)
def test_healthy_networks_get_no_finding_for_twenty_seeds(make: Callable[[int], Call]) -> None:
    for seed in MANY:
        is_silent(make, seed)


# ---- the rest -----------------------------------------------------------------------------------


def square(y: Any, output: Any) -> tuple[float, Any]:
    return float(np.mean((output - y) ** 2)), 2 * (output - y) / output.size


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "half_squared_error", square])
def test_network_and_data_keep_all_bits(loss: Any) -> None:
    X, y = curve(0)
    net = bp.Network([bp.Standardize(), D(16), bp.BatchNorm(), bp.Activation("tanh"),
                      bp.Dropout(0.1), D(1)], input_shape=8, rng=0)  # fmt: skip
    net.fit(X, y, loss="mse", epochs=1, optimizer=bp.Adam(1e-3))
    net.forward(X[:5], training=True)
    before, data = everything(net), X.tobytes()
    gradients = net.gradients.copy()
    net.diagnose(X, y, loss=loss)
    assert everything(net) == before
    assert X.tobytes() == data
    np.testing.assert_array_equal(net.gradients, gradients)
    net.backward(np.ones((5, 1)))  # the batch is still there


def test_same_findings_every_time_and_as_text() -> None:
    net, X, y, options = unscaled_column(0)
    X[:, 5] = 3.0
    first, second = (net.diagnose(X, y, **options) for _ in range(2))
    assert first == second
    assert [f.name for f in first] == ["unscaled inputs", "constant columns"]
    text = str(first)
    assert text.splitlines()[0] == "2 findings in 1,797 rows and 0 trial steps"
    assert "warning: constant columns (inputs)\n    column pixel 5: the same value" in text
    assert max(map(len, text.splitlines())) <= 100
    assert json.loads(json.dumps(first.as_dict()))["findings"][1]["layer"] == "inputs"
    assert first


def test_tiny_inputs() -> None:
    net, X, y, options = tanhs(0)
    found = net.diagnose(X * 1e-4, y, **options)
    assert "unscaled inputs" in [f.name for f in found]
    scaled = bp.Network([bp.Standardize(), D(16, "tanh"), D(1)], input_shape=8, rng=0)
    assert scaled.diagnose(X * 1e4, y, **options).healthy


def test_validation_gap() -> None:
    net, X, y, options = tanhs(0)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(40, 1))
    held = X[500:], rng.normal(size=(500, 1))
    net.fit(X[:40], noise, loss="mse", epochs=400, validation_data=held, optimizer=bp.Adam(0.01))
    for given in (held, None):  # from the history
        names = [f.name for f in net.diagnose(X[:40], noise, validation_data=given)]
        assert "validation gap" in names
    (gap,) = net.diagnose(X[:40], noise, validation_data=held)
    assert "40 training and 500 validation rows" in gap.evidence
    net.fit(X, y, epochs=3, **options)
    assert net.diagnose(X, y, validation_data=(X, y)).healthy


def test_fit_is_diagnosed_by_its_loss() -> None:
    net, X, y, options = tanhs(0)
    with pytest.raises(ValueError, match="loss must be given: this network was never fitted"):
        net.diagnose(X, y)
    net.fit(X, y, epochs=1, **options)
    assert net.diagnose(X, y).healthy


def test_diagnosis_from_a_callback() -> None:
    net, X, y, options = tanhs(0)
    healthy = []

    def ask(epoch: int, logs: Any) -> None:
        found = net.diagnose(X, y, loss="mse")  # from fit's own callback it works
        healthy.append(found.healthy)

    net.fit(X, y, epochs=2, **options, callbacks=[bp.LambdaCallback(on_epoch_end=ask)])
    assert healthy == [True, True]
