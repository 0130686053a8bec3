"""Another head on the same body."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from cases import same_bits, sha256
from test_freezing import ALL, X, block, changed, fit, learns, make, values

import bpfast as bp


def test_replace_head():
    net = fit(make())
    new = net.replace_head(5, rng=7)
    assert (new.outputs, new.seed, new.inputs) == (5, 7, 6)
    for name in net.params:
        if not name.startswith("4."):
            assert same_bits(new.params[name], net.params[name]), name
    for name in net.buffers:
        assert same_bits(new.buffers[name], net.buffers[name])
    assert new.params["4.kernel"].any()
    assert not new.params["4.bias"].any()
    again = net.replace_head(5, rng=7)
    assert sha256(again) == sha256(new)
    before = sha256(net)
    new.freeze()
    fit(net.replace_head(3, rng=0), 1)
    assert sha256(net) == before
    assert learns(net) == ALL


def test_replace_head_by_layers():
    net = fit(make())
    head = [bp.Dense(9, "relu"), bp.Dense(2, "softmax")]
    new = net.replace_head(head, rng=0, freeze=True)
    assert [type(layer).__name__ for layer in new.layers[-3:]] == ["Dropout", "Dense", "Dense"]
    assert new.layers[-1] is head[-1]
    before = values(new)
    new.fit(X, np.arange(50) % 2, loss="cross_entropy", epochs=2)
    assert changed(new, before) == ["4", "5"]


def test_the_head_keeps_what_it_was():
    """Its arguments but for units and given arrays, and what stands behind it."""
    kernel = np.ones((4, 3))
    layers = [
        bp.Standardize(),
        bp.Dense(4, "relu"),
        bp.Dense(3, weight_init=kernel, use_bias=False, weight_regularizer=bp.L2(0.1), name="head"),
        bp.Activation("softmax"),
    ]
    net = bp.Network(layers, input_shape=6, rng=0, dtype="float64")
    net.fit(X, np.arange(50) % 3, loss="cross_entropy", epochs=1)
    new = net.replace_head(7, rng=0)
    head = new.layers[2]
    assert (head.units, head.use_bias, head.name) == (7, False, "head")
    assert head.weight_regularizer == bp.L2(0.1)
    assert new.predict(X).sum(axis=1) == pytest.approx(np.ones(50))
    assert np.ptp(new.params["head.kernel"]) > 0
    assert new.dtype == np.float64
    assert same_bits(new.buffers["0.mean"], net.buffers["0.mean"])
    before = new.buffers["0.mean"].copy()
    new.fit(X + 1, np.arange(50) % 7, loss="cross_entropy", epochs=1)
    assert same_bits(new.buffers["0.mean"], before)


def test_shared_layers_of_the_body_stay_shared():
    again = bp.Dense(6, "tanh")
    net = bp.Network([again, again, bp.Dense(3)], input_shape=6, rng=0)
    new = net.replace_head(2, rng=1)
    assert list(new.params) == list(net.params)
    assert new.layers[0] is new.layers[1]
    assert new.layers[0] is not again


def test_heads_of_other_kinds_must_be_given():
    tied = bp.Dense(5)
    nets = [
        bp.Network([tied, bp.Dense(tied_to=tied)], input_shape=6, rng=0),
        bp.Network([bp.Dense(6), block()], input_shape=6, rng=0),
        bp.Network([again := bp.Dense(6), again], input_shape=6, rng=0),
    ]
    for net, kind in zip(nets, ("Dense tied", "Residual", "shares"), strict=True):
        with pytest.raises(TypeError, match=f"layers must be a list of layers .*{kind}"):
            net.replace_head(4)
        assert net.replace_head([bp.Dense(4)]).outputs == 4


def test_copies_of_layers_keep_their_flags():
    net = make()
    net.freeze("block")
    net.layers[0].lr_scale = 0.5
    new = net.replace_head(3, rng=0)
    assert new.layers[0].lr_scale == 0.5
    assert learns(new) == ["0", "1", "4"]
    assert copy.deepcopy(new).layers[0].lr_scale == 0.5
