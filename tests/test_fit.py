"""What `fit` refuses, records, and does when it is stopped."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest
from cases import same_bits, sha256

import bpfast as bp


def make(outputs: int = 3, *layers: bp.Layer, **options) -> bp.Network:
    chosen = layers or (bp.Dense(5, "tanh", name="hidden"), bp.Dense(outputs, name="out"))
    return bp.Network(list(chosen), input_shape=4, **{"rng": 0, **options})


def data(rows: int = 20, outputs: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 4)), rng.normal(size=(rows, outputs))


X, Y = data()
LABELS = np.arange(20) % 3


def changed(array: np.ndarray, place, value) -> np.ndarray:
    array = array.astype(float)
    array[place] = value
    return array


# ---- mistakes -----------------------------------------------------------------------------------

# y, options beside loss="mse", the error, its message
MISTAKES = [
    (Y[:5], {}, bp.ShapeError, r"y must have as many rows as X: 20, got shape \(5, 3\)"),
    (Y[:, :2], {}, bp.ShapeError, r"y must have shape \(rows, 3\), got \(20, 2\)"),
    (Y[:, 0], {}, bp.ShapeError, r"y must have shape \(rows, 3\), got \(20,\)"),
    (LABELS, {}, bp.ShapeError, r"class labels go with loss 'cross_entropy'"),
    (changed(Y, (7, 1), np.nan), {}, ValueError, r"y must be finite, got nan at row 7, column 1"),
    (np.full(20, "a"), {}, TypeError, r"y must be numeric, .*estimators"),
    (LABELS + 1, {"loss": "cross_entropy"}, ValueError, r"y .* 0 to 2 .* got 3 at row 2"),
    (LABELS - 1, {"loss": "cross_entropy"}, ValueError, r"y .* 0 to 2 .* got -1 at row 0"),
    (LABELS + 0.5, {"loss": "cross_entropy"}, ValueError, r"whole class labels, got 0.5 at row 0"),
    (Y, {"loss": "cross_entropy"}, ValueError, r"y must be between 0 and 1 .*cross_entropy"),
    (Y, {"loss": "poisson"}, ValueError, r"y must be not negative for loss 'poisson'"),
    (Y, {"loss": "crossentropy"}, ValueError, r"loss .*cross_entropy.* got 'crossentropy'"),
    (Y, {"loss": 3}, TypeError, r"loss must be .* got 3"),
    (Y, {"optimizer": "adan"}, ValueError, r"optimizer .* got 'adan'"),
    (Y, {"epochs": 0}, ValueError, r"epochs must be an int >= 1, got 0"),
    (Y, {"epochs": 2.0}, TypeError, r"epochs must be an int >= 1, got 2.0"),
    (Y, {"batch_size": 0}, ValueError, r"batch_size must be an int >= 1, got 0"),
    (Y, {"shuffle": 1}, TypeError, r"shuffle must be True or False, got 1"),
    (Y, {"resume": None}, TypeError, r"resume must be True or False, got None"),
    (Y, {"verbose": 3}, ValueError, r"verbose .* got 3"),
    (Y, {"max_seconds": 0}, ValueError, r"max_seconds .* got 0"),
    (Y, {"on_divergence": "stay"}, ValueError, r"on_divergence .* got 'stay'"),
    (Y, {"validation_split": 1.0}, ValueError, r"validation_split .* got 1.0"),
    (Y, {"validation_split": 0.001}, ValueError, r"validation_split=0.001 of 20 rows leaves 20"),
    (Y, {"validation_split": 0.1, "validation_data": (X, Y)}, ValueError, r"validation_split"),
    (Y, {"validation_data": X}, TypeError, r"validation_data must be \(X, y\)"),
    (Y, {"validation_data": (X, Y[:3])}, bp.ShapeError, r"y_validation .* X_validation: 20"),
    (
        Y,
        {"validation_data": (changed(X, (1, 0), np.inf), Y)},
        ValueError,
        r"X_validation must be finite, got inf at row 1, column 0",
    ),
    (Y, {"metrics": ["acc"]}, ValueError, r"metrics\[0\] .* got 'acc'"),
    (Y, {"metrics": 5}, TypeError, r"metrics .* got 5"),
    (
        LABELS,
        {"loss": "cross_entropy", "metrics": ["mse"]},
        ValueError,
        r"metrics: 'mse' needs target rows",
    ),
    (Y, {"sample_weight": np.ones(3)}, bp.ShapeError, r"sample_weight .*\(20,\), got \(3,\)"),
    (
        Y,
        {"sample_weight": changed(np.ones(20), 4, -1)},
        ValueError,
        r"sample_weight .* got -1.0 at row 4",
    ),
    (Y, {"sample_weight": np.zeros(20)}, ValueError, r"sample_weight .* finite sum above 0, got 0"),
    (Y, {"class_weight": "balanced"}, ValueError, r"class_weight .* got loss 'mse'"),
    (
        LABELS,
        {"loss": "cross_entropy", "class_weight": {3: 1.0}},
        ValueError,
        r"class_weight .* keys 0 to 2, got 3",
    ),
    (
        LABELS,
        {"loss": "cross_entropy", "class_weight": {1: -1.0}},
        ValueError,
        r"class_weight\[1\] .* got -1.0",
    ),
    (Y, {"schedule": "slow"}, ValueError, r"schedule .* got 'slow'"),
    (Y, {"callbacks": [print]}, TypeError, r"callbacks\[0\] must be a Callback"),
    (Y, {"callbacks": [bp.EarlyStopping()]}, ValueError, r"monitor of EarlyStopping .* 'val_loss'"),
    (Y, {"schedule": "reduce_on_plateau"}, ValueError, r"monitor of ReduceOnPlateau"),
]


@pytest.mark.parametrize(
    ("y", "options", "error", "message"), MISTAKES, ids=[str(m[3])[:45] for m in MISTAKES]
)
def test_mistakes_come_before_any_work(y, options, error, message):
    """The weights, the state and the position stay as they were."""
    net = make()
    net.fit(X, Y, loss="mse", epochs=1)
    before = sha256(net), net._core.counters(), net.history
    with pytest.raises(error, match=message):
        net.fit(X, y, **{"loss": "mse", **options})
    assert (sha256(net), net._core.counters(), net.history) == before
    net.fit(X, Y, loss="mse", epochs=1)
    twin = make()
    twin.fit(X, Y, loss="mse", epochs=2)
    assert sha256(net) == sha256(twin)


def test_cross_entropy_and_output_layers():
    with pytest.raises(ValueError, match="binary_cross_entropy"):
        make(1).fit(X, np.zeros(20), loss="cross_entropy")
    with pytest.raises(ValueError, match=r"\"softmax\", not \"relu\""):
        make(3, bp.Dense(3, "relu")).fit(X, LABELS, loss="cross_entropy")
    with pytest.raises(ValueError, match="X must have at least one row"):
        make().fit(X[:0], Y[:0], loss="mse")


def test_rprop_wants_full_batches():
    with pytest.warns(UserWarning, match="batch_size=8 of 20 rows"):
        make().fit(X, Y, loss="mse", optimizer="rprop", batch_size=8, epochs=1)


# ---- targets ------------------------------------------------------------------------------------


def test_one_output_takes_flat_targets():
    nets = [make(1), make(1)]
    nets[0].fit(X, Y[:, 0], loss="mse", epochs=2)
    nets[1].fit(X, Y[:, :1], loss="mse", epochs=2)
    assert sha256(nets[0]) == sha256(nets[1])


def test_forms_of_class_labels():
    """Any integer type, a column, whole floats and one-hot rows are the same targets."""
    forms = [LABELS, LABELS.astype(np.uint8), LABELS[:, None], LABELS.astype(float), list(LABELS)]
    hashes = set()
    for y in [*forms, np.eye(3)[LABELS]]:
        net = make()
        net.fit(X, y, loss="cross_entropy", epochs=2)
        hashes.add(sha256(net))
    assert len(hashes) == 1


def test_validation_split_is_stratified():
    rng = np.random.default_rng(0)
    labels = np.sort(rng.permutation(np.repeat([0, 1, 2], [100, 50, 10])))
    rows = np.column_stack([np.arange(160), labels, labels, labels])
    seen = []

    def look(y, output):
        seen.append(y)
        return 0.0

    net = make()
    net.fit(rows, labels, loss="cross_entropy", epochs=1, validation_split=0.2, metrics=[look])
    trained, held = seen
    assert np.bincount(held).tolist() == [20, 10, 2]
    assert np.bincount(trained).tolist() == [80, 40, 8]
    net.fit(rows, labels, loss="cross_entropy", epochs=1, validation_split=0.2, metrics=[look])
    assert (seen[3] == held).all()  # the seed's choice
    make().fit(X, Y, loss="mse", epochs=1, validation_split=0.25, metrics=[look])
    assert (len(seen[4]), len(seen[5])) == (15, 5)


# ---- history, callbacks -------------------------------------------------------------------------


def test_history_and_its_keys():
    net = make()
    history = net.fit(X, Y, loss="mse", epochs=3, metrics=["mae"], validation_data=(X, Y))
    keys = ["loss", "mae", "val_loss", "val_mae", "penalty", "learning_rate", "seconds"]
    assert list(history.history) == keys
    assert all(len(values) == 3 for values in history.history.values())
    assert net.history is history
    assert history.epoch == [0, 1, 2]


def test_history_survives_exceptions():
    def fail(epoch, logs):
        if epoch == 1:
            raise OSError("disk")

    net = make()
    with pytest.raises(OSError, match="disk"):
        net.fit(X, Y, loss="mse", epochs=5, callbacks=[bp.LambdaCallback(on_epoch_end=fail)])
    assert len(net.history.history["loss"]) == 2
    net.fit(X, Y, loss="mse", epochs=1)


def test_order_of_callbacks():
    calls = []

    class Recorder(bp.Callback):
        def on_train_begin(self, logs):
            calls.append(("begin", logs["epochs"]))

        def on_epoch_begin(self, epoch, logs):
            calls.append(("epoch", epoch))

        def on_batch_end(self, batch, logs):
            assert np.isfinite(logs["loss"])
            calls.append(("batch", batch))

        def on_epoch_end(self, epoch, logs):
            assert self.net.history.history["loss"][-1] == logs["loss"]
            calls.append(("done", epoch))

        def on_train_end(self, logs):
            calls.append(("end", logs["loss"] > 0))

    make().fit(X, Y, loss="mse", epochs=2, batch_size=10, callbacks=[Recorder()])
    epochs = [[("epoch", e), ("batch", 0), ("batch", 1), ("done", e)] for e in (0, 1)]
    assert calls == [("begin", 2), *epochs[0], *epochs[1], ("end", True)]


@pytest.mark.parametrize("method", ["on_train_begin", "on_epoch_begin", "on_epoch_end"])
def test_a_true_return_stops(method):
    stop = bp.LambdaCallback(**{method: lambda *_: True})
    history = make().fit(X, Y, loss="mse", epochs=5, callbacks=[stop])
    assert history.epoch == ([0] if method == "on_epoch_end" else [])


def test_early_stopping_puts_the_best_weights_back():
    net, kept = make(), []
    keep = bp.LambdaCallback(on_epoch_end=lambda e, logs: kept.append(net.parameters.copy()))
    stopping = bp.EarlyStopping(patience=3)
    net.fit(
        X,
        Y,
        loss="mse",
        optimizer=bp.Adam(0.1),
        epochs=300,
        validation_data=data(15)[::1],
        callbacks=[keep, stopping],
    )
    losses = net.history.history["val_loss"]
    assert stopping.best_epoch == int(np.argmin(losses))
    assert same_bits(net.parameters, kept[stopping.best_epoch])


def test_predict_inside_own_callbacks():
    net, outputs = make(), []

    def look(epoch, logs):
        outputs.append(net.predict(X))
        assert net.evaluate(X, Y)["loss"] > 0
        with pytest.raises(RuntimeError, match="fit"):
            net.forward(X)

    net.fit(X, Y, loss="mse", epochs=3, callbacks=[bp.LambdaCallback(on_epoch_end=look)])
    assert same_bits(outputs[-1], net.predict(X))
    assert not same_bits(outputs[0], outputs[1])


# ---- divergence ---------------------------------------------------------------------------------

WILD = {"loss": "mse", "optimizer": bp.SGD(1e18), "batch_size": 5, "epochs": 50}


def test_divergence_names_the_place_and_restores():
    net = make(3, bp.Dense(5, name="hidden"), bp.Dense(3, name="out"))
    kept = []
    keep = bp.LambdaCallback(on_epoch_begin=lambda e, logs: kept.append(net.parameters.copy()))
    with pytest.raises(bp.DivergenceError, match=r"in epoch \d+, batch \d+") as caught:
        net.fit(X, Y, callbacks=[keep], **WILD)
    error = caught.value
    assert isinstance(error, FloatingPointError)
    assert error.layer in ("hidden", "out", None)
    assert error.epoch == len(kept) - 1
    assert 0 <= error.batch < 4
    assert same_bits(net.parameters, kept[-1])
    assert len(net.history.epoch) == error.epoch
    net.fit(X, Y, loss="mse", epochs=1)
    assert np.isfinite(net.parameters).all()


def test_divergence_in_a_later_epoch():
    """A target that only overflows once the weights have grown for some epochs."""
    net = make(1, bp.Dense(1, "identity", weight_init="ones"))
    with pytest.raises(bp.DivergenceError) as caught:
        net.fit(X, Y[:, 0], loss="mse", optimizer=bp.SGD(3.0), batch_size=20, epochs=200)
    assert caught.value.epoch > 3
    assert len(net.history.history["loss"]) == caught.value.epoch
    assert np.isfinite(net.parameters).all()


def test_divergence_may_stop_quietly_or_be_ignored():
    net = make()
    with pytest.warns(RuntimeWarning, match="became NaN or infinite in epoch"):
        history = net.fit(X, 1e30 * Y, on_divergence="stop", **WILD)
    assert len(history.epoch) < 50
    assert np.isfinite(net.parameters).all()
    net = make()
    history = net.fit(X, 1e30 * Y, on_divergence="ignore", **WILD)
    assert len(history.epoch) == 50
    assert not np.isfinite(history.history["loss"][-1])


def test_weights_that_the_user_made_infinite():
    net = make()
    net.params["out.kernel"][0, 0] = np.inf
    with pytest.raises(bp.DivergenceError, match="layer out") as caught:
        net.fit(X, Y, loss="mse")
    assert (caught.value.layer, caught.value.epoch, caught.value.batch) == ("out", 0, 0)


def test_divergence_of_a_callable_loss():
    def loss(target, output):
        return np.nan, np.zeros_like(output)

    net = make()
    before = sha256(net)
    with pytest.raises(bp.DivergenceError, match="the loss became NaN"):
        net.fit(X, Y, loss=loss)
    assert sha256(net) == before


# ---- memory maps --------------------------------------------------------------------------------


def mapped(tmp_path, values: np.ndarray, name: str = "x") -> np.memmap:
    array = np.memmap(tmp_path / name, values.dtype, "w+", shape=values.shape)
    array[:] = values
    return array


NETS = {
    "plain": lambda: make(),
    "standardized": lambda: make(3, bp.Standardize(), bp.Dense(3)),
}


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("split", [0.0, 0.2])
def test_nan_in_a_mapped_x(kind, split, tmp_path):
    """It is found while it is read; weights and statistics are as before."""
    net = NETS[kind]()
    before, output = sha256(net), net.predict(X)
    bad = mapped(tmp_path, changed(X, (13, 2), np.nan))
    with pytest.raises(ValueError, match=r"X must be finite, got .* row 13"):
        net.fit(bad, Y, loss="mse", batch_size=4, validation_split=split)
    assert sha256(net) == before
    assert same_bits(net.predict(X), output)
    net.fit(X, Y, loss="mse", epochs=1)


def test_nan_in_other_mapped_arrays(tmp_path):
    net = make()
    bad_x = mapped(tmp_path, changed(X, (13, 2), np.nan))
    bad_y = mapped(tmp_path, changed(Y, (4, 1), np.inf), "y")
    with pytest.raises(ValueError, match=r"y must be finite, got inf at row 4"):
        net.fit(X, bad_y, loss="mse")
    with pytest.raises(ValueError, match=r"X_validation must be finite, got nan at row 13"):
        net.fit(X, Y, loss="mse", validation_data=(bad_x, Y))
    for call in (net.predict, net.forward, lambda x: net.evaluate(x, Y, loss="mse")):
        with pytest.raises(ValueError, match=r"X must be finite, got nan at row 13"):
            call(bad_x)


# ---- time, signals, threads ---------------------------------------------------------------------


def long_fit(net: bp.Network, **options) -> None:
    """A fit of hours."""
    rows, targets = data(5000)
    net.fit(rows, targets, loss="mse", epochs=10**6, **options)


def test_max_seconds():
    net = make()
    start = time.perf_counter()
    long_fit(net, max_seconds=0.2)
    assert 0.2 <= time.perf_counter() - start < 1.0
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize("watched", [False, True], ids=["in C", "with on_batch_end"])
def test_ctrl_c(watched):
    net = make()
    when = []

    def interrupt() -> None:
        when.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.3, interrupt)
    timer.start()
    callbacks = [bp.LambdaCallback(on_batch_end=lambda *_: None)] if watched else []
    with pytest.raises(KeyboardInterrupt):
        long_fit(net, callbacks=callbacks)
    waited = time.perf_counter() - when[0]
    timer.join()
    assert waited < 0.2 + 0.3  # the promise, and a busy machine
    assert np.isfinite(net.parameters).all()
    assert np.isfinite(net.predict(X)).all()
    net.fit(X, Y, loss="mse", epochs=2)
    assert net.history.epoch == [0, 1]


def test_other_threads_during_a_fit():
    net, errors, started = make(), [], threading.Event()
    stop = threading.Event()
    watch = bp.LambdaCallback(
        on_epoch_begin=lambda *_: started.set(), on_epoch_end=lambda *_: stop.is_set()
    )
    worker = threading.Thread(target=long_fit, args=(net,), kwargs={"callbacks": [watch]})
    worker.start()
    try:
        assert started.wait(10)
        for call in (
            lambda: net.fit(X, Y, loss="mse"),
            lambda: net.predict(X),
            lambda: net.predict_one(X[0]),
            lambda: net.evaluate(X, Y, loss="mse"),
            lambda: net.forward(X),
            lambda: net.step("sgd"),
        ):
            start = time.perf_counter()
            with pytest.raises(RuntimeError, match="fit"):
                call()
            errors.append(time.perf_counter() - start)
    finally:
        stop.set()
        worker.join()
    assert max(errors) < 0.5
    assert np.isfinite(net.predict(X)).all()


# ---- optimizer state ----------------------------------------------------------------------------


def test_state_goes_on_while_the_class_stays():
    once, twice, anew, other = make(), make(), make(), make()
    options = {"loss": "mse", "shuffle": False}
    once.fit(X, Y, epochs=4, **options)
    for _ in range(2):
        twice.fit(X, Y, epochs=2, **options)
    assert sha256(once) == sha256(twice)
    anew.fit(X, Y, epochs=2, **options)
    anew.reset_optimizer()
    anew.fit(X, Y, epochs=2, **options)
    assert sha256(anew) != sha256(once)
    other.fit(X, Y, epochs=2, **options)
    other.loss_and_gradient(X, Y, loss="mse")
    gradient = other.gradients.copy()
    before = other.parameters.copy()
    other.step(bp.SGD(0.5))
    assert other.parameters == pytest.approx(before - 0.5 * gradient, rel=1e-6, abs=1e-7)


def test_layers_may_be_frozen_at_any_time():
    """As if the network had been made of layers with these flags."""
    layers = [bp.Dense(5, "tanh"), bp.Dense(3)]
    net = make(3, *layers)
    net.loss_and_gradient(X, Y, loss="mse")
    assert net.grads["0.kernel"].any()
    layers[0].trainable = False
    net.loss_and_gradient(X, Y, loss="mse")
    assert not net.grads["0.kernel"].any()
    before = net.params["0.kernel"].copy()
    twin = net.clone()
    for each in (net, twin):
        each.fit(X, Y, loss="mse", epochs=2)
    assert same_bits(net.params["0.kernel"], before)
    assert sha256(net) == sha256(twin)
    layers[0].trainable = True
    net.fit(X, Y, loss="mse", epochs=1)
    assert not same_bits(net.params["0.kernel"], before)


def test_frozen_layers_stay():
    layers = [bp.Dense(5, "tanh"), bp.Dense(3)]
    layers[0].trainable = False
    for optimizer in ("sgd", bp.AdamW(weight_decay=0.5), bp.Adam(clip_norm=0.1)):
        net = make(3, *layers)
        before = {k: v.copy() for k, v in net.params.items()}
        net.fit(X, Y, loss="mse", optimizer=optimizer, epochs=2)
        assert same_bits(net.params["0.kernel"], before["0.kernel"])
        assert same_bits(net.params["0.bias"], before["0.bias"])
        assert not same_bits(net.params["1.kernel"], before["1.kernel"])
