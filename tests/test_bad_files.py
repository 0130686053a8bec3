"""Model files that are closed, cut short, foreign or hostile: a typed error, and little memory."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cases import everything
from fuzz import load_target
from fuzz.seeds import CORPUS, networks
from test_memory import MEGABYTE, run

import bpfast as bp

STOPPED = (CORPUS / "stopped.safetensors").read_bytes()  # a fit that can be resumed
FITTED = (CORPUS / "fitted.safetensors").read_bytes()


def raw(header: object, numbers: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + numbers


def tensor(dtype: str = "F32", shape: object = (1,), at: tuple[int, int] = (0, 4)) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": at}


def edited(change: Callable[[dict, dict], object], base: bytes = STOPPED) -> bytes:
    """The file with its header or its description changed."""
    header, description, numbers = load_target.split(base)
    change(header, description)
    return load_target.join(header, description, numbers)


def put(*path: object) -> bytes:
    """The file with one value of its description replaced: keys, then the value."""

    def change(header: dict, description: dict) -> None:
        *keys, last, value = path
        place = description
        for key in keys:
            place = place[key]
        place[last] = value

    return edited(change)


def without(*path: object) -> bytes:
    """The file without one value of its description."""

    def change(header: dict, description: dict) -> None:
        *keys, last = path
        place = description
        for key in keys:
            place = place[key]
        del place[last]

    return edited(change)


def resized(name: str, shape: list[int]) -> bytes:
    return edited(lambda header, _: header[name].update(shape=shape))


def nested(depth: int) -> dict:
    """Residual layers within each other."""
    config: dict = {"class": "Dense", "units": 3}
    for _ in range(depth):
        config = {"class": "Residual", "layers": [config]}
    return config


def doubling(times: int) -> list:
    """A short description of 2^times layers."""
    config: dict = {"class": "Dropout", "rate": 0.5, "name": "a"}
    for i in range(times):
        config = {"class": "Residual", "name": f"c{i}", "layers": [config, {"shared": None}]}
    place, names = config, []
    while "layers" in place:
        names.append(place["name"])
        inner, reference = place["layers"]
        reference["shared"] = ".".join([*names, inner["name"]])
        place = inner
    return [config, {"class": "Dense", "units": 2}]


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a readable safetensors file: .*header too small"),
    "seven bytes": (STOPPED[:7], "header too small"),
    "text": (b"not a model file", "not a readable safetensors file"),
    "a zip file": (b"PK\3\4" + bytes(100), "not a readable safetensors file"),
    "zeros": (bytes(1000), "not a readable safetensors file"),
    "length past the end": (raw({}, length=50), "invalid header length"),
    "length of 2^63": (raw({}, length=2**63), "header too large"),
    "length of 2^64 - 1": (raw({}, length=2**64 - 1), "header too large"),
    "header of 100 MB": (raw({}, length=10**8 + 1), "header too large"),
    "header no JSON": (raw(b"{'a':1}"), "invalid JSON"),
    "header a list": (raw([]), "invalid JSON"),
    "header nested": (raw(b'{"__metadata__":' + b"[" * 10**5), "invalid JSON"),
    "header no text": (raw(b'{"\xff":1}'), "UTF-8"),
    "newline for a dtype": (raw({"a": tensor("\n")}, b"1234"), r"unknown variant `\\n`"),
    "overlapping tensors": (raw({"a": tensor(), "b": tensor()}, b"1234"), "invalid offset"),
    "a hole": (raw({"a": tensor(at=(4, 8))}, b"12345678"), "invalid offset"),
    "offsets backwards": (raw({"a": tensor(at=(4, 0))}, b"1234"), "invalid"),
    "offsets past the end": (raw({"a": tensor(shape=(9,), at=(0, 36))}, b"1234"), "not fully cov"),
    "bytes left over": (raw({"a": tensor()}, b"12345678"), "not fully covered"),
    "negative shape": (raw({"a": tensor(shape=(-1,))}, b"1234"), "invalid"),
    "shape that overflows": (raw({"a": tensor(shape=(2**40, 2**40))}, b"1234"), "overflow"),
    "shape too small": (raw({"a": tensor(shape=(3,), at=(0, 4))}, b"1234"), "invalid"),
    "foreign": (raw({"weight": tensor()}, b"1234"), "not a model file of bpfast"),
    "cut in its numbers": (STOPPED[:-1], "not fully covered"),
    "cut in its header": (STOPPED[:300], "invalid header length"),
    "description no JSON": (
        raw({"__metadata__": {"bpfast": "{"}}),
        "is damaged: Expecting property name",
    ),
    "description nested": (raw({"__metadata__": {"bpfast": "[" * 10**5}}), "nested too deeply"),
    "description a list": (raw({"__metadata__": {"bpfast": "[]"}}), "description must be a dict"),
    "description empty": (raw({"__metadata__": {"bpfast": "{}"}}), "must have 'schema', got none"),
    "number of 5000 digits": (raw({"__metadata__": {"bpfast": "9" * 5000}}), "damaged: .*digits"),
    "schema 3": (put("schema", 3), "schema must be 1 or 2 .*, got 3"),
    "schema true": (put("schema", True), "schema must be 1 or 2 .*, got True"),
    "dtype int8": (put("dtype", "int8"), "dtype must be one of float32, float64, got 'int8'"),
    "dtype of the other width": (put("dtype", "float64"), "0.kernel must be float64 .* float32"),
    "input shape 3": (put("input_shape", 3), r"description\['input_shape'\] must be a list, got 3"),
    "input shape empty": (put("input_shape", []), "input_shape must be one of .* length 0"),
    "input shape 0": (put("input_shape", [0]), r"input_shape\[0\] must be an int >= 1, got 0"),
    "input shape 3.0": (put("input_shape", [3.0]), r"input_shape\[0\] must be an int .*, got 3.0"),
    "input shape 2^70": (put("input_shape", [2**70]), r"input_shape\[0\] must be an int of at mo"),
    "inputs too many": (put("input_shape", [10**9]), r"must be float32 \(1000000000, 2\), got"),
    "inputs an image": (put("input_shape", [3, 3, 1]), r"layer 0 \(Dense\) needs an input of sha"),
    "schema 1, inputs 0": (
        edited(lambda _, description: description.update(schema=1, inputs=0)),
        "inputs must be an int >= 1, got 0",
    ),
    "layer shared with none": (put("layers", 0, {"shared": "0"}), r"layers\[0\]\['shared'\] must"),
    "layer that shares and more": (
        edited(lambda _, d: d["layers"].append({"shared": "0", "units": 3})),
        r"layers\[1\]\['shared'\] must be the path of an earlier layer alone",
    ),
    "layer shared with other inputs": (
        edited(lambda _, d: d["layers"].append({"shared": "0"})),
        r"layer 1 \(Dense\) shares its parameters with layer 0",
    ),
    "composites nested": (put("layers", 0, nested(200)), "must not be so deep within others"),
    "composites nested less": (put("layers", 0, nested(60)), "layers may be 50 deep, not deeper"),
    "composites that double": (put("layers", doubling(40)), "layers must be at most 10,000 in all"),
    "no layers": (put("layers", []), "layers must be at least two"),
    "layers a dict": (put("layers", {}), r"description\['layers'\] must be a list"),
    "unknown layer": (put("layers", 0, "class", "os.system"), r"layers\[0\]\['class'\] must be"),
    "unknown activation": (put("layers", 0, "activation", "eval"), "activation must be one of"),
    "units of a billion": (
        edited(lambda _, description: description["layers"][1].update(units=10**9), FITTED),
        r"hidden.kernel must be float64 \(3, 1000000000\), got float64 \(3, 4\)",
    ),
    "units 2^62": (
        edited(lambda _, description: description["layers"][1].update(units=2**62), FITTED),
        "hidden.kernel must be float64",
    ),
    "argument of no layer": (put("layers", 0, "shell", "ls\n"), "got shell"),
    "layer name with a dot": (put("layers", 0, "name", "a.b"), "name must be printable text"),
    "no seed": (without("counters", "seed"), "counters must have 'seed', got epoch, step"),
    "seed -1": (put("counters", "seed", -1), r"counters\['seed'\] must be .*, got -1"),
    "step 2^64": (put("counters", "step", 2**64), r"counters\['step'\] must be"),
    "step NaN": (put("counters", "step", float("nan")), r"counters\['step'\] must be .*, got nan"),
    "unknown loss": (put("loss", {"name": "x"}), r"loss\['name'\] must be one of"),
    "loss a name": (put("loss", "mse"), "loss must be a dict, got 'mse'"),
    "metric of no name": (put("metrics", ["auc"]), r"metrics\[0\] must be one of .*, got 'auc'"),
    "optimizer's rate -1": (put("optimizer", "learning_rate", -1), "learning_rate must be .* > 0"),
    "another optimizer": (put("optimizer", {"name": "adam"}), "tensor optimizer.m.* is missing"),
    "no optimizer": (put("optimizer", None), "unexpected tensors: optimizer"),
    "metadata of numbers": (put("metadata", {"a": 1}), r"metadata\['a'\] must be a str, got 1"),
    "tensor of another shape": (resized("0.kernel", [2, 3]), r"\(3, 2\), got .* \(2, 3\)"),
    "tensor of more dimensions": (resized("0.bias", [1] * 80 + [2]), "0.bias must be float32"),
    "a tensor missing": (
        edited(lambda header, _: header.update({"x": header.pop("0.bias")})),
        "tensor 0.bias is missing",
    ),
    "half of the statistics": (
        edited(lambda header, _: header.update({"x": header.pop("0.scale")}), FITTED),
        "tensor 0.scale is missing",
    ),
    "progress of 0 rows": (put("progress", "rows", 0), r"progress\['rows'\] must be .*, got 0"),
    "batch past the end": (put("progress", "cursor", "batch", 4), r"\['batch'\] .*\[0, 3\], got 4"),
    "residuals too long": (
        put("progress", "cursor", "residuals", [0.0] * 1000),
        r"cursor\['residuals'\] must be of length 2, got list of length 1000",
    ),
    "residuals of text": (put("progress", "cursor", "residuals", ["a", "b"]), "must be a number"),
    "sum missing": (without("progress", "cursor", "loss_sum"), "cursor must have 'loss_sum'"),
    "history of text": (put("progress", "history", "history", {"a": ["b"]}), "must be a number"),
    "epochs of text": (put("progress", "history", "epoch", "ab"), "must be a list, got 'ab'"),
    "callbacks of text": (put("progress", "callbacks", ["a"]), "callback must be a dict, got 'a'"),
}  # fmt: skip


@pytest.mark.parametrize("what", FILES)
def test_bad_files(what: str, tmp_path: Path) -> None:
    content, message = FILES[what]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        bp.load(path)
    assert "bad.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_cut_short_at_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    for length in range(len(STOPPED)):
        path.write_bytes(STOPPED[:length])
        with pytest.raises(ValueError, match="cut is"):
            bp.load(path)
    path.write_bytes(STOPPED + b"\0")
    with pytest.raises(ValueError, match="cut is"):
        bp.load(path)


def test_one_byte_changed(tmp_path: Path, seed: int, rng: np.random.Generator) -> None:
    """A network or a typed error, whichever byte it is."""
    print(f"seed {seed}")
    for _ in range(300):
        content = bytearray(rng.choice([STOPPED, FITTED]))
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        load_target.check(bytes(content), tmp_path)


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name[:20])
def test_what_fuzzing_kept(path: Path, tmp_path: Path) -> None:
    load_target.check(path.read_bytes(), tmp_path)


def test_the_seeds_are_what_is_written_now(tmp_path: Path) -> None:
    for name, net in networks().items():
        net.save(tmp_path / name)
        seed = load_target.split((CORPUS / f"{name}.safetensors").read_bytes())
        now = load_target.split((tmp_path / name).read_bytes())
        assert [part.keys() for part in seed[:2]] == [part.keys() for part in now[:2]]


def test_weights_of_a_bad_file_change_nothing(tmp_path: Path) -> None:
    net = bp.Network([3, 2], rng=0)
    before = everything(net)
    rows = {
        "foreign": (raw({"a\nb": tensor()}, b"1234"), "src does not fit .* unexpected 'a"),
        "no dtype of NumPy": (
            raw({"0.kernel": tensor("BF16", (3, 2), (0, 12))}, bytes(12)),
            "tensor '0.kernel' must fit NumPy, got BF16",
        ),
        "too many dimensions": (
            raw({"0.kernel": tensor(shape=[1] * 99)}, b"1234"),
            "tensor '0.kernel' must fit NumPy",
        ),
        "too large for NumPy": (
            raw({"0.kernel": tensor(shape=[0, 2**62], at=(0, 0))}),
            "tensor '0.kernel' must fit NumPy",
        ),
        "NaN": (
            raw({"0.kernel": tensor(shape=(3, 2), at=(0, 24))}, b"\xff" * 24),
            r"src\['0.kernel'\] must be finite, got nan at row 0, column 0",
        ),
        "cut": (STOPPED[:-1], "not a readable safetensors file"),
    }
    for name, (content, message) in rows.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            net.load_weights(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert everything(net) == before


PATHS: dict[str, tuple[Callable[[Path], object], type[BaseException], str]] = {
    "a number": (lambda _: bp.load(3), TypeError, "path must be a str or a path, got 3"),
    "bytes": (
        lambda _: bp.load(b"model"),
        TypeError,
        "path must be a str or a path, got an object",
    ),
    "nothing": (lambda _: bp.load(""), ValueError, "path must be a string that is not empty"),
    "a null character": (lambda _: bp.load("a\0b"), ValueError, "without null characters"),
    "a folder": (bp.load, IsADirectoryError, "directory"),
    "absent": (lambda folder: bp.load(folder / "absent"), FileNotFoundError, "absent"),
    "a device": (
        lambda _: bp.load("/dev/zero"),
        ValueError,
        "/dev/zero .* a device, pipe or socket",
    ),
    "n_threads 0": (lambda f: bp.load(f, n_threads=0), ValueError, "n_threads must be .*, got 0"),
    "save to a number": (lambda _: net().save(3), TypeError, "path must be a str or a path, got 3"),
    "save to a folder": (lambda folder: net().save(folder), IsADirectoryError, "directory"),
    "save to a device": (lambda _: net().save("/dev/null"), OSError, "/dev/null"),
    "save nowhere": (lambda f: net().save(f / "no" / "a"), FileNotFoundError, "No such file"),
    "a long name": (lambda f: net().save(f / ("a" * 300)), OSError, "name too long"),
}


def net() -> bp.Network:
    return bp.Network([3, 2], rng=0)


@pytest.mark.parametrize("what", PATHS)
def test_bad_paths(what: str, tmp_path: Path) -> None:
    call, error, message = PATHS[what]
    with pytest.raises(error, match=message):
        call(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_pipes_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="a device, pipe or socket"):
        bp.load(tmp_path / "pipe")


def test_any_name_that_the_system_takes(tmp_path: Path) -> None:
    """Of 255 bytes, or no text at all."""
    for name in (b"a" * 255, b"\xff\xfe", "\u00fc\n".encode()):
        path = tmp_path / os.fsdecode(name)
        net().save(path)
        assert (bp.load(path).parameters == net().parameters).all()


# ---- memory -------------------------------------------------------------------------------------

MEASURED = """
    import pathlib
    path = pathlib.Path(sys.argv[1])
    bp.load(sys.argv[2])  # what is imported when first used
    try:
        with Peak() as peak:
            net = bp.load(path)
    except ValueError:
        net = None
    print(peak.growth, path.stat().st_size, int(net is not None))
"""


@pytest.mark.skipif("BPFAST_SANITIZED" in os.environ, reason="sanitizers take memory of their own")
@pytest.mark.parametrize("what", ["adam", "sgd", "tensors", "lists", "floats"])
def test_memory_is_at_most_twice_the_file(what: str, tmp_path: Path) -> None:
    """Beside the allowance for a header's values, and what Python keeps of them."""
    path, room = tmp_path / "large", 8 * MEGABYTE
    if what in ("adam", "sgd"):
        large = bp.Network([1000, 2000, 1000], rng=0)
        large.fit(np.zeros((2, 1000)), np.zeros((2, 1000)), loss="mse", optimizer=what, epochs=1)
        large.save(path)
    else:
        room += 64 * MEGABYTE
        count = 400_000
        values = {"lists": "[]," * 5 * count, "floats": "1.5," * 5 * count}.get(what, "")
        tensors = {f"{i}": tensor("U8", (0,), (0, 0)) for i in range(count if not values else 0)}
        path.write_bytes(raw({"__metadata__": {"bpfast": f"[{values}0]"}, **tensors}))
    growth, size, loaded = run(MEASURED, path, CORPUS / "fitted.safetensors")
    assert size > 5 * MEGABYTE
    assert loaded == (what in ("adam", "sgd"))
    assert growth < 2 * size + room


@pytest.mark.parametrize("name", ["plain", "fitted", "stopped"])
def test_files_of_the_first_schema(name: str) -> None:
    """They are the same networks."""
    old = bp.load(CORPUS / f"schema1_{name}.safetensors")
    new = bp.load(CORPUS / f"{name}.safetensors")
    assert everything(old) == everything(new)
