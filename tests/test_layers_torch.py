"""Normalisation, convolution and pooling are PyTorch's, forward and backward, in float64.

Channels are last here and second there; a kernel is (*window, in, out) here and (out, in, *window)
there.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from cases import double_net
from peers import require
from reference.layers import outside

import bpfast as bp

torch = require("torch")
pytestmark = pytest.mark.usefixtures("one_torch_thread")
F = torch.nn.functional
nn = torch.nn

#: Of the largest element. Sums of at most a few hundred products, eps 2e-16 each, in another order.
TOLERANCE = 1e-12
ROWS = (1, 2, 7, 8, 9, 33)


def theirs(x: np.ndarray) -> torch.Tensor:
    """Values with the channels second, as a leaf."""
    return torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)


def back(x: torch.Tensor) -> np.ndarray:
    """Values with the channels last."""
    return np.moveaxis(x.detach().numpy(), 1, -1)


def kernel(w: np.ndarray) -> torch.Tensor:
    """A convolution's or a dense layer's kernel as theirs, as a leaf."""
    order = (w.ndim - 1, w.ndim - 2, *range(w.ndim - 2))
    return torch.tensor(w.transpose(order).copy(), requires_grad=True)


def kernel_back(w: torch.Tensor) -> np.ndarray:
    """The gradient of such a kernel as ours."""
    return w.grad.numpy().transpose((*range(2, w.ndim), 1, 0))


def leaf(net: bp.Network, name: str) -> torch.Tensor:
    w = net.params[name]
    return kernel(w) if name.endswith(".kernel") else torch.tensor(w.copy(), requires_grad=True)


def same(a: np.ndarray, b: np.ndarray) -> None:
    """Whether all elements are equal to TOLERANCE of the largest."""
    b = np.asarray(b)
    np.testing.assert_allclose(a.reshape(b.shape), b, rtol=0, atol=TOLERANCE * np.abs(b).max())


def as_network(layer: bp.Layer, shape: tuple[int, ...], seed: int) -> bp.Network:
    """A network of one layer: its values as vectors, through a norm that changes nothing.

    That norm, since a network must have parameters, is frozen as it begins: (x - 0) / sqrt(1 + 0).
    """
    end = bp.BatchNorm(epsilon=1e-300, center=False)
    end.trainable = False
    net = double_net([layer, bp.Flatten(), end], shape, seed)
    net.params["2.gamma"][:] = 1.0
    return net


def both_ways(net: bp.Network, X: np.ndarray, rng: np.random.Generator, function) -> torch.Tensor:
    """Compare output, and the gradient at X, with PyTorch's function, whose leaves keep theirs."""
    x = theirs(X)
    expected = function(x)
    output = net.forward(X, training=True)
    same(output, back(expected))
    dY = rng.normal(size=back(expected).shape)
    expected.backward(torch.tensor(np.moveaxis(dY, -1, 1).copy()))
    dX = net.backward(dY.reshape(output.shape))
    same(dX, back(x.grad))
    return expected


# ---- normalisation ------------------------------------------------------------------------------

SHAPES = [(5,), (33,), (70,), (7, 5), (5, 3, 4), (4, 4, 33)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("rows", ROWS)
def test_batchnorm(shape, rows, rng, seed):
    rows += rows == 1 == len(shape)  # PyTorch refuses a channel of one value
    net = as_network(bp.BatchNorm(), shape, seed)
    gamma, beta = (leaf(net, name) for name in ("0.gamma", "0.beta"))
    X = rng.normal(1.0, 2.0, size=(rows, *shape))
    both_ways(net, X, rng, lambda x: F.batch_norm(x, None, None, gamma, beta, True))
    same(net.grads["0.gamma"], gamma.grad)
    same(net.grads["0.beta"], beta.grad)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("momentum", [0.1, 0.7])
def test_running_statistics(shape, momentum, rng, seed):
    """After each of several batches of training, and inference by them."""
    net = as_network(bp.BatchNorm(momentum, epsilon=1e-3), shape, seed)
    kind = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d}[len(shape)]
    peer = kind(shape[-1], eps=1e-3, momentum=momentum, dtype=torch.float64)
    with torch.no_grad():
        peer.weight.copy_(torch.tensor(net.params["0.gamma"]))
        peer.bias.copy_(torch.tensor(net.params["0.beta"]))
    for rows in (2, 9, 33, 8):
        X = rng.normal(2.0, 3.0, size=(rows, *shape))
        same(net.forward(X, training=True), back(peer(theirs(X))))
        same(net.buffers["0.running_mean"], peer.running_mean)
        same(net.buffers["0.running_variance"], peer.running_var)
    peer.eval()
    X = rng.normal(size=(12, *shape))
    same(net.predict(X), back(peer(theirs(X))))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("rows", ROWS)
def test_layernorm(shape, rows, rng, seed):
    net = as_network(bp.LayerNorm(), shape, seed)
    gamma, beta = (leaf(net, name) for name in ("0.gamma", "0.beta"))
    X = rng.normal(1.0, 2.0, size=(rows, *shape))
    both_ways(net, X, rng, lambda x: last(F.layer_norm, x, shape[-1:], gamma, beta))
    same(net.grads["0.gamma"], gamma.grad)
    same(net.grads["0.beta"], beta.grad)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("rows", ROWS)
def test_rmsnorm(shape, rows, rng, seed):
    net = as_network(bp.RMSNorm(1e-4), shape, seed)
    gamma = leaf(net, "0.gamma")
    X = rng.normal(1.0, 2.0, size=(rows, *shape))
    both_ways(net, X, rng, lambda x: last(F.rms_norm, x, shape[-1:], gamma, 1e-4))
    same(net.grads["0.gamma"], gamma.grad)


def last(function, x: torch.Tensor, *arguments: object) -> torch.Tensor:
    """A function over the last axis, applied to that of the channels."""
    return function(x.movedim(1, -1), *arguments).movedim(-1, 1)


# ---- convolution --------------------------------------------------------------------------------


def check_conv(layer, shape: tuple[int, ...], rows: int, rng, seed: int) -> None:
    net = as_network(layer, shape, seed)
    w, b = kernel(net.params["0.kernel"]), torch.tensor(net.params["0.bias"], requires_grad=True)
    axes = len(shape) - 1
    each = [v if isinstance(v, tuple) else (v,) * axes for v in (layer.strides, layer.dilation)]
    pairs = outside(layer.padding, shape[:-1], net.params["0.kernel"].shape[:-2], *each)
    flat = [n for pair in reversed(pairs) for n in pair]

    def function(x: torch.Tensor) -> torch.Tensor:
        conv = F.conv1d if axes == 1 else F.conv2d
        z = conv(F.pad(x, flat), w, b, each[0], 0, each[1], layer.groups)
        return torch.tanh(z) if layer.activation == "tanh" else z

    X = rng.normal(size=(rows, *shape))
    both_ways(net, X, rng, function)
    same(net.grads["0.kernel"], kernel_back(w))
    same(net.grads["0.bias"], b.grad)


def spans_more(window: object, dilation: object, padding: object) -> bool:
    """Whether a window reaches beyond the positions outside, as it must."""
    if isinstance(padding, str):
        return True
    pairs = [v if isinstance(v, tuple) else (v, v) for v in (window, dilation, padding)]
    return all((k - 1) * d + 1 > p for k, d, p in zip(*pairs, strict=True))


WINDOWS = [1, 2, 3, (3, 2), (1, 5)]
STRIDES = [1, 2, (2, 3)]
PADDINGS = ["valid", "same", 1, (2, 0)]
DILATIONS = [1, 2, (1, 3)]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("padding", PADDINGS, ids=str)
def test_conv2d(window, padding, rng, seed):
    """Every stride and dilation, with one group, three, and one a channel, of odd sizes."""
    for strides, dilation in itertools.product(STRIDES, DILATIONS):
        if not spans_more(window, dilation, padding):
            continue
        for channels, filters, groups in ((1, 4, 1), (3, 5, 1), (6, 9, 3), (4, 4, 4), (3, 6, 3)):
            layer = bp.Conv2D(
                filters, window, strides=strides, padding=padding, dilation=dilation, groups=groups
            )
            check_conv(layer, (7, 16, channels), 3, rng, seed)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("filters", [1, 16, 17, 33, 70])
def test_conv2d_of_many_channels(filters, rows, rng, seed):
    check_conv(bp.Conv2D(filters, 3, "tanh"), (6, 5, 19), rows, rng, seed)
    check_conv(bp.Conv2D(filters, 3, "tanh", padding="same"), (1, 1, 3), rows, rng, seed)
    check_conv(bp.Conv2D(filters, 3, groups=filters), (4, 7, filters), rows, rng, seed)


@pytest.mark.parametrize("padding", ["valid", "same", 2])
@pytest.mark.parametrize("window", [1, 2, 5])
def test_conv1d(window, padding, rng, seed):
    for strides, dilation, rows in itertools.product((1, 2, 3), (1, 2), (1, 9)):
        if not spans_more(window, dilation, padding):
            continue
        for channels, filters, groups in ((1, 4, 1), (5, 18, 1), (6, 9, 3), (4, 4, 4)):
            layer = bp.Conv1D(
                filters, window, strides=strides, padding=padding, dilation=dilation, groups=groups
            )
            check_conv(layer, (13, channels), rows, rng, seed)


# ---- pooling ------------------------------------------------------------------------------------


def check_pool(layer, shape: tuple[int, ...], rows: int, rng, seed: int) -> None:
    """ "same" pads with what is absent: -inf for the largest, nothing for the mean."""
    net = as_network(layer, shape, seed)
    axes = len(shape) - 1
    found = layer.pool_size, layer.pool_size if layer.strides is None else layer.strides
    pool, strides = (v if isinstance(v, tuple) else (v,) * axes for v in found)
    pairs = outside(layer.padding, shape[:-1], pool, strides, (1,) * axes)
    flat = [n for pair in reversed(pairs) for n in pair]
    largest = "Max" in type(layer).__name__
    name = f"{'max' if largest else 'avg'}_pool{axes}d"

    def function(x: torch.Tensor) -> torch.Tensor:
        of = getattr(F, name)
        if largest:
            return of(F.pad(x, flat, value=-torch.inf), pool, strides)
        inside = of(F.pad(torch.ones_like(x), flat), pool, strides)
        return of(F.pad(x, flat), pool, strides) / inside

    both_ways(net, rng.normal(size=(rows, *shape)), rng, function)


@pytest.mark.parametrize("kind", ["MaxPool2D", "AvgPool2D"])
@pytest.mark.parametrize("padding", ["valid", "same", (1, 1)], ids=str)
@pytest.mark.parametrize("pool", [2, 3, (3, 2), (7, 16)], ids=str)
def test_pool2d(kind, padding, pool, rng, seed):
    """Odd sizes; windows side by side, overlapping, with gaps, and one as large as the image."""
    for strides in (None, 1, 2, (3, 1)):
        for channels, rows in ((1, 3), (4, 9), (33, 1)):
            layer = getattr(bp, kind)(pool, strides=strides, padding=padding)
            check_pool(layer, (7, 16, channels), rows, rng, seed)


@pytest.mark.parametrize("kind", ["MaxPool1D", "AvgPool1D"])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_pool1d(kind, padding, rng, seed):
    for pool, strides, rows in itertools.product((1, 2, 5), (None, 1, 3), ROWS):
        check_pool(
            getattr(bp, kind)(pool, strides=strides, padding=padding), (13, 5), rows, rng, seed
        )


@pytest.mark.parametrize("rows", ROWS)
def test_pool_takes_the_first_of_equals(rows, rng, seed):
    """After relu whole windows are 0: the gradient goes where PyTorch's goes."""
    net = as_network(bp.MaxPool2D(2), (6, 6, 5), seed)
    X = rng.integers(-2, 2, size=(rows, 6, 6, 5)).clip(0).astype(float)
    both_ways(net, X, rng, lambda x: F.max_pool2d(x, 2))


def test_global_pool(rng, seed):
    net = as_network(bp.GlobalAvgPool(), (5, 3, 7), seed)
    both_ways(net, rng.normal(size=(9, 5, 3, 7)), rng, lambda x: x.mean(dim=(2, 3)))


# ---- whole networks -----------------------------------------------------------------------------


class Peer:
    """Parameters by our names, running statistics by the norm's, and plain SGD with momentum."""

    def __init__(self, net: bp.Network, rate: float) -> None:
        self.p = {name: leaf(net, name) for name in net.params}
        self.stats = {
            name.removesuffix(".running_mean"): (torch.zeros(v.size, dtype=torch.float64),
                                                 torch.ones(v.size, dtype=torch.float64))
            for name, v in net.buffers.items() if name.endswith(".running_mean")
        }  # fmt: skip
        self.optimizer = torch.optim.SGD(list(self.p.values()), rate, momentum=0.9)

    def dense(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.p[f"{name}.kernel"], self.p.get(f"{name}.bias"))

    def conv(self, name: str, x: torch.Tensor, **options: object) -> torch.Tensor:
        return F.conv2d(x, self.p[f"{name}.kernel"], self.p.get(f"{name}.bias"), **options)

    def norm(self, name: str, x: torch.Tensor, training: bool) -> torch.Tensor:
        gamma, beta = self.p[f"{name}.gamma"], self.p[f"{name}.beta"]
        return F.batch_norm(x, *self.stats[name], gamma, beta, training)

    def fit(self, model, X: np.ndarray, y: np.ndarray, batch: int, epochs: int) -> None:
        x, labels = theirs(X).detach(), torch.tensor(y)
        for _, rows in itertools.product(range(epochs), torch.arange(len(y)).split(batch)):
            self.optimizer.zero_grad()
            F.cross_entropy(model(self, x[rows], True), labels[rows]).backward()
            self.optimizer.step()


def cnn(peer: Peer, x: torch.Tensor, training: bool) -> torch.Tensor:
    x = torch.relu(peer.norm("1", peer.conv("0", x), training))
    x = F.max_pool2d(x, 2)
    inner = peer.conv("4.1", torch.tanh(peer.conv("4.0", x, padding=1)))
    x = torch.relu(x + inner)
    x = F.silu(peer.conv("5", x, padding=1, groups=2, stride=2))
    return peer.dense("7", x.mean(dim=(2, 3)))


def cnn_layers() -> list[bp.Layer]:
    return [
        bp.Conv2D(8, 3, use_bias=False),
        bp.BatchNorm(),
        bp.Activation("relu"),
        bp.MaxPool2D(2),
        bp.Residual([bp.Conv2D(8, 3, "tanh", padding="same"), bp.Conv2D(8, 1)], activation="relu"),
        bp.Conv2D(12, 3, "silu", padding=1, groups=2, strides=2),
        bp.GlobalAvgPool(),
        bp.Dense(5),
    ]


def resmlp(peer: Peer, x: torch.Tensor, training: bool) -> torch.Tensor:
    x = peer.dense("0", x)
    for i in ("1", "2"):
        inner = torch.relu(peer.norm(f"{i}.0", x, training))
        inner = torch.relu(peer.norm(f"{i}.3", peer.dense(f"{i}.2", inner), training))
        x = x + peer.dense("1.5", inner)
    return peer.dense("3", x)


def resmlp_layers() -> list[bp.Layer]:
    """The last dense layer of both blocks is one."""
    last = bp.Dense(16)

    def block() -> bp.Layer:
        inner = [bp.BatchNorm(), bp.Activation("relu"), bp.Dense(16, use_bias=False)]
        return bp.Residual([*inner, bp.BatchNorm(), bp.Activation("relu"), last])

    return [bp.Dense(16), block(), block(), bp.Dense(5)]


def autoencoder(peer: Peer, x: torch.Tensor, _: bool) -> torch.Tensor:
    h = torch.tanh(peer.dense("0", x))
    return F.linear(h, peer.p["0.kernel"].T, peer.p["1.bias"])


def autoencoder_layers() -> list[bp.Layer]:
    first = bp.Dense(6, "tanh")
    return [first, bp.Dense(tied_to=first)]


NETWORKS = {
    "cnn": (cnn, cnn_layers, (11, 12, 3)),
    "resmlp": (resmlp, resmlp_layers, (9,)),
    "autoencoder": (autoencoder, autoencoder_layers, (9,)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_trains_alike(name, rng, seed):
    """20 steps of SGD with momentum, the last batch of each epoch smaller; then inference.

    Each step's error, 1e-12 at worst, goes on into all others: 20 times as much, and some.
    """
    model, layers, shape = NETWORKS[name]
    net = bp.Network(layers(), input_shape=shape, dtype="float64", rng=seed)
    peer = Peer(net, 0.02)
    X, y = rng.normal(size=(70, *shape)), rng.integers(5, size=70)
    peer.fit(model, X, y, 16, 4)
    before = net.parameters.copy()
    optimizer = bp.SGD(0.02, momentum=0.9)
    net.fit(X, y, loss="cross_entropy", optimizer=optimizer, epochs=4, batch_size=16, shuffle=False)
    assert np.linalg.norm(net.parameters - before) > 0.1
    for parameter, p in zip(net.params, peer.p.values(), strict=True):
        ours = net.params[parameter]
        other = p.detach().numpy()
        other = other if other.ndim == 1 else other.transpose((*range(2, other.ndim), 1, 0))
        assert np.abs(ours - other).max() <= 50 * TOLERANCE * np.abs(before).max(), parameter
    for norm, (mean, variance) in peer.stats.items():
        assert net.buffers[f"{norm}.running_mean"] == pytest.approx(mean.numpy(), rel=1e-10)
        assert net.buffers[f"{norm}.running_variance"] == pytest.approx(variance.numpy(), rel=1e-10)
    expected = model(peer, theirs(X), False).detach().numpy()
    np.testing.assert_allclose(net.predict(X), expected, atol=1e-10 * np.abs(expected).max())
