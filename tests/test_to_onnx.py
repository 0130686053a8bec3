"""Models written as ONNX: what onnxruntime computes, what the reader makes of them again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from layer_cases import CASES as LAYERS
from layer_cases import Case
from onnx_models import lively, onnx, proto_of, rows, run

import bpfast as bp
from bpfast import activations
from bpfast.convert import from_onnx

#: Between onnxruntime's sums of some tens of products in float32 and ours, of the largest output.
TOLERANCE = 1e-5
#: Between two networks with the same weights, whose layers may be put together otherwise.
AGAIN = 1e-6


def images() -> list[bp.Layer]:
    """A network as one is used: scaling, a residual block, pools, a head."""
    block = [bp.BatchNorm(), bp.Activation("relu"), bp.Conv2D(8, 3, strides=2, padding="same")]
    return [
        bp.Standardize(),
        bp.Conv2D(4, 3, "silu", padding=1),
        bp.Residual(block, activation="relu"),
        bp.GaussianNoise(0.1),
        bp.Concatenate([[bp.MaxPool2D(2)], [bp.AvgPool2D(2), bp.LayerNorm()]]),
        bp.Dropout(0.5),
        bp.Flatten(),
        bp.Dense(6, "gelu"),
        bp.RMSNorm(scale=False),
        bp.Dense(3),
    ]


MORE = {
    "images": Case((8, 6, 2), images),
    "standardize": Case((4,), lambda: [bp.Standardize(), bp.Dense(2)]),
    "standardize a sequence": Case(
        (6, 3), lambda: [bp.Standardize(), bp.Conv1D(2, 3), bp.Flatten(), bp.Dense(2)]
    ),
    "standardize, then an image": Case(
        (48,),
        lambda: [bp.Standardize(), bp.Reshape((4, 6, 2)), bp.Conv2D(3, 3), bp.Flatten()],
    ),
    "flatten first": Case((3, 4, 2), lambda: [bp.Flatten(), bp.Dense(3)]),
    "reshape an image": Case(
        (4, 6, 2), lambda: [bp.Conv2D(2, 1), bp.Reshape((6, 8)), bp.Conv1D(2, 3), bp.Flatten()]
    ),
    "rmsnorm of positions": Case((4, 3, 5), lambda: [bp.RMSNorm(), bp.Flatten()]),
    "softmax of positions": Case(
        (4, 3, 5), lambda: [bp.Conv2D(3, 1, "softmax"), bp.Flatten(), bp.Dense(2)]
    ),
    "slice of channels": Case((4, 3, 5), lambda: [bp.Slice(1, 4), bp.Conv2D(2, 2), bp.Flatten()]),
    "maxpool1d same": Case(
        (7, 3), lambda: [bp.MaxPool1D(2, strides=2, padding="same"), bp.Flatten(), bp.Dense(2)]
    ),
    "avgpool2d padded": Case(
        (5, 6, 2), lambda: [bp.AvgPool2D(3, padding=1), bp.Flatten(), bp.Dense(2)]
    ),
    "siamese of images": Case(
        (6, 6, 2),
        lambda: [
            bp.Siamese(
                [bp.Conv2D(3, 3), bp.Residual([bp.Conv2D(5, 1)]), bp.GlobalAvgPool(), bp.Dense(4)]
            ),
            bp.Dense(1),
        ],
    ),
    "three branches": Case(
        (5,), lambda: [bp.Concatenate([[bp.Dense(3)], [], [bp.Dense(2, "elu")]]), bp.Dense(2)]
    ),
    **{
        f"{name} behind dense": Case((5,), lambda name=name: [bp.Dense(6, name), bp.Dense(2)])
        for name in activations.NAMES
    },
}
ALL = LAYERS | MORE


def close(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    """Equal but for a share of the largest value, with the same largest in each row."""
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    scale = max(np.abs(wanted).max(), 1e-3)
    assert np.abs(found - wanted).max() <= tolerance * scale
    top = np.take_along_axis(wanted, found.argmax(1)[:, None], 1)[:, 0]
    assert (wanted.max(1) - top <= 2 * tolerance * scale).all()


# ---- must show ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_every_layer(name):
    """Through the checker to onnxruntime, for one row and several, and back."""
    case = ALL[name]
    net = lively(bp.Network(case.make(), input_shape=case.shape, rng=1))
    proto = proto_of(net, classifier=False)
    x = rows(case.shape)
    wanted = net.predict(x)
    close(run(proto, x)["output"], wanted, TOLERANCE)
    close(run(proto, x[:1])["output"], wanted[:1], TOLERANCE)
    again = from_onnx(proto)
    assert again.input_shape == net.input_shape
    close(again.predict(x), wanted, AGAIN)


def test_every_kind_of_layer_is_among_them():
    used = set()
    for case in ALL.values():
        net = bp.Network(case.make(), input_shape=case.shape, rng=1)
        used |= {type(use.layer).__name__ for use in net._plan.uses}
    assert used == set(bp.layers.FILES)


def test_sharing_stays():
    """One set of parameters where there was one, in rows, branches and both halves of a pair."""
    for name in ("shared dense", "shared conv", "siamese distance", "siamese of images"):
        case = ALL[name]
        net = bp.Network(case.make(), input_shape=case.shape, rng=1)
        again = from_onnx(proto_of(net, classifier=False))
        assert again.parameters.size == net.parameters.size, name
    assert isinstance(again.layers[0], bp.Siamese)


def test_float64():
    net = lively(
        bp.Network([bp.Dense(6, "tanh"), bp.Dense(2)], input_shape=4, dtype="float64", rng=0)
    )
    x = rows((4,)).astype(np.float64)
    proto = proto_of(net, dtype="float64")
    np.testing.assert_allclose(run(proto, x)["output"], net.predict(x), rtol=0, atol=1e-13)
    again = from_onnx(proto)
    assert again.dtype == np.float64
    np.testing.assert_array_equal(again.predict(x), net.predict(x))
    close(run(proto_of(net), x.astype(np.float32))["output"], net.predict(x).astype("f4"), 1e-5)


# ---- classifiers --------------------------------------------------------------------------------


def fitted(outputs: int, last: str, loss: str) -> tuple[bp.Network, np.ndarray]:
    x = rows((4,), 40)
    net = bp.Network(
        [bp.Standardize(), bp.Dense(8, "relu"), bp.Dense(outputs, last)], input_shape=4, rng=0
    )
    y = (x[:, :1] > 0) if loss == "binary_cross_entropy" else np.arange(40) % outputs
    y = np.repeat(y, outputs, 1) if loss == "binary_cross_entropy" else y
    net.fit(x, y, loss=loss, epochs=3)
    return net, x


@pytest.mark.parametrize(
    ("outputs", "last", "loss"),
    [
        (3, "identity", "cross_entropy"),
        (3, "softmax", "cross_entropy"),
        (1, "identity", "binary_cross_entropy"),
        (1, "sigmoid", "binary_cross_entropy"),
        (3, "identity", "binary_cross_entropy"),
        (3, "sigmoid", "binary_cross_entropy"),
        (3, "sigmoid", "mse"),
    ],
)
def test_labels_and_probabilities(outputs, last, loss):
    net, x = fitted(outputs, last, loss) if loss != "mse" else (None, None)
    if net is None:
        net, x = fitted(outputs, last, "binary_cross_entropy")
        net.fit(x, np.eye(3)[np.arange(40) % 3], loss="mse", epochs=1)
    proto = proto_of(net)
    found = run(proto, x)
    assert list(found) == ["label", "probabilities"]
    np.testing.assert_allclose(found["probabilities"], net.predict_proba(x), rtol=0, atol=1e-6)
    assert found["label"].dtype == np.int64
    np.testing.assert_array_equal(found["label"], net.predict_classes(x))
    again = from_onnx(proto)
    np.testing.assert_allclose(again.predict(x), net.predict_proba(x), rtol=0, atol=1e-6)
    assert isinstance(again.layers[0], bp.Standardize)
    again.fit(x, rows((outputs,), 40), loss="mse", epochs=1)  # with the statistics that it has
    np.testing.assert_array_equal(again.buffers["0.mean"], net.buffers["0.mean"])


def test_labels_of_ones_own():
    net, x = fitted(3, "identity", "cross_entropy")
    names = np.array(["jay", "robin", "wren"], object)
    label = run(proto_of(net, classes=list(names)), x)["label"]
    assert label.tolist() == names[net.predict_classes(x)].tolist()
    label = run(proto_of(net, classes=[3, -5, 2**40]), x)["label"]
    assert label.tolist() == np.array([3, -5, 2**40])[net.predict_classes(x)].tolist()
    net.metadata["classes"] = json.dumps(names.tolist())
    proto = proto_of(net)
    assert set(run(proto, x)["label"]) <= {*names}
    assert from_onnx(proto).metadata == net.metadata
    for strange in ("no JSON", "[1]", '{"a": 1}', "[" * 10**5):
        net.metadata["classes"] = strange
        assert run(proto_of(net), x)["label"].dtype == np.int64
    net.metadata["classes"] = "[0.5, 1, 2]"
    assert set(run(proto_of(net), x)["label"]) <= {"0.5", "1", "2"}
    net, x = fitted(1, "sigmoid", "binary_cross_entropy")
    label = run(proto_of(net, classes=["no", "yes"]), x)["label"]
    assert label.tolist() == [["no", "yes"][i] for i in net.predict_classes(x)]


def test_of_scikit_learn():
    """Its labels too: the class of a fitted MLPClassifier."""
    pytest.importorskip("sklearn")
    from sklearn.neural_network import MLPClassifier

    x = rows((4,), 60)
    y = np.array(["no", "yes"])[(x[:, 0] > 0).astype(int)]
    theirs = MLPClassifier((5,), solver="lbfgs", max_iter=30, random_state=0, tol=1e9).fit(x, y)
    net = bp.convert.from_sklearn(theirs)
    assert run(proto_of(net), x)["label"].tolist() == theirs.predict(x).tolist()


# ---- files and refusals -------------------------------------------------------------------------


def test_the_file(tmp_path: Path):
    net = bp.Network([4, 3, 2], rng=0)
    net.metadata = {"who": "test"}
    net.to_onnx(tmp_path / "m.onnx")
    before = (tmp_path / "m.onnx").read_bytes()
    net.to_onnx(str(tmp_path / "m.onnx"))
    assert (tmp_path / "m.onnx").read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["m.onnx"]
    proto = onnx.load(tmp_path / "m.onnx")
    assert [(each.domain, each.version) for each in proto.opset_import] == [("", 20)]
    for source in (tmp_path / "m.onnx", before, proto):
        again = from_onnx(source)
        assert again.parameters.tobytes() == net.parameters.tobytes()
        assert again.metadata == {"who": "test"}


def test_names_may_be_anything():
    """Layers that are called like tensors and constants of the model."""
    layers = [
        bp.Dense(3, "silu", name="input"),
        bp.Dense(3, "gelu", name="output"),
        bp.Residual([bp.Dense(3, name="0/Gemm"), bp.Dense(3, name="Gemm")], name="0"),
        bp.Dense(3, "softmax", name="probabilities"),
    ]
    net = bp.Network(layers, input_shape=4, rng=0)
    x = rows((4,))
    close(run(proto_of(net), x)["probabilities"], net.predict(x), TOLERANCE)


def test_refused(tmp_path: Path):
    plain, many = bp.Network([4, 3], rng=0), fitted(3, "sigmoid", "binary_cross_entropy")[0]
    soft = bp.Network([bp.Dense(3, "softmax")], input_shape=4, rng=0)
    path = tmp_path / "never"
    for net, options, error, message in [
        (plain, {"dtype": "float16"}, ValueError, "dtype must be one of float32, float64, got"),
        (plain, {"classifier": 1}, TypeError, "classifier must be True or False, got 1"),
        (plain, {"classifier": True}, ValueError, "classifier must be False or None for this"),
        (plain, {"classes": [1, 2, 3]}, ValueError, "classes must be None where the outputs are"),
        (soft, {"classes": [1, 2]}, ValueError, "classes must be 3 labels, got list of length 2"),
        (soft, {"classes": "abc"}, TypeError, "classes must be a list of ints or of text, got"),
        (soft, {"classes": [1, "b", 3]}, TypeError, "classes must be all ints or all text"),
        (soft, {"classes": [1, True, 3]}, TypeError, "classes must be all ints or all text"),
        (soft, {"classes": [1, 2, 2**63]}, ValueError, "classes must be ints of 64 bits"),
        (many, {"classes": [1, 2, 3]}, ValueError, "classes must be None where each output is"),
    ]:
        with pytest.raises(error, match=re.escape(message)):
            net.to_onnx(path, **options)
    with pytest.raises(TypeError, match="path must be a str or a path, got None"):
        plain.to_onnx(None)
    with pytest.raises(FileNotFoundError):
        plain.to_onnx(tmp_path / "nowhere" / "m.onnx")
    assert not path.exists()


def test_without_onnx():
    code = (
        "import sys, bpfast as bp; sys.modules['onnx'] = None\n"
        "calls = [lambda: bp.Network([2, 1]).to_onnx('x'), lambda: bp.convert.from_onnx(b'')]\n"
        "for call in calls:\n"
        "    try: call()\n"
        "    except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("pip install 'bpfast[onnx]'") == 2
