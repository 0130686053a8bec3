"""SciPy's CSR as inputs: the bits of the dense rows, and never a dense copy of all."""

from __future__ import annotations

from collections.abc import Callable

import malformed
import numpy as np
import peers
import pytest
from cases import everything

import bpfast as bp
from bpfast import _core, config

sparse = peers.require("scipy.sparse")

ROWS, COLS = 150, 61


def rows(seed: int = 0, dtype: str = "float64", count: int = ROWS) -> sparse.csr_array:
    """Rows of a tenth of values; some empty, some with zeros that are stored."""
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(count, COLS)) * (rng.random((count, COLS)) < 0.1) * 3
    dense[::17] = 0
    made = sparse.csr_array(dense.astype(dtype))
    made.data[::13] = 0
    return made


def labels(seed: int = 1, count: int = ROWS) -> np.ndarray:
    return np.random.default_rng(seed).integers(4, size=count)


def layers() -> list[bp.Layer]:
    return [bp.Standardize(), bp.Dense(9, "tanh"), bp.Dropout(0.2), bp.BatchNorm(), bp.Dense(4)]


def fitted(make: Callable[..., list[bp.Layer]], X: object, y: object, **options: object):
    """A network after some epochs."""
    arguments = {"loss": "cross_entropy", "epochs": 2, "batch_size": 16, **options}
    threads, dtype = arguments.pop("n_threads", 1), arguments.pop("dtype", "float32")
    shape = arguments.pop("input_shape", COLS)
    net = bp.Network(make(), input_shape=shape, rng=3, dtype=dtype, n_threads=threads)
    net.fit(X, y, **arguments)
    return net


def trained(net: bp.Network) -> bytes:
    return net.parameters.tobytes() + net._buffers.tobytes()


def record(net: bp.Network) -> str:
    return repr({k: v for k, v in net.history.history.items() if k != "seconds"})


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fit_has_the_bits_of_the_dense_rows(
    threads: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With scaling, shuffling, a split, metrics, and rows of either type."""
    monkeypatch.setattr(config, "exact_threads", True)
    for source in ("float32", "float64"):
        X, y = rows(dtype=source), labels()
        options = {"validation_split": 0.2, "metrics": ["accuracy"], "n_threads": threads}
        first = fitted(layers, X, y, dtype=dtype, **options)
        second = fitted(layers, X.toarray(), y, dtype=dtype, **options)
        assert trained(first) == trained(second)
        assert record(first) == record(second)
        more = rows(5, source, 300)
        assert first.predict(more).tobytes() == second.predict(more.toarray()).tobytes()
        assert first.predict(more[:3]).tobytes() == second.predict(more[:3].toarray()).tobytes()
        assert first.evaluate(X, y) == second.evaluate(X.toarray(), y)


def plain() -> list[bp.Layer]:
    return [bp.Dense(7, "relu"), bp.Dense(4)]


def image() -> list[bp.Layer]:
    return [bp.Standardize(), bp.Conv2D(3, (1, 4), "tanh"), bp.Flatten(), bp.Dense(4)]


def mean_square(y: np.ndarray, out: np.ndarray) -> tuple[float, np.ndarray]:
    off = out - y
    return float((off**2).mean()), 2 * off / off.size


OPTIONS: dict[str, dict[str, object]] = {
    "in order": {"shuffle": False},
    "validation in CSR": {"validation_data": (rows(7), labels(8))},
    "validation in CSR, dense training": {"validation_data": (rows(7), labels(8)), "swap": True},
    "accumulated": {"accumulate": 3},
    "one batch": {"batch_size": 1000},
    "weighted": {"sample_weight": np.linspace(0, 1, ROWS), "class_weight": "balanced"},
    "own loss": {"loss": mean_square, "y": np.eye(4)[labels()]},
    "own metric": {"metrics": [lambda y, out: float(out.sum())]},
    "averaged": {"callbacks": lambda: [bp.EMA(0.9)], "make": layers},
    "watched": {"callbacks": lambda: [bp.WeightMonitor()], "make": layers},
    "images": {"make": image, "input_shape": (1, COLS, 1)},
}


@pytest.mark.parametrize("what", OPTIONS)
def test_options_have_the_bits_of_the_dense_rows(what: str) -> None:
    options = dict(OPTIONS[what])
    make, callbacks = options.pop("make", plain), options.pop("callbacks", list)
    swap = options.pop("swap", False)
    X, y = rows(), options.pop("y", labels())
    one = fitted(make, X.toarray() if swap else X, y, callbacks=callbacks(), **options)
    if "validation_data" in options:
        seen, classes = OPTIONS[what]["validation_data"]
        options["validation_data"] = (seen.toarray(), classes)
    two = fitted(make, X.toarray(), y, callbacks=callbacks(), **options)
    assert trained(one) == trained(two)
    assert record(one) == record(two)


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("kind", ["csr_array", "csr_matrix"])
def test_every_form_of_csr(kind: str, index: str) -> None:
    """Either class, either index; columns in any order; integers and booleans; no row at all."""
    X = getattr(sparse, kind)(rows())
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    net = fitted(plain, X, labels())
    expected = net.predict(X.toarray())
    turned = X.copy()
    for a, b in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        turned.indices[a:b], turned.data[a:b] = X.indices[a:b][::-1], X.data[a:b][::-1]
    assert net.predict(X).tobytes() == net.predict(turned).tobytes() == expected.tobytes()
    assert net.predict(X[:0]).shape == (0, 4)
    for dtype in ("bool", "int8", "uint16", "int64", "float16"):
        cast = X.astype(dtype) if dtype != "float16" else X
        assert net.predict(cast).tobytes() == net.predict(cast.toarray()).tobytes()


def test_columns_in_any_order_take_memory_that_may_fail() -> None:
    net, X = fitted(plain, rows(), labels()), rows()
    X.indices[: X.indptr[2]] = X.indices[: X.indptr[2]][::-1]
    X.data[: X.indptr[2]] = X.data[: X.indptr[2]][::-1]
    X.has_sorted_indices = False
    before = everything(net)
    _core.fail_allocation(1)
    with pytest.raises(MemoryError, match="bytes for a look at the columns"):
        net.predict(X)
    assert everything(net) == before
    assert net.predict(X).tobytes() == net.predict(X.toarray()).tobytes()


def test_one_batch_at_a_time() -> None:
    X, y = rows(count=20), labels(count=20)
    net = fitted(plain, X, y)
    dense = net.clone()
    assert net.loss_and_gradient(X, y, loss="cross_entropy") == dense.loss_and_gradient(
        X.toarray(), y, loss="cross_entropy"
    )
    assert net.gradients.tobytes() == dense.gradients.tobytes()
    assert net.forward(X, training=True).tobytes() == dense.forward(X.toarray()).tobytes()
    assert net.find_lr(X, y, loss="cross_entropy", steps=20).losses.tolist() == (
        dense.find_lr(X.toarray(), y, loss="cross_entropy", steps=20).losses.tolist()
    )


def test_an_interrupted_fit_goes_on(tmp_path) -> None:
    X, y = rows(), labels()
    whole = fitted(layers, X, y, epochs=4)
    net = fitted(layers, X, y, epochs=4, callbacks=[bp.LambdaCallback(on_epoch_end=stop_at(1))])
    net.save(tmp_path / "net.safetensors")
    other = bp.load(tmp_path / "net.safetensors")
    other.fit(X, y, loss="cross_entropy", epochs=4, batch_size=16, resume=True,
              callbacks=[])  # fmt: skip
    assert trained(other) == trained(whole)


def stop_at(last: int) -> Callable[[int, object], bool]:
    return lambda epoch, logs: epoch == last


# ---- what is refused ----------------------------------------------------------------------------


def bad(change: Callable[[sparse.csr_array], object]) -> sparse.csr_array:
    """The table's X as CSR, changed behind SciPy's back."""
    made = sparse.csr_array(malformed.X)
    change(made)
    return made


def twice(x: sparse.csr_array) -> None:
    x.indices[x.indptr[4] + 2] = x.indices[x.indptr[4]]


CALLS: dict[str, malformed.Row] = {
    "CSC": (
        malformed.fit(X=sparse.csc_array(malformed.X)),
        TypeError,
        r"X must be dense, got a sparse csc_array: .*\.tocsr\(\)",
    ),
    "COO to predict": (
        malformed.predict(sparse.coo_matrix(malformed.X)),
        TypeError,
        r"X must be dense, got a sparse coo_matrix: .*\.tocsr\(\)",
    ),
    "sparse y": (
        malformed.fit(y=sparse.csr_array(malformed.Y)),
        TypeError,
        "y must be dense, got a sparse csr_array",
    ),
    "diagnose": (
        lambda net: net.diagnose(sparse.csr_array(malformed.X), malformed.Y, loss="mse"),
        TypeError,
        "X must be dense, got a sparse csr_array",
    ),
    "one row": (
        lambda net: net.predict_one(sparse.csr_array(malformed.X[:1])),
        TypeError,
        "x must be dense, got a sparse csr_array",
    ),
    "columns": (
        malformed.fit(X=sparse.csr_array(malformed.X[:, :-1])),
        bp.ShapeError,
        r"X must have 19 columns, got shape \(37, 18\)",
    ),
    "rows": (
        malformed.fit(X=sparse.csr_array(malformed.X[:-1])),
        bp.ShapeError,
        "y must have as many rows as X: 36",
    ),
    "no rows": (
        malformed.fit(X=sparse.csr_array(malformed.X[:0]), y=malformed.Y[:0]),
        bp.ShapeError,
        "X must have at least one row",
    ),
    "complex": (
        malformed.predict(sparse.csr_array(malformed.X * 1j)),
        TypeError,
        "X must have a real dtype .*, got complex128",
    ),
    "NaN": (
        malformed.fit(X=bad(lambda x: x.data.__setitem__(x.indptr[5], malformed.NAN))),
        ValueError,
        r"X must be finite, got nan at row 5, column \d",
    ),
    "past float32": (
        malformed.predict(bad(lambda x: x.data.__setitem__(x.indptr[6], 1e39))),
        ValueError,
        r"X must be finite, got 1e\+39 at row 6, column \d",
    ),
    "column past the end": (
        malformed.fit(X=bad(lambda x: x.indices.__setitem__(x.indptr[7], 19))),
        ValueError,
        r"X.indices must be 0 to 18, got 19 in row 7",
    ),
    "negative column": (
        malformed.predict(bad(lambda x: x.indices.__setitem__(x.indptr[7], -1))),
        ValueError,
        r"X.indices must be 0 to 18, got -1 in row 7",
    ),
    "column twice": (
        malformed.predict(bad(twice)),
        ValueError,
        r"X must have each column once in a row, row 4 has some twice: call its sum_duplicates\(\)",
    ),
    "rows that go back": (
        malformed.fit(X=bad(lambda x: x.indptr.__setitem__(3, 10**6))),
        ValueError,
        r"X.indptr must ascend from 0 to at most the \d+ values there are, got 0 to \d+",
    ),
    "values past the end": (
        malformed.predict(bad(lambda x: x.indptr.__setitem__(-1, 10**6))),
        ValueError,
        r"X.indptr must ascend from 0 to at most the \d+ values there are, got 0 to 1000000",
    ),
    "validation data": (
        malformed.fit(validation_data=(bad(twice), malformed.Y)),
        ValueError,
        "X_validation must have each column once in a row",
    ),
}


@pytest.fixture(scope="module")
def net() -> bp.Network:
    return malformed.make()


@pytest.mark.parametrize("what", CALLS)
def test_malformed_calls(net: bp.Network, what: str) -> None:
    malformed.check(net, CALLS[what])


def test_other_fields_that_are_spoiled(net: bp.Network) -> None:
    """Attributes that SciPy itself would not set."""
    before = everything(net)
    for part, value, error, message in (
        ("indptr", np.zeros(3, "i4"), bp.ShapeError, r"X.indptr must have 38 elements"),
        ("indices", np.zeros(3), TypeError, "X.indices must be int32 or int64, got float64"),
        ("indptr", np.zeros(38), TypeError, "X.indptr must be int32 or int64, got float64"),
    ):
        x = sparse.csr_array(malformed.X)
        setattr(x, part, value)
        with pytest.raises(error, match=message):
            net.predict(x)
    assert everything(net) == before
