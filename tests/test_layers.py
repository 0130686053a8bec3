"""Networks of every layer as one uses them: images in, mistakes, files, freezing, texts."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cases import same_bits

import bpfast as bp

SHAPE = (6, 5, 1)


def cnn(**options: object) -> bp.Network:
    layers = [
        bp.Standardize(),
        bp.Conv2D(4, 3, padding="same", use_bias=False),
        bp.BatchNorm(),
        bp.Activation("relu"),
        bp.MaxPool2D(2),
        bp.Flatten(),
        bp.Dropout(0.2),
        bp.Dense(3),
    ]
    return bp.Network(layers, input_shape=SHAPE, rng=0, **options)


def resmlp() -> bp.Network:
    def block(units: int) -> bp.Residual:
        return bp.Residual([bp.BatchNorm(), bp.Activation("relu"), bp.Dense(units)])

    return bp.Network([bp.Dense(8), block(8), block(4), bp.Dense(3)], input_shape=30, rng=0)


def images(rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Grey images whose brightness tells the class."""
    rng = np.random.default_rng(1)
    labels = rng.integers(3, size=rows)
    noise = rng.integers(0, 80, size=(rows, *SHAPE))
    return (noise + 80 * labels[:, None, None, None]).astype(np.uint8), labels


FIT = {"loss": "cross_entropy", "optimizer": "adam", "batch_size": 16}


def trained(net: bp.Network | None = None, **options: object) -> bp.Network:
    net = cnn() if net is None else net
    net.fit(*images(), **{"epochs": 2, **FIT, **options})
    return net


def statistics(net: bp.Network) -> dict[str, np.ndarray]:
    return {k: v.copy() for k, v in net.buffers.items() if ".running_" in k}


def state(net: bp.Network) -> bytes:
    return net.parameters.tobytes() + b"".join(v.tobytes() for v in net.buffers.values())


# ---- images in ----------------------------------------------------------------------------------


def strided(X: np.ndarray) -> np.ndarray:
    """Every second pixel and row of a larger array."""
    wide = np.full((2 * len(X), 6, 10, 1), 7, X.dtype)
    wide[::2, :, ::2] = X
    return wide[::2, :, ::2]


FORMS: dict[str, Callable[[np.ndarray], object]] = {
    "float32": lambda X: X.astype(np.float32),
    "float64": lambda X: X.astype(np.float64),
    "float16": lambda X: X.astype(np.float16),
    "int64": lambda X: X.astype(np.int64),
    "without the channel": lambda X: X[..., 0],
    "flat": lambda X: X.reshape(len(X), -1),
    "flat, by columns": lambda X: np.asfortranarray(X.reshape(len(X), -1)),
    "lists": lambda X: X.tolist(),
    "by columns": np.asfortranarray,
    "strided": strided,
    "backwards": lambda X: X[::-1].copy()[::-1],
    "read-only": lambda X: np.frombuffer(X.tobytes(), np.uint8).reshape(X.shape),
    "channels moved": lambda X: np.moveaxis(np.moveaxis(X, -1, 1).copy(), 1, -1),
}


@pytest.mark.parametrize("form", FORMS)
def test_images_come_in_every_form(form):
    X, labels = images()
    net = trained()
    given = FORMS[form](X)
    expected = net.predict(X)
    assert same_bits(net.predict(given), expected)
    assert same_bits(net.predict_one(given[3]), expected[3])
    assert (net.predict_classes(given) == expected.argmax(axis=1)).all()
    assert net.evaluate(given, labels) == net.evaluate(X, labels)
    again = cnn()
    again.fit(given, labels, epochs=2, **FIT)
    assert state(again) == state(net)


def test_memory_maps(tmp_path):
    X, labels = images()
    np.save(tmp_path / "images.npy", X)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    net = cnn()
    net.fit(mapped, labels, epochs=2, **FIT)
    assert state(net) == state(trained())
    assert same_bits(net.predict(mapped), net.predict(X))


def test_colours_and_sequences():
    """Channels last, or flat; a sequence alike. Nothing is left out where there are several."""
    rng = np.random.default_rng(0)
    for shape, layer in (((4, 3, 2), bp.Conv2D(3, 2)), ((7, 2), bp.Conv1D(3, 2))):
        net = bp.Network([layer, bp.GlobalAvgPool(), bp.Dense(2)], input_shape=shape, rng=0)
        X = rng.normal(size=(5, *shape)).astype(np.float32)
        out = net.predict(X)
        assert same_bits(net.predict(X.reshape(5, -1)), out)
        assert same_bits(net.predict_one(X[2]), out[2])
        with pytest.raises(bp.ShapeError, match=r"X must have shape \(rows, .* got "):
            net.predict(X[..., 0])
        with pytest.raises(bp.ShapeError, match=r"x must have shape \("):
            net.predict_one(X[2, ..., 0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((4, 1, 6, 5), r"\(rows, 6, 5, 1\) or \(rows, 30\), got 4 dimensions \(4, 1, 6, 5\)"),
        ((4, 5, 6), r"\(rows, 6, 5, 1\) or \(rows, 30\), got 3 dimensions \(4, 5, 6\)"),
        ((4, 29), r"\(rows, 6, 5, 1\) or \(rows, 30\), got 2 dimensions \(4, 29\)"),
        ((30,), r"\(rows, 6, 5, 1\) or \(rows, 30\), got 1 dimensions \(30,\)"),
    ],
    ids=str,
)
def test_images_of_another_shape(rows, message):
    net, before = cnn(), state(cnn())
    for call in (net.predict, lambda X: net.fit(X, np.zeros(4, int), **FIT)):
        with pytest.raises(bp.ShapeError, match=rf"^X must have shape {message}$"):
            call(np.zeros(rows, np.uint8))
    assert state(net) == before


def test_gradients_have_the_shape_of_images():
    net, (X, _) = cnn(), images()
    net.forward(X, training=True)
    assert net.backward(np.ones((len(X), 3))).shape == X.shape


# ---- networks that cannot be --------------------------------------------------------------------


IMAGE, VECTOR = (8, 8, 2), (7,)
MISTAKES = {
    "dense of images": (IMAGE, [bp.Dense(3)], r"layer 0 \(Dense\) .*add Flatten"),
    "conv of vectors": (VECTOR, [bp.Conv2D(3, 3)], r"layer 0 \(Conv2D\) .*\(7,\): Reshape"),
    "conv1d of images": (IMAGE, [bp.Conv1D(3, 3)], r"layer 0 \(Conv1D\) .*\(length, channels\)"),
    "kernel too large": (
        IMAGE,
        [bp.MaxPool2D(2), bp.Conv2D(3, 5)],
        r"layer 1 \(Conv2D\) .*5 positions, got .* \(4, 4, 2\) with 4 and padding 'valid'",
    ),
    "groups": (IMAGE, [bp.Conv2D(6, 3, groups=3)], r"layer 0 \(Conv2D\) has 3 groups, .* 2 chan"),
    "pool of vectors": (VECTOR, [bp.MaxPool2D(2)], r"layer 0 \(MaxPool2D\)"),
    "pool too large": (IMAGE, [bp.AvgPool2D(9)], r"layer 0 \(AvgPool2D\) .*9 positions"),
    "pool1d of images": (IMAGE, [bp.AvgPool1D(2)], r"layer 0 \(AvgPool1D\)"),
    "global of vectors": (VECTOR, [bp.GlobalAvgPool()], r"layer 0 \(GlobalAvgPool\)"),
    "reshape": (VECTOR, [bp.Reshape((2, 3))], r"layer 0 \(Reshape\) .*6 values.*7 values"),
    "slice": (VECTOR, [bp.Slice(3, 9)], r"layer 0 \(Slice\) .*\(7,\), whose last is 6"),
    "residual": (
        IMAGE,
        [bp.Residual([bp.Conv2D(2, 3)], name="block")],
        r"layer block \(Residual\) .*padding='same'",
    ),
    "within a residual": (
        VECTOR,
        [bp.Residual([bp.BatchNorm(), bp.Slice(0, 8)])],
        r"layer 0\.1 \(Slice\) ",
    ),
    "concatenate": (
        IMAGE,
        [bp.Concatenate([[], [bp.Conv2D(2, 3)]])],
        r"layer 0 \(Concatenate\) .*\(8, 8, 2\) and \(6, 6, 2\)",
    ),
    "siamese": (VECTOR, [bp.Siamese([bp.Dense(3)])], r"layer 0 \(Siamese\) .*even .* \(7,\)"),
    "no vector": (IMAGE, [bp.Conv2D(3, 3)], r"the output must be a vector, got shape \(6, 6, 3\)"),
    "shared norm": (
        VECTOR,
        [(norm := bp.BatchNorm()), bp.Dense(3), norm],
        r"layer 2 \(BatchNorm\) shares .* layer 0, .* \(7,\), got an input of shape \(3,\)",
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_networks_that_cannot_be(what):
    """One line that names the layer by its path, what it wants and what it got."""
    shape, layers, message = MISTAKES[what]
    with pytest.raises(bp.ShapeError, match=rf"^{message}") as caught:
        bp.Network(layers, input_shape=shape)
    assert "\n" not in str(caught.value)


# ---- sharing, files and copies ------------------------------------------------------------------


def shared() -> bp.Network:
    """A convolution twice, a norm twice, one of them within a residual; a tied layer."""
    conv, norm, code = bp.Conv2D(4, 3, padding="same"), bp.BatchNorm(), bp.Dense(5, "tanh")
    layers = [
        bp.Conv2D(4, 3, padding="same"),
        norm,
        conv,
        bp.Residual([norm, bp.Activation("relu"), conv], name="block"),
        bp.MaxPool2D(2),
        bp.Flatten(),
        code,
        bp.Dense(tied_to=code, name="back"),
        bp.Dense(3),
    ]
    return bp.Network(layers, input_shape=SHAPE, rng=0)


def copies(net: bp.Network, folder: Path) -> dict[str, bp.Network]:
    net.save(folder / "net.safetensors")
    return {
        "file": bp.load(folder / "net.safetensors"),
        "clone": net.clone(),
        "deepcopy": copy.deepcopy(net),
        "pickle": pickle.loads(pickle.dumps(net)),
    }


def test_copies_share_as_the_original(tmp_path):
    net, (X, _) = trained(shared()), images()
    net.layers[1].trainable = False
    for way, other in copies(net, tmp_path).items():
        assert list(other.params) == list(net.params), way
        assert list(other.buffers) == ["1.running_mean", "1.running_variance"], way
        block = other.layers[3].layers
        assert block[0] is other.layers[1], way
        assert block[2] is other.layers[2], way
        assert other.layers[7].tied_to is other.layers[6], way
        assert other.layers[1] is not net.layers[1], way
        assert not other.layers[1].trainable, way
        assert other.summary() == net.summary(), way
        assert same_bits(other.predict(X), net.predict(X)), way
        for name in ("2.kernel", "1.running_mean", "6.kernel"):
            view = {**other.params, **other.buffers}[name]
            before = other.predict(X)
            view += 0.5
            assert not same_bits(other.predict(X), before), (way, name)
        assert not same_bits(other.predict(X), net.predict(X)), way


def test_weights_by_the_names_of_pytorch():
    """Kernels are turned round, gamma and the running variance found, the count left out."""
    net, rng = shared(), np.random.default_rng(0)
    source = {
        "0.weight": rng.normal(size=(4, 1, 3, 3)),
        "0.bias": rng.normal(size=4),
        "1.weight": rng.normal(size=4),
        "1.bias": rng.normal(size=4),
        "1.running_mean": rng.normal(size=4),
        "1.running_var": rng.uniform(size=4),
        "1.num_batches_tracked": np.array(7),
        "2.weight": rng.normal(size=(4, 4, 3, 3)),
        "2.bias": rng.normal(size=4),
    }
    found = net.load_weights(source, strict=False)
    assert not found.unexpected_keys
    assert not found.mismatched
    assert found.missing_keys == ["6.kernel", "6.bias", "back.bias", "8.kernel", "8.bias"]
    for name, key in (("0.kernel", "0.weight"), ("2.kernel", "2.weight")):
        assert (net.params[name] == source[key].transpose(2, 3, 1, 0).astype(np.float32)).all()
    same = {"1.gamma": "1.weight", "1.beta": "1.bias", "1.running_variance": "1.running_var"}
    for name, key in same.items():
        view = {**net.params, **net.buffers}[name]
        assert (view == source[key].astype(np.float32)).all(), name
    before = state(net)
    with pytest.raises(ValueError, match=r"'1.running_var'\] must not be negative, got -"):
        net.load_weights({"1.running_var": -source["1.running_var"]}, strict=False)
    bad = source["2.weight"].copy()
    bad[3, 2, 1, 0] = np.nan
    with pytest.raises(
        ValueError, match=r"src\['2.weight'\] must be finite, got nan at \(3, 2, 1, 0\)"
    ):
        net.load_weights({"2.weight": bad}, strict=False)
    with pytest.raises(ValueError, match=r"0.kernel: \(3, 3, 4, 1\) for \(3, 3, 1, 4\)"):
        net.load_weights({**source, "0.weight": source["0.weight"].transpose(1, 0, 2, 3)})
    assert state(net) == before


def test_kernels_from_arrays():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 1, 4))
    layers = [bp.Conv2D(4, 3, weight_init=kernel), bp.GlobalAvgPool(), bp.Dense(2)]
    net = bp.Network(layers, input_shape=SHAPE, rng=0)
    assert (net.params["0.kernel"] == kernel.astype(np.float32)).all()
    kernel[2, 1, 0, 3] = 1e300  # finite, but not as float32
    layers[0] = bp.Conv2D(4, 3, weight_init=kernel)
    with pytest.raises(ValueError, match=r"layer 0 must be finite, got 1e\+300 at \(2, 1, 0, 3\)"):
        bp.Network(layers, input_shape=SHAPE, rng=0)
    layers[0] = bp.Conv2D(4, 3, weight_init=np.zeros((4, 1, 3, 3)))
    with pytest.raises(bp.ShapeError, match=r"\(3, 3, 1, 4\), got .*\(4, 1, 3, 3\)"):
        bp.Network(layers, input_shape=SHAPE, rng=0)


# ---- running statistics -------------------------------------------------------------------------


def recorder(seen: list[bytes]) -> bp.Callback:
    return bp.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(state(net_of[0])))


net_of: list[bp.Network] = []  # that `recorder` looks at


@pytest.mark.parametrize("make", [cnn, resmlp])
def test_early_stopping_puts_running_statistics_back(make):
    """The best epoch's weights go with the best epoch's statistics."""
    net = make()
    net_of[:], seen = [net], []
    rising = bp.schedules.Custom(lambda epoch, initial: initial if epoch < 2 else 10.0)
    stop = bp.EarlyStopping("val_loss", patience=1)
    X, labels = images()
    net.fit(
        X.reshape(40, -1) / 256,
        labels,
        epochs=9,
        validation_data=(X.reshape(40, -1) / 256, labels),
        schedule=rising,
        callbacks=[stop, recorder(seen)],
        **FIT,
    )
    assert stop.best_epoch is not None
    assert len(set(seen)) == len(seen) > stop.best_epoch + 1
    assert state(net) == seen[stop.best_epoch]


@pytest.mark.parametrize("make", [cnn, resmlp])
def test_divergence_puts_running_statistics_back(make):
    net = make()
    net_of[:], seen = [net], []
    rate = bp.schedules.Custom(lambda epoch, initial: 0.01 if epoch == 0 else 3e38)
    X, labels = images()
    with pytest.raises(bp.DivergenceError, match="layer"):
        net.fit(
            X.reshape(40, -1) / 256,
            labels,
            schedule=rate,
            epochs=20,
            callbacks=[recorder(seen)],
            **{**FIT, "optimizer": "sgd"},
        )
    assert state(net) == seen[-1]
    assert np.isfinite(net.predict(X.reshape(40, -1))).all()


@pytest.mark.parametrize("make", [cnn, shared])
def test_a_frozen_norm_trains_as_it_predicts(make):
    """gamma, beta and running statistics stay; so does what the norm makes of its input."""
    net = trained(make())
    norm = next(layer for layer in net.layers if isinstance(layer, bp.BatchNorm))
    frozen = {k: v.copy() for k, v in net.params.items() if k.endswith((".gamma", ".beta"))}
    before, weights = statistics(net), net.params["0.kernel" if make is shared else "1.kernel"]
    old = weights.copy()
    norm.trainable = False
    trained(net)
    assert all((net.params[k] == v).all() for k, v in frozen.items())
    assert all((net.buffers[k] == v).all() for k, v in before.items())
    assert (weights != old).any()
    norm.trainable = True
    trained(net)
    assert all((net.params[k] != v).any() for k, v in frozen.items())
    assert all((net.buffers[k] != v).any() for k, v in before.items())


def test_forward_of_a_frozen_norm_is_inference():
    layers = [bp.Conv2D(4, 3), bp.BatchNorm(), bp.GlobalAvgPool(), bp.Dense(3)]
    net = trained(bp.Network(layers, input_shape=SHAPE, rng=0))
    X, _ = images()
    assert not same_bits(net.forward(X, training=True), net.predict(X))
    net.layers[1].trainable = False
    assert same_bits(net.forward(X, training=True), net.predict(X))
    assert net.backward(np.ones((40, 3))).any()


def test_what_is_watched_learns_no_statistics():
    """Validation, metrics, predict and loss_and_gradient look; only steps learn."""
    net, (X, labels) = trained(), images()
    before = statistics(net)
    net.evaluate(X, labels)
    net.predict(X)
    assert all((net.buffers[k] == v).all() for k, v in before.items())


# ---- texts --------------------------------------------------------------------------------------


def test_summary_of_a_cnn():
    lines = cnn().summary().splitlines()
    assert [line.split()[:2] for line in lines[2:-2]] == [
        ["0", "Standardize"],
        ["1", "Conv2D"],
        ["2", "BatchNorm"],
        ["3", "Activation"],
        ["4", "MaxPool2D"],
        ["5", "Flatten"],
        ["6", "Dropout"],
        ["7", "Dense"],
    ]
    assert lines[3].split()[2:] == ["6", "x", "5", "x", "4", "identity", "36"]
    assert "3 x 2 x 4" in lines[6]
    assert lines[-1] == "119 parameters, 476 B as float32; 6 x 5 x 1 inputs, 3 outputs"


def test_summary_of_residuals_is_a_tree():
    lines = resmlp().summary().splitlines()
    names = [line[:14].rstrip() for line in lines[2:-2]]
    assert names == [
        *("0", "1", "  1.0", "  1.1", "  1.2"),
        *("2", "  2.0", "  2.1", "  2.2", "  2.projection", "3"),
    ]


def test_summary_says_what_is_shared():
    text = shared().summary()
    assert "shared with 1\n" in text
    assert "shared with 2\n" in text
    assert "Dense tied to 6" in text


@pytest.mark.parametrize("make", [cnn, resmlp, shared])
def test_explain_is_a_table(make):
    """What, by which kind of layer, which layer: in columns, whatever the words."""
    net = make()
    lines = net.explain(16).splitlines()
    assert lines[0].startswith("one step of 16 rows: ")
    starts = {line.index(" layer ") for line in lines[2:]}
    assert len(starts) == 1
    assert all(line == line.rstrip() and len(line) < 120 for line in lines)
    assert not any("  ," in line or "1 items" in line for line in lines)
    order = [line.split()[0] for line in lines[1:]]
    assert order == sorted(order, key=["gather", "forward", "backward", "update"].index)
    waits = [line for line in lines if "[all threads meet, then split " in line]
    columns = [line for line in waits if line.endswith("columns]")]
    norms = [use for use in net._plan.uses if isinstance(use.layer, bp.BatchNorm)]
    assert len(waits) >= 2 * len(norms)
    assert bool(columns) == (make is resmlp)


def test_readme_names_every_layer():
    text = (Path(__file__).parent.parent / "README.md").read_text()
    assert [name for name in bp.layers.FILES if f"`{name}`" not in text] == []
