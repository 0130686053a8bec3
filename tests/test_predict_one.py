"""predict_one: whatever way the core takes, the bits of predict, and its errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import bpfast as bp

N = 5


def net_of(*layers: bp.Layer, dtype: str = "float32", **options) -> bp.Network:
    chosen = layers or (bp.Dense(7, "tanh"), bp.Dense(3))
    return bp.Network(list(chosen), input_shape=N, dtype=dtype, rng=1, **options)


def rows() -> dict[str, np.ndarray]:
    """Equal numbers, exact in every type, in all that an array of N values can be."""
    x = np.array([1, 0, 3, 2, 5], np.float32)
    wide = np.zeros(3 * N, np.float64)
    wide[::3] = x
    shifted = np.zeros(4 * N + 1, np.uint8)[1:].view(np.float32)
    shifted[:] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    types = ("float32", "float64", "float16", "uint8", "int64", "longlong")
    return {name: x.astype(name) for name in types} | {
        "strided": wide[::3],
        "backward": x[::-1].copy()[::-1],
        "unaligned": shifted,
        "read-only": frozen,
        "column of a matrix": np.asfortranarray(np.stack([x, x])).T[:, 1],
        "subclass": x.view(type("Sub", (np.ndarray,), {})),
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", rows())
def test_every_kind_of_row(kind, dtype):
    x, net = rows()[kind], net_of(dtype=dtype)
    expected = net.predict(rows()["float32"][None])[0]
    given = np.empty(3, dtype)
    assert net.predict_one(x, given) is given
    for found in (given, net.predict_one(x), net.predict_one(list(x))):
        assert found.shape == (3,)
        assert found.dtype == dtype
        assert found.tobytes() == expected.tobytes()


def test_every_layer_and_width():
    """Groups of one to eight vectors, full and partial, one group and several."""
    rng = np.random.default_rng(2)
    for inputs, units in ((1, 1), (3, 17), (31, 64), (64, 65), (20, 130), (9, 200), (40, 515)):
        layers = [bp.Standardize(), bp.Dense(units, "gelu"), bp.Dropout(0.5), bp.Dense(units)]
        net = bp.Network([*layers, bp.Dense(units, "softmax")], input_shape=inputs, rng=0)
        X = rng.normal(3, 2, (200, inputs)).astype(np.float32)
        net.fit(X, np.full((200, units), 1 / units), loss="cross_entropy" if units > 1 else "mse")
        expected = net.predict(X)  # packed
        for i in (0, 7, 199):
            assert net.predict_one(X[i]).tobytes() == expected[i].tobytes()


def test_out_may_be_the_row():
    net = net_of(bp.Dense(N, "relu"), bp.Dense(N))
    x = rows()["float32"]
    expected = net.predict(x[None])[0]
    assert net.predict_one(x, out=x) is x
    assert x.tobytes() == expected.tobytes()


def test_wide_layers_need_more_than_the_stack():
    net = bp.Network([3, 5000, 2], rng=0)
    x = np.ones(3, np.float32)
    assert net.predict_one(x).tobytes() == net.predict(np.ones((99, 3)))[98].tobytes()


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros(4, "f"), bp.ShapeError, r"x must have shape \(5,\), got \(4,\)"),
        (np.zeros((1, N), "f"), bp.ShapeError, r"x must have shape \(5,\), got \(1, 5\)"),
        (np.float32(1), bp.ShapeError, r"x must have shape \(5,\), got \(\)"),
        (np.array([1, 2, np.nan, 4, 5]), ValueError, "x must be finite, got nan at .* column 2"),
        (np.array([1, 2, 1e300, 4, 5]), ValueError, "x must be finite, got 1e.300 at"),
        (np.array([1, -np.inf, 1, 4, 5], "f"), ValueError, "x must be finite, got -inf at"),
        (np.zeros(N, ">f4"), TypeError, "x must be in native byte order"),
        (np.zeros(N, "c8"), TypeError, "x must have a real dtype"),
        (np.array(["a"] * N), TypeError, "x must be numeric"),
        (np.ma.masked_array(np.zeros(N)), TypeError, "x must not be a masked array"),
    ],
)
def test_bad_rows(x, error, message):
    out = np.full(3, 7, np.float32)
    with pytest.raises(error, match=message):
        net_of().predict_one(x, out)
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("out", "got"),
    [
        (np.zeros(3), r"got float64 \(3,\)"),
        (np.zeros(4, "f"), r"got float32 \(4,\)"),
        (np.zeros((3, 1), "f"), r"got float32 \(3, 1\)"),
        (np.zeros(6, "f")[::2], r"got float32 \(3,\)"),
    ],
)
def test_bad_out(out, got):
    with pytest.raises(bp.ShapeError, match=rf"out must be contiguous float32 \(3,\), {got}"):
        net_of().predict_one(np.zeros(N, "f"), out)


def test_read_only_out():
    out = np.zeros(3, np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        net_of().predict_one(np.zeros(N, "f"), out)


def test_from_many_threads():
    net = bp.Network([N, 400, 400, 3], rng=0)  # large enough to let go of the GIL
    X = np.random.default_rng(0).normal(size=(64, N))
    expected = net.predict(X)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            found = np.stack(list(pool.map(net.predict_one, X)))
            assert found.tobytes() == expected.tobytes()
