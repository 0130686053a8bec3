"""Layers from what their ``config()`` wrote, shared ones as one object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bpfast._check import bad_type, bad_value
from bpfast._value import build
from bpfast.layers import TABLE
from bpfast.layers.base import MOST_DEPTH, Layer, argument_path, join

#: Values within each other: of each composite itself, its list, and a branch.
_MOST_VALUES = 3 * MOST_DEPTH


def from_config(config: Mapping[str, Any], argument: str = "layer") -> Layer:
    """Return a new layer made from what a layer's ``config()`` returned.

    Raises
    ------
    TypeError, ValueError
        The class is unknown, or a key or value is not one of its constructor's.
    """
    return _Reader().layer(config, argument, "", 0)


def from_configs(configs: list[Any], argument: str = "layers") -> list[Layer]:
    """Return new layers made from a list of configs, in which later ones may refer to earlier.

    Raises
    ------
    TypeError, ValueError
        As `from_config`; or what is shared has not come before.
    """
    reader = _Reader()
    return [
        reader.layer(config, f"{argument}[{i}]", _name(config, i), 0)
        for i, config in enumerate(configs)
    ]


class _Reader:
    """Makes layers, and knows those made so far by their paths."""

    def __init__(self) -> None:
        self._made: dict[str, Layer] = {}

    def layer(self, config: Any, argument: str, path: str, depth: int) -> Layer:
        """Return the layer that a config describes or refers to."""
        if isinstance(config, Mapping) and "shared" in config:
            return self._shared(config, argument)
        if not isinstance(config, Mapping):
            raise bad_type(argument, "a dict", config)
        fields = {
            key: self._value(
                value,
                f"{argument}[{key!r}]",
                argument_path(path, str(key), value),
                depth + 1,
            )
            for key, value in config.items()
        }
        made = self._made[path] = build(argument, fields, TABLE)
        return made

    def _shared(self, config: Mapping[str, Any], argument: str) -> Layer:
        """Return the layer that a config refers to."""
        path = config["shared"]
        if len(config) != 1 or not isinstance(path, str) or path not in self._made:
            raise bad_value(f"{argument}['shared']", "the path of an earlier layer alone", path)
        return self._made[path]

    def _value(self, value: Any, argument: str, path: str, depth: int) -> Any:
        """Return an argument of a layer, the layers in it made."""
        if depth > _MOST_VALUES:
            raise ValueError(f"{argument[:40]}... must not be so deep within others")
        if isinstance(value, list):
            return [
                self._value(each, f"{argument}[{i}]", join(path, _name(each, i)), depth + 1)
                for i, each in enumerate(value)
            ]
        if isinstance(value, Mapping) and ("class" in value or "shared" in value):
            return self.layer(value, argument, path, depth)
        return value


def _name(config: Any, index: int) -> str:
    """Return what a layer is called in its list."""
    name = config.get("name") if isinstance(config, Mapping) else None
    return name if isinstance(name, str) and name else str(index)
