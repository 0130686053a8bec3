"""Spoiled CSV files: each gets one line that names the column, the row or the flag."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import bp
from peers import require

require("pyarrow")

LINES = ["a,b,species", *(f"{i % 7}.5,{i % 5},{'wren' if i % 2 else 'jay'}" for i in range(60))]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the file before it was spoiled."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "mine.csv").write_text("\n".join(LINES))
    path = folder / "mine.safetensors"
    flags = ("--hidden", "4", "--epochs", "1", "--out", path)
    assert bp("train", folder / "mine.csv", "--target", "species", *flags).code == 0
    return path


def line_10(text: str) -> bytes:
    """The file with another tenth line."""
    return "\n".join([*LINES[:9], text, *LINES[10:]]).encode("utf-8", "surrogateescape")


SPOILED = {
    "missing cell": (line_10("1.5,,jay"), "line 10, column 'b': missing value"),
    "missing label": (line_10("1.5,2,"), "line 10, column 'species': missing value"),
    "text among numbers": (line_10("1.5,two,jay"), "column 'b': expected a number, got 'two'"),
    "decimal comma": (line_10('"1,5",2,jay'), "column 'a': expected a number, got '1,5'"),
    "infinite": (line_10("inf,2,jay"), "line 10, column 'a': expected a finite number, got inf"),
    "overflow": (line_10("1e400,2,jay"), "line 10, column 'a': expected a finite number"),
    "too large": (line_10("1.5,-1e39,jay"), "line 10, column 'b': expected at most 3.40282e+38"),
    "short row": (line_10("1.5,jay"), "line 10: 2 cells, expected 3"),
    "long row": (line_10("1.5,2,jay,4"), "line 10: 4 cells, expected 3"),
    "open quotation": (line_10('1.5,2,"jay'), "line 10: a quotation mark opens a cell"),
    "Latin-1": (line_10("1.5,2,cr\udce8ve"), "line 10, column 'species': byte 0xe8 is not UTF-8"),
    "UTF-16": ("\n".join(LINES).encode("utf-16"), "line 1, column '0': byte 0xff is not UTF-8"),
    "long cell": (line_10(f"1.5,{'2' * 200_000}x,jay"), "line 10, column 'b': expected a number"),
    "same name twice": (b"a,a,species\n1,2,jay\n", "two columns are named 'a'"),
    "no name": (b"a,,species\n1,2,jay\n", "column 1 (from 0) has no name; --drop 1"),
    "empty": (b"", "mine.csv: empty file"),
    "blank": (b"\n \n", "mine.csv"),
    "names only": (b"a,b,species\n", "mine.csv: no rows; its columns are a, b, species"),
    "no names": (
        "\n".join(LINES[1:]).encode(),
        "line 1: expected column names, got the number 0.5",
    ),
    "no target": (b"a,b,kind\n1,2,jay\n", "--target species: mine.csv has no such column"),
    "target alone": (b"species\njay\nwren\n", "no column is left to predict 'species' from"),
    "one class": (b"a,species\n1,jay\n2,jay\n", "column 'species': one value only, jay"),
    "no classes": (
        b"a,species\n" + b"".join(b"%d,bird %d\n" % (i, i) for i in range(99)),
        "column 'species': 99 different values in 99 rows are no classes",
    ),
    "too few rows": (b"a,species\n1,jay\n2,wren\n", "2 rows are too few for 72% training"),
    "text column": (
        "\n".join(f"{line},{'sky' if i else 'colour'}" for i, line in enumerate(LINES)).encode(),
        "line 2, column 'colour': expected a number, got 'sky'; --one-hot colour",
    ),
    "semicolons": ("\n".join(LINES).replace(",", ";").encode(), "--delimiter ';' splits it"),
}


@pytest.mark.parametrize(("content", "message"), SPOILED.values(), ids=SPOILED)
def test_spoiled_file_to_train(content: bytes, message: str) -> None:
    Path("mine.csv").write_bytes(content)
    result = bp("train", "mine.csv", "--target", "species", "--hidden", "4", "--epochs", "1")
    assert result.code == 1
    assert result.out == ""  # before any work
    assert message in result.err
    assert result.err.startswith("bpfast: ")
    assert len(result.err.splitlines()) == 1
    assert list(Path().iterdir()) == [Path("mine.csv")]


TO_PREDICT = {
    "column missing": (b"a\n1\n", "column 'b' is missing; it has a"),
    "columns missing": (b"c\n1\n", "column 'a' is missing, and 1 more; it has c"),
    "cell missing": (b"b,a\n1,2\n1,\n", "line 3, column 'a': missing value"),
    "text": (b"b,a\nx,2\n", "line 2, column 'b': expected a number, got 'x'"),
    "infinite": (b"b,a\n1,-inf\n", "line 2, column 'a': expected a finite number, got -inf"),
    "short row": (b"b,a\n1,2\n1\n", "line 3: 1 cells, expected 2"),
    "names only": (b"b,a\n", "no rows"),
    "empty": (b"", "empty file"),
    "no names": (b"1.5,2\n", "--no-header"),
}


@pytest.mark.parametrize(("content", "message"), TO_PREDICT.values(), ids=TO_PREDICT)
def test_spoiled_file_to_predict(model: Path, content: bytes, message: str) -> None:
    Path("new.csv").write_bytes(content)
    result = bp("predict", model, "new.csv", "--out", "labels.csv")
    assert result.code == 1
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert list(Path().iterdir()) == [Path("new.csv")]


def test_columns_without_names_are_counted(model: Path) -> None:
    Path("new.csv").write_text("1.5,2,3\n")
    result = bp("predict", model, "new.csv", "--no-header")
    assert "new.csv: 3 columns without names, expected 2: a, b" in result.err
    Path("new.csv").write_text("1.5,2\n")
    assert bp("predict", model, "new.csv", "--no-header").out.startswith("species\n")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "--target must name the column to predict: a, b, species"),
        ("--target 7", "--target 7: mine.csv has no such column"),
        ("--target species --drop c", "--drop c: mine.csv has no such column"),
        ("--target species --drop species", "--drop species: this is the column to predict"),
        ("--target species --one-hot 2", "--one-hot species: this is the column to predict"),
        ("--target species --drop a --one-hot a", "--one-hot a: this column is left out"),
        ("--target species --task regression", "column 'species': expected a number, got 'jay'"),
        ("--target a --drop species --task classification", "column 'a': 0.5 is no class"),
    ],
)
def test_flags_that_do_not_fit(flags: str, message: str) -> None:
    Path("mine.csv").write_text("\n".join(LINES))
    result = bp("train", "mine.csv", *flags.split())
    assert result.code == 1
    assert message in result.err
    assert len(result.err.splitlines()) == 1


def test_labels_that_were_not_learnt(model: Path) -> None:
    Path("mine.csv").write_text("a,b,species\n1,2,jay\n1,2,crow\n")
    result = bp("evaluate", model, "mine.csv")
    assert "mine.csv, line 3, column 'species': crow is none of the classes jay, wren" in result.err
    Path("mine.csv").write_text("a,b,species\n1,2,0\n")
    assert "line 2, column 'species': 0 is none of" in bp("evaluate", model, "mine.csv").err
    Path("mine.csv").write_text("a,b\n1,2\n")
    assert "target species: mine.csv has no such column" in bp("evaluate", model, "mine.csv").err


def test_damaged_parquet() -> None:
    Path("mine.parquet").write_bytes(b"PAR1 and no more")
    result = bp("train", "mine.parquet", "--target", "y")
    assert result.code == 1
    assert "mine.parquet: not a readable Parquet file" in result.err
    assert len(result.err.splitlines()) == 1
