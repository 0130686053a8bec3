"""Every allocation of the core fails once: a MemoryError, and the object is as it was."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cases import everything

import bpfast as bp
from bpfast import _core

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(150, 6)), RNG.normal(size=(150, 3))
#: One row of a layer so wide does not fit on the stack.
WIDE = 2100


@pytest.fixture(autouse=True)
def _no_failure_left() -> Iterator[None]:
    yield
    _core.fail_allocation(0)


def layers() -> list[bp.Layer]:
    return [
        bp.Standardize(),
        bp.Dense(WIDE, "relu", weight_dropout=0.1),
        bp.Dense(8, "tanh", weight_init="orthogonal"),
        bp.Dropout(0.1),
        bp.Dense(3),
    ]


def make() -> bp.Network:
    return bp.Network(layers(), input_shape=6, rng=0, n_threads=1)


def fitted() -> bp.Network:
    net = make()
    net.fit(X, Y, loss="mse", optimizer="sgd", epochs=1, batch_size=50)
    return net


def fit(net: bp.Network, **options: object) -> None:
    net.fit(
        X, Y, loss="mse", optimizer="adam", epochs=1, batch_size=50, metrics=["r2", "mae"],
        validation_split=0.2, **options,
    )  # fmt: skip


#: What is called, on which network, and at least how many allocations it makes.
CALLS: dict[str, tuple[Callable[[], bp.Network], Callable[[bp.Network], object], int]] = {
    "fit": (make, fit, 5),
    "fit with another optimizer": (fitted, fit, 4),
    "fit with an average": (fitted, lambda net: fit(net, callbacks=[bp.EMA()]), 5),
    "find_lr": (fitted, lambda net: net.find_lr(X, Y, loss="mse", high=0.01), 5),
    "predict": (fitted, lambda net: net.predict(X), 1),
    "predict a few rows": (make, lambda net: net.predict(X[:2]), 1),
    "predict_one": (make, lambda net: net.predict_one(X[0]), 1),
    "evaluate": (fitted, lambda net: net.evaluate(X, Y), 1),
    "forward": (fitted, lambda net: net.forward(X, training=True), 3),
    "loss_and_gradient": (fitted, lambda net: net.loss_and_gradient(X, Y, loss="mse"), 3),
    "step": (fitted, lambda net: net.step("rmsprop"), 1),
    "clone": (fitted, lambda net: net.clone(), 3),
    "explain": (fitted, lambda net: net.explain(50), 1),
}


def every_failure(call: Callable[[], object]) -> Iterator[MemoryError]:
    """Call again and again, with the first, second, ... allocation failing, until none does."""
    for nth in range(1, 200):
        gc.collect()
        _core.fail_allocation(nth)
        try:
            call()
        except MemoryError as error:
            assert _core.fail_allocation(0) == 0
            yield error
        else:
            assert _core.fail_allocation(0) > 0, f"allocation {nth} failed, and nothing was raised"
            return
    raise AssertionError("more than 200 allocations")


@pytest.mark.parametrize("what", CALLS)
def test_a_call_leaves_the_network_as_it_was(what):
    start, call, least = CALLS[what]
    net = start()
    before = everything(net)
    failures = 0
    for error in every_failure(lambda: call(net)):
        failures += 1
        assert "\n" not in str(error)
        assert str(error)
        assert everything(net) == before
    assert failures >= least
    other = start()  # and what worked at last is what works at once
    call(other)
    assert everything(net) == everything(other)


def test_a_fit_with_a_function_goes_on_where_memory_failed():
    """Scores of a function need memory after each epoch, when the weights have moved already."""

    def fit(net: bp.Network, resume: bool) -> None:
        net.fit(
            X, Y, loss=lambda y, out: (float(((out - y) ** 2).mean()), (out - y) / 150),
            epochs=3, resume=resume,
        )  # fmt: skip

    whole, net = make(), make()
    fit(whole, False)
    failures = list(every_failure(lambda: fit(net, True)))
    assert len(failures) >= 3
    assert everything(net) == everything(whole)


def test_creation():
    failures = list(every_failure(make))
    assert len(failures) >= 4
    assert all(str(error) for error in failures)


def test_save_and_load(tmp_path: Path):
    net = fitted()
    path = tmp_path / "net.safetensors"
    net.save(path)
    content, before = path.read_bytes(), everything(net)
    assert list(every_failure(lambda: net.save(path))) == []  # Python's memory alone
    assert len(list(every_failure(lambda: bp.load(path)))) >= 4
    assert path.read_bytes() == content
    assert everything(net) == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_orthogonal_weights_need_memory_too():
    def draw() -> None:
        bp.Network([bp.Dense(8, weight_init="orthogonal")], input_shape=6, rng=0)

    assert any("orthogonal" in str(error) for error in every_failure(draw))
