"""A table of malformed calls and arguments: each gives a typed error before any work."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from inspect import signature

import numpy as np
import pytest
from malformed import (
    COLS,
    INF,
    LABELS,
    NAN,
    OUT,
    Row,
    X,
    Y,
    check,
    classify,
    fit,
    make,
    read_only,
    with_value,
)
from test_bad_input import INPUTS

import bpfast as bp
from bpfast import initializers, losses, schedules


@pytest.fixture(scope="module")
def net() -> bp.Network:
    return make()


OPTIONS: dict[str, Row] = {
    "epochs 0": (fit(epochs=0), ValueError, "epochs must be an int >= 1, got 0"),
    "epochs 1.0": (fit(epochs=1.0), TypeError, "epochs must be an int >= 1, got 1.0"),
    "epochs inf": (fit(epochs=INF), TypeError, "epochs must be an int >= 1, got inf"),
    "epochs 2^70": (
        fit(epochs=2**70),
        ValueError,
        "epochs .* at most 9223372036854775807, got 118",
    ),
    "batch_size -1": (fit(batch_size=-1), ValueError, "batch_size must be an int >= 1, got -1"),
    "batch_size True": (
        fit(batch_size=True),
        TypeError,
        "batch_size must be an int >= 1, got True",
    ),
    "batch_size 2^63": (fit(batch_size=2**63), ValueError, "batch_size .* at most 92.*, got 922"),
    "accumulate 0": (fit(accumulate=0), ValueError, "accumulate must be an int >= 1, got 0"),
    "accumulate 2.0": (fit(accumulate=2.0), TypeError, "accumulate must be an int >= 1, got 2.0"),
    "shuffle 1": (fit(shuffle=1), TypeError, "shuffle must be True or False, got 1"),
    "loss misspelt": (fit(loss="msee"), ValueError, "loss must be one of .*mse.*, got 'msee'"),
    "loss None": (fit(loss=None), TypeError, "loss must be a name.*, got None"),
    "loss class": (fit(loss=losses.Huber), TypeError, r"loss .*call it: Huber"),
    "optimizer class": (fit(optimizer=bp.Adam), TypeError, r"optimizer .*call it: Adam"),
    "optimizer 0.1": (fit(optimizer=0.1), TypeError, "optimizer must be a name .*, got 0.1"),
    "metric misspelt": (
        fit(metrics=["acc"]),
        ValueError,
        r"metrics\[0\] .* accuracy, .* got 'acc'",
    ),
    "metric for labels": (classify(metrics=["r2"]), ValueError, "metrics: 'r2' needs target rows"),
    "metrics 3": (fit(metrics=3), TypeError, "metrics must be a sequence .*, got 3"),
    "callback class": (
        fit(callbacks=[bp.EarlyStopping]),
        TypeError,
        r"callbacks\[0\] must be a Callback object, got the class EarlyStopping",
    ),
    "one callback": (fit(callbacks=bp.Progress()), TypeError, "callbacks must be a sequence"),
    "two averages": (
        fit(callbacks=[bp.EMA(), bp.SWA()]),
        ValueError,
        "callbacks must have at most one EMA or SWA, got 2",
    ),
    "monitor of nothing": (
        fit(callbacks=[bp.EarlyStopping()]),
        ValueError,
        "monitor of EarlyStopping must be one of loss.*, got 'val_loss'",
    ),
    "schedule 3": (fit(schedule=3), TypeError, "schedule must be None, a Schedule.*, got 3"),
    "schedule without arguments": (fit(schedule="cosine"), ValueError, "schedule 'cosine' needs"),
    "schedule to NaN": (
        fit(schedule=lambda epoch, initial: NAN),
        ValueError,
        "the schedule's rate must be a finite number >= 0, got nan",
    ),
    "minimum above the rate": (
        fit(schedule=schedules.Cosine(3, minimum=1.0)),
        ValueError,
        "minimum must be at most the learning rate 0.001, got 1.0",
    ),
    "validation_data of one": (
        fit(validation_data=(X,)),
        TypeError,
        r"validation_data must be \(X, y\).*, got tuple of length 1",
    ),
    "validation_split 1": (
        fit(validation_split=1),
        ValueError,
        r"validation_split .*\[0, 1\), got 1",
    ),
    "validation_split of nothing": (
        fit(validation_split=1e-9),
        ValueError,
        "validation_split=1e-09 of 37 rows leaves 37 to train on and 0",
    ),
    "both kinds of validation": (
        fit(validation_split=0.5, validation_data=(X, Y)),
        ValueError,
        "validation_split must be 0 when validation_data is given",
    ),
    "max_seconds 0": (fit(max_seconds=0), ValueError, "max_seconds must be .* > 0, got 0"),
    "max_seconds NaN": (fit(max_seconds=NAN), ValueError, "max_seconds must be .* > 0, got nan"),
    "on_divergence": (fit(on_divergence="stpo"), ValueError, "on_divergence .*stop.*, got 'stpo'"),
    "verbose 3": (fit(verbose=3), ValueError, r"verbose must be an int in \[0, 2\], got 3"),
    "resume 1": (fit(resume=1), TypeError, "resume must be True or False, got 1"),
    "no class loss for one output": (
        lambda net: bp.Network([COLS, 1], rng=0).fit(X, LABELS, loss="cross_entropy"),
        ValueError,
        "loss 'cross_entropy' needs at least 2 outputs, got 1",
    ),
    "class loss after relu": (
        lambda net: bp.Network([bp.Dense(3, "relu")], input_shape=COLS).fit(
            X, LABELS, loss="cross_entropy"
        ),
        ValueError,
        'loss "cross_entropy" .* "identity" or "softmax", not "relu"',
    ),
    "a quantile too few": (
        fit(loss=losses.Quantile((0.1, 0.9))),
        ValueError,
        "tau must have one quantile for each of 3 outputs, got",
    ),
    "loss without a gradient": (
        lambda net: net.loss_and_gradient(X, Y, loss=lambda y, out: 3.0),
        TypeError,
        r"the loss's result must be \(value, gradient\), got 3.0",
    ),
    "gradient of another shape": (
        lambda net: net.loss_and_gradient(X, Y, loss=lambda y, out: (0.0, out[:1])),
        bp.ShapeError,
        r"the loss's gradient must have shape \(37, 3\), got \(1, 3\)",
    ),
    "complex gradient": (
        lambda net: net.loss_and_gradient(X, Y, loss=lambda y, out: (0.0, out * 1j)),
        TypeError,
        "the loss's gradient must have a real dtype",
    ),
    "text for a loss": (
        lambda net: net.loss_and_gradient(X, Y, loss=lambda y, out: ("low", out)),
        TypeError,
        "the loss's value must be a number, got 'low'",
    ),
}


def rates(**changes: object) -> Callable[[bp.Network], object]:
    return lambda net: net.find_lr(**{"X": X, "y": Y, "loss": "mse", **changes})


CALLS: dict[str, Row] = {
    "diagnosis with another loss": (
        lambda net: net.diagnose(X, Y, loss="mseh"),
        ValueError,
        "loss must be one of .*mse.*, got 'mseh'",
    ),
    "diagnosis of NaN": (
        lambda net: net.diagnose(with_value(X, NAN, 3, 2), Y),
        ValueError,
        "X must be finite, got nan at row 3, column 2",
    ),
    "diagnosis without targets": (
        lambda net: net.diagnose(X, Y[:5]),
        bp.ShapeError,
        r"y must have as many rows as X: 37, got shape \(5, 3\)",
    ),
    "diagnosis of no rows": (
        lambda net: net.diagnose(X, Y, rows=0),
        ValueError,
        "rows must be an int >= 1, got 0",
    ),
    "diagnosis by half batches": (
        lambda net: net.diagnose(X, Y, batch_size=0.5),
        TypeError,
        "batch_size must be an int >= 1, got 0.5",
    ),
    "diagnosis with a rate for an optimizer": (
        lambda net: net.diagnose(X, Y, optimizer=0.1),
        TypeError,
        "optimizer must be a name .*, got 0.1",
    ),
    "diagnosis with a name too few": (
        lambda net: net.diagnose(X, Y, feature_names=list("abcdefghijklmnopqr")),
        ValueError,
        "feature_names must be 19 names, one for each input, got list of length 18",
    ),
    "diagnosis with a name for all": (
        lambda net: net.diagnose(X, Y, feature_names="abcdefghijklmnopqrs"),
        TypeError,
        "feature_names must be a sequence of names, got 'abc",
    ),
    "diagnosis with half a validation": (
        lambda net: net.diagnose(X, Y, validation_data=(X,)),
        TypeError,
        r"validation_data must be \(X, y\), got tuple of length 1",
    ),
    "predict_one of two rows": (
        lambda net: net.predict_one(X[:2]),
        bp.ShapeError,
        r"x must have shape \(19,\), got \(2, 19\)",
    ),
    "predict_one of NaN": (
        lambda net: net.predict_one(with_value(X[0], NAN, 7)),
        ValueError,
        "x must be finite, got nan at row 0, column 7",
    ),
    "out a list": (
        lambda net: net.predict_one(X[0], out=[0, 0, 0]),
        TypeError,
        "out must be a NumPy array, got list of length 3",
    ),
    "out too short": (
        lambda net: net.predict_one(X[0], out=np.zeros(2, "f4")),
        bp.ShapeError,
        r"out must be contiguous float32 \(3,\), got float32 \(2,\)",
    ),
    "out of another dtype": (
        lambda net: net.predict_one(X[0], out=np.zeros(3)),
        bp.ShapeError,
        r"out must be contiguous float32 \(3,\), got float64 \(3,\)",
    ),
    "out with gaps": (
        lambda net: net.predict_one(X[0], out=np.zeros(6, "f4")[::2]),
        bp.ShapeError,
        "out must be contiguous float32",
    ),
    "out read-only": (
        lambda net: net.predict_one(X[0], out=read_only(np.zeros(3, "f4"))),
        ValueError,
        "out must be writeable, got a read-only array",
    ),
    "out masked": (
        lambda net: net.predict_one(X[0], out=np.ma.zeros(3, "f4")),
        TypeError,
        "out must be a NumPy array, got MaskedArray",
    ),
    "probabilities of a regression": (
        lambda net: net.predict_proba(X),
        ValueError,
        "predict_proba needs a softmax or sigmoid output.*; got activation 'identity'",
    ),
    "evaluate with two columns": (
        lambda net: net.evaluate(X, Y[:, :2]),
        bp.ShapeError,
        r"y must have shape \(rows, 3\), got \(37, 2\)",
    ),
    "evaluate before any fit": (
        lambda net: bp.Network([COLS, OUT], rng=0).evaluate(X, Y),
        ValueError,
        "loss must be given: this network was never fitted",
    ),
    "forward without rows": (
        lambda net: net.forward(X[:0]),
        bp.ShapeError,
        "X must have at least one row",
    ),
    "training 1": (lambda net: net.forward(X, training=1), TypeError, "training .* got 1"),
    "backward of nothing": (
        lambda net: make().backward(Y),
        RuntimeError,
        r"backward needs forward\(X, training=True\) before it",
    ),
    "step by 3": (lambda net: net.step(3), TypeError, "optimizer must be a name .*, got 3"),
    "rates from 1": (rates(low=1, high=0.1), ValueError, "low must be less than high=0.1, got 1"),
    "rates from 0": (rates(low=0), ValueError, "low must be a finite number > 0, got 0"),
    "five rates": (rates(steps=5), ValueError, "steps must be at least 10, got 5"),
    "rates for NaN": (rates(X=X * NAN), ValueError, "X must be finite, got nan at row 0, column 0"),
    "rates of 0.1": (rates(optimizer=0.1), TypeError, "optimizer must be a name .*, got 0.1"),
    "weights from None": (
        lambda net: net.load_weights(None),
        TypeError,
        "src must be a path, a dict of arrays, a PyTorch module .*, got None",
    ),
    "weights by number": (
        lambda net: net.load_weights({1: X}),
        TypeError,
        "a key of src must be a str, got 1",
    ),
    "weights that are NaN": (
        lambda net: net.load_weights({k: v * NAN for k, v in net.params.items()}),
        ValueError,
        r"src\['1.kernel'\] must be finite, got nan at row 0, column 0",
    ),
    "weights past float32": (
        lambda net: net.load_weights({k: np.full(v.shape, 1e39) for k, v in net.params.items()}),
        ValueError,
        r"src\['1.kernel'\] must be finite, got 1e\+39 at row 0, column 0",
    ),
    "complex weights": (
        lambda net: net.load_weights({k: v * 1j for k, v in net.params.items()}),
        TypeError,
        r"src\['1.kernel'\] must have a real dtype",
    ),
    "a kernel twice": (
        lambda net: net.load_weights({"1.weight": X, "1.kernel": X}),
        ValueError,
        "src must have one of '1.kernel' and '1.weight', got both",
    ),
    "strict 0": (lambda net: net.load_weights({}, strict=0), TypeError, "strict .*, got 0"),
    "metadata of numbers": (
        lambda net: net.save("unused", metadata={"k": 1}),
        TypeError,
        r"metadata\['k'\] must be a str, got 1",
    ),
    "metadata by number": (
        lambda net: net.save("unused", metadata={1: "k"}),
        TypeError,
        "a key of metadata must be a str, got 1",
    ),
    "memory of no rows": (
        lambda net: net.memory_required(0),
        ValueError,
        "batch_size must be an int >= 1, got 0",
    ),
    "memory of -1 rows": (
        lambda net: net.memory_required(1, rows=-1),
        ValueError,
        "rows must be an int >= 0, got -1",
    ),
    "memory of 2.5 rows": (
        lambda net: net.memory_required(1, rows=2.5),
        TypeError,
        "rows must be an int >= 0, got 2.5",
    ),
    "average of 1": (lambda net: net.memory_required(1, average=1), TypeError, "average must be"),
    "memory past 2^62": (
        lambda net: net.memory_required(2**62),
        MemoryError,
        "batch_size=4611686018427387904 needs more bytes than can be addressed",
    ),
    "explain past 2^62": (lambda net: net.explain(2**62), MemoryError, "more bytes than can be"),
    "explain past 2^64": (lambda net: net.explain(2**64), ValueError, "batch_size .* at most"),
    "room for 2^60 rows": (
        lambda net: net.predict(np.broadcast_to(np.int8(0), (2**54, COLS))),
        MemoryError,
        "allocate",
    ),
    "threads 0": (lambda net: bp.set_num_threads(0), ValueError, "n must be an int >= 1, got 0"),
    "threads 2.5": (lambda net: bp.set_num_threads(2.5), TypeError, "n must be .*, got 2.5"),
}


def build(layers: object, **options: object) -> Callable[[bp.Network], object]:
    return lambda net: bp.Network(layers, **options)


def one(**options: object) -> Callable[[bp.Network], object]:
    return lambda net: bp.Network([bp.Dense(2, **options)], input_shape=3, rng=0)


NETWORKS: dict[str, Row] = {
    "layers None": (build(None), TypeError, "layers must be a list .*, got None"),
    "layers a generator": (build(n for n in (3, 2)), TypeError, "layers must be a list"),
    "layers an array": (build(np.array([3, 2])), TypeError, r"layers .* ndarray of shape \(2,\)"),
    "no layers": (
        build([]),
        ValueError,
        "layers must be at least two sizes.*, got list of length 0",
    ),
    "size 0": (build([3, 0]), ValueError, r"layers\[1\] must be an int >= 1, got 0"),
    "size -2^63": (build([3, -(2**63)]), ValueError, r"layers\[1\] .* >= 1, got -9223372036854775"),
    "size 2^63": (
        build([2**63, 2]),
        ValueError,
        r"layers\[0\] .* at most 92.*, got 92233720368547",
    ),
    "size 2^64": (
        build([3, 2**64]),
        ValueError,
        r"layers\[1\] .* at most .*, got 1844674407370955",
    ),
    "2^31 x 2^31": (build([2**31, 2**31]), MemoryError, "2147483648 x 2147483648 weights"),
    "2^62": (build([4, 2**62]), MemoryError, "layer 0: 4 x 4611686018427387904 weights"),
    "a class for a layer": (
        build([bp.Dense], input_shape=3),
        TypeError,
        r"layers\[0\] must be a layer .*, got the class Dense",
    ),
    "input_shape 2^64": (
        build([bp.Dense(2)], input_shape=2**64),
        ValueError,
        "input_shape .* at most 9223372036854775807, got 18446744073709551616",
    ),
    "input_shape text": (
        build([bp.Dense(2)], input_shape="3"),
        TypeError,
        "input_shape must be an int >= 1, got '3'",
    ),
    "dtype int": (build([3, 2], dtype=int), ValueError, "dtype .* float32, float64, got 'int64'"),
    "dtype None": (build([3, 2], dtype=None), TypeError, "dtype .* float32, float64, got None"),
    "rng 2^63": (build([3, 2], rng=2**63), ValueError, r"rng must be from 0 .*, got 9223372036854"),
    "rng text": (build([3, 2], rng="0"), TypeError, "rng must be an int.*, got '0'"),
    "n_threads -1": (build([3, 2], n_threads=-1), ValueError, "n_threads .* >= 1, got -1"),
    "n_threads 2^63": (build([3, 2], n_threads=2**63), ValueError, "n_threads .* at most"),
    "weights of another shape": (
        one(weight_init=np.ones((2, 2))),
        bp.ShapeError,
        r"must have shape \(3, 2\), got \(2, 2\)",
    ),
    "function of another shape": (
        one(weight_init=lambda shape: np.ones(9)),
        bp.ShapeError,
        r"result must have shape \(3, 2\), got \(9,\)",
    ),
    "constant past float32": (
        one(weight_init=initializers.Constant(1e300)),
        ValueError,
        r"weight_init of layer 0 must be within the range of float32, got 'Constant\(1e\+300\)'",
    ),
    "deviation past float32": (
        one(bias_init=initializers.Normal(0, 1e38)),
        ValueError,
        "bias_init of layer 0 must be within the range of float32",
    ),
    "array past float32": (
        one(weight_init=np.full((3, 2), 1e39)),
        ValueError,
        r"weight_init of layer 0 must be finite, got 1e\+39 at row 0, column 0",
    ),
    "orthogonal bias": (
        one(bias_init="orthogonal"),
        ValueError,
        "bias_init .* cannot be orthogonal",
    ),
}
TABLE = {**OPTIONS, **CALLS, **NETWORKS}


def test_the_tables_are_long_enough() -> None:
    assert len(TABLE) == len(OPTIONS) + len(CALLS) + len(NETWORKS)
    assert len(TABLE) + len(INPUTS) >= 80


@pytest.mark.parametrize("what", TABLE)
def test_malformed_calls(net: bp.Network, what: str) -> None:
    check(net, TABLE[what])


# ---- every argument of every description --------------------------------------------------------

#: No argument of a layer, loss, schedule, optimizer, ... is one of these.
NEVER = [object(), 1j, b"bytes", {1, 2}, NAN, -INF, 10**400, -(2**70), Fraction(-1, 3), "\n"]
CLASSES = [
    bp.Dense, bp.Dropout, bp.Standardize, bp.EarlyStopping, bp.Checkpoint, bp.Progress,
    bp.GradualUnfreezing, bp.WeightMonitor, bp.LambdaCallback, bp.EMA, bp.SWA, bp.TensorBoard,
    bp.MaxNorm, bp.NonNegative, bp.L1, bp.L2, bp.ElasticNet, schedules.Custom,
    bp.SGD, bp.Adam, bp.AdamW, bp.RMSprop, bp.Adagrad, bp.Rprop, bp.Lion,
    *schedules.TABLE.values(), *losses.TABLE.values(), *initializers.TABLE.values(),
]  # fmt: skip
#: What the others need.
NEEDED = {
    "units": 3, "rate": 0.5, "path": "unused", "max_value": 1.0, "l1": 0.1, "l2": 0.1, "decay": 0.1,
    "every": 2, "factor": 0.5, "epochs": 3, "value": 1.0, "function": lambda epoch, initial: 1.0,
    "log_dir": "unused",
}  # fmt: skip
#: What is legal all the same: text that is a path or a key, numbers that are bounds.
LEGAL = {
    ("Checkpoint", "path"): ["\n"],
    ("TensorBoard", "log_dir"): ["\n"],
    ("EarlyStopping", "monitor"): ["\n"],
    ("ReduceOnPlateau", "monitor"): ["\n"],
    ("Uniform", "low"): [-(2**70), Fraction(-1, 3)],
    ("Uniform", "high"): [Fraction(-1, 3)],
    ("Normal", "mean"): [-(2**70), Fraction(-1, 3)],
    ("Constant", "value"): [-(2**70), Fraction(-1, 3)],
}


def constructors() -> list[tuple[type, str]]:
    return [(cls, name) for cls in CLASSES for name in signature(cls).parameters]


@pytest.mark.parametrize(("cls", "name"), constructors(), ids=lambda v: getattr(v, "__name__", v))
def test_no_argument_takes_just_anything(cls: type, name: str) -> None:
    needed = {key: NEEDED[key] for key in signature(cls).parameters if key in NEEDED}
    for value in NEVER:
        if value in LEGAL.get((cls.__name__, name), []):
            continue
        with pytest.raises((ValueError, TypeError), match=name) as caught:
            cls(**{**needed, name: value})
        assert type(caught.value) in (ValueError, TypeError, bp.ShapeError)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300
