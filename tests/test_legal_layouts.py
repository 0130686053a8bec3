"""Arrays of unusual but legal layout and dtype give the bits of plain ones."""

from __future__ import annotations

import array
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cases import same_bits
from malformed import (
    COLS,
    LABELS,
    OUT,
    WEIGHTS,
    X,
    Y,
    make,
    read_only,
)
from numpy.lib.stride_tricks import as_strided

import bpfast as bp


@pytest.fixture(scope="module")
def net() -> bp.Network:
    return make()


def misaligned(a: np.ndarray) -> np.ndarray:
    room = np.zeros(a.nbytes + 1, np.uint8)
    shifted = room[1:].view(a.dtype).reshape(a.shape)
    shifted[...] = a
    assert a.itemsize == 1 or not shifted.flags.aligned
    return shifted


def with_gaps(a: np.ndarray) -> np.ndarray:
    room = np.full(tuple(3 * n for n in a.shape), 99, a.dtype)
    view = room[tuple(slice(1, None, 3) for _ in a.shape)]
    view[...] = a
    return view


def mapped(a: np.ndarray, folder: Path) -> np.ndarray:
    name = str(len(list(folder.iterdir())))
    array_file = np.memmap(folder / name, a.dtype, "w+", shape=a.shape)
    array_file[...] = a
    return array_file


LAYOUTS: dict[str, Callable[[np.ndarray, Path], object]] = {
    "read-only": lambda a, _: read_only(a.copy()),
    "misaligned": lambda a, _: misaligned(a),
    "reversed": lambda a, _: a[::-1].copy()[::-1],
    "reversed columns": lambda a, _: np.flip(np.flip(a).copy()),
    "Fortran order": lambda a, _: np.asfortranarray(a),
    "with gaps": lambda a, _: with_gaps(a),
    "memory map": lambda a, folder: mapped(a, folder),
    "list": lambda a, _: a.tolist(),
    "tuple of rows": lambda a, _: tuple(a),
    "memoryview": lambda a, _: memoryview(a),
    "subclass": lambda a, _: a.view(type("Own", (np.ndarray,), {})),
    "one column repeated": lambda a, _: as_strided(a, a.shape, a.strides),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_legal_layouts_give_the_bits_of_plain_arrays(layout, dtype, tmp_path):
    def results(change: Callable[[np.ndarray], object]) -> list[np.ndarray]:
        nets = [bp.Network([COLS, 8, OUT], rng=0, dtype="float64") for _ in range(2)]
        x = change(X.astype(dtype))
        weights = change(WEIGHTS.astype(dtype))
        targets = change(Y.astype(dtype))
        labels = change(LABELS)
        nets[0].fit(x, targets, loss="mse", sample_weight=weights, epochs=2, batch_size=10)
        nets[1].fit(x, labels, loss="cross_entropy", validation_data=(x, labels), epochs=2)
        out = nets[0].predict(x), nets[0].forward(x, training=True), nets[0].backward(targets)
        value = nets[1].loss_and_gradient(x, labels, loss="cross_entropy", sample_weight=weights)
        nets[0].load_weights({k: change(v) for k, v in nets[1].params.items()})
        one = nets[0].predict_one(change(X[0].astype(dtype)))
        scores = [value, *nets[0].evaluate(x, targets, metrics=["r2", "mae"]).values()]
        return [*out, one, np.array(scores), nets[0].parameters, nets[1].gradients]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = results(lambda a: a)
        other = results(lambda a: LAYOUTS[layout](a, tmp_path))
    assert all(same_bits(a, b) for a, b in zip(plain, other, strict=True))


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4"])
def test_every_real_dtype(dtype):
    """Without Standardize, which centres what is wider than float32 in double."""
    net = bp.Network([COLS, 7, OUT], rng=0)
    x = (X % 2).astype(dtype)
    assert same_bits(net.predict(x), net.predict(x.astype("f8")))
    assert same_bits(net.predict(misaligned(x)), net.predict(x.astype("f8")))
    assert net.evaluate(X, LABELS.astype(dtype) % 2, loss="cross_entropy") == net.evaluate(
        X, (LABELS != 0) if dtype == "?" else LABELS % 2, loss="cross_entropy"
    )


def test_rows_far_apart_and_one_row_many_times(net):
    """Strides of more than 2^31 bytes, of which only what is read is ever in memory; and of 0."""
    far = np.zeros((3, 2**31 + 8), np.uint8)[:, -COLS:]
    near = (X[:3] % 2).astype(np.uint8)
    far[...] = near
    assert same_bits(net.predict(far), net.predict(near))
    assert same_bits(net.predict(far[::-1]), net.predict(near[::-1]))
    many = np.broadcast_to(X[0], (1000, COLS))
    assert (net.predict(many) == net.predict(X[:1])).all()


def test_out_of_predict_one_may_be_misaligned_or_the_input(net):
    out = misaligned(np.zeros(OUT, "f4"))
    assert net.predict_one(X[0], out) is out
    assert same_bits(out.copy(), net.predict_one(X[0]))
    square = bp.Network([4, 4], rng=0, dtype="float64")
    x = X[0, :4].copy()
    expected = square.predict_one(x)
    assert square.predict_one(x, out=x) is x
    assert same_bits(x, expected)


def test_buffers_without_numpy(net):
    row = array.array("d", X[0])
    assert same_bits(net.predict_one(row), net.predict_one(X[0]))
    assert same_bits(net.predict([row]), net.predict(X[:1]))
