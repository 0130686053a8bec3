"""The command on folders of data and on model files: train, predict, evaluate, info."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import Result, bp, write_idx

import bpfast
from bpfast.cli.augment import Augment
from bpfast.cli.recipes import RECIPES, image_shape
from bpfast.cli.train import Settings
from bpfast.datasets import fashion_mnist, load_digits

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
    assert "GFLOP/s" not in result.out
    timed = bp("info", path, "--speed")
    assert timed.code == 0, timed.err
    assert timed.out.startswith(result.out)
    assert "one training step of 32 rows" in timed.out


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


# ---- recipes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cnn", "resmlp"])
def test_recipes_on_the_digits(name: str) -> None:
    """Trained, scored, read again: with layers beyond the dense ones too."""
    result = bp("train", "--model", name, "--epochs", "5", "--json", "--out", "mine.safetensors")
    assert result.code == 0, result.err
    assert f"network {name} " in result.out
    assert result.json["settings"]["model"] == name
    assert result.json["test_accuracy"] > 0.9
    assert (
        bp("evaluate", "mine.safetensors", "--json").json["test_accuracy"]
        == (result.json["test_accuracy"])
    )
    assert len(bp("predict", "mine.safetensors", "digits").out.splitlines()) == 359
    info = bp("info", "mine.safetensors").out
    assert ("MaxPool2D" if name == "cnn" else "Residual") in info


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("hidden", [(), (9,), (7, 9), (5, 7, 9)], ids=str)
def test_recipes_take_any_hidden_layers(name: str, hidden: tuple[int, ...]) -> None:
    for pixels in (64, 784):
        layers = RECIPES[name].layers(pixels, hidden, 0.1, None)
        shape = image_shape(pixels) if RECIPES[name].images else pixels
        net = bpfast.Network([*layers, bpfast.Dense(3)], input_shape=shape)
        assert net.predict(np.zeros((2, pixels), np.uint8)).shape == (2, 3)


def test_recipes_want_images() -> None:
    with pytest.raises(ValueError, match="expected square images of one channel, got 63 pixels"):
        image_shape(63)
    Path("rows.csv").write_text("a,y\n" + "1,2\n2,3\n" * 20)
    refused = bp("train", "rows.csv", "--target", "y", "--model", "cnn")
    assert refused.code == 1
    assert "--model cnn needs images, got the table rows.csv" in refused.err


def test_mirrored_images() -> None:
    """Some are turned each epoch, none is changed otherwise; tables and columns are no images."""
    X = np.arange(3 * 50, dtype=np.uint8).reshape(-1, 1).repeat(16, 1) + np.arange(
        16, dtype=np.uint8
    )
    images, before = X.reshape(-1, 4, 4), X.copy().reshape(-1, 4, 4)
    augment = Augment(X, seed=0, mirror=True, shift=0)
    for _ in range(3):
        augment.on_epoch_begin(0, {})
        turned = (images != before).any(axis=(1, 2))
        assert 40 < turned.sum() < 110
        assert (images[turned] == before[turned, :, ::-1]).all()


def test_moved_images() -> None:
    """Each goes one of nine ways, from where it was at first; what comes in is 0."""
    X = np.random.default_rng(0).integers(1, 256, (900, 16), dtype=np.uint8)
    images = X.reshape(-1, 4, 4)
    before = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    augment = Augment(X, seed=0, mirror=False, shift=1)
    for _ in range(2):
        augment.on_epoch_begin(0, {})
        ways = [
            (images == before[:, y : y + 4, x : x + 4]).all(axis=(1, 2)).sum()
            for y in range(3)
            for x in range(3)
        ]
        assert sum(ways) == len(images)
        assert min(ways) > 60


def test_changed_images_are_asked_for() -> None:
    result = bp(
        "train", "--mirror", "--shift", "1", "--epochs", "2", "--json", "--out", "a.safetensors"
    )
    assert result.code == 0, result.err
    assert "mirrored at random, moved by up to 1 pixel" in result.out
    plain = bp("train", "--epochs", "2", "--json", "--out", "b.safetensors")
    assert plain.json["train_loss"] != result.json["train_loss"]
    Path("rows.csv").write_text("a,y\n" + "1,2\n2,3\n" * 20)
    for flags in (["--mirror"], ["--shift", "2"]):
        refused = bp("train", "rows.csv", "--target", "y", *flags)
        assert f"{flags[0]} needs images, got the table rows.csv" in refused.err
    refused = bp("train", "--shift", "8")
    assert "--shift must be less than the 8 pixels of a side, got 8" in refused.err


def test_what_images_get_by_default() -> None:
    """Clothes may be mirrored; large sets are moved; nothing of it where it is refused."""
    settings = Settings(model="cnn").fill(60_000, clothes=True)
    assert (settings.scale, settings.mirror, settings.shift) == ("none", True, 1)
    settings = Settings(model="cnn", mirror=False, shift=0).fill(60_000, clothes=True)
    assert (settings.mirror, settings.shift) == (False, 0)
    settings = Settings(model="cnn").fill(1_000)
    assert (settings.mirror, settings.shift) == (False, 0)
    settings = Settings().fill(60_000, clothes=True)
    assert (settings.scale, settings.mirror, settings.shift) == ("standard", False, 0)


def test_the_cnn_is_small() -> None:
    recipe = RECIPES["cnn"]
    layers = recipe.layers(784, recipe.hidden, recipe.dropout, None)
    net = bpfast.Network([*layers, bpfast.Dense(10)], input_shape=(28, 28, 1))
    assert sum(isinstance(layer, bpfast.Conv2D) for layer in net.layers) == 2
    assert net.parameters.size < 120_000
