"""Checks of one argument each: the value in its plain Python type, or a one-line error.

Every message names the argument, what was expected and what came. Numbers of NumPy are accepted
(through `numbers.Real` and `operator.index`); a bool is never taken for a number.
"""

from __future__ import annotations

import math
import numbers
import operator
import os
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any


def show(value: object) -> str:
    """Say what `value` is in at most about 80 characters, on one line."""
    kind = type(value).__name__
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, str | numbers.Real):
        try:
            text = repr(value)
        except ValueError:  # an int of more than 4300 digits
            return f"a very large {kind}"
        return text if len(text) <= 60 else f"{text[:57]}..."
    if isinstance(getattr(value, "shape", None), tuple):
        return f"{kind} of shape {value.shape}"  # type: ignore[attr-defined]
    if isinstance(value, list | tuple | dict | set):
        return f"{kind} of length {len(value)}"
    return f"an object of type {kind}"


def one_line(error: BaseException) -> str:
    """Write the message of another library's error on one line of at most 400 characters."""
    text = str(error)
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= 400 else f"{text[:397]}..."


def listed(names: Iterable[object]) -> str:
    """Write the first five names, those that are no plain words as `show` does; "none" for none."""
    words = [str(name) for name in names]
    shown = [w if w.isprintable() and 0 < len(w) <= 60 else show(w) for w in words[:5]]
    more = f" and {len(words) - 5} more" if len(words) > 5 else ""
    return ", ".join(shown) + more if shown else "none"


def bad_value(name: str, expected: str, value: object) -> ValueError:
    """Make the ValueError of a value that is out of range."""
    return ValueError(f"{name} must be {expected}, got {show(value)}")


def bad_type(name: str, expected: str, value: object) -> TypeError:
    """Make the TypeError of a value of the wrong kind."""
    return TypeError(f"{name} must be {expected}, got {show(value)}")


def check_number(
    name: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """Return `value` as a finite float within [low, high]; an open end excludes its bound."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise bad_type(name, _range("a finite number", low, high, low_open, high_open), value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    above = number > low if low_open else number >= low
    below = number < high if high_open else number <= high
    if not (math.isfinite(number) and above and below):  # NaN fails every comparison
        raise bad_value(name, _range("a finite number", low, high, low_open, high_open), value)
    return number


def check_positive(name: str, value: object) -> float:
    """Return `value` as a float above 0."""
    return check_number(name, value, 0.0, low_open=True)


def check_non_negative(name: str, value: object) -> float:
    """Return `value` as a float that is 0 or more."""
    return check_number(name, value, 0.0)


def check_fraction(name: str, value: object) -> float:
    """Return `value` as a float in [0, 1): rates of dropping, momenta, decay factors."""
    return check_number(name, value, 0.0, 1.0, high_open=True)


def check_open_fraction(name: str, value: object) -> float:
    """Return `value` as a float in (0, 1): factors and quantiles."""
    return check_number(name, value, 0.0, 1.0, low_open=True, high_open=True)


def check_open_fractions(name: str, value: object) -> float | tuple[float, ...]:
    """Return `value` as a float in (0, 1), or a sequence of such as a tuple."""
    if isinstance(value, list | tuple) and value:
        return tuple(check_open_fraction(f"{name}[{i}]", v) for i, v in enumerate(value))
    return check_open_fraction(name, value)


def check_optional_positive(name: str, value: object) -> float | None:
    """Return None, or `value` as a float above 0."""
    return None if value is None else check_positive(name, value)


def check_int(name: str, value: object, low: int | None = None, high: int | None = None) -> int:
    """Return `value` as an int within [low, high] that fits 64 bits; 3.0 is refused."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is not None and number > sys.maxsize:
        raise bad_value(name, f"an int of at most {sys.maxsize}", value)
    if number is not None and (low is None or low <= number) and (high is None or number <= high):
        return number
    expected = _range(
        "an int", -math.inf if low is None else low, math.inf if high is None else high
    )
    raise (bad_type if number is None else bad_value)(name, expected, value)


def check_count(name: str, value: object) -> int:
    """Return `value` as an int of 1 or more."""
    return check_int(name, value, 1)


def check_index(name: str, value: object) -> int:
    """Return `value` as an int of 0 or more."""
    return check_int(name, value, 0)


def check_bool(name: str, value: object) -> bool:
    """Return `value` as a bool; NumPy's is one, 0 and 1 are not."""
    numpy = sys.modules.get("numpy")  # without it no value can be NumPy's
    if isinstance(value, bool) or (numpy is not None and isinstance(value, numpy.bool_)):
        return bool(value)
    raise bad_type(name, "True or False", value)


def check_real(name: str, value: object) -> float:
    """Return `value`, a number or a 0-d array, as a float that may be NaN or infinite."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise bad_type(name, "a number", value)
    try:
        return float(value)
    except OverflowError:
        raise bad_value(name, "a number that fits a double", value) from None


def check_choice(name: str, value: object, choices: Collection[str]) -> str:
    """Return the string `value`, one of `choices`."""
    if isinstance(value, str) and value in choices:
        return str(value)
    error = bad_value if isinstance(value, str) else bad_type
    raise error(name, f"one of {', '.join(choices)}", value)


def check_text(name: str, value: object) -> str:
    """Return the string `value`, which may not be empty."""
    if not isinstance(value, str):
        raise bad_type(name, "a string", value)
    if not value:
        raise bad_value(name, "a string that is not empty", value)
    return str(value)


def check_path(name: str, value: object) -> Path:
    """Return the path that a str or path-like object names."""
    if not isinstance(value, str | os.PathLike):
        raise bad_type(name, "a str or a path", value)
    text = os.fspath(value)
    if not isinstance(text, str):
        raise bad_type(name, "a str or a path", text)
    if "\0" in check_text(name, text):
        raise bad_value(name, "a path without null characters", text)
    return Path(text)


def check_notes(name: str, value: object) -> dict[str, str]:
    """Return a copy of a dict from str to str."""
    if not isinstance(value, Mapping):
        raise bad_type(name, "a dict of str to str", value)
    for key, note in value.items():
        if not isinstance(key, str):
            raise bad_type(f"a key of {name}", "a str", key)
        if not isinstance(note, str):
            raise bad_type(f"{name}[{show(key)}]", "a str", note)
    return dict(value)


def check_callable(name: str, value: object, signature: str) -> Any:
    """Return `value`, a function that is called as `signature` shows; a class is refused."""
    if isinstance(value, type) or not callable(value):
        raise bad_type(name, f"a function {signature}", value)
    return value


def check_pair(name: str, value: object) -> tuple[float, float]:
    """Return the two finite numbers of a sequence of length 2."""
    if isinstance(value, str) or not hasattr(value, "__len__") or not hasattr(value, "__getitem__"):
        raise bad_type(name, "two numbers", value)
    if len(value) != 2:
        raise bad_value(name, "two numbers", value)
    return check_number(f"{name}[0]", value[0]), check_number(f"{name}[1]", value[1])


def _range(
    noun: str, low: float, high: float, low_open: bool = False, high_open: bool = False
) -> str:
    """Write the range as the messages show it."""
    if math.isinf(low) and math.isinf(high):
        return noun
    if math.isinf(high):
        return f"{noun} {'>' if low_open else '>='} {low:g}"
    if math.isinf(low):
        return f"{noun} {'<' if high_open else '<='} {high:g}"
    return f"{noun} in {'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"
