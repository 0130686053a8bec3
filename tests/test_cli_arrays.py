"""The command on tables in NumPy's files, and where the extra `data` is not installed."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import bp

import bpfast.cli

QUICK = ("--hidden", "16", "--epochs", "30", "--lr", "0.01", "--dropout", "0")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def parts(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and the column that is likely to be the largest."""
    y = rng.integers(0, 3, 200)
    return rng.normal(size=(200, 3)) + 4 * np.eye(3)[y], y


def predicted(*arguments: object) -> list[str]:
    """Return the labels below the line of names."""
    result = bp("predict", *arguments)
    assert result.code == 0, result.err
    return [row[0] for row in csv.reader(io.StringIO(result.out))][1:]


def test_npy(parts: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = parts
    np.save("mine.npy", np.column_stack([X, y]))
    result = bp("train", "mine.npy", "--target", "-1", *QUICK, "--json")
    assert result.code == 0, result.err
    assert "200 rows of 3 columns, '3' of 3 classes" in result.out
    assert result.json["test_accuracy"] > 0.8
    labels = predicted("mine.safetensors", "mine.npy")
    assert (np.array(labels, dtype=int) == y).mean() > 0.8
    np.save("rows.npy", X)
    np.save("row.npy", X[0])
    assert predicted("mine.safetensors", "rows.npy") == labels
    assert predicted("mine.safetensors", "row.npy") == labels[:1]
    np.save("wide.npy", np.ones((2, 2)))
    refused = bp("predict", "mine.safetensors", "wide.npy")
    assert "wide.npy: 2 columns without names, expected 3: 0, 1, 2" in refused.err


def test_target_is_the_first_column(parts: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = parts
    np.save("mine.npy", np.column_stack([y, X]))
    assert bp("train", "mine.npy", "--target", "0", *QUICK).code == 0
    np.save("rows.npy", X)
    assert predicted("mine.safetensors", "rows.npy") == predicted("mine.safetensors", "mine.npy")


def test_npz(parts: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = parts
    np.savez("mine.npz", X=X, y=np.array(["a", "b", "c"])[y])
    assert bp("train", "mine.npz", "--target", "y", *QUICK).code == 0
    assert "column: X[2]" in bp("info", "mine.safetensors").out.splitlines()
    np.savez("rows.npz", X=X)
    labels = predicted("mine.safetensors", "rows.npz")
    assert (np.array(labels) == np.array(["a", "b", "c"])[y]).mean() > 0.8
    np.savez("short.npz", X=X, y=y[:5])
    refused = bp("train", "short.npz", "--target", "y")
    assert "expected arrays of equally many rows, got X 200, y 5" in refused.err
    np.savez("none.npz")
    assert "got none" in bp("train", "none.npz", "--target", "y").err


def test_records(parts: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = parts
    fields = [("a", "f4"), ("b", "f8"), ("c", "f4"), ("d", "i8"), ("z", "c16")]
    records = np.zeros(len(X), fields)
    records["a"], records["b"], records["c"] = X.T
    records["d"] = y
    np.save("mine.npy", records)
    flags = ("--target", "d", *QUICK)
    assert "column 'z': complex128 is neither" in bp("train", "mine.npy", *flags).err
    assert bp("train", "mine.npy", "--drop", "z", *flags).code == 0
    mixed = np.zeros(len(X), fields[::-1])
    for name in "abc":
        mixed[name] = records[name]
    np.save("other.npy", mixed)
    assert predicted("mine.safetensors", "other.npy") == predicted("mine.safetensors", "mine.npy")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 3)), "no rows"),
        (np.array([[1.0, np.nan], [1.0, 2.0]]), "row 0 (from 0), column '1': missing value"),
        (np.array([[1.0, 1.0], [np.inf, 2.0]]), "row 1 (from 0), column '0': expected a finite"),
        (np.array([["x", "y"]]), "column '0': expected a number, got 'x'"),
        (np.array({}, dtype=object), "mine.npy: damaged or unsuitable .npy file"),
    ],
    ids=["no rows", "nan", "inf", "text", "object"],
)
def test_spoiled_npy(array: np.ndarray, message: str) -> None:
    np.save("mine.npy", array, allow_pickle=True)
    result = bp("train", "mine.npy", "--target", "1")
    assert result.code == 1
    assert message in result.err
    assert "unsafely" not in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("name", ["mine.npy", "mine.npz"])
def test_damaged_file(name: str) -> None:
    for content in (b"", b"text", b"\x93NUMPY\x01\x00", b"PK\x03\x04"):
        Path(name).write_bytes(content)
        result = bp("train", name, "--target", "1")
        assert result.code == 1
        assert result.err.startswith(f"bpfast: {name}: damaged")
        assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("name", ["mine.csv", "mine.tsv", "mine.parquet"])
def test_message_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "bpfast.cli.arrow", raising=False)
    monkeypatch.delattr(bpfast.cli, "arrow", raising=False)
    Path(name).write_text("a,y\n1,2\n")
    result = bp("train", name, "--target", "y")
    assert result.code == 1
    assert "pip install 'bpfast[data]'" in result.err
    assert "pyarrow" in result.err
    assert "No such file" in bp("train", f"no-{name}", "--target", "y").err


@pytest.mark.parametrize(
    "flag",
    [
        "--target y",
        "--task regression",
        "--one-hot a",
        "--drop a",
        "--fill-missing",
        "--test-share 0.3",
        "--no-header",
        "--delimiter ;",
    ],
)
def test_flags_of_tables_go_with_tables(flag: str) -> None:
    result = bp("train", "digits", *flag.split())
    assert result.code == 1
    name = flag.split()[0].replace("--no-", "--")
    assert result.err == f"bpfast: {name} goes with a table (such as mine.csv), not with digits\n"


@pytest.mark.parametrize(
    "flag",
    [
        "--test-share 0",
        "--test-share 0.005",
        "--test-share 0.95",
        "--test-share x",
        "--delimiter ab",
        "--delimiter .",
        "--task clustering",
    ],
)
def test_flags_out_of_range(flag: str) -> None:
    result = bp("train", "mine.npy", "--target", "y", *flag.split())
    assert result.code == 2
    assert flag.split()[1] in result.err


def test_images_and_tables_do_not_mix(parts: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = parts
    np.savez("mine.npz", X=X, y=y)
    assert bp("train", "mine.npz", "--target", "y", *QUICK).code == 0
    assert bp("train", "digits", "--hidden", "4", "--epochs", "1").code == 0
    for command in ("predict", "evaluate"):
        refused = bp(command, "mine.safetensors", "digits")
        assert refused.code == 1
        assert "digits: mine.safetensors reads tables" in refused.err
    assert "name the data after it" in bp("evaluate", "mine.safetensors").err
    assert "expected a .npy or IDX file" in bp("predict", "digits.safetensors", "mine.npz").err
    assert "digits.safetensors reads images" in bp("evaluate", "digits.safetensors", "mine.npz").err


@pytest.mark.parametrize(
    "change",
    [
        lambda table: "{",
        lambda table: "[]",
        lambda table: "{}",
        lambda table: json.dumps({**json.loads(table), "features": 3}),
        lambda table: json.dumps({**json.loads(table), "features": [{"name": "a"}]}),
        lambda table: json.dumps({**json.loads(table), "features": []}),
        lambda table: json.dumps({**json.loads(table), "more": 1}),
        lambda table: json.dumps({**json.loads(table), "task": "clustering"}),
        lambda table: json.dumps({**json.loads(table), "test_percent": "many"}),
    ],
)
def test_damaged_metadata(
    parts: tuple[np.ndarray, np.ndarray], change: Callable[[str], str]
) -> None:
    X, y = parts
    np.savez("mine.npz", X=X, y=y)
    bp("train", "mine.npz", "--target", "y", "--hidden", "4", "--epochs", "1")
    net = bpfast.load("mine.safetensors")
    net.save("bad.safetensors", {**net.metadata, "table": change(net.metadata["table"])})
    for command in ("predict", "evaluate"):
        result = bp(command, "bad.safetensors", "mine.npz")
        assert result.code == 1
        assert "bad.safetensors: " in result.err
        assert len(result.err.splitlines()) == 1
