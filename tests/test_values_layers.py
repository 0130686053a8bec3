"""Layers as descriptions: specs, defaults, model-file configs, bad arguments."""

from __future__ import annotations

import copy
import json
import math
import pickle

import numpy as np
import pytest

import bpfast
from bpfast import activations, layers
from bpfast.constraints import MaxNorm, NonNegative
from bpfast.errors import ShapeError
from bpfast.initializers import Given, GlorotUniform, HeNormal, Ones, Orthogonal, Zeros
from bpfast.layers import (
    Activation,
    AvgPool1D,
    AvgPool2D,
    BatchNorm,
    Concatenate,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAvgPool,
    Layer,
    LayerNorm,
    MaxPool1D,
    MaxPool2D,
    Reshape,
    Residual,
    RMSNorm,
    Siamese,
    Slice,
    Standardize,
)
from bpfast.layers.base import check_layer
from bpfast.regularizers import L1, L2, ElasticNet

PLAIN = {
    "kind": "dense",
    "units": 3,
    "activation": "identity",
    "use_kernel": True,
    "use_bias": True,
    "weight_dropout": 0.0,
    "l1": 0.0,
    "l2": 0.0,
    "bias_l1": 0.0,
    "bias_l2": 0.0,
    "max_norm": 0.0,
    "non_negative": False,
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
    Activation("silu"),
    BatchNorm(0.2, 1e-3, center=False),
    LayerNorm(scale=False),
    RMSNorm(1e-5),
    GaussianNoise(0.1),
    Conv2D(4, (3, 5), "tanh", strides=2, padding="same", dilation=(1, 2), groups=2),
    Conv1D(4, 3, padding=1, use_bias=False, name="c"),
    MaxPool2D((2, 3), strides=1, padding=(1, 0)),
    MaxPool1D(3, padding="same"),
    AvgPool2D(),
    AvgPool1D(4, strides=2),
    GlobalAvgPool(),
    Flatten(),
    Reshape((2, 3, 4)),
    Slice(1, 3),
    Residual([Dense(3), BatchNorm()], activation="relu"),
    Concatenate([[], [Dense(3), Dropout(0.1)]], name="skip"),
    Siamese([Dense(3, name="a"), Residual([Dense(3)])], "concatenate"),
]


def test_dense_spec():
    assert Dense(3).spec((2,)) == PLAIN
    assert Dense(3, **FULL).spec((2,)) == {
        **PLAIN,
        "activation": "relu",
        "weight_dropout": 0.25,
        "l1": 0.1,
        "l2": 0.2,
        "bias_l1": 0.3,
        "max_norm": 4.0,
    }
    assert Dense(3, weight_constraint=NonNegative()).spec((2,))["non_negative"] is True
    assert Dense(3, weight_regularizer=L2(0.5)).spec((2,))["l2"] == 0.5


def test_other_specs():
    assert Dropout(0.5).spec((2,)) == {"kind": "dropout", "rate": 0.5}
    assert GaussianNoise(0.5).spec((2,)) == {"kind": "noise", "rate": 0.5}
    assert Standardize().spec((2,)) == {"kind": "standardize"}
    assert [n for n, cls in layers.TABLE.items() if cls.first_only] == ["Standardize"]
    assert Flatten().spec((2, 3, 4)) == {"kind": "reshape", "shape": (1, 1, 24)}
    assert Reshape((2, 3)).spec((6,)) == {"kind": "reshape", "shape": (1, 2, 3)}
    assert Slice(2, 5).spec((6,)) == {"kind": "slice", "first": 2, "count": 3}
    scale, shift = {"use_kernel": True, "use_bias": False}, {"use_kernel": False, "use_bias": True}
    batch = {"kind": "batchnorm", "momentum": 0.1, "epsilon": 1e-5}
    assert BatchNorm(center=False).spec((2,)) == {**batch, **scale}
    assert LayerNorm(scale=False).spec((2,)) == {"kind": "layernorm", "epsilon": 1e-5, **shift}
    assert RMSNorm().spec((2,)) == {"kind": "rmsnorm", "epsilon": 1e-6, **scale}


def test_window_specs():
    """Padding "same" as Keras': the odd zero comes behind."""
    spec = Conv2D(8, (3, 2), "relu", strides=(2, 1), padding="same", groups=2).spec((6, 5, 4))
    windows = ("window", "stride", "dilation", "outside_y", "outside_x", "groups")
    assert [spec[key] for key in windows] == [(3, 2), (2, 1), (1, 1), (0, 1), (0, 1), 2]
    assert (spec["kind"], spec["units"], spec["activation"]) == ("conv", 8, "relu")
    spec = Conv1D(8, 3, padding=2, dilation=2).spec((9, 4))
    assert [spec[key] for key in windows] == [(1, 3), (1, 1), (1, 2), (0, 0), (2, 2), 1]
    spec = MaxPool1D(2).spec((9, 4))
    assert [spec[key] for key in windows[:5]] == [(1, 2), (1, 2), (1, 1), (0, 0), (0, 0)]
    spec = GlobalAvgPool().spec((5, 4, 3))
    assert (spec["kind"], spec["window"], spec["stride"]) == ("avgpool", (5, 4), (5, 4))


SHAPES = [
    (Dense(3), (7,), (3,)),
    (Dropout(0.1), (7, 2), (7, 2)),
    (Standardize(), (7,), (7,)),
    (Activation("relu"), (2, 3, 4), (2, 3, 4)),
    (BatchNorm(), (2, 3, 4), (2, 3, 4)),
    (Conv2D(8, 3), (28, 28, 1), (26, 26, 8)),
    (Conv2D(8, 3, padding=1), (28, 28, 1), (28, 28, 8)),
    (Conv2D(8, 3, padding="same", strides=2), (27, 28, 1), (14, 14, 8)),
    (Conv2D(8, (3, 1), strides=(2, 3)), (28, 28, 1), (13, 10, 8)),
    (Conv2D(8, 3, dilation=2), (9, 9, 1), (5, 5, 8)),
    (Conv2D(6, 3, groups=3, padding="same"), (4, 4, 3), (4, 4, 6)),
    (Conv1D(8, 3), (10, 2), (8, 8)),
    (MaxPool2D(), (28, 27, 3), (14, 13, 3)),
    (MaxPool2D(3, strides=2, padding=1), (7, 8, 3), (4, 4, 3)),
    (AvgPool2D(2, padding="same"), (7, 7, 3), (4, 4, 3)),
    (AvgPool1D(3), (9, 2), (3, 2)),
    (GlobalAvgPool(), (9, 8, 2), (2,)),
    (GlobalAvgPool(), (9, 2), (2,)),
    (Flatten(), (9, 8, 2), (144,)),
    (Flatten(), (9,), (9,)),
    (Reshape((3, 3)), (9,), (3, 3)),
    (Reshape(9), (3, 3), (9,)),
    (Slice(1, 3), (4, 5), (4, 2)),
    (Residual([Dense(3)]), (7,), (3,)),
    (Residual([Conv2D(8, 3, padding="same", strides=2)]), (7, 7, 2), (4, 4, 8)),
    (Residual([Conv1D(8, 3, padding="same", strides=3)]), (7, 2), (3, 8)),
    (Concatenate([[], [Dense(3)], []]), (7,), (17,)),
    (Concatenate([[Conv2D(3, 1)], [MaxPool2D(3, strides=1, padding=1)]]), (4, 4, 2), (4, 4, 5)),
    (Siamese([Dense(3)]), (8,), (3,)),
    (Siamese([Conv2D(3, 1)], "concatenate"), (4, 4, 2), (4, 4, 6)),
]


@pytest.mark.parametrize(("layer", "given", "expected"), SHAPES, ids=repr)
def test_shapes(layer, given, expected):
    assert layer.output_shape(given) == expected


MISFITS = [
    (Dense(3), (28, 28, 1), r"shape \(n,\), got \(28, 28, 1\): add Flatten\(\) or GlobalAvgPool"),
    (Conv2D(3, 5), (784,), r"\(height, width, channels\), got \(784,\): Reshape makes one"),
    (Conv2D(3, 5), (9, 4, 1), r"5 positions, got .* \(9, 4, 1\) with 4 and padding 'valid'"),
    (Conv1D(3, 5), (9, 4, 1), r"\(length, channels\), got \(9, 4, 1\)"),
    (Conv2D(4, 3, groups=4), (9, 9, 6), r"4 groups, got .* \(9, 9, 6\), whose 6 channels"),
    (MaxPool2D(3), (2, 5, 1), r"3 positions, got .* \(2, 5, 1\) with 2"),
    (GlobalAvgPool(), (9,), r"\(length, channels\) or \(height, .*, got \(9,\)"),
    (Reshape((2, 3)), (5,), r"\(2, 3\), 6 values, of an input of shape \(5,\), 5 values"),
    (Slice(0, 9), (3,), r"features 0 to 8, got .* \(3,\), whose last is 2"),
    (Residual([Conv2D(2, 3)]), (9, 9, 1), r"\(9, 9, 1\) to \(7, 7, 2\): padding='same'"),
    (Residual([GlobalAvgPool()]), (9, 9, 1), r"\(9, 9, 1\) to \(1,\)$"),
    (Concatenate([[], [Flatten()]]), (2, 2), r"branches of shapes \(2, 2\) and \(4,\)"),
    (Siamese([Dense(3)]), (3,), r"even number of features, got .* \(3,\)"),
]


@pytest.mark.parametrize(("layer", "given", "message"), MISFITS, ids=repr)
def test_misfits(layer, given, message):
    with pytest.raises(ShapeError, match=message) as caught:
        layer.output_shape(given)
    assert "\n" not in str(caught.value)


def test_parameters():
    """Names, shapes and the fans that initializers scale by."""
    kernel, bias = Dense(3).weights((7,)).values()
    assert (kernel.shape, kernel.fan_in, kernel.fan_out, kernel.is_bias) == ((7, 3), 7, 3, False)
    assert (bias.shape, bias.init, bias.is_bias) == ((3,), Zeros(), True)
    weights = Conv2D(8, (3, 5), groups=2).weights((9, 9, 4))
    assert list(weights) == ["kernel", "bias"]
    kernel = weights["kernel"]
    assert (kernel.shape, kernel.fan_in, kernel.fan_out) == ((3, 5, 2, 8), 30, 60)
    assert Conv1D(8, 3, use_bias=False).weights((9, 4))["kernel"].shape == (3, 4, 8)
    assert {k: (v.shape, v.init) for k, v in BatchNorm().weights((5, 5, 3)).items()} == {
        "gamma": ((3,), Ones()),
        "beta": ((3,), Zeros()),
    }
    assert BatchNorm().buffers((5, 5, 3)) == {"running_mean": (3,), "running_variance": (3,)}
    assert list(RMSNorm().weights((3,))) == ["gamma"]
    assert list(LayerNorm(scale=False).weights((3,))) == ["beta"]
    assert Standardize().buffers((2, 3)) == {"mean": (2, 3), "scale": (2, 3)}
    assert all(not cls(*given).weights((4, 4, 4)) for cls, *given in ((Dropout, 0.1), (Flatten,)))


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
    assert again.name == layer.name
    for other in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert other.config() == config


def test_config_keeps_trainable_and_stands_in_for_arrays():
    layer = Dense(2, weight_init=np.ones((3, 2)), bias_init=np.ones)
    layer.trainable = np.False_
    assert layer.trainable is False
    again = layers.from_config(json.loads(json.dumps(layer.config())))
    assert again.trainable is False
    assert again.weight_init == again.bias_init == Given()


def test_repr_leaves_defaults_out():
    assert repr(Dense(3)) == "Dense(3)"
    assert repr(Dense(3, "relu", name="a")) == "Dense(3, 'relu', name='a')"
    assert repr(Dropout(0.5)) == "Dropout(0.5)"
    assert repr(Standardize()) == "Standardize()"
    assert repr(Conv2D(8, (3, 3), strides=[2, 2])) == "Conv2D(8, 3, strides=2)"
    assert repr(Conv2D(8, (3, 5), padding=(1, 2))) == "Conv2D(8, (3, 5), padding=(1, 2))"
    assert (
        repr(Residual([Dense(3), Activation("relu")])) == "Residual((Dense(3), Activation('relu')))"
    )


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
    (Dense, {}, TypeError, "units must be an int >= 1, got None"),
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
    (Dense, {"tied_to": 3}, TypeError, "tied_to must be a Dense or None, got 3"),
    (Dense, {"tied_to": Dense(tied_to=Dense(3))}, ValueError, "tied_to must have a kernel of its"),
    (Dense, {"tied_to": Dense(3), "weight_init": "ones"}, ValueError, "weight_init must be None"),
    (Dense, {"tied_to": Dense(3), "weight_dropout": 0.1}, ValueError, "weight_dropout must be 0"),
    (Activation, {"activation": "rleu"}, ValueError, "activation must be one of identity"),
    (BatchNorm, {"momentum": 0}, ValueError, r"momentum must be .* \(0, 1\], got 0"),
    (BatchNorm, {"epsilon": 0}, ValueError, "epsilon must be a finite number > 0, got 0"),
    (BatchNorm, {"center": 1}, TypeError, "center must be True or False"),
    (LayerNorm, {"epsilon": -1}, ValueError, "epsilon"),
    (RMSNorm, {"scale": None}, TypeError, "scale"),
    (GaussianNoise, {"std": -0.1}, ValueError, "std must be a finite number >= 0, got -0.1"),
    (Conv2D, {"filters": 0, "kernel_size": 3}, ValueError, "filters must be an int >= 1, got 0"),
    (Conv2D, {"filters": 2, "kernel_size": 0}, ValueError, "kernel_size must be an int >= 1"),
    (Conv2D, {"filters": 2, "kernel_size": (3, 3, 3)}, ValueError, "kernel_size must be an int or"),
    (Conv2D, {"filters": 2, "kernel_size": (3, 0)}, ValueError, r"kernel_size\[1\] must be"),
    (Conv1D, {"filters": 2, "kernel_size": (3, 3)}, TypeError, "kernel_size must be an int, got"),
    (Conv2D, {"filters": 2, "kernel_size": 3, "strides": 0}, ValueError, "strides must be an int"),
    (Conv2D, {"filters": 2, "kernel_size": 3, "padding": "full"}, ValueError, "one of valid, same"),
    (Conv2D, {"filters": 2, "kernel_size": 3, "padding": -1}, ValueError, "padding must be an int"),
    (
        Conv2D,
        {"filters": 2, "kernel_size": 3, "padding": 3},
        ValueError,
        "padding .* at most 2 f",
    ),
    (Conv2D, {"filters": 2, "kernel_size": 3, "groups": 4}, ValueError, "groups must be a divisor"),
    (Conv2D, {"filters": 2, "kernel_size": 3, "dilation": 2**40}, ValueError, "at most 2147483647"),
    (
        MaxPool2D,
        {"pool_size": 2, "padding": 2},
        ValueError,
        "padding must be at most 1 for",
    ),
    (AvgPool1D, {"strides": (1, 1)}, TypeError, "strides must be an int, got tuple"),
    (Reshape, {"shape": (1, 2, 3, 4)}, ValueError, "shape must be one of an int, .* length 4"),
    (Reshape, {"shape": (2, -1)}, ValueError, r"shape\[1\] must be an int >= 1, got -1"),
    (Reshape, {"shape": (2**40, 2**40)}, MemoryError, "more bytes than can be addressed"),
    (Slice, {"start": -1, "stop": 3}, ValueError, "start"),
    (Slice, {"start": 3, "stop": 3}, ValueError, "stop must be an int >= 4, got 3"),
    (Residual, {"layers": []}, ValueError, "layers must be at least one layer"),
    (Residual, {"layers": Dense(3)}, TypeError, "layers must be a list of layers"),
    (Residual, {"layers": [3]}, TypeError, r"layers\[0\] must be a layer"),
    (Residual, {"layers": [Dense(3)], "activation": "x"}, ValueError, "activation must be one of"),
    (Concatenate, {"branches": [[]]}, ValueError, "branches must be at least two lists"),
    (Concatenate, {"branches": [Dense(3), []]}, TypeError, r"branches\[0\] must be a list of lay"),
    (Concatenate, {"branches": 3}, TypeError, "branches must be a list of lists of layers, got 3"),
    (Siamese, {"layers": [Dense(3)], "merge": "sum"}, ValueError, "merge must be one of distance,"),
    (Siamese, {"layers": []}, ValueError, "layers must be at least one layer"),
]


@pytest.mark.parametrize(("cls", "arguments", "error", "message"), BAD)
def test_bad_arguments_are_named(cls, arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        cls(**arguments)
    assert "\n" not in str(caught.value)


BAD_CONFIGS = [
    ([], TypeError, "layer must be a dict"),
    ({}, ValueError, r"layer\['class'\] must be one of Activation, AvgPool1D, .* got None"),
    ({"class": "os.system"}, ValueError, "layer"),
    ({"class": "Dropout"}, ValueError, "layer 'Dropout' needs rate"),
    ({"class": "Dense"}, TypeError, "units must be an int >= 1, got None"),
    ({"class": "Dense", "units": "x"}, TypeError, "units"),
    ({"class": "Dense", "units": 1, "self": 2}, ValueError, "got self"),
    ({"class": "Dense", "units": 1, "trainable": "no"}, TypeError, "trainable"),
    ({"class": "Dense", "units": 1, "weight_init": {"name": "?"}}, ValueError, "weight_init"),
    ({"class": "Dropout", "rate": None}, TypeError, "rate"),
    ({"shared": "0"}, ValueError, r"layer\['shared'\] must be the path of an earlier layer alone"),
    ({"class": "Residual", "layers": [{"shared": ""}]}, ValueError, r"layers'\]\[0\]\['shared'\]"),
    ({"class": "Residual", "layers": [3]}, TypeError, r"layers\[0\] must be a layer"),
    ({"class": "Residual", "layers": 3}, TypeError, "layers must be a list of layers, got 3"),
    ({"class": "Residual", "layers": [{"class": "?"}]}, ValueError, r"layers'\]\[0\]\['class'\]"),
    ({"class": "Dense", "units": {"class": "Flatten"}}, TypeError, "units must be an int"),
    ({"class": "Conv2D", "filters": 1, "kernel_size": [3]}, ValueError, "kernel_size must be an"),
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


def test_every_layer_is_tried_here():
    assert {type(layer) for layer in LAYERS} == set(layers.TABLE.values())
    assert [issubclass(cls, Layer) for cls in layers.TABLE.values()] == [True] * len(layers.TABLE)
    assert set(layers.FILES) <= set(bpfast.__all__)


def test_configs_keep_what_is_one_object():
    encoder = Dense(3, "tanh", name="encoder")
    twice = Residual([encoder, encoder])
    config = json.loads(
        json.dumps(Concatenate([[twice], [twice, Dense(tied_to=encoder)]]).config())
    )
    assert config["branches"][0][0]["layers"][1] == {"shared": "0.0.encoder"}
    assert config["branches"][1][0] == {"shared": "0.0"}
    assert config["branches"][1][1]["tied_to"] == {"shared": "0.0.encoder"}
    again = layers.from_config(config)
    (residual,), (same, tied) = again.branches
    assert residual is same
    assert residual.layers[0] is residual.layers[1] is tied.tied_to
    assert again.config() == config
    other = layers.from_config(Dense(tied_to=encoder).config())
    assert other.tied_to.config() == encoder.config()


def test_configs_that_are_too_deep():
    config: dict = {"class": "Dense", "units": 3}
    for _ in range(60):
        config = {"class": "Residual", "layers": [config]}
    assert layers.from_config(config)
    for _ in range(60):
        config = {"class": "Residual", "layers": [config]}
    with pytest.raises(ValueError, match="must not be so deep within others"):
        layers.from_config(config)
