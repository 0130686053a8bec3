"""Networks as C: one file for a microcontroller or any program, without dependencies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bpfast import __version__, _core, io
from bpfast._check import bad_type, bad_value, check_path, check_text, listed
from bpfast._inference import head_of, noted_classes, yes_or_no
from bpfast.export import _c_functions
from bpfast.export._c_program import Program, applied
from bpfast.layers.base import is_list
from bpfast.layers.shapes import show_shape

if TYPE_CHECKING:
    from bpfast.network import Network

#: Rows of the self-test: inputs within two standard deviations, from this seed.
_TEST_ROWS, _TEST_SEED = 3, 0


def write(net: Network, path: object, name: object, classes: object) -> None:
    """Write the file; see `Network.to_c`."""
    net._lock.check_idle("to_c")
    target = check_path("path", path)
    prefix = _prefix(target, name)
    heads = _Heads(net, classes)
    io.write_atomically(target, _document(net, target.name, prefix, heads).encode())


def _prefix(path: Path, name: object) -> str:
    """Return what names begin with."""
    if name is not None:
        text = check_text("name", name)
        if not re.fullmatch(r"[A-Za-z]\w*", text, re.ASCII):
            raise bad_value("name", "a name in C that begins with a letter", text)
        return text
    text = re.sub(r"\W", "_", path.stem, flags=re.ASCII)
    return text if re.match(r"[A-Za-z]", text) else f"model_{text}"


class _Heads:
    """What a network's output means.

    Attributes
    ----------
    proba : str or None
        The activation that makes probabilities of the output, "identity" where it has them; None
        where there are none.
    labels : bool
        Whether there is one label for a row.
    classes : list of str or None
        Texts of the labels.
    """

    def __init__(self, net: Network, classes: object) -> None:
        head = head_of(net)
        self.proba = "identity" if head == net._plan.activation else head
        self.labels = head is not None and (net.outputs == 1 or not yes_or_no(net))
        self.classes = self._read(net, classes)

    def _read(self, net: Network, classes: Any) -> list[str] | None:
        if classes is None:
            noted = noted_classes(net) if self.labels else None
            return None if noted is None else [str(label) for label in noted]
        if not is_list(classes) and not isinstance(classes, np.ndarray):
            raise bad_type("classes", "a sequence of str", classes)
        if not self.labels:
            raise bad_value("classes", "None where a row has not one label", classes)
        texts = [check_text(f"classes[{i}]", text) for i, text in enumerate(classes)]
        count = max(net.outputs, 2)
        if len(texts) != count:
            raise ValueError(f"classes must be {count} texts, got {len(texts)}: {listed(texts)}")
        return texts


def _document(net: Network, file: str, prefix: str, heads: _Heads) -> str:
    """Return the whole file."""
    program = Program(net)
    body = _functions(net, program, heads)
    tests = _tests(net, heads)
    parts = [
        _opening(net, program, heads),
        _c_functions.functions(body + tests, net.dtype.name),
        "/* ---- weights: kernels have outputs first ---- */\n",
        *program.arrays,
        body,
        tests,
        _CLOSING,
    ]
    text = _c_functions.finished("\n".join(parts), prefix, net.dtype.name)
    values = {
        "@FILE@": re.sub(r"[^\w.\-]", "_", file, flags=re.ASCII),
        "@INPUTS@": str(net.inputs),
        "@OUTPUTS@": str(net.outputs),
        "@TEXTS@": "".join(f"    {_quoted(text)},\n" for text in heads.classes or ()),
    }
    return re.sub("|".join(values), lambda match: values[match[0]], text)


def _opening(net: Network, program: Program, heads: _Heads) -> str:
    """Return the first comment, what is included, and the sizes."""
    size = net.dtype.itemsize
    buffer = (program.work + program.patch) * size
    lines = [
        f"/* @FILE@ - a {net.sizes} network of {net.dtype.name}, written by bpfast {__version__}.",
        " *",
        ' *     #include "@FILE@"      in one C file; C99, link with -lm',
        " *     REAL x[PU_INPUTS], y[PU_OUTPUTS];",
        f" *     P_predict(x, y);   x: {show_shape(net.input_shape)}, the last index fastest",
    ]
    if heads.proba is not None:
        lines.append(" *     P_predict_proba(x, y);   probabilities")
    if heads.labels:
        meaning = "   of P_classes" if heads.classes else ""
        lines.append(f" *     int label = P_classify(x);{meaning}")
    lines += [
        " *",
        f" * Memory: {program.constants * size:,} bytes of constants (flash), and",
        f" * {buffer:,} bytes of buffer (RAM), which allows one call at a time.",
        " * Test:   cc -std=c99 -D PU_TEST_MAIN -x c @FILE@ -o test -lm && ./test",
        " */",
    ]
    return "\n".join([*lines, _INCLUDES])


_INCLUDES = """\
#ifndef PU_INCLUDED
#define PU_INCLUDED

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __FAST_MATH__
#error "compile without -ffast-math"
#endif
/* no multiplication may be joined with an addition but where fma is called */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif

enum { PU_INPUTS = @INPUTS@, PU_OUTPUTS = @OUTPUTS@ };
"""

_CLOSING = """\
#if defined(__clang__)
#pragma STDC FP_CONTRACT DEFAULT
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif
#endif
"""


def _functions(net: Network, program: Program, heads: _Heads) -> str:
    """Return the functions for users."""
    sizes = (("work", program.work), ("patch", program.patch))
    work = [f"static REAL {name}[{size}];" for name, size in sizes if size]
    code = _function(
        "static inline void P_predict(const REAL x[PU_INPUTS], REAL y[PU_OUTPUTS])",
        [*work, *program.statements],
    )
    if heads.proba is not None:
        lines = ["P_predict(x, y);"]
        if heads.proba != "identity":
            lines.append(applied(heads.proba, "y", "y", 1, net.outputs))
        head = "static inline void P_predict_proba(const REAL x[PU_INPUTS], REAL y[PU_OUTPUTS])"
        code += "\n" + _function(head, lines)
    if heads.classes is not None:
        head = f"static const char *const P_classes[{len(heads.classes)}]"
        code += f"\n{head} = {{\n@TEXTS@}};\n"
    if heads.labels:
        code += "\n" + _function(
            "static inline int P_classify(const REAL x[PU_INPUTS])",
            ["REAL y[PU_OUTPUTS];", "int best = 0;", "P_predict_proba(x, y);"]
            + (
                ["best = y[0] > R(0.5);"]
                if net.outputs == 1
                else ["for (int i = 1; i < PU_OUTPUTS; ++i)", "    if (y[i] > y[best]) best = i;"]
            )
            + ["return best;"],
        )
    return code


def _function(head: str, lines: list[str]) -> str:
    return "\n".join([head, "{", *(f"    {line}" for line in lines), "}"]) + "\n"


def _quoted(text: str) -> str:
    """Write a C string; what is not plain ASCII as octal escapes of its UTF-8."""
    plain = {ord(c) for c in map(chr, range(32, 127))} - set(b'"\\?')
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in text.encode()) + '"'


# ---- the self-test ------------------------------------------------------------------------------


def fused(net: Network, x: NDArray[Any], activation: str = "identity") -> NDArray[Any]:
    """Return an activation of what `predict` gives where it has fused multiply-adds.

    A CPU without them takes the library's C function for them, which is slow.
    """
    specs = net._plan.specs()
    if activation != "identity":
        specs.append({"kind": "activation", "activation": activation, "inputs": [len(specs)]})
    isa = "reference_libm" if net._core.isa == "sse2" else net._core.isa
    core = _core.Net(specs, net._plan.core_input, net.dtype.itemsize, isa, net.seed)
    np.asarray(core.parameters())[...] = net.parameters
    np.asarray(core.buffers())[...] = net._buffers
    out = np.empty((len(x), net.outputs), net.dtype)
    core.predict(x, out, 1)
    return out


def _test_inputs(net: Network) -> NDArray[Any]:
    """Return some rows as the network may meet them."""
    x = np.random.default_rng(_TEST_SEED).random((_TEST_ROWS, net.inputs)) * 4 - 2
    if net._plan.standardizes:
        mean, scale = (values.ravel() for values in list(net.buffers.values())[:2])
        x = mean + x / scale
    return x.astype(net.dtype)


def _tests(net: Network, heads: _Heads) -> str:
    """Return the test's rows and `main`."""
    dtype, x = net.dtype.name, _test_inputs(net)
    arrays = [("x", x), ("y", fused(net, x))]
    if heads.proba is not None:
        proba = fused(net, x, heads.proba)
        arrays.append(("proba", proba))
    tables = "\n".join(_c_functions.array(f"P_test_{n}", values, dtype) for n, values in arrays)
    proba_lines = "" if heads.proba is None else _PROBA_CHECK
    labels = ""
    if heads.labels:
        best = (proba[:, 0] > 0.5).astype(int) if net.outputs == 1 else proba.argmax(axis=1)
        tables += f"\nstatic const int P_test_labels[] = {{{', '.join(map(str, best))}}};\n"
        labels = _LABEL_CHECK + (_LABEL_TEXT if heads.classes is not None else "")
    return (
        _TEST.replace("@TABLES@", tables)
        .replace("@PROBA@", proba_lines)
        .replace("@LABELS@", labels)
        .replace("@ROWS@", str(_TEST_ROWS))
        .replace("@ROUNDED@", "1e-4f" if dtype == "float32" else "1e-12")
    )


_PROBA_CHECK = """\
        P_predict_proba(P_test_x + r * PU_INPUTS, y);
        wrong += P_differences(y, P_test_proba + r * PU_OUTPUTS);
"""
_LABEL_CHECK = """\
        if (PU_FMA) wrong += P_classify(P_test_x + r * PU_INPUTS) != P_test_labels[r];
"""
_LABEL_TEXT = """\
        printf("row %d: %s\\n", r, P_classes[P_test_labels[r]]);
"""

_TEST = """\
#ifdef PU_TEST_MAIN
#include <stdio.h>

@TABLES@
/* How many of the outputs are not as they should be: to the bit, or nearly when rounded twice. */
static int P_differences(const REAL *y, const REAL *expected)
{
    const REAL tolerance = PU_FMA ? 0 : @ROUNDED@;
    int wrong = 0;
    for (int i = 0; i < PU_OUTPUTS; ++i) {
        const REAL off = M(fabs)(y[i] - expected[i]);
        if (off <= tolerance * (1 + M(fabs)(expected[i]))) continue;
        printf("output %d: %.9g, expected %.9g\\n", i, (double)y[i], (double)expected[i]);
        ++wrong;
    }
    return wrong;
}

int main(void)
{
    int wrong = 0;
    for (int r = 0; r < @ROWS@; ++r) {
        REAL y[PU_OUTPUTS];
        P_predict(P_test_x + r * PU_INPUTS, y);
        wrong += P_differences(y, P_test_y + r * PU_OUTPUTS);
@PROBA@@LABELS@    }
    printf("%d rows, %d wrong numbers\\n", @ROWS@, wrong);
    return wrong != 0;
}
#endif
"""
