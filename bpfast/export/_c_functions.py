"""From the texts of `_c_text` to those of one file: what it needs, with its names and types."""

from __future__ import annotations

import re

import numpy as np

from bpfast.export import _c_text
from bpfast.export._c_numbers import NUMBERS, TERMS

#: Names in NUMBERS that are bit patterns, and those that are plain integers.
_PATTERNS = ("ONE_BITS", "SQRT_HALF_BITS", "MANTISSA_MASK", "EXPONENT_MASK", "HALF_MASK")
_INTEGERS = ("MANTISSA", "BIAS")


def literal(value: float, dtype: str) -> str:
    """Write a finite number of this dtype so that a C compiler reads the same bits."""
    digits, exponent = float(value).hex().split("p")
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return f"{digits}p{exponent}" + ("f" if dtype == "float32" else "")


def _rounded(text: str, dtype: str) -> str:
    """Write a double of the library's source as it is in this dtype."""
    if dtype == "float64":
        return text
    value = float(np.float32(float(text)))
    return f"{text}f" if value == float(text) else literal(value, dtype)


def _pieces(dtype: str) -> dict[str, str]:
    """Return every function and table by name, each after those that it needs."""
    suffix = "f" if dtype == "float32" else ""
    texts = [_c_text.FMA[dtype]]
    for name, terms in TERMS[dtype].items():
        listed = ", ".join(term + suffix for term in terms.split())
        texts.append(_wrapped(f"static const REAL P_c_{name}[] = {{", listed))
    elementary = _c_text.ELEMENTARY.replace("LOG_JOIN", _c_text.LOG_JOIN[dtype])
    for block in (elementary, _c_text.HELPERS):
        texts += block.split("//\n")
    texts += [
        f"static inline void P_apply_{name}(REAL *y, const REAL *in, size_t n)\n{{\n"
        "    for (size_t i = 0; i < n; ++i) {\n        const REAL x = in[i];\n"
        f"        y[i] = {value};\n    }}\n}}\n"
        for name, value in _c_text.ACTIVATIONS.items()
    ]
    texts += _c_text.LAYERS.split("//\n")
    return {_name_of(text): text for text in texts}


def _name_of(text: str) -> str:
    """Return what a piece defines."""
    found = re.search(r"^(?:static .*?|\} )P_(\w+)", text, re.MULTILINE)
    assert found is not None
    return found[1]


def _wrapped(head: str, listed: str) -> str:
    """Write an initializer in lines of at most 100 characters."""
    lines, line = [head], "   "
    for word in listed.split():
        if len(line) + 1 + len(word) > 100:
            lines.append(line)
            line = "   "
        line += f" {word}"
    return "\n".join([*lines, line, "};"]) + "\n"


def array(name: str, values: np.ndarray, dtype: str) -> str:
    """Write the definition of a constant array."""
    listed = ", ".join(literal(value, dtype) for value in values.ravel().tolist())
    return _wrapped(f"static const REAL {name}[{values.size}] = {{", listed)


def functions(code: str, dtype: str) -> str:
    """Return the pieces that a text needs, and that these need, each after those it calls."""
    pieces = _pieces(dtype)
    wanted: set[str] = {"fma"}
    text = code + pieces["fma"]
    while True:
        found = {name for name in re.findall(r"\bP_(\w+)", text) if name in pieces} - wanted
        if not found:
            break
        wanted |= found
        text = "".join(pieces[name] for name in found)
    listed = "\n".join(piece for name, piece in pieces.items() if name in wanted)
    numbers = _numbers(dtype)
    used = set(re.findall(r"\b[A-Z]\w*", listed))
    defined = "".join(f"#define PU_{name} {numbers[name]}\n" for name in numbers if name in used)
    if "COUNT" in used:
        defined += "#define PU_COUNT(a) (sizeof(a) / sizeof(a)[0])\n"
    names = "|".join([*numbers, "COUNT"])
    return defined + "\n" + re.sub(rf"\b({names})\b", r"PU_\1", listed)


def _numbers(dtype: str) -> dict[str, str]:
    """Return the constants of the functions as C has them."""
    suffix, size = ("f", 32) if dtype == "float32" else ("", 64)
    found = {}
    for name, value in NUMBERS[dtype].items():
        if name in _PATTERNS:
            found[name] = f"UINT{size}_C({value})"
        elif name in _INTEGERS:
            found[name] = value
        else:
            found[name] = f"({value}{suffix})" if value.startswith("-") else value + suffix
    magic = 1.5 * 2.0 ** int(found["MANTISSA"]) + int(found["BIAS"])
    found |= {"MAGIC": literal(magic, dtype), "MAGIC_LESS": literal(magic - 1, dtype)}
    return found


def finished(text: str, prefix: str, dtype: str) -> str:
    """Return a text with the names and types of one file."""
    suffix, kind, word = ("f", "float", 32) if dtype == "float32" else ("", "double", 64)
    text = re.sub(r"\bR\(([^)]*)\)", lambda m: _rounded(m[1], dtype), text)
    text = re.sub(r"\bM\((\w+)\)", rf"\1{suffix}", text)
    text = re.sub(r"\bREAL\b", kind, re.sub(r"\bBITS\b", f"uint{word}_t", text))
    return re.sub(r"\bPU_", f"{prefix.upper()}_", re.sub(r"\bP_", f"{prefix}_", text))
