"""Update rules, trajectories, losses and activations are PyTorch's.

A kernel stands as (inputs, outputs) here and as (outputs, inputs) there; flat vectors are in
bpfast's order, kernel before bias, layer by layer.
"""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from peers import require

import bpfast as bp
from bpfast import losses

torch = require("torch")
pytestmark = pytest.mark.usefixtures("one_torch_thread")
F = torch.nn.functional

EPS = np.finfo(np.float64).eps


# ---- optimizers -----------------------------------------------------------------------------


class Rule(NamedTuple):
    """One optimizer of ours, and the same of PyTorch by class name and arguments.

    Two differences are bridged here. PyTorch keeps the rate outside the velocity: the same steps as
    long as the rate is constant, as it is in these tests. clip_grad_norm_ adds 1e-6 to the norm it
    divides by; `Peer.clip` takes that back.
    """

    ours: bp.Optimizer
    theirs: str
    arguments: dict[str, object]
    l2: float = 0.0  # of kernels alone


RULES = {
    "sgd": Rule(bp.SGD(0.1), "SGD", {"lr": 0.1}),
    "l2": Rule(bp.SGD(0.1), "SGD", {"lr": 0.1}, l2=0.02),
    "momentum": Rule(bp.SGD(0.05, momentum=0.9), "SGD", {"lr": 0.05, "momentum": 0.9}),
    "nesterov": Rule(
        bp.SGD(0.05, momentum=0.9, nesterov=True),
        "SGD",
        {"lr": 0.05, "momentum": 0.9, "nesterov": True},
    ),
    "adam": Rule(bp.Adam(0.01), "Adam", {"lr": 0.01}),
    "adam-betas": Rule(
        bp.Adam(0.01, beta_1=0.8, beta_2=0.95, epsilon=1e-3),
        "Adam",
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3},
    ),
    "adam-l2": Rule(bp.Adam(0.01), "Adam", {"lr": 0.01}, l2=0.02),
    "adamw": Rule(bp.AdamW(0.01, weight_decay=0.05), "AdamW", {"lr": 0.01, "weight_decay": 0.05}),
    "rmsprop": Rule(bp.RMSprop(0.005, rho=0.9), "RMSprop", {"lr": 0.005, "alpha": 0.9}),
    "adagrad": Rule(bp.Adagrad(0.05), "Adagrad", {"lr": 0.05}),
    "rprop": Rule(bp.Rprop(0.01), "Rprop", {"lr": 0.01}),
    "rprop-limits": Rule(
        bp.Rprop(0.02, etas=(0.4, 1.3), step_limits=(1e-4, 0.05)),
        "Rprop",
        {"lr": 0.02, "etas": (0.4, 1.3), "step_sizes": (1e-4, 0.05)},
    ),
    "clip-norm": Rule(bp.SGD(0.2, clip_norm=0.3), "SGD", {"lr": 0.2}),
    "clip-value": Rule(bp.SGD(0.2, clip_value=0.02), "SGD", {"lr": 0.2}),
    "clip-both": Rule(bp.Adam(0.01, clip_norm=0.5, clip_value=0.05), "Adam", {"lr": 0.01}),
}
each_rule = pytest.mark.parametrize("name", RULES)


class Peer:
    """PyTorch's optimizer on tensors shaped as a network's parameters."""

    def __init__(self, rule: Rule, parameters: list) -> None:
        kernels = [p for p in parameters if p.ndim == 2]
        biases = [p for p in parameters if p.ndim == 1]
        groups = [{"params": kernels}, {"params": biases}]
        if rule.l2:
            groups[0]["weight_decay"] = rule.l2
        self.parameters = parameters
        self.limits = rule.ours.clip_norm, rule.ours.clip_value
        self.optimizer = getattr(torch.optim, rule.theirs)(groups, foreach=False, **rule.arguments)

    def clip(self) -> None:
        norm_limit, value_limit = self.limits
        if norm_limit is not None:
            norm = torch.nn.utils.clip_grad_norm_(self.parameters, norm_limit)
            if norm > norm_limit:
                for p in self.parameters:
                    p.grad.mul_((norm + 1e-6) / norm)
        if value_limit is not None:
            torch.nn.utils.clip_grad_value_(self.parameters, value_limit)

    def step(self) -> None:
        self.clip()
        self.optimizer.step()

    def flat(self) -> np.ndarray:
        return np.concatenate([p.detach().numpy().T.ravel() for p in self.parameters])


# ---- rules on given gradients


@each_rule
def test_rules_on_given_gradients(name, rng):
    """Five steps from gradients of all sizes, exact zeros and returning signs among them."""
    rule = RULES[name]
    net = bp.Network([7, 5, 3], dtype="float64", rng=1)
    net.parameters[...] = rng.normal(size=net.parameters.size)
    tensors = [torch.tensor(p.T.copy()) for p in net.params.values()]
    peer = Peer(rule._replace(l2=0.0), tensors)
    for _ in range(5):
        size = net.gradients.size
        g = rng.normal(size=size) * 10.0 ** rng.integers(-9, 4, size=size)
        g[rng.random(size) < 0.1] = 0.0
        net.gradients[...] = g
        for tensor, gradient in zip(tensors, net.grads.values(), strict=True):
            tensor.grad = torch.tensor(gradient.T.copy())
        net.step(rule.ours)
        peer.step()
        # A rule is some ten operations on numbers of one sign, so its step is good to 10 eps of
        # itself; momentum sums steps of either sign, which are at most 1e4 lr here. What is left
        # is the subtraction, eps of the weight.
        steps = np.abs(net.parameters).max() + 1e4 * rule.ours.learning_rate
        np.testing.assert_allclose(net.parameters, peer.flat(), rtol=0, atol=20 * EPS * steps)


# ---- trajectories of a network

FEATURES, HIDDEN, CLASSES, ROWS, STEPS = 7, (12, 9), 4, 80, 100
SEEDS = 5


def problem(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, soft labels and start weights, all exact in float32.

    Labels of one class each could be learnt by heart: then gradients become roundings of 0, and
    Rprop, which looks at signs alone, follows them anywhere.
    """
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(ROWS, FEATURES)).astype(np.float32)
    y = rng.dirichlet(np.ones(CLASSES), size=ROWS).astype(np.float32)
    start = bp.Network(layers_of(0.0), input_shape=FEATURES, rng=seed).parameters.copy()
    return X, y, start


def layers_of(l2: float) -> list[bp.Dense]:
    """Smooth activations: at a kink two roundings may take different sides."""
    penalty = {"weight_regularizer": bp.L2(l2)} if l2 else {}
    return [
        bp.Dense(HIDDEN[0], "tanh", **penalty),
        bp.Dense(HIDDEN[1], "silu", **penalty),
        bp.Dense(CLASSES, **penalty),
    ]


def batch_size(rule: Rule) -> int:
    """Rprop is a rule for full batches; the others see five an epoch, the last one smaller."""
    return ROWS if rule.theirs == "Rprop" else 17


def epochs(batch: int) -> int:
    return STEPS // -(-ROWS // batch)


def ours(name: str, dtype: str, seed: int) -> np.ndarray:
    """Parameters after each epoch of fit, one row an epoch."""
    rule = RULES[name]
    X, y, start = problem(seed)
    net = bp.Network(layers_of(rule.l2), input_shape=FEATURES, dtype=dtype)
    net.parameters[...] = start
    batch = batch_size(rule)
    path: list[np.ndarray] = []
    note = bp.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: path.append(net.parameters.copy()) and None
    )
    net.fit(
        X, y, loss="cross_entropy", optimizer=rule.ours, batch_size=batch, shuffle=False,
        epochs=epochs(batch), callbacks=[note],
    )  # fmt: skip
    return np.array(path, dtype=np.float64)


@functools.cache
def theirs(name: str, dtype: str, seed: int) -> np.ndarray:
    """The same of PyTorch."""
    rule = RULES[name]
    X, y, start = problem(seed)
    kind = getattr(torch, dtype)
    inputs, targets = torch.tensor(X, dtype=kind), torch.tensor(y, dtype=kind)
    tensors, at = [], 0
    for rows, columns in pairwise((FEATURES, *HIDDEN, CLASSES)):
        for shape in ((rows, columns), (columns,)):
            values = start[at : at + int(np.prod(shape))].reshape(shape)
            tensors.append(torch.tensor(values.T.copy(), dtype=kind, requires_grad=True))
            at += values.size
    peer = Peer(rule, tensors)
    w0, b0, w1, b1, w2, b2 = tensors
    batch = batch_size(rule)
    path = []
    for _ in range(epochs(batch)):
        for first in range(0, ROWS, batch):
            rows = slice(first, first + batch)
            a = torch.tanh(F.linear(inputs[rows], w0, b0))
            a = F.silu(F.linear(a, w1, b1))
            loss = F.cross_entropy(F.linear(a, w2, b2), targets[rows])
            peer.optimizer.zero_grad()
            loss.backward()
            peer.step()
        path.append(peer.flat())
    return np.array(path, dtype=np.float64)


@each_rule
def test_trajectory_in_float64(name, seed):
    """100 steps of fit end where PyTorch's do, and pass the same places on the way.

    A gradient here is a sum of 80 products through three layers: good to 100 eps of the largest
    at worst. A rule with a root makes steps of equal size from small gradients, which the error is
    a hundred times larger beside. 100 steps add up: 1e6 eps, or 2e-10 of a step of a hundredth of
    the weights. Measured, since roundings cancel: 4e-16 without a root, 3e-15 with one.
    """
    mine, other = ours(name, "float64", seed), theirs(name, "float64", seed)
    assert mine.shape == other.shape
    assert np.linalg.norm(other[-1] - problem(seed)[2]) > 0.1
    distance = np.linalg.norm(mine - other, axis=1)
    assert (distance <= 2e-12 * np.linalg.norm(other, axis=1)).all()


@each_rule
def test_trajectory_in_float32(name, seed):
    """float32 is no farther from the float64 trajectory than twice PyTorch's float32.

    The distance of one seed is chance, as roundings are: medians over several are compared.
    """
    distances = []
    for s in range(SEEDS * seed, SEEDS * (seed + 1)):
        exact = theirs(name, "float64", s)
        distances.append([np.linalg.norm(f(name, "float32", s) - exact) for f in (ours, theirs)])
    mine, other = np.median(distances, axis=0)
    assert 0 < mine <= 2 * other


def test_clip_norm_is_that_of_clip_grad_norm(rng):
    """The norm is over all parameters together; PyTorch's 1e-6 beside it is the only difference."""
    net = bp.Network([6, 5, 2], dtype="float64", rng=0)
    start, g = net.parameters.copy(), rng.normal(size=net.parameters.size)
    tensor = torch.zeros(g.size, dtype=torch.float64)
    tensor.grad = torch.tensor(g)
    norm = float(torch.nn.utils.clip_grad_norm_([tensor], 0.25))
    net.gradients[...] = g
    net.step(bp.SGD(1.0, clip_norm=0.25))
    expected = tensor.grad.numpy() * (norm + 1e-6) / norm
    np.testing.assert_allclose(start - net.parameters, expected, rtol=0, atol=4 * EPS)
    assert np.linalg.norm(start - net.parameters) == pytest.approx(0.25, rel=16 * EPS)


# ---- activations and losses -----------------------------------------------------------------
#
# With the identity matrix as input the kernel is the pre-activation, exactly, and the kernel's
# gradient is the gradient with respect to it.

ACTIVATIONS = {
    "identity": lambda z: z.clone(),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
    "softsign": F.softsign,
    # The derivative of torch's hardsigmoid is 1/6 rounded to float32.
    "hard_sigmoid": lambda z: F.relu6(z + 3) / 6,
    "hard_swish": F.hardswish,
    "softmax": lambda z: torch.softmax(z, dim=1),
}


def head(Z: np.ndarray, activation: str = "identity") -> bp.Network:
    """A layer whose output for the identity matrix is activation(Z)."""
    layer = bp.Dense(Z.shape[1], activation, use_bias=False, weight_init=Z)
    return bp.Network([layer], input_shape=len(Z), dtype="float64")


def test_every_activation_has_its_peer():
    assert set(ACTIVATIONS) == set(bp.activations.NAMES)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name, rng):
    # From 20 on PyTorch's softplus is the identity; 0 and +-3 are kinks that both take alike.
    Z = np.concatenate([rng.uniform(-19, 19, 400), rng.normal(size=180), [0.0] * 4])
    Z = Z.reshape(-1, 8)
    dY = rng.normal(size=Z.shape)
    net = head(Z, name)
    value = net.forward(np.eye(len(Z)), training=True)
    net.backward(dY)
    z = torch.tensor(Z, requires_grad=True)
    expected = ACTIVATIONS[name](z)
    expected.backward(torch.tensor(dY))
    # Each side is some operations of at most 4 ulp each, on numbers up to |z| before they cancel.
    size = 16 * EPS * np.maximum(1.0, np.abs(Z))
    assert (np.abs(value - expected.detach().numpy()) <= size).all()
    size *= np.abs(dY).max()
    assert (np.abs(net.grads["0.kernel"] - z.grad.numpy()) <= size).all()
    assert np.array_equal(net.predict(np.eye(len(Z))), value)


def reals(rng):
    return rng.normal(size=(40, 5)) * 2


def labels(rng):
    return rng.integers(0, 5, size=40)


def soft(rng):
    return rng.dirichlet(np.ones(5), size=40)


def yes_or_no(rng):
    return rng.integers(0, 2, size=(40, 5)).astype(float)


def counts(rng):
    return rng.poisson(3.0, size=(40, 5)).astype(float)


LOSSES = {
    "half_squared_error": (
        losses.HalfSquaredError(), reals, lambda z, t: F.mse_loss(z, t, reduction="sum") / 80
    ),
    "mse": (losses.MeanSquaredError(), reals, F.mse_loss),
    "mae": (losses.MeanAbsoluteError(), reals, F.l1_loss),
    "huber": (losses.Huber(), reals, F.huber_loss),
    "huber-delta": (losses.Huber(delta=2.5), reals, lambda z, t: F.huber_loss(z, t, delta=2.5)),
    "cross_entropy-labels": (losses.CrossEntropy(), labels, F.cross_entropy),
    "cross_entropy-soft": (losses.CrossEntropy(), soft, F.cross_entropy),
    "cross_entropy-smoothed": (
        losses.CrossEntropy(label_smoothing=0.2), labels,
        lambda z, t: F.cross_entropy(z, t, label_smoothing=0.2),
    ),
    "cross_entropy-soft-smoothed": (
        losses.CrossEntropy(label_smoothing=0.2), soft,
        lambda z, t: F.cross_entropy(z, t, label_smoothing=0.2),
    ),
    "binary_cross_entropy": (
        losses.BinaryCrossEntropy(), yes_or_no, F.binary_cross_entropy_with_logits
    ),
    "binary_cross_entropy-soft": (
        losses.BinaryCrossEntropy(), soft, F.binary_cross_entropy_with_logits
    ),
    "poisson": (losses.Poisson(), counts, F.poisson_nll_loss),
}  # fmt: skip
#: PyTorch has no pinball loss.
ELSEWHERE = {"quantile"}


def test_every_loss_has_its_peer():
    assert {loss.kind for loss, _, _ in LOSSES.values()} == set(losses.TABLE) - ELSEWHERE


def check_loss(net, y, expected, sample_weight=None, loss=None):
    """Compare value and gradient. Terms are 4 ulp each; the sum of 200 has a fixed shape."""
    eye = np.eye(40)
    z = torch.tensor(net.params["0.kernel"].copy(), requires_grad=True)
    result = expected(z, torch.tensor(y))
    result.backward()
    value = net.loss_and_gradient(eye, y, loss=loss, sample_weight=sample_weight)
    assert value == pytest.approx(result.item(), rel=32 * EPS)
    gradient = z.grad.numpy()
    tolerance = 16 * EPS * np.abs(gradient).max()
    np.testing.assert_allclose(net.grads["0.kernel"], gradient, rtol=0, atol=tolerance)
    value = net.evaluate(eye, y, loss=loss, sample_weight=sample_weight)["loss"]
    assert value == pytest.approx(result.item(), rel=32 * EPS)


@pytest.mark.parametrize("scale", [1.0, 10.0])
@pytest.mark.parametrize("name", LOSSES)
def test_loss(name, scale, rng):
    loss, draw, expected = LOSSES[name]
    Z = scale * rng.normal(size=(40, 5))
    check_loss(head(Z), draw(rng), expected, loss=loss)


@pytest.mark.parametrize(
    ("activation", "name"),
    [("softmax", "cross_entropy-labels"), ("sigmoid", "binary_cross_entropy")],
)
def test_fused_loss_after_its_activation(activation, name, rng):
    """The loss reads the pre-activation: PyTorch's logits."""
    loss, draw, expected = LOSSES[name]
    check_loss(head(3 * rng.normal(size=(40, 5)), activation), draw(rng), expected, loss=loss)


def test_class_weights_divide_by_the_weight_sum(rng):
    """As CrossEntropyLoss(weight=...): the mean is over weights, not rows."""
    y, weights = labels(rng), rng.uniform(0.2, 3, size=5)

    def expected(z, t):
        return F.cross_entropy(z, t, weight=torch.tensor(weights))

    net = head(rng.normal(size=(40, 5)))
    check_loss(net, y, expected, sample_weight=weights[y], loss="cross_entropy")
    table = dict(enumerate(weights.tolist()))
    history = net.fit(
        np.eye(40), y, loss="cross_entropy", optimizer=bp.SGD(1e-9), epochs=1, batch_size=40,
        shuffle=False, class_weight=table,
    )  # fmt: skip
    value = expected(torch.tensor(net.params["0.kernel"]), torch.tensor(y)).item()
    assert history.history["loss"][0] == pytest.approx(value, rel=1e-9)  # the step was 1e-9
