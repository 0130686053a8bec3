"""What every layer has: a name, a description for the core, a description for model files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from bpfast._check import bad_type, bad_value, check_bool, check_count, check_text
from bpfast._value import Configurable


class Layer(Configurable):
    """Base class of the layers.

    A layer describes; the weights belong to the network. Its attributes cannot be changed once
    set, but for `trainable`. Two layers are equal only when they are one object: a layer that
    appears twice in a network shares its weights.

    Parameters
    ----------
    name : str, optional
        Begins the names of the layer's parameters, as in ``hidden.kernel``; without dots. None
        means the layer's index in the network's list.
    """

    config_key: ClassVar[str] = "class"
    #: Whether the layer may stand only at the start of a network.
    first_only: ClassVar[bool] = False
    name: str | None

    def __init__(self, *, name: str | None = None) -> None:
        self.name = None if name is None else _check_name(name)
        self.trainable = True

    def spec(self) -> dict[str, Any]:
        """Return what the core reads; ``kind`` is always there."""
        return {"kind": self.kind}

    def out_features(self, in_features: int) -> int:
        """Return the number of values per row that come out when `in_features` go in."""
        return check_count("in_features", in_features)

    @classmethod
    def config_name(cls) -> str:
        """Return the name of the class."""
        return cls.__name__

    def config(self) -> dict[str, Any]:
        """Return a dict of JSON types that `from_config` makes an equal layer from."""
        return {**super().config(), "trainable": self.trainable}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], argument: str = "config") -> Self:
        """Make a layer from what `config` returned; a ValueError when a key does not fit."""
        fields = dict(config)
        trainable = fields.pop("trainable", True)
        layer = super().from_config(fields, argument)
        layer.trainable = trainable
        return layer

    def __setattr__(self, name: str, value: object) -> None:
        """Set `trainable`, or anything else once: a network read it when it was made."""
        if name == "trainable":
            value = check_bool(name, value)
        elif name in self.__dict__:
            raise AttributeError(f"{type(self).__name__}.{name} is fixed: make another layer")
        super().__setattr__(name, value)


def _check_name(name: object) -> str:
    """Return the name, which must be usable within ``name.kernel``."""
    text = check_text("name", name)
    if "." in text or not text.isprintable() or text != text.strip():
        raise bad_value("name", "printable text without dots or outer spaces", name)
    return text


def check_layer(argument: str, value: object) -> Layer:
    """Return `value`, a `Layer`; a class, or anything else, is a TypeError."""
    if not isinstance(value, Layer):
        raise bad_type(argument, "a layer such as Dense(10)", value)
    return value
