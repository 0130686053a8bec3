"""EMA and SWA: NumPy's means in float64, the same bits on any number of threads, resumed alike."""

from __future__ import annotations

import numpy as np
import pytest
from cases import sha256

import bpfast as bp

pytestmark = pytest.mark.usefixtures("exact_threads")


def shared() -> list[bp.Layer]:
    layer = bp.Dense(9, "tanh")
    return [layer, layer, bp.Dense(3)]


def tied() -> list[bp.Layer]:
    layer = bp.Dense(5, "tanh")
    return [layer, bp.Dense(9, tied_to=layer), bp.Dense(3)]


def frozen() -> list[bp.Layer]:
    first = bp.Dense(20, "relu")
    first.trainable = False
    return [first, bp.Dense(3)]


# More than a panel of 16 or 32 columns, and parts of one
NETWORKS = {
    "dense": lambda: [bp.Dense(70, "relu"), bp.Dense(3)],
    "max norm": lambda: [
        bp.Dense(40, "tanh", weight_constraint=bp.MaxNorm(0.7)),
        bp.Dense(3, weight_constraint=bp.NonNegative()),
    ],
    "batch norm": lambda: [bp.Dense(33), bp.BatchNorm(), bp.Activation("relu"), bp.Dense(3)],
    "drop connect": lambda: [bp.Dense(20, "relu", weight_dropout=0.3), bp.Dense(3)],
    "images": lambda: [
        bp.Reshape((3, 3, 1)), bp.Conv2D(5, 2, activation="relu"), bp.Flatten(), bp.Dense(3)
    ],
    "shared": shared,
    "tied": tied,
    "frozen": frozen,
}  # fmt: skip
RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(90, 9)), RNG.normal(size=(90, 3))
OPTIONS = {"X": X, "y": Y, "loss": "mse", "epochs": 3, "batch_size": 16}


def make(name: str = "dense", dtype: str = "float64", n_threads: int = 1) -> bp.Network:
    return bp.Network(NETWORKS[name](), input_shape=9, dtype=dtype, rng=1, n_threads=n_threads)


def recorded(net: bp.Network, **options: object) -> list[np.ndarray]:
    """Fit, and return the parameters after each step."""
    seen: list[np.ndarray] = []
    record = bp.LambdaCallback(on_batch_end=lambda b, logs: seen.append(net.parameters.copy()))
    net.fit(**{**OPTIONS, **options}, callbacks=[record])
    return seen


def mean(seen: list[np.ndarray], decay: float) -> np.ndarray:
    counts = decay ** np.arange(len(seen), dtype=float)[::-1]
    return np.tensordot(counts, np.array(seen, float), 1) / counts.sum()


# ---- EMA ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.9, 1.0])
@pytest.mark.parametrize("name", NETWORKS)
def test_average_of_all_steps(name, decay):
    ema = bp.EMA(decay)
    net = make(name)
    net.fit(**OPTIONS, callbacks=[ema])
    expected = mean(recorded(make(name)), decay)
    # A step rounds twice; decay forgets, and a plain mean of n steps adds up n roundings at most.
    np.testing.assert_allclose(ema.average, expected, rtol=0, atol=40 * 2.0**-52 * 2)
    np.testing.assert_array_equal(net.parameters, ema.average)


WAYS = {
    "clipped": {"optimizer": bp.SGD(0.05, clip_norm=0.5)},
    "accumulated": {"accumulate": 2, "batch_size": 8},
    "own loss": {"loss": lambda y, out: (float(((out - y) ** 2).mean()), 2 * (out - y) / y.size)},
    "no weight": {"sample_weight": np.arange(90) < 20, "shuffle": False},
}


@pytest.mark.parametrize("way", WAYS)
def test_ways_of_stepping(way):
    ema = bp.EMA(0.8)
    make().fit(**{**OPTIONS, **WAYS[way]}, callbacks=[ema])
    seen = recorded(make(), **WAYS[way])
    if way == "no weight":  # a batch without weight makes no step
        seen = [w for epoch in range(3) for w in seen[6 * epoch : 6 * epoch + 2]]
    np.testing.assert_allclose(ema.average, mean(seen, 0.8), rtol=0, atol=1e-14)


def test_single_precision_rounds_as_expected():
    ema = bp.EMA(0.95)
    make(dtype="float32").fit(**OPTIONS, callbacks=[ema])
    seen = recorded(make(dtype="float32"))
    most = np.abs(seen).max()
    assert ema.average.dtype == np.float32
    # Each step errs by a unit or two, of which 1 / (1 - decay) = 20 are remembered.
    np.testing.assert_allclose(ema.average, mean(seen, 0.95), rtol=0, atol=40 * 2.0**-24 * most)


def test_training_and_validation_are_of_the_raw_weights():
    plain, averaged = make("batch norm"), make("batch norm")
    options = {**OPTIONS, "validation_split": 0.2}
    plain.fit(**options)
    averaged.fit(**options, callbacks=[bp.EMA(0.9, use_at_end=False)])
    assert sha256(plain) == sha256(averaged)
    np.testing.assert_array_equal(plain.buffers["1.running_mean"], averaged._buffers[:33])
    before = {k: v for k, v in plain.history.history.items() if k != "seconds"}
    assert before == {k: v for k, v in averaged.history.history.items() if k != "seconds"}


def test_start_epoch():
    ema = bp.EMA(0.9, start_epoch=2)
    make().fit(**OPTIONS, callbacks=[ema])
    np.testing.assert_allclose(ema.average, mean(recorded(make())[12:], 0.9), rtol=0, atol=1e-14)
    late, net, plain = bp.EMA(start_epoch=3), make(), make()
    net.fit(**OPTIONS, callbacks=[late])
    plain.fit(**OPTIONS)
    assert late.average is None
    assert sha256(net) == sha256(plain)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("average", [bp.EMA(0.9), bp.SWA(1)], ids=["EMA", "SWA"])
def test_same_bits_on_any_number_of_threads(name, average):
    found = []
    for n_threads in (1, 2, 3, 4):
        net = make(name, "float32", n_threads)
        net.fit(**OPTIONS, callbacks=[average])
        found.append((sha256(net), average.average.tobytes(), net._buffers.tobytes()))
    assert found == found[:1] * 4


def test_every_instruction_set(monkeypatch):
    found = {}
    for isa in bp.isas():
        monkeypatch.setenv("BPFAST_ISA", isa)
        ema = bp.EMA(0.9)
        make(dtype="float32").fit(**OPTIONS, callbacks=[ema])
        found[isa] = ema.average.tobytes()
    with_fma = {bits for isa, bits in found.items() if isa not in ("sse2", "baseline")}
    assert len(with_fma) <= 1


# ---- SWA ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "every"), [(0, 1), (1, 2), (0.5, 1), (0.0, 3)])
def test_swa_is_the_mean_of_ends_of_epochs(start, every):
    swa = bp.SWA(start, every=every)
    net = make()
    net.fit(**{**OPTIONS, "epochs": 6}, callbacks=[swa])
    ends = recorded(make(), epochs=6)[5::6]
    first = start if isinstance(start, int) else int(6 * start)
    np.testing.assert_allclose(net.parameters, np.mean(ends[first::every], 0), rtol=0, atol=1e-15)


# ---- BatchNorm ----------------------------------------------------------------------------------


def test_statistics_are_those_of_the_averaged_weights():
    net = make("batch norm")
    net.fit(**OPTIONS, callbacks=[bp.EMA(0.9)])
    z = X @ net.params["0.kernel"] + net.params["0.bias"]
    # The means of batches of 15 rows, whichever those are, weigh alike.
    np.testing.assert_allclose(net.buffers["1.running_mean"], z.mean(axis=0), atol=1e-14)
    spread = net.buffers["1.running_variance"]
    assert (spread < z.var(axis=0, ddof=1) * 1.1).all()
    assert (spread > z.var(axis=0, ddof=1) * 0.8).all()
    apart = make("batch norm")
    ema = bp.EMA(0.9, use_at_end=False)
    apart.fit(**OPTIONS, callbacks=[ema])
    ema.apply(apart, X, batch_size=90)
    np.testing.assert_allclose(apart.buffers["1.running_variance"], z.var(axis=0, ddof=1))


def test_statistics_of_frozen_layers_stay():
    norm = bp.BatchNorm()
    norm.trainable = False
    net = bp.Network([bp.Dense(8), norm, bp.Dense(3)], input_shape=9, rng=1)
    net.fit(**OPTIONS, callbacks=[bp.EMA(0.9)])
    np.testing.assert_array_equal(net.buffers["1.running_mean"], 0)
    np.testing.assert_array_equal(net.buffers["1.running_variance"], 1)


def test_shared_statistics():
    norm = bp.BatchNorm(0.3)
    net = bp.Network([bp.Dense(9), norm, bp.Dense(9), norm, bp.Dense(3)], input_shape=9, rng=1)
    net.fit(**OPTIONS, callbacks=[bp.EMA(0.9)])
    variance = net.buffers["1.running_variance"]
    assert (variance > 0.01).all()
    assert np.isfinite(net.predict(X)).all()


# ---- stops and files ----------------------------------------------------------------------------


def stop_after(steps: int) -> bp.Callback:
    """A callback that stops a fit after so many steps."""
    count = iter(range(1, 10**6))
    return bp.LambdaCallback(on_batch_end=lambda b, logs: next(count) == steps)


@pytest.mark.parametrize("average", [lambda: bp.EMA(0.9), lambda: bp.SWA(0)], ids=["EMA", "SWA"])
@pytest.mark.parametrize("stop", [3, 8, "between epochs"])
@pytest.mark.parametrize("through", ["memory", "file"])
def test_resumed_fit_ends_with_the_same_weights(average, stop, through, tmp_path):
    whole, half = make("batch norm"), make("batch norm", n_threads=2)
    whole.fit(**OPTIONS, callbacks=[average()])
    between = bp.LambdaCallback(on_epoch_end=lambda epoch, logs: epoch == 1)
    half.fit(
        **OPTIONS, callbacks=[average(), between if stop == "between epochs" else stop_after(stop)]
    )
    assert sha256(half) != sha256(whole)
    if through == "file":
        half.save(tmp_path / "half.safetensors")
        half = bp.load(tmp_path / "half.safetensors")
    half.fit(**OPTIONS, callbacks=[average()], resume=True)
    assert sha256(half) == sha256(whole)
    np.testing.assert_array_equal(half._buffers, whole._buffers)


def test_checkpoint_holds_the_average_and_a_finished_fit_does_not(tmp_path):
    whole = make()
    path = tmp_path / "run.safetensors"
    whole.fit(**OPTIONS, callbacks=[bp.EMA(0.9), bp.Checkpoint(path, every=2)])
    again = bp.load(path)
    again.fit(**OPTIONS, callbacks=[bp.EMA(0.9), bp.Checkpoint(path, every=2)], resume=True)
    assert sha256(again) == sha256(whole)
    assert not whole._core.read_average()
    assert bp.load(path).clone()._core.read_average()


def test_early_stop_uses_the_average():
    net, ema = make(), bp.EMA(0.9)
    stop = bp.LambdaCallback(on_epoch_end=lambda epoch, logs: epoch == 1)
    net.fit(**OPTIONS, callbacks=[ema, stop])
    np.testing.assert_array_equal(net.parameters, ema.average)


def test_next_fit_forgets_the_average_of_one_that_is_not_resumed():
    net, fresh = make(), make()
    net.fit(**OPTIONS, callbacks=[bp.EMA(0.9), stop_after(8)])
    fresh.fit(**OPTIONS, callbacks=[stop_after(8)])
    for other in (net, fresh):
        other.fit(**OPTIONS)
    assert sha256(net) == sha256(fresh)
    assert not net._core.read_average()


def test_divergence_leaves_the_last_finite_weights():
    ema, net = bp.EMA(0.9), make()
    ends: list[np.ndarray] = []

    def blow_up(batch, logs):
        if batch == 5:
            ends.append(net.parameters.copy())
        if len(ends) == 2 and batch == 2:
            net.parameters *= 1e200

    with pytest.raises(bp.DivergenceError):
        net.fit(**OPTIONS, callbacks=[ema, bp.LambdaCallback(on_batch_end=blow_up)])
    assert ema.average is None
    assert not net._core.read_average()
    np.testing.assert_array_equal(net.parameters, ends[1])
    net.fit(**OPTIONS, callbacks=[ema])
    assert np.isfinite(ema.average).all()


@pytest.mark.parametrize("average", [bp.EMA(), bp.SWA()], ids=["EMA", "SWA"])
def test_states_that_no_fit_wrote(average):
    average.net = make()
    for state in (3, {"start": -1, "count": -1}, {"start": 1, "count": 1.5}, {"count": None}):
        if state == {"count": None} and isinstance(average, bp.EMA):
            continue  # nothing was averaged so far
        with pytest.raises((TypeError, ValueError), match="state"):
            average.set_state(state)


def test_apply_needs_a_fit_and_the_same_network():
    ema = bp.EMA()
    with pytest.raises(RuntimeError, match="apply needs an average"):
        ema.apply(make(), X)
    make().fit(**OPTIONS, callbacks=[ema])
    with pytest.raises(ValueError, match="net must have 913 parameters, got"):
        ema.apply(make("tied"), X)
