"""Checks of one argument each: the value in its plain Python type, or a one-line error.

Every message names the argument, what was expected and what came. Numbers of NumPy are accepted
(through `numbers.Real` and `operator.index`); a bool is never taken for a number.
"""

from __future__ import annotations

import math
import numbers
import operator
import sys
from collections.abc import Collection
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


def check_optional_positive(name: str, value: object) -> float | None:
    """Return None, or `value` as a float above 0."""
    return None if value is None else check_positive(name, value)


def check_int(name: str, value: object, low: int | None = None, high: int | None = None) -> int:
    """Return `value` as an int within [low, high]; a float is refused, also 3.0."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
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
