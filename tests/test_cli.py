"""The command: exit codes, what goes to which stream, files, and the accuracy it promises."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import bpfast
from bpfast.cli import main, story
from bpfast.cli.files import is_own_model
from bpfast.cli.train import Settings
from bpfast.datasets import fashion_mnist, load_digits, load_fashion_mnist

SMALL = ("--hidden", "16", "--epochs", "3")


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        return json.loads(self.out.splitlines()[-1])


def bp(*arguments: object) -> Result:
    """Run the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
    return Result(code, out.getvalue(), err.getvalue())


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


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 0x08, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """IDX files of two of the digits, whose labels do not count from 0."""
    X, y = load_digits()
    wanted = np.isin(y, (3, 7))
    place = tmp_path / "threes and sevens"
    place.mkdir()
    write_idx(place / "train-images", X[wanted].reshape(-1, 8, 8))
    write_idx(place / "train-labels", y[wanted])
    return place


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
    assert lines[4].split() == ["epoch", *story.EpochTable.COLUMNS, "samples/s"]
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
    assert following[1].startswith("      python -c ")
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
    a, b, c = (Path(name).read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_output_changes_no_bit() -> None:
    for name, flags in (("a", ("--quiet",)), ("b", ("--verbose", "--json"))):
        assert bp("train", *SMALL, "--out", name, *flags).code == 0
    assert Path("a").read_bytes() == Path("b").read_bytes()


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
        "--optimizer lion --batch-size 64",
        "--optimizer rprop --epochs 25",
        "--hidden none --dropout 0",
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
    assert "interrupted in epoch" in err
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


# ---- data ---------------------------------------------------------------------------------------


def test_unknown_data() -> None:
    result = bp("train", "diggits")
    assert result.code == 1
    assert "diggits: neither digits, fashion-mnist nor a folder of IDX files" in result.err


def test_missing_fashion_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path)
    monkeypatch.delenv("BPFAST_DATA", raising=False)
    result = bp("train", "fashion-mnist")
    assert result.code == 1
    assert "dataset-fashion-mnist" in result.err


def test_folder_of_idx_files(folder: Path) -> None:
    result = bp("train", folder, "--hidden", "16", "--json")
    assert result.code == 0, result.err
    assert "in 2 classes" in result.out
    assert result.json["test_accuracy"] > 0.95
    path = Path("threes and sevens.safetensors")
    assert result.json["model"] == str(path)
    assert f"next: bpfast evaluate '{path}' '{folder}'" in result.out

    again = bp("evaluate", path, folder, "--json")
    assert again.json["test_accuracy"] == result.json["test_accuracy"]
    unnamed = bp("evaluate", path)
    assert unnamed.code == 1
    assert "name the data" in unnamed.err

    predicted = bp("predict", path, folder / "train-images").out.split()
    assert set(predicted) == {"3", "7"}


def test_folder_with_test_files(folder: Path) -> None:
    for part in ("images", "labels"):
        (folder / f"t10k-{part}").write_bytes((folder / f"train-{part}").read_bytes())
    result = bp("train", folder, *SMALL)
    assert "331 training, 37 validation, 362 test" not in result.out
    rows = int((np.isin(load_digits()[1], (3, 7))).sum())
    assert f"{rows - rows // 10} training, {rows // 10} validation, {rows} test" in result.out


def test_test_labels_must_be_known(folder: Path) -> None:
    X, y = load_digits()
    write_idx(folder / "t10k-images", X)
    write_idx(folder / "t10k-labels", y)
    result = bp("train", folder, *SMALL)
    assert result.code == 1
    assert "has not learnt: 0, 1, 2, 4, 5, 6, 8, 9; it knows 3, 7" in result.err


def test_one_class_is_refused(folder: Path) -> None:
    images = np.zeros((20, 4), np.uint8)
    write_idx(folder / "train-images", images)
    write_idx(folder / "train-labels", np.full(20, 3))
    result = bp("train", folder)
    assert result.code == 1
    assert "one class only, 3" in result.err


# ---- predict, evaluate, info --------------------------------------------------------------------


def test_predict_reads_npy_and_idx(model: Path) -> None:
    X, y = load_digits()
    np.save("rows.npy", X)
    np.save("floats.npy", X.astype(np.float64))
    np.save("one.npy", X[0])
    write_idx(Path("rows.idx"), X.reshape(-1, 8, 8))
    lines = bp("predict", model, "rows.npy").out.splitlines()
    assert (np.array(lines, dtype=int) == y).mean() > 0.97
    for name in ("floats.npy", "rows.idx"):
        assert bp("predict", model, name).out.splitlines() == lines
    assert bp("predict", model, "one.npy").out.splitlines() == lines[:1]


def test_predict_probabilities(model: Path) -> None:
    labels = np.array(bp("predict", model, "digits").out.split(), dtype=int)
    text = bp("predict", model, "digits", "--proba").out
    probabilities = np.loadtxt(io.StringIO(text), delimiter=",")
    assert probabilities.shape == (359, 10)
    # Ten float32 roundings, and ten of nine digits.
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=20 * 2**-24)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), labels)


def test_predict_to_a_file(model: Path) -> None:
    result = bp("predict", model, "digits", "--out", "labels.txt")
    assert result == Result(0, "", "bpfast: wrote 359 lines to labels.txt\n")
    assert Path("labels.txt").read_text() == bp("predict", model, "digits").out
    refused = bp("predict", model, "digits", "--out", "labels.txt")
    assert refused.code == 1
    assert "labels.txt: exists; --force" in refused.err
    assert bp("predict", model, "digits", "--out", "labels.txt", "--force").code == 0
    assert list(Path().iterdir()) == [Path("labels.txt")]


def test_evaluate_tells_what_train_told(trained: tuple[Path, Result]) -> None:
    path, training = trained
    result = bp("evaluate", path, "--json")
    assert result.code == 0, result.err
    for key in ("test_accuracy", "test_loss", "baseline_accuracy"):
        assert result.json[key] == training.json[key]
    told = training.out.splitlines()
    assert [line for line in result.out.splitlines()[:-1] if line not in told] == []


def test_evaluate_of_another_shape(model: Path, folder: Path) -> None:
    for part in ("images", "labels"):
        array = np.ones((40, 5) if part == "images" else 40, np.uint8)
        if part == "labels":
            array[:20] = 0
        write_idx(folder / f"train-{part}", array)
    result = bp("evaluate", model, folder)
    assert result.code == 1
    assert "64" in result.err
    assert "5" in result.err


def test_info(trained: tuple[Path, Result]) -> None:
    path, training = trained
    result = bp("info", path)
    assert result.code == 0, result.err
    for part in (training.json["sha256"], "50,826", "data: digits", "seed: 0", '"dropout": 0.2'):
        assert part in result.out


def test_model_of_ones_own(tmp_path: Path) -> None:
    """A model that no `train` wrote has its outputs as classes."""
    X, y = load_digits()
    net = bpfast.Network([bpfast.Dense(10)], input_shape=64, rng=0)
    net.fit(X, y, loss="cross_entropy", epochs=2, metrics=["accuracy"])
    net.save("own.safetensors")
    assert bp("evaluate", "own.safetensors", "digits").code == 0
    predicted = np.array(bp("predict", "own.safetensors", "digits").out.split(), dtype=int)
    assert predicted.min() >= 0
    assert predicted.max() <= 9


def damage_nothing(content: bytes) -> bytes:
    return b""


def damage_cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def damage_text(content: bytes) -> bytes:
    return b"not a model at all"


@pytest.mark.parametrize("damage", [damage_nothing, damage_cut, damage_text])
@pytest.mark.parametrize("command", ["info", "evaluate", "predict"])
def test_damaged_model(model: Path, damage: Callable[[bytes], bytes], command: str) -> None:
    Path("bad.safetensors").write_bytes(damage(model.read_bytes()))
    rows = ["digits"] if command == "predict" else []
    result = bp(command, "bad.safetensors", *rows)
    assert result.code == 1
    assert result.err.startswith("bpfast: ")
    assert "bad.safetensors" in result.err


@pytest.mark.parametrize("command", ["info", "evaluate", "predict"])
def test_missing_model(command: str) -> None:
    result = bp(command, "none.safetensors", *(["digits"] if command == "predict" else []))
    assert result.code == 1
    assert "none.safetensors" in result.err


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x93NUMPY\x01\x00", b"\x93NUMPY garbage and more garbage"]
)
def test_damaged_rows(model: Path, content: bytes) -> None:
    Path("rows.npy").write_bytes(content)
    result = bp("predict", model, "rows.npy")
    assert result.code == 1
    assert "rows.npy" in result.err


def test_rows_of_objects_are_not_unpickled(model: Path) -> None:
    np.save("rows.npy", np.array([{}], dtype=object), allow_pickle=True)
    result = bp("predict", model, "rows.npy")
    assert result.code == 1
    assert "rows.npy" in result.err


def test_reader_that_has_enough(model: Path) -> None:
    """As with `bpfast predict ... | head`: no traceback."""
    with subprocess.Popen(
        [sys.executable, "-m", "bpfast", "predict", model, "digits"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 1
    assert err == b""


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
    assert story.commonest_mistakes(true, read) == [(1, 7, 2), (2, 8, 1), (3, 1, 1)]
    assert story.commonest_mistakes(true, true) == []


# ---- the accuracy it promises -------------------------------------------------------------------


@pytest.mark.slow
def test_digits_over_ten_seeds() -> None:
    results = [bp("train", "--seed", seed, "--quiet", "--json").json for seed in range(10)]
    accuracies = [result["test_accuracy"] for result in results]
    assert np.mean(accuracies) >= 0.97, accuracies
    assert min(accuracies) >= 0.95, accuracies
    assert max(result["seconds"] for result in results) < 10


@pytest.mark.slow
def test_fashion_mnist_over_three_seeds() -> None:
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
        for seed in range(3)
    ]
    assert np.mean(accuracies) >= 0.885, accuracies
