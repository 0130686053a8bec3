"""A table of malformed calls of what writes networks for others."""

from __future__ import annotations

import pytest
from malformed import NAN, Row, check, make

import bpfast as bp


@pytest.fixture(scope="module")
def net() -> bp.Network:
    return make()


def infinite() -> bp.Network:
    """A network that diverged."""
    net = bp.Network([2, 2], rng=0)
    net.params["0.kernel"][0, 0] = NAN
    return net


def classifier() -> bp.Network:
    return bp.Network([bp.Dense(3, "softmax")], input_shape=2, rng=0)


CALLS: dict[str, Row] = {
    "path None": (lambda net: net.to_c(None), TypeError, "path must be a str or a path, got None"),
    "path of bytes": (lambda net: net.to_c(b"m.h"), TypeError, "path must be a str or a path"),
    "path with null": (lambda net: net.to_c("m\0.h"), ValueError, "without null characters"),
    "name 3": (lambda net: net.to_c("unused", name=3), TypeError, "name must be a string, got 3"),
    "name with a digit first": (
        lambda net: net.to_c("unused", name="3d"),
        ValueError,
        "name must be a name in C that begins with a letter, got '3d'",
    ),
    "name with a dash": (
        lambda net: net.to_c("unused", name="a-b"),
        ValueError,
        "name must be a name in C",
    ),
    "classes of a regression": (
        lambda net: net.to_c("unused", classes=["a", "b", "c"]),
        ValueError,
        "classes must be None where a row has not one label, got list of length 3",
    ),
    "one string of classes": (
        lambda net: classifier().to_c("unused", classes="abc"),
        TypeError,
        "classes must be a sequence of str, got 'abc'",
    ),
    "classes that are numbers": (
        lambda net: classifier().to_c("unused", classes=["a", "b", 3]),
        TypeError,
        r"classes\[2\] must be a string, got 3",
    ),
    "two classes of three": (
        lambda net: classifier().to_c("unused", classes=["a", "b"]),
        ValueError,
        "classes must be 3 texts, got 2: a, b",
    ),
    "weights that are not finite": (
        lambda net: infinite().to_c("unused"),
        ValueError,
        "weights must be finite to be exported, 0.kernel has others",
    ),
}


@pytest.mark.parametrize("what", CALLS)
def test_malformed_calls(net: bp.Network, what: str) -> None:
    check(net, CALLS[what])
