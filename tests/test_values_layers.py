"""Layers as descriptions: specs, defaults, model-file configs, bad arguments."""

from __future__ import annotations

import copy
import json
import math
import pickle

import numpy as np
import pytest

from bpfast import activations, layers
from bpfast.constraints import MaxNorm, NonNegative
from bpfast.initializers import Given, GlorotUniform, HeNormal, Orthogonal, Zeros
from bpfast.layers import Dense, Dropout, Layer, Standardize, check_layer
from bpfast.regularizers import L1, L2, ElasticNet

PLAIN = {
    "kind": "dense",
    "units": 3,
    "activation": "identity",
    "use_bias": True,
    "weight_dropout": 0.0,
    "l1": 0.0,
    "l2": 0.0,
    "bias_l1": 0.0,
    "bias_l2": 0.0,
    "max_norm": 0.0,
    "non_negative": False,
    "trainable": True,
}
FULL = {
    "activation": "relu",
    "weight_init": Orthogonal(2.0),
    "bias_init": "ones",
    "weight_regularizer": ElasticNet(0.1, 0.2),
    "bias_regularizer": L1(0.3),
    "weight_constraint": MaxNorm(4.0),
    "weight_dropout": 0.25,
    "name": "hidden",
}
LAYERS = [
    Dense(3),
    Dense(3, use_bias=False, weight_constraint="non_negative"),
    Dense(3, **FULL),
    Dropout(0.5),
    Dropout(0, name="drop"),
    Standardize(),
]


def test_dense_spec():
    assert Dense(3).spec() == PLAIN
    assert Dense(3, **FULL).spec() == {
        **PLAIN,
        "activation": "relu",
        "weight_dropout": 0.25,
        "l1": 0.1,
        "l2": 0.2,
        "bias_l1": 0.3,
        "max_norm": 4.0,
    }
    assert Dense(3, weight_constraint=NonNegative()).spec()["non_negative"] is True
    assert Dense(3, weight_regularizer=L2(0.5)).spec()["l2"] == 0.5


def test_other_specs():
    assert Dropout(0.5).spec() == {"kind": "dropout", "rate": 0.5}
    assert Standardize().spec() == {"kind": "standardize"}
    assert [cls.first_only for cls in (Dense, Dropout, Standardize)] == [False, False, True]


def test_out_features():
    assert Dense(3).out_features(7) == 3
    assert Dropout(0.1).out_features(7) == Standardize().out_features(7) == 7
    for layer in LAYERS:
        with pytest.raises(ValueError, match="in_features must be an int >= 1, got 0"):
            layer.out_features(0)


@pytest.mark.parametrize("activation", activations.NAMES)
def test_default_weights_follow_the_activation(activation):
    relu_like = activation in activations.RELU_LIKE
    expected = HeNormal() if relu_like else GlorotUniform()
    assert Dense(3, activation).resolved_weight_init() == expected
    assert Dense(3, activation).weight_init is None
    assert Dense(3, activation, weight_init="zeros").resolved_weight_init() == Zeros()
    assert Dense(3, activation).bias_init == Zeros()


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_config_survives_json(layer):
    config = json.loads(json.dumps(layer.config(), allow_nan=False))
    again = layers.from_config(config)
    assert type(again) is type(layer)
    assert again.config() == config
    assert again.spec() == layer.spec()
    assert again.name == layer.name
    for other in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert other.config() == config


def test_config_keeps_trainable_and_stands_in_for_arrays():
    layer = Dense(2, weight_init=np.ones((3, 2)), bias_init=np.ones)
    layer.trainable = np.False_
    assert layer.trainable is False
    again = layers.from_config(json.loads(json.dumps(layer.config())))
    assert again.trainable is False
    assert again.spec()["trainable"] is False
    assert again.weight_init == again.bias_init == Given()


def test_repr_leaves_defaults_out():
    assert repr(Dense(3)) == "Dense(3)"
    assert repr(Dense(3, "relu", name="a")) == "Dense(3, 'relu', name='a')"
    assert repr(Dropout(0.5)) == "Dropout(0.5)"
    assert repr(Standardize()) == "Standardize()"


def test_layers_are_fixed_and_equal_only_to_themselves():
    layer = Dense(3)
    with pytest.raises(AttributeError, match=r"Dense\.units is fixed"):
        layer.units = 4
    with pytest.raises(TypeError, match="trainable must be True or False"):
        layer.trainable = 1
    assert layer != Dense(3)
    assert len({layer, layer, Dense(3)}) == 2


BAD = [
    (Dense, {"units": 0}, ValueError, "units must be an int >= 1, got 0"),
    (Dense, {"units": -5}, ValueError, "units"),
    (Dense, {"units": 3.0}, TypeError, "units must be an int >= 1, got 3.0"),
    (Dense, {"units": True}, TypeError, "units"),
    (Dense, {"units": "3"}, TypeError, "units"),
    (Dense, {"units": None}, TypeError, "units"),
    (Dense, {"units": 3, "activation": "rleu"}, ValueError, "activation must be one of identity"),
    (Dense, {"units": 3, "activation": None}, TypeError, "activation"),
    (Dense, {"units": 3, "activation": np.tanh}, TypeError, "activation"),
    (Dense, {"units": 3, "use_bias": 1}, TypeError, "use_bias must be True or False, got 1"),
    (Dense, {"units": 3, "weight_init": "he"}, ValueError, "weight_init must be one of"),
    (Dense, {"units": 3, "weight_init": 0.5}, TypeError, "weight_init must be a name"),
    (Dense, {"units": 3, "bias_init": None}, TypeError, "bias_init"),
    (Dense, {"units": 3, "bias_init": [math.nan]}, ValueError, "bias_init must be finite"),
    (Dense, {"units": 3, "weight_regularizer": 1e-4}, TypeError, "weight_regularizer"),
    (
        Dense,
        {"units": 3, "weight_regularizer": "l2"},
        ValueError,
        "weight_regularizer 'l2' needs",
    ),
    (Dense, {"units": 3, "weight_regularizer": L2}, TypeError, "call it"),
    (Dense, {"units": 3, "bias_regularizer": MaxNorm(1)}, TypeError, "bias_regularizer"),
    (Dense, {"units": 3, "weight_constraint": L2(1)}, TypeError, "weight_constraint"),
    (Dense, {"units": 3, "weight_constraint": "max_norm"}, ValueError, "needs max_value"),
    (Dense, {"units": 3, "weight_dropout": 1.0}, ValueError, r"weight_dropout .* \[0, 1\), got"),
    (Dense, {"units": 3, "weight_dropout": math.nan}, ValueError, "weight_dropout"),
    (Dense, {"units": 3, "name": ""}, ValueError, "name"),
    (Dense, {"units": 3, "name": "a.b"}, ValueError, "name must be printable text without dots"),
    (Dense, {"units": 3, "name": "a\nb"}, ValueError, "name"),
    (Dense, {"units": 3, "name": " a"}, ValueError, "name"),
    (Dense, {"units": 3, "name": 3}, TypeError, "name"),
    (
        Dense,
        {"units": 3, "use_bias": False, "bias_regularizer": L2(1)},
        ValueError,
        "bias_regularizer must be None with use_bias=False",
    ),
    (Dropout, {"rate": 1}, ValueError, r"rate must be a finite number in \[0, 1\), got 1"),
    (Dropout, {"rate": -0.1}, ValueError, "rate"),
    (Dropout, {"rate": math.nan}, ValueError, "rate"),
    (Dropout, {"rate": "0.5"}, TypeError, "rate"),
    (Dropout, {"rate": False}, TypeError, "rate"),
    (Standardize, {"name": "x.y"}, ValueError, "name"),
]


@pytest.mark.parametrize(("cls", "arguments", "error", "message"), BAD)
def test_bad_arguments_are_named(cls, arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        cls(**arguments)
    assert "\n" not in str(caught.value)


BAD_CONFIGS = [
    ([], TypeError, "layer must be a dict"),
    ({}, ValueError, r"layer\['class'\] must be one of Dense, Dropout, Standardize, got None"),
    ({"class": "os.system"}, ValueError, "layer"),
    ({"class": "Dense"}, ValueError, "layer 'Dense' needs units"),
    ({"class": "Dense", "units": "x"}, TypeError, "units"),
    ({"class": "Dense", "units": 1, "self": 2}, ValueError, "got self"),
    ({"class": "Dense", "units": 1, "trainable": "no"}, TypeError, "trainable"),
    ({"class": "Dense", "units": 1, "weight_init": {"name": "?"}}, ValueError, "weight_init"),
    ({"class": "Dropout", "rate": None}, TypeError, "rate"),
]


@pytest.mark.parametrize(("config", "error", "message"), BAD_CONFIGS)
def test_bad_configs_are_typed_errors(config, error, message):
    with pytest.raises(error, match=message):
        layers.from_config(config)


def test_check_layer():
    layer = Dense(1)
    assert check_layer("layers[0]", layer) is layer
    assert isinstance(layer, Layer)
    for value in (Dense, 10, None, "relu"):
        with pytest.raises(TypeError, match=r"layers\[0\] must be a layer"):
            check_layer("layers[0]", value)
