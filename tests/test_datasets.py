"""Data sets: the IDX reader against written files, the packed digits, the splits."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from bpfast import datasets
from bpfast.datasets import digits, fashion_mnist
from bpfast.datasets.idx import TYPES

CODES = {dtype: code for code, dtype in TYPES.items()}


def idx_bytes(array: np.ndarray) -> bytes:
    """The file that read_idx should read back as `array`."""
    dtype = array.dtype.newbyteorder(">") if array.dtype.itemsize > 1 else array.dtype
    header = struct.pack(f">HBB{array.ndim}I", 0, CODES[dtype], array.ndim, *array.shape)
    return header + array.astype(dtype).tobytes()


# ---- IDX ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TYPES.values(), ids=str)
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 5), (0, 4)], ids=str)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_idx_round_trip(
    tmp_path: Path, dtype: np.dtype, shape: tuple[int, ...], packed: bool
) -> None:
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype) - (dtype.kind != "u")
    content = idx_bytes(values)
    path = tmp_path / "any-name"
    path.write_bytes(gzip.compress(content) if packed else content)
    read = datasets.read_idx(path)
    assert read.dtype == dtype.newbyteorder("=")
    assert read.dtype.isnative
    assert read.flags.writeable
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, values)
    np.testing.assert_array_equal(datasets.read_idx(str(path)), values)


def test_idx_worked_example(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes.fromhex("00000b02 00000001 00000002 ffff 0102"))
    assert datasets.read_idx(path).tolist() == [[-1, 258]]


BAD_IDX = {
    "empty": (b"", "begins with nothing"),
    "text": (b"hello", "begins with 68 65 6c 6c"),
    "unknown type": (b"\0\0\x0a\x01" + bytes(4), "begins with 00 00 0a 01"),
    "no dimensions": (b"\0\0\x08\0", "0 dimensions, expected 1 to 64"),
    "too many dimensions": (b"\0\0\x08\xff" + bytes(1020), "255 dimensions"),
    "half a header": (b"\0\0\x08\x02\0\0\0\x01", "8 bytes, but the header of 2 dimensions has 12"),
    "too short": (b"\0\0\x08\x01\0\0\0\x05abcd", "5 elements of 1, 5 bytes"),
    "too long": (b"\0\0\x08\x01\0\0\0\x03abcd", "3 bytes, but more follow"),
    "sizes overflow": (b"\0\0\x0e\x04" + b"\xff" * 16, "4294967295 x 4294967295"),
    "huge": (b"\0\0\x08\x01\xff\xff\xff\xff", "4294967295 bytes, but the file holds at most 0"),
}


@pytest.mark.parametrize(("content", "message"), BAD_IDX.values(), ids=BAD_IDX)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_bad_idx_is_a_value_error(
    tmp_path: Path, content: bytes, message: str, packed: bool
) -> None:
    path = tmp_path / "bad.idx"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError) as caught:
        datasets.read_idx(path)
    assert str(path) in str(caught.value)
    if not packed or "at most" not in message:  # compressed files may hold more than their size
        assert message in str(caught.value)


def test_damaged_gzip_is_a_value_error(tmp_path: Path) -> None:
    whole = gzip.compress(idx_bytes(np.arange(5000, dtype=np.int32)))
    path = tmp_path / "damaged.gz"
    for cut in (3, 12, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"damaged\.gz"):
            datasets.read_idx(path)
    for place in (*range(2, 12), *range(12, len(whole), 97)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        if place in range(4, 10):  # of gzip's own header: time, level, system, which say nothing
            np.testing.assert_array_equal(datasets.read_idx(path), np.arange(5000))
        else:
            with pytest.raises(ValueError, match=r"damaged\.gz"):
                datasets.read_idx(path)


def test_missing_idx_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        datasets.read_idx(tmp_path / "nothing-here")


# ---- folders ------------------------------------------------------------------------------------

IMAGES = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
LABELS = np.array([3, 1, 3, 1, 3], np.uint8)


def write(folder: Path, **arrays: np.ndarray) -> Path:
    for name, array in arrays.items():
        (folder / name.replace("_", "-")).write_bytes(idx_bytes(array))
    return folder


@pytest.mark.parametrize("test", ["t10k", "test"])
def test_folder_with_test_files(tmp_path: Path, test: str) -> None:
    write(tmp_path, train_images=IMAGES, train_labels=LABELS)
    write(tmp_path, **{f"{test}_images": IMAGES[:2], f"{test}_labels": LABELS[:2]})
    X, y, X_test, y_test = datasets.load_idx_folder(tmp_path)
    np.testing.assert_array_equal(X, IMAGES.reshape(5, 6))
    assert y.dtype == np.int64
    assert y.tolist() == [3, 1, 3, 1, 3]
    np.testing.assert_array_equal(X_test, IMAGES[:2].reshape(2, 6))
    assert y_test.tolist() == [3, 1]


def test_folder_without_test_files_and_with_a_compressed_copy(tmp_path: Path) -> None:
    write(tmp_path, train_images=IMAGES, train_labels=LABELS)
    (tmp_path / "train-images.gz").write_bytes(b"not read")
    data = datasets.load_idx_folder(tmp_path)
    assert data.X_test is None
    assert data.y_test is None
    np.testing.assert_array_equal(data.X_train, IMAGES.reshape(5, 6))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"no file named \*train-images\*"),
        ({"train_images": IMAGES}, r"no file named \*train-labels\*"),
        ({"train_images": IMAGES, "train_labels": LABELS[:4]}, "5 images of 6 pixels.*4 labels"),
        ({"train_images": IMAGES[:0], "train_labels": LABELS[:0]}, "0 images"),
        ({"train_images": LABELS, "train_labels": LABELS}, r"shape \(5,\), expected \(rows"),
        ({"train_images": IMAGES, "train_labels": IMAGES}, r"expected integers of shape \(5,\)"),
        (
            {"train_images": IMAGES, "train_labels": LABELS.astype(np.float32)},
            "float32 of shape",
        ),
        (
            {"train_images": IMAGES, "a_train_images": IMAGES, "train_labels": LABELS},
            "2 files for train-images",
        ),
        (
            {
                "train_images": IMAGES,
                "train_labels": LABELS,
                "test_images": IMAGES[:, :1],
                "test_labels": LABELS,
            },
            "test images have 3 pixels, training images 6",
        ),
        (
            {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES},
            r"no file named \*test-labels\*",
        ),
    ],
)
def test_unsuitable_folder(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    write(tmp_path, **arrays)
    with pytest.raises((ValueError, OSError), match=message) as caught:
        datasets.load_idx_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        datasets.load_idx_folder(tmp_path / "nowhere")


# ---- digits -------------------------------------------------------------------------------------


def test_digits_are_the_published_ones() -> None:
    X, y = datasets.load_digits()
    assert (X.shape, X.dtype) == ((1797, 64), np.uint8)
    assert (y.shape, y.dtype) == ((1797,), np.int64)
    assert (X.min(), X.max()) == (0, 16)
    # Rows per digit, as the data set's own description (optdigits.names) lists them.
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    digest = hashlib.sha256(X.tobytes() + y.astype(np.uint8).tobytes()).hexdigest()
    assert digest == "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def test_digits_equal_those_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.datasets")
    theirs = sklearn.load_digits()
    X, y = datasets.load_digits()
    np.testing.assert_array_equal(X, theirs.data)
    np.testing.assert_array_equal(y, theirs.target)


def test_digits_are_small_and_credited() -> None:
    folder = Path(digits.__file__).parent
    assert sum((folder / name).stat().st_size for name in (digits.IMAGES, digits.LABELS)) < 60_000
    assert "CC BY 4.0" in digits.ATTRIBUTION
    assert "Alpaydin" in digits.ATTRIBUTION


def test_digits_are_new_arrays_each_time() -> None:
    X, _ = datasets.load_digits()
    X[...] = 0
    assert datasets.load_digits()[0].max() == 16


# ---- Fashion-MNIST ------------------------------------------------------------------------------


def test_fashion_mnist_as_published() -> None:
    try:
        X, y, X_test, y_test = datasets.load_fashion_mnist()
    except FileNotFoundError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    assert (X.shape, X.dtype, y.dtype) == ((60_000, 784), np.uint8, np.int64)
    assert (X_test.shape, X_test.dtype, y_test.dtype) == ((10_000, 784), np.uint8, np.int64)
    assert np.bincount(y).tolist() == [6000] * 10
    assert np.bincount(y_test).tolist() == [1000] * 10
    # Mean pixel of the training images, 0 to 1, as widely used for this set.
    assert abs(X.mean() / 255 - 0.2860) < 1e-4


def test_missing_fashion_mnist_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setenv("BPFAST_DATA", str(tmp_path / "own"))
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load_fashion_mnist()
    for part in ("dataset-fashion-mnist", "BPFAST_DATA", "train-images-idx3-ubyte.gz"):
        assert part in str(caught.value)
    for folder in (tmp_path / "own" / "fashion-mnist", tmp_path / "own", tmp_path / "system"):
        assert str(folder) in str(caught.value)
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        datasets.load_fashion_mnist(tmp_path / "elsewhere")


@pytest.mark.parametrize("place", ["own", "own/fashion-mnist", "system", "given"])
def test_fashion_mnist_is_found_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setenv("BPFAST_DATA", str(tmp_path / "own"))
    folder = tmp_path / place
    folder.mkdir(parents=True)
    write(folder, train_images=IMAGES, train_labels=LABELS)
    given = folder if place == "given" else None
    with pytest.raises(
        ValueError, match=r"expected uint8 images of shape \(60000, 784\)"
    ) as caught:
        datasets.load_fashion_mnist(given)
    assert str(folder) in str(caught.value)


# ---- splits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("percents", [(72, 8, 20), (90, 10), (50, 25, 15, 10), (100,)], ids=str)
def test_split_is_stratified(rng: np.random.Generator, percents: tuple[int, ...]) -> None:
    y = rng.choice([-5, 0, 1, 7], size=1003, p=[0.5, 0.3, 0.15, 0.05])
    parts = datasets.stratified_split(y, percents, seed=4)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(1003))
    for part, percent in zip(parts, percents, strict=True):
        assert part.dtype == np.int64
        assert np.all(np.diff(part) > 0)
        # One row is lost to rounding in each later part; those losses fall to the earlier ones.
        assert abs(len(part) - 1003 * percent / 100) < len(percents)
        for label in np.unique(y):
            share = (y == label).sum() * percent / 100
            assert abs((y[part] == label).sum() - share) <= len(percents)


def test_split_worked_example() -> None:
    """Of 10 + 10 rows half go to the last part: five of each class, whatever the draw."""
    first, last = datasets.stratified_split([0] * 10 + [1] * 10, (50, 50), seed=1)
    assert (first < 10).sum() == (last < 10).sum() == 5


def test_split_never_changes() -> None:
    """These are part of what makes a seed mean the same in every version."""
    _, y = datasets.load_digits()
    digests = [
        hashlib.sha256(np.concatenate(parts).astype("<i8").tobytes()).hexdigest()[:16]
        for parts in (datasets.stratified_split(y, (72, 8, 20), seed=seed) for seed in range(3))
    ]
    assert digests == ["7b9e470c0cf17d92", "654ada70749ef55d", "b5c76f137631d680"]


def test_split_depends_on_the_seed_alone() -> None:
    y = np.arange(200) % 3
    twice = [datasets.stratified_split(y, (80, 20), seed=9)[1] for _ in range(2)]
    np.testing.assert_array_equal(*twice)
    assert not np.array_equal(twice[0], datasets.stratified_split(y, (80, 20), seed=10)[1])
    np.testing.assert_array_equal(
        twice[0], datasets.stratified_split(y.astype(np.uint8), (80, 20), seed=9)[1]
    )


def test_split_draws_every_row_equally_often() -> None:
    y = np.repeat([0, 1], [40, 60])
    hits = np.zeros(100)
    draws = 2000
    for seed in range(draws):
        hits[datasets.stratified_split(y, (80, 20), seed=seed)[1]] += 1
    # Binomial: five standard deviations, 100 rows.
    assert np.abs(hits - 0.2 * draws).max() < 5 * np.sqrt(draws * 0.2 * 0.8)


@pytest.mark.parametrize(
    ("y", "percents", "message"),
    [
        ([0, 1], (50, 40), "add up to 100, got 90"),
        ([0, 1], (100, 0), r"percents\[1\] must be an int in \[1, 100\]"),
        ([0.5, 1.0], (50, 50), "y must be integers"),
        ([[0, 1]], (50, 50), "y must be integers"),
        ([0, 1, 0], (90, 10), "too few for parts"),
    ],
)
def test_split_refuses(y: list, percents: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        datasets.stratified_split(y, percents)
