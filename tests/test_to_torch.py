"""Networks as PyTorch modules: the same outputs, and the same network again."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from cases import same_bits
from layer_cases import CASES as LAYERS
from layer_cases import Case
from peers import require

import bpfast as bp
from bpfast import activations
from bpfast.convert import from_torch

torch = require("torch")
pytestmark = pytest.mark.usefixtures("one_torch_thread")

MORE = {
    "standardize": Case((4,), lambda: [bp.Standardize(), bp.Dense(2)]),
    "standardize images": Case(
        (4, 5, 3), lambda: [bp.Standardize(), bp.Conv2D(2, 3), bp.Flatten(), bp.Dense(2)]
    ),
    "features of a flattened image": Case(
        (4, 3, 5),
        lambda: [
            bp.Flatten(), bp.BatchNorm(), bp.Activation("softmax"), bp.LayerNorm(), bp.RMSNorm(),
            bp.Slice(3, 50), bp.Dense(2),
        ],
    ),
    "norms of positions": Case(
        (4, 3, 5), lambda: [bp.RMSNorm(), bp.LayerNorm(center=False), bp.Flatten(), bp.Dense(2)]
    ),
    "norms of a sequence": Case(
        (6, 5), lambda: [bp.BatchNorm(), bp.GaussianNoise(0.1), bp.GlobalAvgPool(), bp.Dense(2)]
    ),
    "reshape an image": Case(
        (4, 6, 2), lambda: [bp.Conv2D(2, 1), bp.Reshape((6, 8)), bp.Conv1D(2, 3), bp.Flatten()]
    ),
    "flattened in branches": Case(
        (4, 3, 5),
        lambda: [
            bp.Concatenate([[bp.Flatten()], [bp.Conv2D(2, 2), bp.Reshape((12,))]]), bp.Dense(2),
        ],
    ),
    "siamese of images": Case(
        (6, 6, 2),
        lambda: [bp.Siamese([bp.Conv2D(3, 3), bp.Flatten(), bp.Dropout(0.1)]), bp.Dense(1)],
    ),
    "maxpool1d same": Case(
        (7, 3), lambda: [bp.MaxPool1D(2, strides=2, padding="same"), bp.Flatten(), bp.Dense(2)]
    ),
    **{
        f"{name} of images": Case(
            (4, 3, 2), lambda name=name: [bp.Conv2D(3, 1, name), bp.Flatten(), bp.Dense(2)]
        )
        for name in activations.NAMES
    },
}  # fmt: skip
ALL = LAYERS | MORE
#: What from_torch does not read.
NOT_BACK = {
    "ChannelNorm", "Concatenate", "ConstantPad1d", "ConstantPad2d", "Reorder", "Residual",
    "Siamese",
}  # fmt: skip


def lively(net: bp.Network) -> bp.Network:
    """The network with parameters and statistics that all differ."""
    draw = np.random.default_rng(3)
    for name, view in (*net.params.items(), *net.buffers.items()):
        if not name.endswith("kernel"):
            view[...] = draw.uniform(0.5, 1.5, view.shape)
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_every_layer(name, dtype):
    case = ALL[name]
    net = lively(bp.Network(case.make(), input_shape=case.shape, dtype=dtype, rng=1))
    state = torch.get_rng_state()
    module = net.to_torch()
    assert torch.equal(torch.get_rng_state(), state)
    assert not module.training
    x = np.random.default_rng(5).normal(size=(7, *case.shape)).astype(dtype)
    wanted = net.predict(x)
    with torch.no_grad():
        found = module(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()
    scale = np.abs(wanted).max()
    assert found.dtype == wanted.dtype
    # float32: sums in another order; Softplus is the identity above 20 there, within exp(-20)
    assert np.abs(found - wanted).max() <= (1e-6 if dtype == "float32" else 1e-12) * scale
    made = {type(each).__name__ for each in module.modules()}
    if not made & NOT_BACK:
        again = from_torch(module, input_shape=case.shape)
        assert np.abs(again.predict(x) - wanted).max() <= 1e-6 * scale


def test_there_and_back_is_the_same_network():
    layers = [
        bp.Conv2D(6, 3, "relu", padding=1),
        bp.BatchNorm(),
        bp.MaxPool2D(2),
        bp.Conv2D(4, (1, 2), strides=(1, 2), groups=2, use_bias=False),
        bp.Flatten(),
        bp.Dense(9, "tanh"),
        bp.LayerNorm(),
        bp.Dropout(0.2),
        bp.Dense(3, "softmax"),
    ]
    net = lively(bp.Network(layers, input_shape=(6, 8, 2), rng=1))
    net.freeze(layers[0])
    again = from_torch(net.to_torch(), input_shape=(6, 8, 2))
    assert same_bits(again.parameters, net.parameters)
    assert same_bits(again._buffers, net._buffers)
    x = np.random.default_rng(5).normal(size=(7, 6, 8, 2)).astype(np.float32)
    assert same_bits(again.predict(x), net.predict(x))
    assert [layer.trainable for layer in again.layers][:2] == [False, True]
    same = [bp.layers.from_config(each.config()) for each in layers]
    other = bp.Network(same, input_shape=(6, 8, 2), rng=2)
    other.load_weights(net.to_torch().state_dict())
    assert same_bits(other.parameters, net.parameters)


def test_what_pytorch_has_not():
    layers = [bp.AvgPool2D(2, strides=2, padding="same", name="pool"), bp.Flatten(), bp.Dense(2)]
    net = bp.Network(layers, input_shape=(5, 6, 2), rng=0)
    with pytest.raises(ValueError, match=r"layer pool \(AvgPool2D\) has no counterpart in PyTorch"):
        net.to_torch()


def test_copies_and_shared_modules():
    again = bp.Dense(5, "tanh")
    net = bp.Network([again, again, bp.Dense(2)], input_shape=5, rng=0)
    before = net.parameters.copy()
    module = net.to_torch()
    assert module[0] is module[2]
    with torch.no_grad():
        module[0].weight.zero_()
    assert same_bits(net.parameters, before)


def test_without_pytorch():
    code = (
        "import sys, bpfast as bp; sys.modules['torch'] = None\n"
        "try: bp.Network([2, 1]).to_torch()\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "to_torch needs PyTorch: pip install torch"
