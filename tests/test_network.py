"""The Network object: construction, views, copies, files, inference, low-level calls, texts."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from cases import same_bits, sha256

import bpfast as bp


def net_of(*layers: bp.Layer, inputs: int = 4, **options) -> bp.Network:
    options = {"rng": 0, **options}
    return bp.Network(
        list(layers) or [bp.Dense(5, "tanh"), bp.Dense(3)], input_shape=inputs, **options
    )


def data(rows: int = 20, inputs: int = 4, outputs: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, inputs)), rng.normal(size=(rows, outputs))


# ---- construction -------------------------------------------------------------------------------

MISTAKES = [
    ({"layers": "abc"}, TypeError, r"layers must be a list .* got 'abc'"),
    ({"layers": [3]}, ValueError, r"layers must be at least two sizes.* length 1"),
    ({"layers": [3, 0]}, ValueError, r"layers\[1\] must be .* >= 1, got 0"),
    ({"layers": [3, 2.5]}, TypeError, r"layers\[0\] must be a layer .* got 3"),
    ({"layers": [3, 2], "input_shape": 4}, ValueError, r"input_shape 4 contradicts .* = 3"),
    ({"layers": [bp.Dense(2)]}, ValueError, r"input_shape must be given"),
    ({"layers": [bp.Dense], "input_shape": 3}, TypeError, r"layers\[0\] .* the class Dense"),
    ({"layers": [bp.Dropout(0.5)], "input_shape": 3}, ValueError, r"at least one with parameters"),
    ({"layers": [bp.Dense(2)], "input_shape": 0}, ValueError, r"input_shape .* >= 1, got 0"),
    ({"layers": [bp.Dense(2)], "input_shape": (3, 4)}, bp.ShapeError, r"layer 0 .*, got \(3, 4\)"),
    ({"layers": [bp.Dense(2)], "input_shape": (3, 4, 0)}, ValueError, r"input_shape\[2\] .* got 0"),
    ({"layers": [bp.Dense(2)], "input_shape": (1,) * 4}, ValueError, r"input_shape .* length 4"),
    ({"layers": [bp.Dense(2)], "input_shape": 3.5}, TypeError, r"input_shape .* got 3.5"),
    (
        {"layers": [bp.Dense(2)], "input_shape": {3}},
        TypeError,
        r"input_shape must be an int or a t",
    ),
    (
        {"layers": [bp.Dense(2), bp.Standardize()], "input_shape": 3},
        ValueError,
        r"layer 1: Standardize must be the first",
    ),
    (
        {"layers": [bp.Dense(2, name="a"), bp.Dense(2, name="a")], "input_shape": 3},
        ValueError,
        r"layers\[1\].name 'a' is already that of layers\[0\]",
    ),
    (
        {"layers": [3, 2], "dtype": "float16"},
        ValueError,
        r"dtype .* got 'float16'",
    ),
    ({"layers": [3, 2], "rng": -1}, ValueError, r"rng must be from 0 .* got -1"),
    ({"layers": [3, 2], "rng": 1.5}, TypeError, r"rng must be .* got 1.5"),
    ({"layers": [3, 2], "n_threads": 0}, ValueError, r"n_threads .* >= 1, got 0"),
    (
        {"layers": [bp.Dense(2, weight_init=np.ones((2, 2)))], "input_shape": 3},
        bp.ShapeError,
        r"shape \(3, 2\), got \(2, 2\)",
    ),
]


@pytest.mark.parametrize(("arguments", "error", "message"), MISTAKES, ids=lambda v: str(v)[:40])
def test_construction_mistakes(arguments, error, message):
    with pytest.raises(error, match=message):
        bp.Network(**arguments)


def test_too_large_a_network_is_a_memory_error_with_its_size():
    with pytest.raises(MemoryError, match=r"\d"):
        bp.Network([bp.Dense(2**40)], input_shape=2**40)
    with pytest.raises(MemoryError, match=r"\d+ .*bytes|bytes.* \d+"):
        bp.Network([2**22, 2**23])  # more than 47 bits of addresses


def test_list_of_sizes():
    net = bp.Network([6, 5, 4, 3], rng=0)
    assert [(d.units, d.activation) for d in net.layers] == [
        (5, "relu"),
        (4, "relu"),
        (3, "identity"),
    ]
    assert all(d.weight_init == bp.initializers.HeNormal() for d in net.layers)
    assert (net.inputs, net.outputs, net.dtype) == (6, 3, np.float32)
    assert list(net.params) == ["0.kernel", "0.bias", "1.kernel", "1.bias", "2.kernel", "2.bias"]
    assert not net.params["0.bias"].any()


def test_seeds():
    assert sha256(net_of(rng=5)) == sha256(net_of(rng=np.int64(5))) != sha256(net_of(rng=6))
    drawn = net_of(rng=np.random.default_rng(3))
    assert sha256(drawn) == sha256(net_of(rng=np.random.default_rng(3)))
    assert drawn.seed == net_of(rng=drawn.seed).seed
    free = net_of(rng=None)
    assert sha256(free) == sha256(net_of(rng=free.seed)) != sha256(net_of(rng=None))
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    net_of(rng=None).fit(*data(), loss="mse")
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_dtypes_start_from_the_same_draws():
    single, double = net_of(dtype="float32"), net_of(dtype=np.float64)
    assert same_bits(single.parameters, double.parameters.astype(np.float32))


# ---- parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_views_share_one_vector(dtype):
    net = net_of(bp.Dense(5, name="a"), bp.Dense(2, use_bias=False), dtype=dtype)
    assert {k: v.shape for k, v in net.params.items()} == {
        "a.kernel": (4, 5),
        "a.bias": (5,),
        "1.kernel": (5, 2),
    }
    for flat, views in ((net.parameters, net.params), (net.gradients, net.grads)):
        assert flat.dtype == dtype
        assert flat.flags.writeable
        flat[:] = np.arange(35)
        assert (np.concatenate([v.ravel() for v in views.values()]) == np.arange(35)).all()
        views["1.kernel"][4, 1] = -1
        assert flat[-1] == -1


def test_writing_to_a_view_changes_the_output():
    net, (X, y) = net_of(), data()
    net.fit(X, y, loss="mse", epochs=1)
    net.params["1.kernel"][:] = 0
    net.params["1.bias"][:] = [1, 2, 3]
    assert (net.predict(X) == [1, 2, 3]).all()
    assert (net.predict(X[:1]) == [1, 2, 3]).all()
    net.loss_and_gradient(X, y, loss="mse")
    assert not net.grads["0.kernel"].any()


def test_views_outlive_the_network():
    net = net_of()
    view, expected = net.params["0.kernel"], net.params["0.kernel"].copy()
    del net
    assert (view == expected).all()


# ---- inference ----------------------------------------------------------------------------------

BAD_INPUTS = [
    (np.zeros((3, 5)), bp.ShapeError, r"X must have 4 columns, got shape \(3, 5\)"),
    (np.zeros(4), bp.ShapeError, r"X must have shape \(rows, 4\), got 1 dimensions \(4,\)"),
    (np.zeros((1, 2, 4)), bp.ShapeError, r"X must have shape \(rows, 4\)"),
    ([[1, 2], [3]], bp.ShapeError, r"X must be a rectangular array"),
    ([["a"] * 4], TypeError, r"X must be numeric, got dtype <U1"),
    (np.zeros((2, 4), complex), TypeError, r"X must have a real dtype .* complex128"),
    (np.zeros((2, 4), ">f8"), TypeError, r"X must be in native byte order"),
    (np.ma.masked_array(np.zeros((2, 4))), TypeError, r"X must not be a masked array"),
    ([[0, 0, 0, 0], [0, np.nan, 0, 0]], ValueError, r"X .* got nan at row 1, column 1"),
    ([[0, 0, -np.inf, 0]], ValueError, r"X .* got -inf at row 0, column 2"),
    ([[0, 0, 1e39, 0]], ValueError, r"X must be finite, got 1e\+39 at row 0, column 2"),
]


@pytest.mark.parametrize(("X", "error", "message"), BAD_INPUTS, ids=lambda v: str(v)[:20])
def test_bad_inputs(X, error, message):
    net = net_of()
    before = sha256(net)
    for call in (
        net.predict,
        net.forward,
        lambda X: net.fit(X, np.zeros((len(X), 3)), loss="mse"),
        lambda X: net.loss_and_gradient(X, np.zeros((len(X), 3)), loss="mse"),
        lambda X: net.evaluate(X, np.zeros((len(X), 3)), loss="mse"),
    ):
        with pytest.raises(error, match=message):
            call(X)
    assert sha256(net) == before
    assert net.history is None


def test_predict_shapes():
    net = net_of()
    assert net.predict(np.zeros((0, 4))).shape == (0, 3)
    assert net.predict(np.zeros((7, 4))).dtype == np.float32
    out = np.empty(3, np.float32)
    assert net.predict_one(np.ones(4), out) is out
    assert same_bits(out, net.predict(np.ones((1, 4)))[0])
    with pytest.raises(bp.ShapeError, match=r"x must have shape \(4,\), got \(3,\)"):
        net.predict_one(np.ones(3))
    with pytest.raises(bp.ShapeError, match=r"out must be .* float32 .* got float64 \(3,\)"):
        net.predict_one(np.ones(4), np.empty(3))


def test_probabilities_and_classes():
    X, _ = data()
    labels = np.arange(20) % 3
    with pytest.raises(ValueError, match=r"predict_proba needs .*'identity' and loss None"):
        net_of().predict_proba(X)
    logits = net_of()
    logits.fit(X, labels, loss="cross_entropy", epochs=1)
    shares = logits.predict_proba(X)
    assert shares.sum(axis=1) == pytest.approx(np.ones(20), rel=1e-6)
    assert (logits.predict_classes(X) == logits.predict(X).argmax(axis=1)).all()
    softmax = net_of(bp.Dense(3, "softmax"))
    assert same_bits(softmax.predict_proba(X), softmax.predict(X))
    assert (softmax.predict_classes(X) == softmax.predict(X).argmax(axis=1)).all()
    yes_or_no = net_of(bp.Dense(1))
    yes_or_no.fit(X, labels > 0, loss="binary_cross_entropy", epochs=1)
    assert yes_or_no.predict_proba(X).shape == (20, 1)
    assert (yes_or_no.predict_classes(X) == (yes_or_no.predict(X)[:, 0] > 0)).all()
    several = net_of(bp.Dense(2, "sigmoid"))
    assert (several.predict_classes(X) == (several.predict(X) > 0.5)).all()
    regression = net_of()
    regression.fit(*data(), loss="mse", epochs=1)
    with pytest.raises(ValueError, match=r"predict_proba .* loss 'mse'"):
        regression.predict_classes(X)


def test_evaluate_uses_the_last_fit():
    net, (X, y) = net_of(), data()
    with pytest.raises(ValueError, match="loss must be given"):
        net.evaluate(X, y)
    net.fit(X, y, loss=bp.losses.Huber(0.3), metrics=["mae"], epochs=1)
    scores = net.evaluate(X, y)
    assert set(scores) == {"loss", "mae"}
    assert scores == net.evaluate(X, y, loss=bp.losses.Huber(0.3), metrics="mae")
    assert scores == pickle.loads(pickle.dumps(net)).evaluate(X, y)
    assert net.evaluate(X, y, loss="mae", metrics=())["loss"] == pytest.approx(scores["mae"])


def test_callable_loss_and_metric():
    net, (X, y) = net_of(), data()

    def worst(target, output):
        return np.abs(target - output).max()

    def loss(target, output):
        return ((output - target) ** 2).mean(), 2 * (output - target) / output.size

    history = net.fit(X, y, loss=loss, metrics=["mae", worst], epochs=3, validation_data=(X, y))
    record = history.history
    assert record["worst"] == record["val_worst"]
    assert record["worst"][-1] == pytest.approx(worst(y, net.predict(X)))
    scores = net.evaluate(X, y, loss=loss, metrics=[worst])
    assert scores == {"loss": loss(y, net.predict(X))[0], "worst": record["worst"][-1]}
    known = net.loss_and_gradient(X, y, loss="mse")
    gradient = net.gradients.copy()
    assert net.loss_and_gradient(X, y, loss=loss) == pytest.approx(known, rel=1e-6)
    assert net.gradients == pytest.approx(gradient, rel=1e-4, abs=1e-7)
    with pytest.raises(bp.ShapeError, match=r"gradient must have shape \(20, 3\), got \(3,\)"):
        net.fit(X, y, loss=lambda t, o: (0.0, np.zeros(3)))


# ---- one batch at a time ------------------------------------------------------------------------


def test_backward_needs_a_forward():
    net, (X, y) = net_of(), data()
    with pytest.raises(RuntimeError, match="forward"):
        net.backward(y)
    net.forward(X)
    with pytest.raises(RuntimeError, match="forward"):
        net.backward(y)
    net.forward(X, training=True)
    with pytest.raises(bp.ShapeError, match=r"dY must have 20 rows .* got 3"):
        net.backward(y[:3])
    with pytest.raises(bp.ShapeError, match="dY must have 3 columns"):
        net.backward(y[:, :2])
    assert net.backward(y).shape == (20, 4)
    with pytest.raises(bp.ShapeError, match="at least one row"):
        net.forward(X[:0])


def test_a_batch_may_be_smaller_or_larger_than_the_last():
    net, (X, y) = net_of(dtype="float64"), data(300)
    whole = net.loss_and_gradient(X, y, loss="mse")
    net.loss_and_gradient(X[:3], y[:3], loss="mse")
    assert net.loss_and_gradient(X, y, loss="mse") == whole
    assert same_bits(net.forward(X[:40], training=True), net.forward(X)[:40])


# ---- copies and files ---------------------------------------------------------------------------


def trained(**options) -> bp.Network:
    net = net_of(bp.Standardize(), bp.Dense(5, "tanh"), bp.Dropout(0.2), bp.Dense(3), **options)
    net.metadata["who"] = "test"
    net.fit(*data(), loss="mse", optimizer=bp.Adam(0.01), metrics=["mae"], epochs=2)
    return net


def through_file(net: bp.Network, tmp_path) -> bp.Network:
    net.save(tmp_path / "net.safetensors")
    return bp.load(tmp_path / "net.safetensors")


COPIES = {
    "clone": lambda net, _: net.clone(),
    "deepcopy": lambda net, _: copy.deepcopy(net),
    "pickle": lambda net, _: pickle.loads(pickle.dumps(net)),
    "file": through_file,
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_copies_go_on_alike_and_apart(way, dtype, tmp_path):
    net = trained(dtype=dtype)
    other = COPIES[way](net, tmp_path)
    X, y = data()
    assert same_bits(net.predict(X), other.predict(X))
    assert (other.seed, other.metadata, other.dtype) == (net.seed, {"who": "test"}, net.dtype)
    assert other.evaluate(X, y) == net.evaluate(X, y)
    for each in (net, other):
        each.fit(X, y, loss="mse", optimizer=bp.Adam(0.02), epochs=2)
    assert sha256(net) == sha256(other)
    other.parameters[:] = 0
    assert net.parameters.any()


def test_equal_networks_make_equal_files(tmp_path):
    for name in "ab":
        trained().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    bp.load(tmp_path / "a").save(tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == (tmp_path / "a").read_bytes()
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["a", "b", "c"]


def test_save_replaces_metadata_and_names_missing_folders(tmp_path):
    net = net_of()
    net.save(tmp_path / "a", metadata={"k": "v"})
    assert bp.load(tmp_path / "a").metadata == {"k": "v"}
    with pytest.raises(TypeError, match="metadata"):
        net.save(tmp_path / "a", metadata={"k": 1})
    with pytest.raises(OSError):
        net.save(tmp_path / "nowhere" / "a")
    with pytest.raises(FileNotFoundError, match="absent"):
        bp.load(tmp_path / "absent")
    (tmp_path / "text").write_text("no model")
    with pytest.raises(ValueError, match="text is not a readable safetensors file"):
        bp.load(tmp_path / "text")


def test_load_weights():
    net, other = net_of(), net_of(rng=1)
    found = net.load_weights(other.params)
    assert sha256(net) == sha256(other)
    assert found[:4] == (list(net.params), [], [], [])
    assert found.by == "name"
    assert found.sources == {name: name for name in net.params}


def test_load_weights_from_a_file_keeps_own_statistics(tmp_path):
    trained().save(tmp_path / "a")
    net = net_of(bp.Standardize(), bp.Dense(5, "tanh"), bp.Dropout(0.2), bp.Dense(3), rng=9)
    found = net.load_weights(tmp_path / "a")
    assert found.matched == ["1.kernel", "1.bias", "3.kernel", "3.bias"]
    assert sha256(net) == sha256(trained())


def test_pytorch_weights_are_transposed():
    net = net_of()
    W, b = np.arange(20.0).reshape(5, 4), np.arange(5.0)
    source = {"0.weight": W, "0.bias": b, "1.weight": np.ones((3, 5)), "1.bias": np.ones(3)}
    net.load_weights(source)
    assert (net.params["0.kernel"] == W.T).all()


def test_load_weights_that_do_not_fit():
    net = net_of()
    before = sha256(net)
    source = {"0.kernel": np.ones((4, 5)), "0.bias": np.ones(6), "9.bias": np.ones(1)}
    with pytest.raises(ValueError, match=r"missing 1.kernel, 1.bias; .*9.bias; .*0.bias: \(6,\)"):
        net.load_weights(source)
    assert sha256(net) == before
    found = net.load_weights(source, strict=False)
    assert found.matched == ["0.kernel"]
    assert found.missing_keys == ["1.kernel", "1.bias"]
    assert found.unexpected_keys == ["9.bias"]
    assert len(found.mismatched) == 1
    why = "; nor in order: '0.bias' has shape (6,), 0.bias (5,)"
    assert found.reasons["9.bias"] == f"the network has nothing of this name{why}"
    assert found.reasons["1.bias"] == f"src has nothing of this name{why}"
    assert found.reasons["0.bias"] == "src has shape (6,) for (5,)"
    assert (net.params["0.kernel"] == 1).all()


# ---- description --------------------------------------------------------------------------------


def test_texts():
    net = net_of(bp.Standardize(), bp.Dense(5, "tanh", name="hidden"), bp.Dropout(0.2), bp.Dense(3))
    summary = net.summary()
    assert "hidden" in summary
    assert "43 parameters" in summary
    assert len(summary.splitlines()) == 8
    assert "tanh" in summary
    plan = net.explain(64)
    assert "64 rows" in plan
    assert net._core.isa in plan
    assert len(plan.splitlines()) > 6
    assert "43 parameters" in repr(net)


def test_memory_required():
    small, large = net_of(), bp.Network([784, 256, 10])
    assert 0 < small.memory_required(32) < large.memory_required(32) < large.memory_required(512)
    assert large.memory_required(32, optimizer="sgd") < large.memory_required(32)
    assert large.memory_required(32, rows=10**6) >= large.memory_required(32) + 8 * 10**6
    one_array = large.memory_required(32, optimizer="rmsprop")
    assert large.memory_required(32, optimizer="sgd", average=True) == one_array
    # PARAM, GRAD, SNAPSHOT, two moments, and the packed weights in both orders
    assert large.memory_required(1) >= 6 * large.parameters.nbytes
    with pytest.raises(MemoryError, match="batch_size"):
        large.memory_required(2**62)


QUIET = """
import os, signal, sys
import numpy as np
before = np.geterr(), [signal.getsignal(s) for s in range(1, 32)], dict(os.environ)
import bpfast as bp
net = bp.Network([4, 40, 3], rng=0)
X = np.full((200, 4), 1e-30)
net.fit(X, np.zeros((200, 3)), loss="mse", epochs=2)
net.predict(X), net.predict(X[:1]), net.evaluate(X, np.zeros((200, 3)))
net.forward(X, training=True), net.backward(np.ones((200, 3)))
tiny = np.full(1000, 1e-310)
assert (tiny * 1.0 != 0).all() and (np.float32(1e-40) * np.ones(64, np.float32) != 0).all()
assert before == (np.geterr(), [signal.getsignal(s) for s in range(1, 32)], dict(os.environ))
"""


def test_process_state_is_left_alone():
    run = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
