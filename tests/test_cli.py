"""The command: usage, training, the files it may write, and the accuracy it promises."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from command import Result, bp

import bpfast
from bpfast.cli import story
from bpfast.cli.files import is_own_model
from bpfast.cli.scores import commonest_mistakes
from bpfast.cli.train import Settings
from bpfast.datasets import load_fashion_mnist

SMALL = ("--hidden", "16", "--epochs", "3")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A model of the digits, trained as a newcomer does, and what was printed."""
    path = tmp_path_factory.mktemp("trained") / "digits.safetensors"
    result = bp("train", "--out", path, "--json")
    assert result.code == 0, result.err
    return path, result


@pytest.fixture
def model(trained: tuple[Path, Result]) -> Path:
    return trained[0]


# ---- usage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", ["--help", "--version", "train --help", "predict --help", "info --help"]
)
def test_help_does_not_wait_for_numpy(arguments: str) -> None:
    code = """
        import sys
        from bpfast.cli import main
        try:
            main(sys.argv[1:])
        except SystemExit as end:
            assert end.code == 0, end.code
        assert not {"numpy", "safetensors", "bpfast._core"} & set(sys.modules)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments.split()],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "bpfast" in run.stdout


def test_version() -> None:
    assert bp("--version").out == f"bpfast {bpfast.__version__}\n"


def test_python_m_is_the_command() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "bpfast", "--version"], capture_output=True, text=True, check=True
    )
    assert run.stdout == f"bpfast {bpfast.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "required: COMMAND"),
        ("fly", "invalid choice"),
        ("train --epochs 0", "expected a whole number of 1 or more, got '0'"),
        ("train --epochs 1.5", "expected a whole number"),
        ("train --seed -1", "expected a whole number of 0 or more"),
        ("train --hidden 8,,8", "such as 256,128, or none; got '8,,8'"),
        ("train --hidden 8,-8", "such as 256,128"),
        ("train --lr 0", "expected a number above 0"),
        ("train --lr nan", "expected a number above 0"),
        ("train --l2 -1", "expected a number of 0 or more"),
        ("train --dropout 1", "up to, but not including, 1"),
        ("train --optimizer newton", "invalid choice: 'newton'"),
        ("train --scale minmax", "invalid choice: 'minmax'"),
        ("train --verbose --quiet", "not allowed with"),
        ("predict model", "required: ROWS"),
    ],
)
def test_wrong_usage_is_2(arguments: str, message: str) -> None:
    result = bp(*arguments.split())
    assert result.code == 2
    assert message in result.err
    assert result.out == ""


# ---- train --------------------------------------------------------------------------------------


def test_story_of_a_training(trained: tuple[Path, Result]) -> None:
    path, result = trained
    config = bpfast.show_config()
    assert result.err == ""
    *lines, machine_readable = result.out.splitlines()
    assert lines[0].startswith(f"bpfast {bpfast.__version__}, {config['isa']}, ")
    assert config["threads_reason"] in lines[0]
    assert lines[1] == (
        "digits: 1,797 rows of 64 pixels in 10 classes: 1,295 training, 143 validation, 359 test"
    )
    parameters = 64 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10
    assert lines[2].startswith("network 64-256-128-10, standardized inputs, relu, dropout 0.2")
    assert lines[2].endswith(f": {parameters:,} parameters")
    assert "adam" in lines[3]
    assert "seed 0" in lines[3]
    assert lines[4].split() == [
        "epoch",
        "loss",
        "val_loss",
        "accuracy",
        "val_accuracy",
        "samples/s",
    ]
    table = [line.split() for line in lines[5:18]]
    assert [int(row[0]) for row in table] == [*range(1, 11), 20, 30, 40]
    assert all(len(row) == 6 for row in table)
    score, mistakes, seconds, file, *following = lines[18:]
    assert score.startswith(f"test accuracy {json.loads(machine_readable)['test_accuracy']:.4f}")
    assert "of 359 rows" in score
    assert "always guessing" in score
    assert " read as " in mistakes or mistakes == "no mistakes"
    assert seconds.startswith("trained in ")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert file == f"wrote {path}: {path.stat().st_size:,} bytes, SHA-256 {digest}"
    assert following[0] == f"next: bpfast predict {path} digits"
    assert following[1].startswith("      python -P -c ")
    assert len(following) == 2


def test_what_to_do_next_works(trained: tuple[Path, Result]) -> None:
    line = trained[1].out.splitlines()[-2].strip()
    command = line.replace("python", sys.executable, 1)
    run = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("[")


def test_json_of_a_training(trained: tuple[Path, Result]) -> None:
    path, result = trained
    object_ = result.json
    assert object_["epochs"] == 40
    assert 0 < object_["seconds"] < 10
    assert object_["samples_per_second"] == pytest.approx(40 * 1295 / object_["seconds"])
    assert 0 < object_["train_loss"] < 0.2
    assert 0 < object_["validation_loss"] < 0.5
    assert 0.95 <= object_["test_accuracy"] <= 1
    assert object_["model"] == str(path)
    assert object_["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_same_seed_same_bytes() -> None:
    for name, seed, threads in (("a", 5, 1), ("b", 5, 2), ("c", 6, 1)):
        result = bp("train", *SMALL, "--seed", seed, "--threads", threads, "--out", name, "--quiet")
        assert result == Result(0, "", "")
    a, b, c = (hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in "abc")
    assert a == b
    assert a != c


def test_output_changes_no_bit() -> None:
    for name, flags in (("a", ("--quiet",)), ("b", ("--verbose", "--json"))):
        assert bp("train", *SMALL, "--out", name, *flags).code == 0
    a, b = (hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in "ab")
    assert a == b


def test_quiet_prints_the_json_only() -> None:
    result = bp("train", *SMALL, "--quiet", "--json")
    assert len(result.out.splitlines()) == 1
    assert result.json["model"] == "digits.safetensors"
    assert Path("digits.safetensors").exists()


def test_verbose_prints_every_epoch() -> None:
    result = bp("train", "--hidden", "8", "--epochs", "14", "--verbose")
    rows = [line.split()[0] for line in result.out.splitlines() if line[:5].strip().isdigit()]
    assert rows == [str(epoch) for epoch in range(1, 15)]


@pytest.mark.parametrize(
    "flags",
    [
        "--optimizer sgd --lr 0.05",
        "--optimizer adamw --l2 1e-4",
        "--optimizer rmsprop",
        "--optimizer adagrad",
        "--optimizer lion --lr 1e-3 --batch-size 64",
        "--optimizer rprop --epochs 25",
        "--hidden none --lr 0.02",
        "--hidden 32,16 --dropout 0.1",
        "--scale none",
    ],
)
def test_every_flag_learns(flags: str) -> None:
    result = bp("train", "--hidden", "64", "--epochs", "10", *flags.split(), "--json")
    assert result.code == 0, result.err
    assert result.json["test_accuracy"] > 0.85


def test_defaults_depend_on_the_rows() -> None:
    small, large = Settings().fill(9_999), Settings().fill(10_000)
    assert (small.epochs, small.batch_size, small.lr) == (40, 32, 1e-3)
    assert (large.epochs, large.batch_size, large.lr) == (15, 128, 1e-3)
    assert Settings(optimizer="rprop").fill(70_000).batch_size == 70_000
    asked = Settings(epochs=7, batch_size=9, lr=0.5).fill(10_000)
    assert (asked.epochs, asked.batch_size, asked.lr) == (7, 9, 0.5)


def test_interrupt_leaves_no_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bpfast", "train", "--epochs", "1000000"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if line.split()[0] == "2":  # the second epoch's row
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted after " in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


# ---- files that train may write -----------------------------------------------------------------


def test_own_model_is_overwritten(model: Path) -> None:
    Path("mine").write_bytes(model.read_bytes())
    assert bp("train", *SMALL, "--out", "mine").code == 0
    assert Path("mine").read_bytes() != model.read_bytes()


def other_safetensors() -> bytes:
    header = json.dumps({"__metadata__": {"format": "pt"}}).encode()
    return len(header).to_bytes(8, "little") + header


OTHERS = {
    "text": b"precious",
    "empty": b"",
    "other safetensors": other_safetensors(),
    "long header": b"\xff" * 64,
    "broken json": (4).to_bytes(8, "little") + b"{]}]",
    "nested json": (50_000).to_bytes(8, "little") + b"[" * 50_000,
    "no object": (2).to_bytes(8, "little") + b"[]",
    "odd metadata": (20).to_bytes(8, "little") + b'{"__metadata__": []}',
}


@pytest.mark.parametrize("content", OTHERS.values(), ids=OTHERS)
def test_other_files_are_kept_unless_forced(content: bytes) -> None:
    path = Path("other")
    path.write_bytes(content)
    assert not is_own_model(path)
    result = bp("train", *SMALL, "--out", path)
    assert result.code == 1
    assert "was not written by bpfast; --force" in result.err
    assert result.out == ""  # before any work
    assert path.read_bytes() == content
    assert list(Path().iterdir()) == [path]


def test_force_overwrites(model: Path) -> None:
    Path("other").write_text("not so precious")
    assert bp("train", *SMALL, "--out", "other", "--force").code == 0
    assert is_own_model(Path("other"))


def test_force_spares_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "dangling", "pipe", "/dev/null"):
        result = bp("train", *SMALL, "--out", name, "--force")
        assert result.code == 1
        assert "not a regular file" in result.err
    assert Path("/dev/null").is_char_device()


def test_missing_folder_is_noticed_before_training() -> None:
    result = bp("train", "--out", "no/where/model")
    assert result.code == 1
    assert "there is no folder" in result.err
    assert result.out == ""


# ---- the story's parts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "later"),
    [
        (1, []),
        (10, []),
        (11, [11]),
        (15, [15]),
        (30, [15, 20, 25, 30]),
        (40, [20, 30, 40]),
        (100, [50, 100]),
        (101, [50, 100, 101]),
        (1000, [500, 1000]),
    ],
)
def test_rows_are_thinned_after_ten(epochs: int, later: list[int]) -> None:
    assert sorted(story.shown_epochs(epochs)) == [*range(1, min(epochs, 10) + 1), *later]


def test_commonest_mistakes() -> None:
    true = np.array([1, 1, 1, 2, 2, 3, 3, 4, 4])
    read = np.array([1, 7, 7, 2, 8, 8, 1, 4, 4])
    assert commonest_mistakes(true, read) == [(1, 7, 2), (2, 8, 1), (3, 1, 1)]
    assert commonest_mistakes(true, true) == []


# ---- the accuracy it promises -------------------------------------------------------------------


@pytest.mark.slow
def test_digits_over_ten_seeds() -> None:
    results = [bp("train", "--seed", seed, "--quiet", "--json").json for seed in range(10)]
    accuracies = [result["test_accuracy"] for result in results]
    assert np.mean(accuracies) >= 0.97, accuracies
    assert min(accuracies) >= 0.95, accuracies
    assert max(result["seconds"] for result in results) < 10


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, pytest.param(3, marks=pytest.mark.long)])
def test_fashion_mnist(seeds: int) -> None:
    """0.8833 is the best multilayer perceptron that users submitted to Fashion-MNIST's page."""
    try:
        load_fashion_mnist()
    except FileNotFoundError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    flags = ("--hidden", "256,128", "--epochs", "15", "--quiet", "--json")
    accuracies = [
        bp("train", "fashion-mnist", *flags, "--seed", seed).json["test_accuracy"]
        for seed in range(seeds)
    ]
    assert np.mean(accuracies) >= 0.885, accuracies
