"""The command on CSV and Parquet files of one's own, from training to predictions."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from command import Result, bp
from peers import require

import bpfast
from bpfast.cli.train import Settings

pa = require("pyarrow")
parquet = require("pyarrow.parquet")

QUICK = ("--hidden", "16", "--epochs", "30", "--lr", "0.01", "--dropout", "0")
NAMES = ["length", "width", "weight"]
BIRDS = np.array(["jay", "robin", "wren"])


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(path: str, names: list[str], columns: list, delimiter: str = ",") -> None:
    """Write columns as a CSV file."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(names)
        writer.writerows(zip(*columns, strict=True))


def birds(rng: np.random.Generator, rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Three columns, and a species that they tell."""
    species = rng.integers(0, 3, rows)
    X = rng.normal(size=(rows, 3)).round(3) + 4 * np.eye(3)[species]
    return X, BIRDS[species]


@pytest.fixture
def rows(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What mine.csv in the current folder holds."""
    X, y = birds(rng)
    write("mine.csv", [*NAMES, "species"], [*X.T, y])
    return X, y


def read(result: Result) -> list[list[str]]:
    """Return the rows of a CSV result, names first."""
    assert result.code == 0, result.err
    return list(csv.reader(io.StringIO(result.out)))


# ---- classes ------------------------------------------------------------------------------------


def test_three_commands(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    trained = bp("train", "mine.csv", "--target", "species", *QUICK, "--json")
    assert trained.code == 0, trained.err
    assert trained.err == ""
    assert (
        "mine.csv: 200 rows of 3 columns, 'species' of 3 classes: "
        "144 training, 16 validation, 40 test"
    ) in trained.out
    assert "next: bpfast predict mine.safetensors mine.csv" in trained.out
    assert trained.json["test_accuracy"] > 0.9
    assert trained.json["model"] == "mine.safetensors"

    write("new.csv", NAMES, [*X.T])
    labels = read(bp("predict", "mine.safetensors", "new.csv"))
    assert labels[0] == ["species"]
    assert len(labels) == 1 + len(X)
    predicted = np.array([row[0] for row in labels[1:]])
    assert (predicted == y).mean() > 0.9

    classes, *shares = read(bp("predict", "mine.safetensors", "new.csv", "--proba"))
    assert classes == BIRDS.tolist()
    probabilities = np.array(shares, dtype=float)
    assert (BIRDS[probabilities.argmax(axis=1)] == predicted).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=6 * 2**-24)  # three roundings

    scored = bp("evaluate", "mine.safetensors", "mine.csv", "--json")
    for key in ("test_accuracy", "test_loss", "baseline_accuracy"):
        assert scored.json[key] == trained.json[key]  # the rows that were held out


def test_columns_are_found_by_name(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    bp("train", "mine.csv", "--target", "species", *QUICK)
    straight = bp("predict", "mine.safetensors", "mine.csv")
    assert straight.err == ""  # the target is no stranger
    write("mixed.csv", ["age", "weight", "species", "length", "width"], [y, X[:, 2], y, *X.T[:2]])
    mixed = bp("predict", "mine.safetensors", "mixed.csv")
    assert mixed.out == straight.out
    assert mixed.err == "bpfast: mixed.csv: columns that the model does not read: age\n"


def test_evaluate_on_another_file(rng: np.random.Generator, rows: tuple) -> None:
    assert len(rows[0])
    bp("train", "mine.csv", "--target", "species", *QUICK)
    X, y = birds(rng, 50)
    write("later.csv", [*NAMES, "species"], [*X.T, y])
    result = bp("evaluate", "mine.safetensors", "later.csv", "--json")
    assert result.json["rows"] == 50
    assert "later.csv: 50 rows of 3 columns, 'species' of 3 classes: 50 test" in result.out
    labels = [row[0] for row in read(bp("predict", "mine.safetensors", "later.csv"))[1:]]
    assert result.json["test_accuracy"] == pytest.approx((np.array(labels) == y).mean())


def test_model_file_carries_all(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, _ = rows
    bp("train", "mine.csv", "--target", "species", "--drop", "width", *QUICK)
    info = bp("info", "mine.safetensors")
    assert info.code == 0, info.err
    for line in (
        'classes: ["jay", "robin", "wren"]',
        "target: species (classification)",
        "column: length",
        "columns left out: width",
        "loss: CrossEntropy()",
        "metrics: accuracy",
    ):
        assert line in info.out.splitlines()
    net = bpfast.load("mine.safetensors")
    labels = np.array(json.loads(net.metadata["classes"]))[net.predict_classes(X[:, [0, 2]])]
    told = [row[0] for row in read(bp("predict", "mine.safetensors", "mine.csv"))[1:]]
    assert told == labels.tolist()


def test_equal_runs_write_equal_files(rows: tuple[np.ndarray, np.ndarray]) -> None:
    assert len(rows[0])
    for name, threads in (("a", 1), ("b", 2)):
        flags = ("--target", "species", "--threads", threads, "--out", name, *QUICK)
        assert bp("train", "mine.csv", *flags).code == 0
    assert Path("a").read_bytes() == Path("b").read_bytes()


def test_whole_numbers_are_classes_while_few(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    codes = np.searchsorted(BIRDS, y) * 5 - 5
    write("few.csv", [*NAMES, "code"], [*X.T, codes])
    result = bp("train", "few.csv", "--target", "code", *QUICK)
    assert "'code' of 3 classes" in result.out
    assert {row[0] for row in read(bp("predict", "few.safetensors", "few.csv"))[1:]} <= {
        "-5",
        "0",
        "5",
    }
    forced = bp("train", "few.csv", "--target", "code", "--task", "regression", *QUICK)
    assert "'code' a quantity" in forced.out
    write("many.csv", [*NAMES, "code"], [*X.T, np.arange(len(X)) % 21])
    assert "'code' a quantity" in bp("train", "many.csv", "--target", "code", *QUICK).out
    forced = bp("train", "many.csv", "--target", "code", "--task", "classification", *QUICK)
    assert "'code' of 21 classes" in forced.out


def test_class_without_training_rows_is_told(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    labels = y.astype(object)
    labels[0] = "yak"  # the last class: its only row is tested
    write("rare.csv", [*NAMES, "species"], [*X.T, labels])
    result = bp("train", "rare.csv", "--target", "species", *QUICK)
    assert result.code == 0
    assert result.err == "bpfast: rare.csv: no row of class yak is among the training rows\n"


def test_names_need_not_be_ascii(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    bird = np.where(y == "wren", "Zaunkönig, klein", y)
    write("mine.csv", ["Länge", *NAMES[1:], "Vogel"], [*X.T, bird])
    Path("mine.csv").write_bytes(b"\xef\xbb\xbf" + Path("mine.csv").read_bytes())  # as Excel does
    assert bp("train", "mine.csv", "--target", "Vogel", *QUICK).code == 0
    assert bp("predict", "mine.safetensors", "mine.csv", "--out", "out.csv").code == 0
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        assert {row[0] for row in csv.reader(file)} == {"Vogel", *bird}


# ---- quantities ---------------------------------------------------------------------------------


def test_regression_is_in_the_targets_units(rng: np.random.Generator) -> None:
    X = rng.normal(size=(400, 3))
    y = 5_000 + 300 * X[:, 0] - 200 * X[:, 1] * X[:, 2]
    write("mine.csv", [*NAMES, "price"], [*X.T, y])
    trained = bp("train", "mine.csv", "--target", "price", "--dropout", "0", "--json")
    assert trained.code == 0, trained.err
    assert "'price' a quantity" in trained.out
    assert trained.json["test_r2"] > 0.95
    assert trained.json["test_loss"] == pytest.approx(trained.json["test_rmse"] ** 2)
    assert 200 < trained.json["baseline_rmse"] < 500

    predicted = read(bp("predict", "mine.safetensors", "mine.csv"))
    assert predicted[0] == ["price"]
    values = np.array(predicted[1:], dtype=float)[:, 0]
    assert np.sqrt(np.mean((values - y) ** 2)) < 80
    net = bpfast.load("mine.safetensors")
    np.testing.assert_allclose(net.predict(X)[:, 0], values, rtol=1e-8)  # nine digits were written

    scored = bp("evaluate", "mine.safetensors", "mine.csv", "--json")
    for key in ("test_loss", "test_rmse", "test_mae", "test_r2", "baseline_rmse"):
        assert scored.json[key] == trained.json[key]
    assert "metrics: r2, mae" in bp("info", "mine.safetensors").out
    refused = bp("predict", "mine.safetensors", "mine.csv", "--proba")
    assert refused.code == 1
    assert "--proba" in refused.err


# ---- columns ------------------------------------------------------------------------------------


def test_one_hot_columns(rng: np.random.Generator) -> None:
    city = np.array(["Oslo", "Rome", "Bern"])[rng.integers(0, 3, 200)]
    size = rng.normal(size=200)
    y = np.where((city == "Rome") ^ (size > 0), "yes", "no")
    write("mine.csv", ["city", "size", "buys"], [city, size, y])
    flags = ("--target", "buys", "--one-hot", "city", *QUICK, "--json")
    result = bp("train", "mine.csv", *flags)
    assert result.code == 0, result.err
    assert result.json["test_accuracy"] > 0.9
    assert "network 4-16-2" in result.out
    assert "column: city, one-hot: Bern, Oslo, Rome" in bp("info", "mine.safetensors").out
    write("new.csv", ["size", "city"], [[0.5, 0.5], ["Oslo", "Paris"]])
    strange = bp("predict", "mine.safetensors", "new.csv")
    assert strange.code == 1
    assert "new.csv, line 3, column 'city': 'Paris' is none of Bern, Oslo, Rome" in strange.err


def test_yes_or_no_columns_are_numbers(rng: np.random.Generator) -> None:
    left = rng.integers(0, 2, 100).astype(bool)
    write("mine.csv", ["left", "right"], [left, np.where(left, "True", "False")])
    result = bp("train", "mine.csv", "--target", "right", *QUICK, "--json")
    assert result.json["test_accuracy"] == 1
    assert {row[0] for row in read(bp("predict", "mine.safetensors", "mine.csv"))[1:]} == {
        "True",
        "False",
    }


def test_missing_numbers_are_filled_when_asked(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    cells = X.astype(object)
    for row, text in enumerate(["", "NA", " nan ", "?", "null"]):
        cells[row, row % 3] = text
    write("mine.csv", [*NAMES, "species"], [*cells.T, y])
    refused = bp("train", "mine.csv", "--target", "species", *QUICK)
    assert "mine.csv, line 2, column 'length': missing value" in refused.err
    result = bp("train", "mine.csv", "--target", "species", "--fill-missing", *QUICK)
    assert result.code == 0, result.err
    assert len(read(bp("predict", "mine.safetensors", "mine.csv"))) == 1 + len(X)
    line = next(
        line
        for line in bp("info", "mine.safetensors").out.splitlines()
        if line.startswith("column: width, ")
    )
    mean = float(line.split()[2])
    assert line.endswith("where missing")
    assert abs(mean - X[:, 1].mean()) < 1  # of the training rows

    write("hole.csv", NAMES, [["1"], [""], ["2"]])
    write("full.csv", NAMES, [["1"], [f"{mean:.9g}"], ["2"]])
    hole, full = (
        np.array(read(bp("predict", "mine.safetensors", name, "--proba"))[1], dtype=float)
        for name in ("hole.csv", "full.csv")
    )
    np.testing.assert_allclose(hole, full, rtol=1e-5, atol=1e-7)  # nine digits of the mean


def test_share_of_test_rows(rows: tuple[np.ndarray, np.ndarray]) -> None:
    assert len(rows[0])
    result = bp("train", "mine.csv", "--target", "species", "--test-share", "0.5", *QUICK)
    assert "90 training, 10 validation, 100 test" in result.out
    again = bp("evaluate", "mine.safetensors", "mine.csv")
    assert "90 training, 10 validation, 100 test" in again.out


def test_small_tables_have_more_epochs() -> None:
    assert Settings().fill(320).epochs == 100
    assert Settings(epochs=3).fill(320).epochs == 3
    assert Settings(optimizer="rprop").fill(320).epochs == 40
    assert Settings().fill(320, regression=True).dropout == 0.1


# ---- ways to write a table ----------------------------------------------------------------------


def test_ways_to_write_a_table(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    bp("train", "mine.csv", "--target", "species", *QUICK)
    expected = bp("predict", "mine.safetensors", "mine.csv").out
    write("tabs.tsv", NAMES, [*X.T], delimiter="\t")
    write("marks.csv", NAMES, [*X.T], delimiter=";")
    text = Path("mine.csv").read_text()
    Path("blank.csv").write_text("\n" + text.replace("\n", " \n").replace(",", " , ") + "\n\n")
    Path("mac.csv").write_text(text, newline="\r\n")
    columns = {name: pa.array(column) for name, column in zip(NAMES, X.T, strict=True)}
    parquet.write_table(pa.table({**columns, "species": pa.array(y.tolist())}), "mine.parquet")
    for name, flags in (
        ("tabs.tsv", ()),
        ("marks.csv", ("--delimiter", ";")),
        ("blank.csv", ()),
        ("mac.csv", ()),
        ("mine.parquet", ()),
    ):
        result = bp("predict", "mine.safetensors", name, *flags)
        assert result.out == expected, (name, result.err)


def test_no_header(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    text = Path("mine.csv").read_text().split("\n", 1)[1]
    Path("bare.csv").write_text(text)
    refused = bp("train", "bare.csv", "--target", "3")
    assert refused.code == 1
    assert "bare.csv, line 1: expected column names, got the number" in refused.err
    assert "--no-header" in refused.err
    result = bp("train", "bare.csv", "--target", "-1", "--no-header", *QUICK)
    assert "200 rows of 3 columns, '3' of 3 classes" in result.out
    labels = read(bp("predict", "bare.safetensors", "bare.csv"))
    assert len(labels) == 1 + len(X)
    write("named.csv", ["a", "b", "c"], [*X.T])
    refused = bp("predict", "bare.safetensors", "named.csv")
    assert "named.csv, line 1, column '0': expected a number, got 'a'" in refused.err
    text = Path("named.csv").read_text().split("\n", 1)[1]
    Path("bare.csv").write_text(text)
    assert read(bp("predict", "bare.safetensors", "bare.csv")) == labels
    assert (np.array(labels[1:])[:, 0] == y).mean() > 0.9


def test_parquet_types(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = rows
    table = pa.table(
        {
            "length": pa.array(X[:, 0], pa.float32()),
            "width": pa.array((100 * X[:, 1]).astype(int), pa.int16()),
            "tall": pa.array(X[:, 2] > 2),
            "place": pa.array(y.tolist()).dictionary_encode(),
            "day": pa.array([0] * len(X), pa.date32()),
            "species": pa.array(y.tolist(), pa.large_string()),
        }
    )
    parquet.write_table(table, "mine.parquet")
    flags = ("--target", "species", "--one-hot", "place", *QUICK)
    refused = bp("train", "mine.parquet", *flags)
    assert refused.code == 1
    assert "mine.parquet, column 'day': date32[day] is neither number nor text" in refused.err
    result = bp("train", "mine.parquet", "--drop", "day", *flags, "--json")
    assert result.json["test_accuracy"] == 1, result.err
    parquet.write_table(table.set_column(1, "width", pa.nulls(len(X), pa.int16())), "new.parquet")
    missing = bp("predict", "mine.safetensors", "new.parquet")
    assert "new.parquet, row 0 (from 0), column 'width': missing value" in missing.err
