"""What optimizers, losses, initializers, layers and the like share: a description in JSON.

The arguments of ``__init__`` are the fields. `Configurable.config` writes them to a dict that a
model file can hold, `from_config` reads it back, and `resolve` is what every ``get`` is made of.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Self, TypeVar, cast, dataclass_transform

from bpfast._check import bad_type, bad_value, check_text, listed

C = TypeVar("C", bound="Configurable")


class Configurable:
    """An object that its constructor's arguments describe completely.

    Each argument of ``__init__`` is kept in an attribute of the same name.
    """

    kind: ClassVar[str]
    config_key: ClassVar[str] = "name"

    @classmethod
    def config_name(cls) -> str:
        """Return the value of `config_key` in this class's configs."""
        return cls.kind

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name, in its order."""
        return {name: getattr(self, name) for name in _parameters(type(self))}

    def config(self) -> dict[str, Any]:
        """Return a dict of JSON types that `from_config` makes an equal object from."""
        fields = {name: _plain(value) for name, value in self.arguments().items()}
        return {self.config_key: self.config_name(), **fields}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], argument: str = "config") -> Self:
        """Make an object from what `config` returned; messages call that `argument`.

        Raises
        ------
        ValueError
            The dict is of another class, or its keys are not the constructor's arguments.
        """
        name = cls.config_name()
        if config.get(cls.config_key) != name:
            raise bad_value(
                f"{argument}[{cls.config_key!r}]", repr(name), config.get(cls.config_key)
            )
        given = {key: value for key, value in config.items() if key != cls.config_key}
        parameters = _parameters(cls)
        unknown = [str(key) for key in given if key not in parameters]
        if unknown:
            expected = ", ".join(parameters) or "none"
            raise ValueError(
                f"{argument} {name!r} takes the arguments {expected}, got {listed(unknown)}"
            )
        missing = [
            key
            for key, parameter in parameters.items()
            if parameter.default is parameter.empty and key not in given
        ]
        if missing:
            call = f"{cls.__name__}({', '.join(f'{key}=...' for key in missing)})"
            raise ValueError(f"{argument} {name!r} needs {', '.join(missing)}: pass {call}")
        return cls(**given)

    def __repr__(self) -> str:
        """Write the call that makes an equal object, defaults left out."""
        shown = []
        for name, parameter in _parameters(type(self)).items():
            value = getattr(self, name)
            by_name = {"name": parameter.default}  # an object whose default is given by name
            if value != parameter.default and _plain(value) != by_name:
                keyword = "" if _is_first(parameter) else f"{name}="
                shown.append(f"{keyword}{value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


class Value(Configurable):
    """Base of the immutable objects: each field passes the check of its name.

    A class with fields of its own is decorated with `value`; one that compares fields with each
    other extends ``__post_init__``.
    """

    checks: ClassVar[Mapping[str, Callable[[str, object], object]]] = {}

    def __post_init__(self) -> None:
        """Replace each field by what its check returns."""
        for name, value in self.arguments().items():
            object.__setattr__(self, name, self.checks[name](name, value))

    def __setattr__(self, name: str, value: object) -> None:
        """Set a field once, for ``__init__``."""
        if name in self.__dict__ or name not in _parameters(type(self)):
            raise AttributeError(f"{type(self).__name__} is immutable: use replace({name}=...)")
        super().__setattr__(name, value)

    def __eq__(self, other: object) -> bool:
        """Compare class and fields."""
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        """Hash class and fields."""
        return hash((type(self), *self.arguments().values()))

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed; the original stays as it is."""
        return type(self)(**{**self.arguments(), **changes})


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[C]) -> type[C]:
    """Make ``__init__`` from the fields, and leave to `Value` the rest that dataclasses generate.

    Generated code is compiled at import; this keeps that to one method for each class.
    """
    return dataclass(repr=False, eq=False, match_args=False)(cls)


def build(argument: str, config: Mapping[str, Any], table: Mapping[str, type[C]]) -> C:
    """Make the object that `config` describes, of the class that `table` has for its name."""
    key = next(iter(table.values())).config_key
    if not isinstance(config, Mapping):
        raise bad_type(argument, "a dict", config)
    name = config.get(key)
    if not isinstance(name, str) or name not in table:
        raise bad_value(f"{argument}[{key!r}]", f"one of {', '.join(table)}", name)
    return table[name].from_config(config, argument)


def resolve(argument: str, value: object, table: Mapping[str, type[C]], base: type[C]) -> C:
    """Return `value` if it is a `base`, else make one from its name or config."""
    if isinstance(value, base):
        return value
    if isinstance(value, Mapping):
        return build(argument, value, table)
    noun = base.__name__
    if not isinstance(value, str):
        hint = f" (call it: {value.__name__}(...))" if isinstance(value, type) else ""
        error = bad_type(argument, f"a name or {_article(noun)} {noun}", value)
        raise TypeError(f"{error}{hint}")
    if check_text(argument, value) not in table:
        raise bad_value(argument, f"one of {', '.join(table)}", value)
    cls = table[value]
    if issubclass(cls, Value):
        return cast(C, _default(cast(Any, cls), argument))
    return cls.from_config({base.config_key: value}, argument)


@cache
def _default(cls: Any, argument: str) -> Any:
    """Return the immutable object that a bare name stands for, always the same one."""
    return cls.from_config({cls.config_key: cls.config_name()}, argument)


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """Return the arguments of the constructor by name, without self.

    A class keeps them once they are read, which takes tens of microseconds.
    """
    found: dict[str, inspect.Parameter] | None = cls.__dict__.get("_parameters_")
    if found is None:
        found = dict(inspect.signature(cls).parameters)
        type.__setattr__(cls, "_parameters_", found)
    return found


def _is_first(parameter: inspect.Parameter) -> bool:
    """Say whether the argument may be given by position."""
    return parameter.kind is parameter.POSITIONAL_OR_KEYWORD


def _article(noun: str) -> str:
    return "an" if noun[0] in "AEIOU" else "a"


def _plain(value: Any) -> Any:
    """Return `value` in JSON types."""
    if isinstance(value, Configurable):
        return value.config()
    return list(value) if isinstance(value, tuple) else value
