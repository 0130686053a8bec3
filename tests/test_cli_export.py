"""The command that writes models for other programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from c_programs import native
from command import bp
from peers import require

import bpfast

require("onnx")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table(**columns: list) -> None:
    """Write mine.csv."""
    lines = [
        ",".join(columns),
        *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True)),
    ]
    Path("mine.csv").write_text("\n".join(lines) + "\n")


def train(*flags: str) -> bpfast.Network:
    pytest.importorskip("pyarrow")
    result = bp("train", "mine.csv", "--target", "y", "--hidden", "4", "--epochs", "2", *flags)
    assert result.code == 0, result.err
    return bpfast.load("mine.safetensors")


X = np.random.default_rng(0).normal(5, 2, (40, 2)).round(3)


def test_onnx_of_classes():
    from onnx_models import onnx, run

    table(a=X[:, 0].tolist(), b=X[:, 1].tolist(), y=["jay" if x > 5 else "wren" for x in X[:, 0]])
    net = train()
    result = bp("export", "mine.safetensors", "--to", "onnx")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith("mine.onnx: ")
    assert lines[1:] == [
        "input: columns a, b, in this order",
        "output: label and probabilities of jay, wren",
    ]
    found = run(onnx.load("mine.onnx"), X.astype(np.float32))
    labels = bp("predict", "mine.safetensors", "mine.csv").out.split()[1:]
    assert found["label"].tolist() == labels
    np.testing.assert_allclose(found["probabilities"], net.predict_proba(X), atol=1e-6)
    again = bp("export", "mine.safetensors", "--to", "onnx")
    assert again.code == 1
    assert "mine.onnx: exists; --force overwrites it" in again.err
    assert bp("export", "mine.safetensors", "--to", "onnx", "--force").code == 0


def test_onnx_of_a_quantity():
    from onnx_models import onnx, run

    holes = ["" if i % 7 == 0 else x for i, x in enumerate(X[:, 0].tolist())]
    table(a=holes, b=X[:, 1].tolist(), y=(X[:, 1] * 3.5).tolist())
    net = train("--fill-missing")
    result = bp("export", "mine.safetensors", "--to", "onnx", "-o", "out.onnx")
    assert result.code == 0, result.err
    assert "output: y" in result.out.splitlines()
    assert "for a missing number put the column's mean: a " in result.out
    found = run(onnx.load("out.onnx"), X.astype(np.float32))
    np.testing.assert_allclose(found["output"], net.predict(X), rtol=1e-5)


def test_torch(tmp_path: Path):
    torch = require("torch")
    from safetensors.torch import load_file

    table(a=X[:, 0].tolist(), b=X[:, 1].tolist(), y=["jay" if x > 5 else "wren" for x in X[:, 0]])
    net = train("--scale", "none")
    result = bp("export", "mine.safetensors", "--to", "torch")
    assert result.code == 0, result.err
    code = next(line for line in result.out.splitlines() if line.startswith("module = "))
    names: dict = {"nn": torch.nn}
    exec(code, names)
    module = names["module"]
    module.load_state_dict(load_file("mine.torch.safetensors"))
    with torch.no_grad():
        found = module.eval()(torch.from_numpy(X.astype(np.float32))).numpy()
    np.testing.assert_allclose(found, net.predict(X), rtol=1e-6, atol=1e-6)
    train("--force")
    result = bp("export", "mine.safetensors", "--to", "torch", "--force")
    assert "module = bpfast.load(MODEL).to_torch()" in result.out
    bpfast.load("mine.safetensors").to_torch().load_state_dict(load_file("mine.torch.safetensors"))


def test_c(tmp_path: Path):
    table(a=X[:, 0].tolist(), b=X[:, 1].tolist(), y=["jay" if x > 5 else "wren" for x in X[:, 0]])
    train()
    result = bp("export", "mine.safetensors", "--to", "c")
    assert result.code == 0, result.err
    assert "its first lines say how to use it: mine.h" in result.out
    text = Path("mine.h").read_text()
    assert '"jay",\n    "wren",' in text
    source = ["-D", "MINE_TEST_MAIN", "-x", "c", "mine.h", "-o", "test", "-lm"]
    strict = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*native().compiler, *strict, *source], check=True)
    done = subprocess.run(["./test"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    labels = [line.split(": ")[1] for line in done.stdout.splitlines()[:-1]]
    assert labels
    assert set(labels) <= {"jay", "wren"}


def test_what_cannot_be_exported():
    table(a=X[:, 0].tolist(), city=["Bern", "Oslo"] * 20, y=X[:, 1].tolist())
    train("--one-hot", "city")
    for to in ("onnx", "torch", "c"):
        result = bp("export", "mine.safetensors", "--to", to)
        assert result.code == 1
        assert (
            "mine.safetensors: column 'city' is text, which only bpfast predict turns" in result.err
        )
    assert bp("export", "none.safetensors", "--to", "onnx").code == 1
    assert bp("export", "mine.safetensors").code == 2
    assert bp("export", "mine.safetensors", "--to", "keras").code == 2
