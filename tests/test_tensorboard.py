"""The TensorBoard callback, read back by TensorBoard's own reader."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from looks import monitor_of

import bpfast as bp

os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("tensorboardX")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 8)), RNG.integers(3, size=60)
OPTIONS = {"X": X, "y": Y, "loss": "cross_entropy", "metrics": ["accuracy"], "epochs": 3}


def make() -> bp.Network:
    layers = [bp.Dense(6, "relu", name="hidden"), bp.Dense(3, name="out")]
    return bp.Network(layers, input_shape=8, rng=0)


def read(folder: Path) -> accumulator.EventAccumulator:
    found = accumulator.EventAccumulator(
        str(folder), size_guidance=dict.fromkeys(("scalars", "histograms", "tensors"), 0)
    )
    found.Reload()
    return found


def test_scalars_and_settings(tmp_path):
    net = make()
    history = net.fit(**OPTIONS, validation_split=0.2, callbacks=[bp.TensorBoard(tmp_path / "run")])
    found = read(tmp_path / "run")
    assert set(found.Tags()["scalars"]) == {
        "loss/training", "loss/validation", "accuracy/training", "accuracy/validation",
        "penalty", "learning_rate", "seconds",
    }  # fmt: skip
    for tag, key in {"loss/training": "loss", "accuracy/validation": "val_accuracy"}.items():
        events = found.Scalars(tag)
        assert [event.step for event in events] == [0, 1, 2]
        np.testing.assert_allclose(
            [event.value for event in events], history.history[key], rtol=1e-6
        )
    (event,) = found.Tensors("settings/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    assert "| network | `8-6-3, float32, 75 parameters` |" in text
    assert "CrossEntropy" in text
    assert "| batch size | `32` |" in text


def test_histograms_of_a_monitor(tmp_path):
    net = make()
    monitor = monitor_of(net, 3)
    board = bp.TensorBoard(tmp_path, monitor=monitor)
    net.fit(**OPTIONS, callbacks=[board])
    found = read(tmp_path)
    assert "weights/hidden.kernel" in found.Tags()["histograms"]
    look = monitor.looks[1].tensors["hidden.kernel"]
    event = found.Histograms("weights/hidden.kernel")[1]
    assert event.step == 1
    seen = event.histogram_value
    np.testing.assert_array_equal(seen.bucket, [0, *look.histogram])
    np.testing.assert_allclose(seen.bucket_limit, look.edges)
    np.testing.assert_allclose([seen.min, seen.max, seen.num], [look.min, look.max, look.count])
    np.testing.assert_allclose(seen.sum_squares, look.norm**2, rtol=1e-9)
    ratio = found.Scalars("update_ratio/out.bias")
    assert [event.step for event in ratio] == [0, 1, 2]
    assert "saturated/hidden" not in found.Tags()["scalars"]  # not defined
    assert found.Scalars("dead/hidden")[0].value == pytest.approx(0.03)


def test_no_bit_changes(tmp_path):
    plain, told = make(), make()
    plain.fit(**OPTIONS)
    told.fit(**OPTIONS, callbacks=[bp.TensorBoard(tmp_path)])
    np.testing.assert_array_equal(plain.parameters, told.parameters)


def test_refused_before_any_work(tmp_path, monkeypatch):
    with pytest.raises(TypeError, match="log_dir must be a str or a path, got 3"):
        bp.TensorBoard(3)
    with pytest.raises(TypeError, match="monitor must be None or a WeightMonitor, got 3"):
        bp.TensorBoard(tmp_path, monitor=3)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install 'bpfast\[tensorboard\]'"):
        bp.TensorBoard(tmp_path)
