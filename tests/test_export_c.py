"""Networks as C: warnings are errors, and the bits are those of `predict`.

The files are compiled as users would: C99, no extensions. On this machine with and without the
instruction for fused multiply-adds; for aarch64 by Debian's cross compiler, under QEMU.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import c_programs
import cbuild
import numpy as np
import pytest
from layer_cases import CASES

import bpfast as bp
from bpfast import activations
from bpfast.export._c_numbers import NUMBERS, TERMS
from bpfast.export.c import fused

STRICT = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror")
KERNELS = Path(__file__).resolve().parent.parent / "src" / "kernels"

#: Reads rows of a model from standard input, writes outputs and labels.
MAIN = """
#include <stdio.h>
#include <string.h>
#define RUN(name, NAME, type)                                    \\
    if (strcmp(argv[1], #name) == 0) {                           \\
        type x[NAME##_INPUTS], y[NAME##_OUTPUTS];                \\
        while (fread(x, sizeof x, 1, stdin) == 1) {              \\
            name##_predict(x, y);                                \\
            fwrite(y, sizeof y, 1, stdout);                      \\
        }                                                        \\
    }
int main(int argc, char **argv)
{
    if (argc != 2) return 1;
"""


def compilers() -> dict[str, cbuild.Toolchain]:
    """Of this machine, by name; CI must have one."""
    found = {name: name for name in ("gcc", "clang") if shutil.which(name)}
    if not found:
        c_programs.cannot_build("neither gcc nor clang")
    machine = c_programs.native().machine
    return {name: cbuild.Toolchain((name,), machine) for name in found}


def with_fma() -> tuple[str, ...]:
    """The option for the instruction, where this CPU has one that must be asked for."""
    x86 = c_programs.native().machine in ("x86_64", "amd64")
    return ("-mfma",) if x86 and "reference" in bp.isas() else ()


def compiled(
    folder: Path,
    nets: Mapping[str, bp.Network],
    toolchain: cbuild.Toolchain,
    options: tuple[str, ...],
) -> Path:
    """One program of several networks."""
    text = MAIN.splitlines()
    for name, net in nets.items():
        net.to_c(folder / f"{name}.h")
        kind = "float" if net.dtype == np.float32 else "double"
        text.insert(0, f'#include "{name}.h"')
        text.append(f"    RUN({name}, {name.upper()}, {kind})")
    source, program = folder / "main.c", folder / "main"
    source.write_text("\n".join([*text, "    return 0;", "}", ""]))
    command = [*toolchain.compiler, *STRICT, *options, f"-I{folder}", "-o", program, source, "-lm"]
    cbuild.call(list(map(str, command)))
    return program


def outputs(
    program: Path, toolchain: cbuild.Toolchain, name: str, net: bp.Network, x: np.ndarray
) -> np.ndarray:
    command = [*toolchain.runner, str(program), name]
    done = subprocess.run(command, input=x.tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, net.dtype).reshape(-1, net.outputs)


def check_bits(folder: Path, nets: Mapping[str, bp.Network], *how: object) -> None:
    """Each network's outputs are those of predict, for some rows of random inputs."""
    toolchain, options = how
    assert isinstance(toolchain, cbuild.Toolchain)
    program = compiled(folder, nets, toolchain, options)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    for name, net in nets.items():
        x = rng.normal(size=(9, net.inputs)).astype(net.dtype) * 2
        seen, expected = outputs(program, toolchain, name, net, x), fused(net, x)
        np.testing.assert_array_equal(bits(seen), bits(expected), err_msg=name)


def bits(a: np.ndarray) -> np.ndarray:
    return a.view(f"u{a.itemsize}")


def every_layer(dtype: str) -> dict[str, bp.Network]:
    """A network of each case, with statistics and weights that are not what they start as."""
    nets = {}
    for i, (shape, make) in enumerate(CASES.values()):
        net = bp.Network([bp.Standardize(), *make()], input_shape=shape, dtype=dtype, rng=i)
        rng = np.random.default_rng(i)
        net.fit(rng.normal(size=(40, net.inputs)), rng.normal(size=(40, net.outputs)),
                loss="mse", epochs=1)  # fmt: skip
        for key, values in (*net.params.items(), *net.buffers.items()):
            spread = rng.uniform(0.5, 1.5, values.shape)
            values[...] = spread if "variance" in key or "scale" in key else values + spread - 1
        nets[f"m{i}"] = net
    nets["round"] = bp.Network([16, 64, 8], dtype=dtype, rng=0)  # sizes that leave no rest
    return nets


def each_activation(dtype: str) -> dict[str, bp.Network]:
    """Networks of one input that is passed to the activation as it is."""
    nets = {}
    for name in activations.NAMES:
        net = bp.Network([bp.Dense(1, name)], input_shape=1, dtype=dtype, rng=0)
        net.parameters[...] = 1, 0
        nets[name] = net
    return nets


def steps(dtype: str) -> np.ndarray:
    """Inputs of all sizes, dense where functions bend; no subnormal numbers."""
    rng = np.random.default_rng(1)
    some = [rng.normal(size=20_000) * s for s in (1e-3, 1, 10, 100, 1000)]
    wide = np.ldexp(rng.uniform(-1, 1, 20_000), rng.integers(-90, 120, 20_000))
    return np.concatenate([*some, wide, [0.0]]).astype(dtype)[:, None]


LONG = (pytest.mark.slow, pytest.mark.long)
MACHINES = [
    pytest.param(("gcc", True), id="gcc-fma"),
    pytest.param(("clang", False), id="clang"),
    pytest.param(("gcc", False), id="gcc", marks=LONG),
    pytest.param(("clang", True), id="clang-fma", marks=LONG),
]


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> tuple[cbuild.Toolchain, tuple[str, ...]]:
    """A compiler and its options."""
    name, fused = request.param
    found = compilers()
    if name not in found:
        pytest.skip(f"{name} is not installed")
    return found[name], (("-O2", *with_fma()) if fused else ("-O0",))


@pytest.fixture(params=["float32", pytest.param("float64", marks=LONG)])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_layer(tmp_path: Path, machine, dtype: str) -> None:
    check_bits(tmp_path, every_layer(dtype), *machine)


def test_every_activation(tmp_path: Path, machine, dtype: str) -> None:
    nets, x = each_activation(dtype), steps(dtype)
    program = compiled(tmp_path, nets, *machine)
    for name, net in nets.items():
        seen, expected = outputs(program, machine[0], name, net, x), fused(net, x)
        wrong = np.flatnonzero(bits(seen) != bits(expected))
        assert len(wrong) == 0, (name, x[wrong[:3]], seen[wrong[:3]], expected[wrong[:3]])


@pytest.mark.parametrize("options", [("-O3", "-std=gnu11"), ("-O3", "-march=native")])
@pytest.mark.slow
@pytest.mark.long
def test_optimized(tmp_path: Path, options: tuple[str, ...], dtype: str) -> None:
    """The compiler may not join operations, also where its own C lets it."""
    for name, toolchain in compilers().items():
        folder = tmp_path / name
        folder.mkdir()
        check_bits(folder, every_layer(dtype), toolchain, (*options, *with_fma()))


@pytest.mark.slow
@pytest.mark.parametrize("options", [("-O1",), ("-O3", "-std=gnu11")], ids=["c99", "gnu11"])
def test_aarch64(tmp_path: Path, options: tuple[str, ...], dtype: str) -> None:
    try:
        toolchain = cbuild.aarch64()
    except cbuild.NoCompilerError as error:
        pytest.skip(str(error))
    check_bits(tmp_path, every_layer(dtype) | each_activation(dtype), toolchain, options)


# ---- the file itself ----------------------------------------------------------------------------


def digits() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = rng.integers(3, size=200)
    return rng.normal(size=(200, 5)) * 4 + labels[:, None], labels


def classifier(**options: object) -> bp.Network:
    X, y = digits()
    net = bp.Network([bp.Standardize(), bp.Dense(8, "tanh"), bp.Dense(3)], input_shape=5, rng=0)
    net.fit(X, y, loss="cross_entropy", epochs=3, **options)
    return net


def self_test(
    folder: Path, toolchain: cbuild.Toolchain, *options: str
) -> subprocess.CompletedProcess[str]:
    """Compile the model's own main, and run it."""
    command = [*toolchain.compiler, *STRICT, "-DMODEL_TEST_MAIN", *options, "-x", "c"]
    cbuild.call([*command, str(folder / "model.h"), "-o", str(folder / "test"), "-lm"])
    return toolchain.run(folder / "test")


@pytest.mark.parametrize(
    ("layers", "loss"),
    [
        ([bp.Dense(3)], "cross_entropy"),
        ([bp.Dense(3, "softmax")], None),
        ([bp.Dense(3, "sigmoid")], "binary_cross_entropy"),
        ([bp.Dense(1)], "binary_cross_entropy"),
        ([bp.Dense(1, "sigmoid")], None),
        ([bp.Dense(2)], "mse"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_self_test(tmp_path: Path, layers: list[bp.Layer], loss: str | None) -> None:
    """It passes; with a changed number it fails, and says which."""
    net = bp.Network([bp.Dense(4, "silu"), *layers], input_shape=5, rng=0)
    if loss is not None:
        X, y = digits()
        targets = y if loss == "cross_entropy" else np.zeros((200, net.outputs))
        net.fit(X, targets, loss=loss, epochs=1)
    path = tmp_path / "model.h"
    net.to_c(path)
    found = list(compilers().values())
    for toolchain, options in ((found[-1], ()), (found[0], ("-DMODEL_FMA=0",))):
        done = self_test(tmp_path, toolchain, *options)
        assert (done.returncode, done.stdout) == (0, "3 rows, 0 wrong numbers\n")
    text = re.sub(r"(model_0_bias\[4\] = \{\s+)\S+,", r"\g<1>1.0f,", path.read_text())
    path.write_text(text)
    done = self_test(tmp_path, found[0])
    assert done.returncode == 1
    assert "expected" in done.stdout


def test_labels_and_probabilities(tmp_path: Path) -> None:
    """As predict_proba and predict_classes give them, with the classes' texts."""
    net, (X, _) = classifier(), digits()
    net.to_c(tmp_path / "model.h", name="Iris_2", classes=["one", 'tw"o\\', "drei ß??/"])
    source = tmp_path / "main.c"
    source.write_text(
        '#include "model.h"\n#include <stdio.h>\n'
        "int main(void)\n{\n    float x[IRIS_2_INPUTS], y[IRIS_2_OUTPUTS];\n"
        "    while (fread(x, sizeof x, 1, stdin) == 1) {\n"
        "        Iris_2_predict_proba(x, y);\n"
        '        printf("%a %a %a %s\\n", (double)y[0], (double)y[1], (double)y[2],'
        " Iris_2_classes[Iris_2_classify(x)]);\n    }\n    return 0;\n}\n"
    )
    for toolchain in compilers().values():
        command = [*toolchain.compiler, *STRICT, "-o", str(tmp_path / "main"), str(source), "-lm"]
        cbuild.call(command)
        x = X.astype("f")
        done = subprocess.run(
            [tmp_path / "main"], input=x.tobytes(), capture_output=True, check=True
        )
        rows = [line.split(maxsplit=3) for line in done.stdout.decode().splitlines()]
        shares = np.array([[float.fromhex(v) for v in row[:3]] for row in rows], "f")
        assert (shares == fused(net, x, "softmax")).all()
        texts = ["one", 'tw"o\\', "drei ß??/"]
        assert [row[3] for row in rows] == [texts[i] for i in shares.argmax(axis=1)]


def test_expected_outputs_are_those_of_predict() -> None:
    """Where the library has fused multiply-adds; elsewhere nearly so."""
    net, (X, _) = classifier(), digits()
    exact = net._core.isa != "sse2"
    for mine, theirs in (
        (fused(net, X), net.predict(X)),
        (fused(net, X, "softmax"), net.predict_proba(X)),
    ):
        assert (mine == theirs).all() if exact else np.allclose(mine, theirs, rtol=1e-4)


def test_tables_are_those_of_the_kernels() -> None:
    for dtype, file in (("float32", "vmath_f32.h"), ("float64", "vmath_f64.h")):
        text = (KERNELS / file).read_text()
        for name, value in NUMBERS[dtype].items():
            found = re.search(rf"#define BP_{name} (\S+)", text)
            assert found is not None
            if name == "HALF_MASK":
                size = 32 if dtype == "float32" else 64
                assert int(value, 16) == int(found[1].strip("()"), 16) % 2**size
            else:
                suffix = "f" * (dtype == "float32" and not value.isdigit() and "MASK" not in name)
                suffix = "" if name.endswith("_BITS") else suffix
                assert found[1].strip("()") == value + suffix, name
        for name, terms in TERMS[dtype].items():
            found = re.search(rf"vm_c_{name}\[\] = \{{([^}}]*)\}}", text)
            assert found is not None
            assert [
                t.strip().rstrip("f") for t in found[1].split(",") if t.strip()
            ] == terms.split()


def test_equal_networks_make_equal_files(tmp_path: Path) -> None:
    net = classifier()
    net.to_c(tmp_path / "a.h", name="m")
    net.clone().to_c(tmp_path / "b.h", name="m")
    first, second = ((tmp_path / name).read_text() for name in ("a.h", "b.h"))
    assert first == second.replace("b.h", "a.h")
    assert max(map(len, first.splitlines())) <= 100
    assert not re.search(r"\b(malloc|free|printf|memcpy)\b", first.split("#ifdef M_TEST_MAIN")[0])


def test_classes_that_train_wrote(tmp_path: Path) -> None:
    net = classifier()
    net.metadata["classes"] = '["a", "b", "c"]'
    net.to_c(tmp_path / "m.h")
    assert 'm_classes[3] = {\n    "a",\n    "b",\n    "c",\n}' in (tmp_path / "m.h").read_text()
    for strange in ("no JSON", "[1]", '{"a": 1}', "[" * 10**5):
        net.metadata["classes"] = strange
        net.to_c(tmp_path / "m.h")
        assert "m_classes" not in (tmp_path / "m.h").read_text()


def test_what_has_no_form_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bpfast.export._c_program import Program

    net = bp.Network([bp.Dense(4), bp.Residual([bp.LayerNorm(name="odd")])], input_shape=5, rng=0)
    monkeypatch.delattr(Program, "_layernorm")
    with pytest.raises(ValueError, match=r"^layer 1.odd: layernorm has no form in C$"):
        net.to_c(tmp_path / "m.h")
    assert not list(tmp_path.iterdir())
