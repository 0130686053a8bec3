"""Records of a body's worth, of frozen layers and of looks at weights; and the training again."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from types import ModuleType

import pytest
from cases import same_bits

from bpfast.bench.workloads import TRAINING

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """A function that imports a file of benchmarks/."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def test_the_record_of_frozen_halves(script):
    frozen = script("frozen")
    record = json.loads((FOLDER / "results" / "frozen.json").read_text())
    assert [row["name"] for row in record["rows"]] == list(frozen.NAMES)
    for row in record["rows"]:
        assert row["rounds"] >= frozen.ROUNDS
        assert row["frozen"] >= 1
        assert row["ratio"] <= frozen.MARK
        assert row["frozen_us"] < row["full_us"]


def test_the_record_of_looks(script):
    monitor = script("monitor")
    record = json.loads((FOLDER / "results" / "monitor.json").read_text())
    assert [row["name"] for row in record["rows"]] == list(monitor.NAMES)
    for row in record["rows"]:
        assert row["rounds"] >= monitor.ROUNDS
        assert 0 < row["share"] <= monitor.MARK


def test_the_frozen_half_keeps_its_bits(script):
    """The networks that are timed, trained for a round."""
    frozen = script("frozen")
    workload = TRAINING["T6"]
    _, net = frozen.networks(workload)
    X, y = frozen.data.rows(workload)
    before = {name: view.copy() for name, view in net.params.items()}
    net.fit(X, y, loss=workload.loss, epochs=1, batch_size=workload.batch)
    for name, view in net.params.items():
        assert same_bits(view, before[name]) == (int(name.partition(".")[0]) < 4), name


def test_the_record_of_the_gain(script):
    transfer = script("transfer")
    record = json.loads(transfer.RESULTS.read_text())
    assert record["gain"] >= transfer.MARK
    for way in ("transferred", "scratch"):
        assert len(record[way]["accuracies"]) == len(transfer.SEEDS) == 5
        assert record[way]["rate"] in transfer.RATES
    assert (record["images"], record["epochs"]) == (transfer.IMAGES, transfer.EPOCHS)


@pytest.mark.slow
@pytest.mark.long
def test_a_trained_body_is_worth_five_points(script):
    transfer = script("transfer")
    try:
        found = transfer.summary(transfer.measure())
    except FileNotFoundError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    print(found)
    assert found["gain"] >= transfer.MARK
