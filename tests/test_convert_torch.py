"""PyTorch's modules, as networks and as weights: live, as state_dict, as safetensors file."""

from __future__ import annotations

import copy
from collections import OrderedDict

import numpy as np
import pytest
from cases import same_bits
from peers import require
from safetensors.numpy import save_file

import bpfast as bp
from bpfast.convert import from_torch

torch = require("torch")
pytestmark = pytest.mark.usefixtures("one_torch_thread")
nn = torch.nn

#: Of the largest output, in float64: sums of at most some hundred products in another order.
TOLERANCE = 1e-12


def seeded(module, seed: int = 0):
    """The module with parameters and statistics that all differ, in eval mode, as float64."""
    draw = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.dtype == torch.float64:
                tensor.copy_(torch.rand(tensor.shape, generator=draw, dtype=torch.float64) - 0.3)
        for name, tensor in module.named_buffers():
            if name.endswith("running_var"):
                tensor += 0.4
    return module


def cnn():
    """All the kinds of the weights that there are, an MLP behind a flattened image."""
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 4, (1, 2), stride=(1, 2), groups=2, bias=False),
        nn.Flatten(),
        nn.Linear(24, 9),
        nn.BatchNorm1d(9),
        nn.ReLU(),
        nn.Linear(9, 3),
    )


def ours(net: bp.Network, x):
    """The network's output for PyTorch's input."""
    return net.predict(np.moveaxis(x.numpy(), 1, -1) if x.ndim > 2 else x.numpy())


def check(module, net: bp.Network, shape: tuple[int, ...], tolerance: float = TOLERANCE) -> None:
    """The same output for the same images."""
    x = torch.randn(7, *shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    x = x.to(torch.float32) if net.dtype == np.float32 else x
    with torch.no_grad():
        expected = module(x).numpy()
    difference = np.abs(ours(net, x) - expected).max()
    assert difference <= tolerance * np.abs(expected).max()


# ---- must show: live and from safetensors -------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sequential_live_and_from_a_file(dtype, tmp_path):
    """float32: to 1e-6 of the largest output, as PyTorch's own kernels differ among themselves."""
    module = seeded(cnn())
    if dtype == "float32":
        module = module.float()
    tolerance = 1e-6 if dtype == "float32" else TOLERANCE
    save_file({k: v.numpy() for k, v in module.state_dict().items()}, tmp_path / "weights")
    net = from_torch(module, input_shape=(6, 8, 2))
    assert net.dtype == dtype
    check(module, net, (2, 6, 8), tolerance)
    for source in (module, module.state_dict(), tmp_path / "weights"):
        other = bp.Network(copy.deepcopy(net.layers), input_shape=(6, 8, 2), dtype=dtype, rng=1)
        found = other.load_weights(source)
        assert found.by == "name"
        assert same_bits(other.parameters, net.parameters)
        assert same_bits(other._buffers, net._buffers)
    layers = [  # as one would write it here: activations within
        bp.Conv2D(6, 3, padding=1),
        bp.BatchNorm(),
        bp.Activation("relu"),
        bp.MaxPool2D(2),
        bp.Conv2D(4, (1, 2), strides=(1, 2), groups=2, use_bias=False),
        bp.Flatten(),
        bp.Dense(9),
        bp.BatchNorm(),
        bp.Activation("relu"),
        bp.Dropout(0.5),
        bp.Dense(3, name="head"),
    ]
    for source in (module, module.state_dict(), tmp_path / "weights"):
        other = bp.Network(layers, input_shape=(6, 8, 2), dtype=dtype, rng=1)
        assert other.load_weights(source).by == "order"
        assert same_bits(other.parameters, net.parameters)
        check(module, other, (2, 6, 8), tolerance)


def test_it_trains_on_as_there():
    """Gradients of a batch in training mode, at the same place."""
    module = seeded(cnn()).train()
    net = from_torch(module, input_shape=(6, 8, 2))
    x = torch.randn(9, 2, 6, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = torch.arange(9) % 3
    nn.functional.cross_entropy(module(x), y).backward()
    net.loss_and_gradient(np.moveaxis(x.numpy(), 1, -1), y.numpy(), loss="cross_entropy")
    found = bp.Network(net.layers, input_shape=(6, 8, 2), dtype="float64", rng=0)
    found.load_weights({name: tensor.grad for name, tensor in module.named_parameters()})
    scale = np.abs(found.parameters).max()
    np.testing.assert_allclose(net.gradients, found.parameters, rtol=0, atol=1e-11 * scale)


# ---- every module -------------------------------------------------------------------------------

IMAGE, SEQUENCE = (2, 8, 6), (3, 12)  # channels first


def bare(norm):
    """A norm without parameters, behind which there must be some."""
    return nn.Sequential(norm, nn.Linear(5, 2))


ALIKE = {
    "Linear": (nn.Linear(5, 3, bias=False), (5,)),
    "LayerNorm": (nn.LayerNorm(5, eps=0.1), (5,)),
    "LayerNorm, no bias": (nn.LayerNorm(5, bias=False), (5,)),
    "LayerNorm, bare": (bare(nn.LayerNorm(5, elementwise_affine=False)), (5,)),
    "RMSNorm": (nn.RMSNorm(5), (5,)),
    "BatchNorm1d": (nn.BatchNorm1d(5, eps=0.1, momentum=0.4), (5,)),
    "BatchNorm1d, bare": (bare(nn.BatchNorm1d(5, affine=False)), (5,)),
    "BatchNorm1d of a sequence": (
        nn.Sequential(nn.BatchNorm1d(3), nn.Flatten(), nn.Linear(36, 2)),
        SEQUENCE,
    ),
    "norms behind Flatten": (
        nn.Sequential(
            nn.Flatten(), nn.Dropout(), nn.BatchNorm1d(96), nn.LayerNorm(96), nn.Linear(96, 2)
        ),
        IMAGE,
    ),
    "nested": (
        nn.Sequential(
            OrderedDict(
                body=nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(96, 5), nn.Tanh())),
                head=nn.Sequential(nn.Identity(), nn.Linear(5, 2)),
            )
        ),
        IMAGE,
    ),
    "ends with softmax": (nn.Sequential(nn.Linear(5, 3), nn.Softmax(dim=-1)), (5,)),
}
BETWEEN = [
    nn.Conv2d(2, 2, 3, padding="same"),
    nn.Conv2d(2, 4, (3, 2), stride=2, padding=(1, 0), dilation=(1, 2), groups=2),
    nn.MaxPool2d(3, 2, 1),
    nn.AvgPool2d(2, padding=1, count_include_pad=False),
    nn.AvgPool2d((2, 3)),
    nn.AdaptiveAvgPool2d(1),
    nn.AdaptiveAvgPool2d((4, None)),
    nn.AdaptiveMaxPool2d((2, 3)),
    nn.Softmax(1),
    nn.Conv1d(3, 4, 3, stride=2, padding=2),
    nn.MaxPool1d(2),
    nn.AvgPool1d(3, stride=2),
    nn.AdaptiveAvgPool1d(1),
    *(
        nn.Sequential(nn.Conv2d(2, 3, 1), activation)
        for activation in (
            nn.Identity(), nn.ReLU(inplace=True), nn.LeakyReLU(), nn.ELU(), nn.SELU(), nn.GELU(),
            nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Softplus(), nn.Softsign(), nn.Hardsigmoid(),
            nn.Hardswish(), nn.Sigmoid(), nn.Tanh(),
        )
    ),
]  # fmt: skip


def with_head(layer):
    """The layer between an image or a sequence and a linear layer."""
    shape = SEQUENCE if "1d" in repr(layer) else IMAGE
    with torch.no_grad():
        size = layer(torch.zeros(1, *shape)).numel()
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(size, 3)), shape


CASES = ALIKE | {repr(layer).replace("\n", ""): with_head(layer) for layer in BETWEEN}


@pytest.mark.parametrize("name", CASES)
def test_every_module(name):
    module, shape = CASES[name]
    module = seeded(copy.deepcopy(module))
    net = from_torch(module, input_shape=(*shape[1:], shape[0]))
    # Softplus is exact here, and the identity above 20 there: exp(-20) = 2e-9; its inputs are small
    check(module, net, shape)


def test_a_module_in_two_places_is_one_layer():
    again = nn.Linear(5, 5)
    module = seeded(nn.Sequential(again, nn.Tanh(), again, nn.Linear(5, 2)))
    net = from_torch(module, input_shape=5)
    assert net.layers[0] is net.layers[2]
    check(module, net, (5,))
    other = bp.Network(copy.deepcopy(net.layers), input_shape=5, dtype="float64", rng=0)
    assert other.load_weights(module).by == "name"
    assert same_bits(other.parameters, net.parameters)


def test_frozen_modules_are_frozen_layers():
    module = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
    module[0].requires_grad_(False)
    net = from_torch(module, input_shape=5)
    assert [layer.trainable for layer in net.layers] == [False, True, True]
    assert net.dtype == np.float32


def test_short_floats_and_parametrized_weights():
    module = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 2)).bfloat16()
    net = from_torch(module, input_shape=5)
    assert net.dtype == np.float32
    np.testing.assert_array_equal(net.params["0.kernel"], module[0].weight.float().detach().T)
    module = seeded(nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 2)))
    nn.utils.parametrizations.weight_norm(module[0])
    check(module, from_torch(module, input_shape=5), (5,))


class Own(nn.Module):
    """Not a Sequential: its weights alone can be taken."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(5, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))


class Twice(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Stack(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))


def test_modules_of_ones_own():
    module = seeded(Own())
    net = bp.Network([bp.Dense(4, "tanh"), bp.Dense(2)], input_shape=5, dtype="float64", rng=0)
    found = net.load_weights(module)
    assert (found.by, found.sources["1.kernel"]) == ("order", "head.weight")
    check(module, net, (5,))
    check(module := seeded(Stack()), from_torch(module, input_shape=5), (5,))


# ---- what is refused ----------------------------------------------------------------------------


def hooked(module):
    module.register_forward_hook(lambda *a: None)
    return module


def tied():
    one, other = nn.Linear(5, 5), nn.Linear(5, 5)
    other.weight = one.weight
    return nn.Sequential(one, other)


V, S, T = ValueError, bp.ShapeError, TypeError
REFUSED = [
    (nn.Sequential(nn.Linear(5, 3), nn.PReLU()), (5,), T, r"module.1 \(PReLU\) must be a Seq"),
    (nn.Sequential(nn.Sequential(nn.LSTM(5, 3))), (5,), T, r"module.0.0 \(LSTM\)"),
    (Own(), (5,), T, r"module \(Own\) must be a Sequential of modules"),
    (nn.Sequential(Twice(5, 3)), (5,), T, r"module.0 \(Twice\)"),
    (nn.ConvTranspose2d(2, 3, 1), IMAGE, T, r"module \(ConvTranspose2d\)"),
    (nn.Sequential(hooked(nn.Linear(5, 3))), (5,), V, r"module.0 \(Linear\) must not have hooks"),
    (hooked(nn.Sequential(nn.Linear(5, 3))), (5,), V, r"module \(Sequential\) must not have ho"),
    (tied(), (5,), V, r"module.1 \(Linear\) must not share a tensor .*, module.0"),
    (nn.Linear(4, 3), (5,), S, r"module \(Linear\) has in_features=4, got an input .* \(5,\)"),
    (nn.Linear(2, 3), IMAGE, S, r"module \(Linear\) needs rows of 1 dimensions, got"),
    (nn.Conv2d(3, 3, 1), IMAGE, S, r"in_channels=3, got an input of shape \(8, 6, 2\)"),
    (nn.Conv2d(2, 3, 1, padding_mode="reflect"), IMAGE, V, "padding_mode='zeros', got 'refl"),
    (nn.Conv2d(2, 3, 1, padding=1), IMAGE, V, r"\(Conv2d\) has no counterpart: padding must"),
    (nn.Conv2d(2, 3, 9), IMAGE, S, r"module \(Conv2d\) has windows over 9 positions"),
    (nn.BatchNorm2d(2, momentum=None), IMAGE, V, r"\(BatchNorm2d\) must have a momentum"),
    (nn.BatchNorm2d(2, track_running_stats=False), IMAGE, V, "track_running_stats=True, got"),
    (nn.BatchNorm1d(2), IMAGE, S, r"\(BatchNorm1d\) needs rows of 1 or 2 dimensions"),
    (nn.LayerNorm(6), IMAGE, S, r"\(LayerNorm\) needs rows of 1 dimensions"),
    (nn.LayerNorm(6), (5,), S, r"normalized_shape=\(6,\), got an input of shape \(5,\)"),
    (nn.LeakyReLU(0.2), (5,), V, r"\(LeakyReLU\) must have negative_slope=0.01, got 0.2"),
    (nn.ELU(2.0), (5,), V, r"\(ELU\) must have alpha=1.0, got 2.0"),
    (nn.Softplus(2.0), (5,), V, r"\(Softplus\) must have beta=1.0, got 2.0"),
    (nn.Softmax(-1), IMAGE, V, r"\(Softmax\) must have dim=1, the channels, got dim=-1"),
    (nn.MaxPool2d(2, ceil_mode=True), IMAGE, V, r"\(MaxPool2d\) must have ceil_mode=False"),
    (nn.MaxPool2d(2, dilation=2), IMAGE, V, r"\(MaxPool2d\) must have dilation=1, got 2"),
    (nn.MaxPool1d(2, return_indices=True), SEQUENCE, V, "return_indices=False, got True"),
    (nn.AvgPool2d(3, padding=1), IMAGE, V, "count_include_pad=False, got True"),
    (nn.AvgPool2d(2, divisor_override=3), IMAGE, V, "divisor_override=None, got 3"),
    (nn.AdaptiveAvgPool2d(5), IMAGE, V, r"that divides \(8, 6\), got \(5, 5\)"),
    (nn.Flatten(2), IMAGE, V, r"\(Flatten\) must have start_dim=1, got 2"),
    (nn.Dropout(1.0), (5,), V, r"\(Dropout\) has no counterpart: rate must be"),
    (nn.Sequential(nn.Conv2d(2, 3, 1), nn.Flatten()), IMAGE, V, "not end with images flattened"),
    (nn.Sequential(nn.Conv2d(2, 3, 1)), IMAGE, S, "the output must be a vector"),
    (nn.Sequential(nn.ReLU()), (5,), V, "at least one with parameters"),
    (nn.Linear, (5,), T, "module must be a torch.nn.Module, got the class Linear"),
]


@pytest.mark.parametrize(("module", "shape", "error", "message"), REFUSED)
def test_refused(module, shape, error, message):
    with pytest.raises(error, match=message) as caught:
        from_torch(module, input_shape=(*shape[1:], shape[0]))
    assert "\n" not in str(caught.value)


def test_wrong_shapes_are_named():
    net = bp.Network([bp.Dense(4, "relu"), bp.Dense(2)], input_shape=5, rng=0)
    before = net.parameters.copy()
    module = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    with pytest.raises(ValueError, match=r"'2.weight' has shape \(4, 3\), 1.kernel \(4, 2\)"):
        net.load_weights(module)
    with pytest.raises(ValueError, match="src has 1 layers with weights, the network 2"):
        net.load_weights(module[0])
    assert same_bits(net.parameters, before)
