"""Frozen layers, layers with a learning rate of their own, gradual unfreezing."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from cases import OPTIMIZERS, double_net, same_bits, sha256
from layer_cases import CASES

import bpfast as bp
from bpfast import _core

pytestmark = [
    pytest.mark.usefixtures("exact_threads"),
    pytest.mark.filterwarnings("ignore:Rprop needs full batches"),
]


RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(50, 6)), RNG.normal(size=(50, 3))


def block() -> bp.Layer:
    return bp.Residual([bp.Dense(8, "tanh"), bp.BatchNorm()], name="block")


def make(n_threads: int | None = 1) -> bp.Network:
    layers = [bp.Dense(7, "relu"), bp.BatchNorm(), block(), bp.Dropout(0.2), bp.Dense(3)]
    return bp.Network(layers, input_shape=6, rng=1, n_threads=n_threads)


def fit(net: bp.Network, epochs: int = 2, **options) -> bp.Network:
    net.fit(X, Y, **{"loss": "mse", "epochs": epochs, "batch_size": 16, **options})
    return net


def values(net: bp.Network) -> dict[str, np.ndarray]:
    return {name: view.copy() for name, view in (*net.params.items(), *net.buffers.items())}


def changed(net: bp.Network, before: dict[str, np.ndarray]) -> list[str]:
    """The paths of the layers of which some value is another, in order."""
    now = values(net)
    names = [name for name in before if not same_bits(before[name], now[name])]
    return list(dict.fromkeys(name.rpartition(".")[0] for name in names))


ALL = ["0", "1", "block.0", "block.projection", "block.1", "4"]


def learns(net: bp.Network) -> list[str]:
    """The layers that a fit changes, in the order of `params`."""
    before = values(net)
    found = changed(fit(net, 1), before)
    return [path for path in ALL if path in found]


# ---- freeze and unfreeze ------------------------------------------------------------------------


def test_everything_learns():
    assert learns(make()) == ALL


@pytest.mark.parametrize(
    ("which", "left"),
    [
        ([0], ALL[1:]),
        ([-1], ALL[:-1]),
        (["1", np.int64(0)], ALL[2:]),
        (["block"], ["0", "1", "4"]),
        (["block.1"], ["0", "1", "block.0", "block.projection", "4"]),
        (["block.1", "block.0"], ["0", "1", "4"]),
        ([3], ALL),
        ([], []),
    ],
    ids=str,
)
def test_freeze_and_unfreeze(which, left):
    net = make()
    net.freeze(*which)
    assert learns(net) == left
    net.unfreeze(*which)
    assert learns(net) == ALL


def test_layers_stand_for_themselves():
    net = make()
    net.freeze(net.layers[2], net.layers[0])
    assert learns(net) == ["1", "4"]
    net.freeze()
    net.unfreeze(net.layers[4])
    assert learns(net) == ["4"]


def test_part_of_a_frozen_composite_is_thawed():
    net = make()
    net.layers[2].trainable = False
    net.unfreeze("block.0")
    assert learns(net) == ["0", "1", "block.0", "block.projection", "4"]
    assert net.layers[2].trainable


def test_summary_tells():
    net = make()
    net.freeze("block", 0)
    lines = [line for line in net.summary().splitlines() if line.endswith(" frozen")]
    assert [line.split()[0] for line in lines] == ["0", "block.0", "block.1", "block.projection"]


def test_what_is_frozen_is_kept(tmp_path):
    net = make()
    net.freeze("block", 0)
    net.layers[1].lr_scale = 0.25
    net.save(tmp_path / "net")
    for other in (bp.load(tmp_path / "net"), net.clone(), pickle.loads(pickle.dumps(net))):
        assert learns(other.clone()) == ["1", "4"]
        assert other.layers[1].lr_scale == 0.25
        assert sha256(fit(other)) == sha256(fit(net.clone()))


def test_shared_layers_are_frozen_everywhere():
    again = bp.Dense(6, "tanh")
    norm = bp.BatchNorm()
    layers = [again, norm, bp.Residual([again, norm], name="in"), bp.Dense(3)]
    net = bp.Network(layers, input_shape=6, rng=0)
    net.freeze("in")
    before = values(net)
    assert changed(fit(net), before) == ["3"]
    assert same_bits(net.forward(X, training=True), net.predict(X))


def test_networks_of_the_same_layers_share_what_is_frozen():
    nets = [bp.Network(layers := [bp.Dense(4), bp.Dense(3)], input_shape=6, rng=0)]
    nets.append(bp.Network(layers, input_shape=6, rng=1))
    nets[0].freeze(0)
    for net in nets:
        before = values(net)
        assert changed(fit(net), before) == ["1"]
    nets[1].unfreeze()
    for net in nets:
        before = values(net)
        assert changed(fit(net), before) == ["0", "1"]


def test_tied_layers():
    """The kernel is frozen with its owner, a bias with the layer that has it."""
    first = bp.Dense(5, "tanh", name="in")
    net = bp.Network([first, bp.Dense(tied_to=first, name="out")], input_shape=6, rng=0)
    start = values(net)
    net.freeze("out")
    net.fit(X, X, loss="mse", epochs=1)
    assert [n for n, v in values(net).items() if not same_bits(v, start[n])] == [
        "in.kernel",
        "in.bias",
    ]
    net.unfreeze()
    net.freeze("in")
    start = values(net)
    net.fit(X, X, loss="mse", epochs=1)
    assert [n for n, v in values(net).items() if not same_bits(v, start[n])] == ["out.bias"]


@pytest.mark.parametrize("optimizer", ["adam", bp.AdamW(weight_decay=0.3), bp.Adam(clip_norm=0.1)])
def test_the_same_bits_on_any_number_of_threads(optimizer):
    found = set()
    for n_threads in (1, 2, 3, 4):
        net = make(n_threads)
        net.freeze(0, "1", "block.0")
        start = values(net)
        fit(net, optimizer=optimizer)
        assert not {"0", "1", "block.0"} & set(changed(net, start))
        found.add(sha256(net))
    assert len(found) == 1


# ---- what is frozen costs nothing backwards -----------------------------------------------------


def plan(net: bp.Network, word: str) -> int:
    """How many lines of the plan tell of this."""
    return sum(word in line for line in net.explain(32).splitlines())


def test_the_plan_ends_where_the_last_layer_learns():
    """Of eight layers each has a step backwards, but below the fourth there is nothing to do."""
    net = bp.Network([6] + 8 * [9] + [3], rng=0)
    assert plan(net, "backward") == 9
    net.freeze(*range(4))
    assert plan(net, "backward") == 5
    net.freeze(*range(5, 9))
    assert plan(net, "backward") == 5  # through frozen ones above
    net.unfreeze()
    assert plan(net, "backward") == 9


def test_pre_activations_that_nobody_reads_are_not_kept():
    net = bp.Network([bp.Dense(300, "gelu"), bp.Dense(3)], input_shape=6, rng=0)
    whole = net.memory_required(1000)
    net.freeze(0)
    assert net.memory_required(1000) <= whole - 1000 * 300 * 4


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_the_others_stay(name, rng):
    """Bit for bit, whatever is frozen below and between; a frozen norm counts otherwise."""
    case = CASES[name]
    net = double_net(case.make(), case.shape, 5)
    rows = rng.normal(size=(11, *case.shape))
    dY = rng.normal(size=(11, net.outputs))
    paths = list(dict.fromkeys(n.rpartition(".")[0] for n in net.params))
    norms = {layer.path for layer in net._plan.layers if layer.kind == "batchnorm"}
    for step in (1, 2, 3):
        chosen = [p for p in paths[::step] if p not in norms and not p.endswith("projection")]
        net.unfreeze()
        net.forward(rows, training=True)
        dX = net.backward(dY)
        full = {k: v.copy() for k, v in net.grads.items()}
        if chosen:
            net.freeze(*chosen)
        net.forward(rows, training=True)
        assert same_bits(net.backward(dY), dX)
        frozen = {k for k, t in net._plan.parameters.items() if not net._trainable[t.layer]}
        for key, view in net.grads.items():
            expected = np.zeros_like(view) if key in frozen else full[key]
            assert same_bits(view, expected), key


def test_nothing_left_to_train():
    net = make()
    net.freeze()
    before = sha256(net)
    assert len(fit(net).history.history["loss"]) == 2
    assert sha256(net) == before


# ---- learning rates of layers -------------------------------------------------------------------


def stack(scales: tuple[float, ...] = (1.0, 1.0, 1.0), sweep: bool = False) -> bp.Network:
    layers = [
        bp.Dense(20, "tanh"),
        bp.Dense(17, "relu", weight_regularizer=bp.L2(0.1)),
        bp.Dense(3),
    ]
    net = bp.Network(layers, input_shape=6, rng=1, n_threads=1)
    net._sweep = sweep
    for layer, scale in zip(layers, scales, strict=True):
        layer.lr_scale = scale
    return net


@pytest.mark.parametrize("sweep", [False, True], ids=["fused", "swept"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_scale_of_all_layers_is_another_rate(optimizer, sweep):
    other = optimizer.replace(learning_rate=optimizer.learning_rate * 0.3)
    ours, theirs = stack((0.3, 0.3, 0.3), sweep), stack(sweep=sweep)
    assert sha256(fit(ours, optimizer=optimizer)) == sha256(fit(theirs, optimizer=other))
    if not isinstance(optimizer, bp.Rprop):  # whose rate is the first step's size alone
        assert sha256(fit(ours, optimizer=optimizer)) != sha256(fit(stack(), optimizer=optimizer))


@pytest.mark.parametrize("n_threads", [1, 2, 3, 4])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_each_layer_steps_at_its_own_rate(optimizer, n_threads):
    """On given gradients, each layer is that of a network with its rate, step after step."""
    scales = (0.1, 1.0, 4.0)
    ours = stack(scales)
    ours.n_threads = n_threads
    peers = [stack() for _ in scales]
    draw = np.random.default_rng(0)
    for _ in range(4):
        g = draw.normal(size=ours.gradients.size)
        ours.gradients[...] = g
        ours.step(optimizer)
        for peer, scale in zip(peers, scales, strict=True):
            peer.gradients[...] = g
            peer.step(optimizer.replace(learning_rate=optimizer.learning_rate * scale))
        for i, peer in enumerate(peers):
            for part in (f"{i}.kernel", f"{i}.bias"):
                assert same_bits(ours.params[part], peer.params[part]), part


def test_fused_and_swept_steps_scale_once():
    """A step of plain descent is the scale times the gradient, whichever way it is made."""
    nets = [stack((0.5, 1.0, 2.0), sweep) for sweep in (False, True)]
    rate = 2.0**-4  # products with it are exact
    for net in nets:
        net.loss_and_gradient(X, Y, loss="mse")
        g, before = net.gradients.copy(), net.parameters.copy()
        net.fit(X, Y, loss="mse", epochs=1, batch_size=50, shuffle=False, optimizer=bp.SGD(rate))
        scale = np.concatenate(
            [np.full(v.size, (0.5, 1.0, 2.0)[int(k[0])]) for k, v in net.params.items()]
        )
        np.testing.assert_allclose(net.parameters, before - rate * scale * g, rtol=1e-5, atol=1e-7)
    assert sha256(nets[0]) == sha256(nets[1])


def test_scales_of_composites_multiply_and_shared_layers_learn_as_in_their_first_place():
    again = bp.Dense(6, "tanh")
    inner = bp.Residual([again])
    outer = bp.Residual([inner, bp.Dense(6)])
    net = bp.Network([outer, again, bp.Dense(2)], input_shape=6, rng=0)
    again.lr_scale, inner.lr_scale, outer.lr_scale = 0.5, 0.25, 0.125
    scales = dict(zip(net._plan.names, net._plan.lr_scales(), strict=True))
    assert scales["0.0.0"] == 0.5 * 0.25 * 0.125
    assert scales["0.1"] == 0.125
    assert scales["2"] == 1.0


def test_scales_change_between_calls_and_epochs():
    net, twin = stack(), stack()
    fit(net, 1)
    net.layers[0].lr_scale = 0.125
    fit(net, 1)
    change = bp.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setattr(
            twin.layers[0], "lr_scale", 0.125 if epoch else 1.0
        )
    )
    fit(twin, 2, callbacks=[change])
    assert sha256(net) == sha256(twin)


@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1.0, ValueError), (math.nan, ValueError), (math.inf, ValueError),
     ("1", TypeError), (True, TypeError), (None, TypeError)],
)  # fmt: skip
def test_no_other_scale(value, error):
    layer = bp.Dense(3)
    with pytest.raises(error, match="lr_scale must be a finite number > 0, got"):
        layer.lr_scale = value
    with pytest.raises(error, match="lr_scale"):
        bp.layers.from_config({**layer.config(), "lr_scale": value})
    assert layer.lr_scale == 1.0
    assert "lr_scale" not in layer.config()


# ---- changes between epochs ---------------------------------------------------------------------


def squares(y: np.ndarray, out: np.ndarray) -> tuple[float, np.ndarray]:
    return float(((out - y) ** 2).mean()), 2 * (out - y) / out.size


@pytest.mark.parametrize("loss", ["mse", squares], ids=["named", "callable"])
def test_callbacks_may_freeze_between_epochs(loss):
    """As if each epoch were a fit of its own."""
    net, twin = make(), make()

    def change(other: bp.Network, epoch: int) -> None:
        other.unfreeze()
        if epoch % 3:
            other.freeze(*range(epoch % 3), "block.1")

    for epoch in range(4):
        change(net, epoch)
        fit(net, 1, loss=loss)
    follow = bp.LambdaCallback(on_epoch_begin=lambda epoch, logs: change(twin, epoch))
    fit(twin, 4, loss=loss, callbacks=[follow])
    assert sha256(net) == sha256(twin)
    assert same_bits(net._buffers, twin._buffers)


class Watch(bp.Callback):
    """Notes which layers an epoch changed."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def on_epoch_begin(self, epoch, logs):
        self.before = values(self.net)

    def on_epoch_end(self, epoch, logs):
        found = changed(self.net, self.before)
        self.seen.append([path for path in ALL if path in found])


@pytest.mark.parametrize("every", [1, 2])
def test_gradual_unfreezing(every):
    net, watch = make(), Watch()
    gradual = bp.GradualUnfreezing(every=every)
    fit(net, 4 * every, callbacks=[gradual, watch])
    steps = [["4"], ["block.0", "block.projection", "block.1", "4"], ALL, ALL]
    assert watch.seen == [step for step in steps for _ in range(every)]
    assert gradual.thawed == 3


def test_gradual_unfreezing_of_given_groups():
    net, watch = make(), Watch()
    net.freeze(0)
    groups = ["1", ["block.0", net.layers[4]]]
    fit(net, 3, callbacks=[bp.GradualUnfreezing(groups), watch])
    assert watch.seen == [
        ["block.0", "block.projection", "block.1", "4"],
        *2 * [["1", "block.0", "block.projection", "block.1", "4"]],
    ]


@pytest.mark.parametrize("through", ["memory", "file"])
@pytest.mark.parametrize("place", [(0, 1), (1, 3), (2, 0)], ids=str)
def test_gradual_unfreezing_resumes(place, through, tmp_path):
    """Stopped in the middle of an epoch, or at its end, it ends with the bits of one fit."""
    whole, halves = make(), make()
    fit(whole, 4, callbacks=[bp.GradualUnfreezing()])
    seen = {"epoch": -1}
    stop = bp.LambdaCallback(
        on_epoch_begin=lambda e, logs: seen.update(epoch=e),
        on_batch_end=lambda b, logs: (seen["epoch"], b) == place,
    )
    fit(halves, 4, callbacks=[bp.GradualUnfreezing(), stop])
    if through == "file":
        halves.save(tmp_path / "half")
        halves = bp.load(tmp_path / "half", n_threads=3)
    fit(halves, 4, callbacks=[bp.GradualUnfreezing()], resume=True)
    assert sha256(halves) == sha256(whole)
    assert same_bits(halves._buffers, whole._buffers)


def test_a_fit_without_memory_for_another_epoch_can_resume():
    whole, net = make(), make()
    fit(whole, 3, callbacks=[bp.GradualUnfreezing()])

    def fail(epoch: int, logs: object) -> None:
        if epoch == 2:
            _core.fail_allocation(1)

    with pytest.raises(MemoryError):
        fit(net, 3, callbacks=[bp.GradualUnfreezing(), bp.LambdaCallback(on_epoch_begin=fail)])
    fit(net, 3, callbacks=[bp.GradualUnfreezing()], resume=True)
    assert sha256(net) == sha256(whole)
