"""What every layer has: a name, shapes, a description for the core, one for model files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Self

from bpfast._check import bad_type, bad_value, check_bool, check_positive, check_text
from bpfast._value import Configurable

if TYPE_CHECKING:
    from bpfast._graph import Graph
    from bpfast.layers.parameters import Parameter
    from bpfast.layers.shapes import Shape


#: Layers within each other, which Python's own stack must carry.
MOST_DEPTH = 50
#: Gives another number at each change of what may change of any layer, so that networks, which ask
#: at every call, need not look at theirs; `changes` is the last one.
_numbers = count(1)
_last = 0


def changes() -> int:
    """Return another number than before whenever some layer was frozen, thawed or slowed since."""
    return _last


class Layer(Configurable):
    """Base class of the layers.

    A layer describes; the weights belong to the network. Its attributes cannot be changed once
    set, but for the two below, which a fit reads when each of its epochs begins. Two layers are
    equal only when they are one object: a layer that appears twice in a network shares its weights.

    Parameters
    ----------
    name : str, optional
        Begins the names of the layer's parameters, as in ``hidden.kernel``; without dots. None
        means the layer's index in its list. Within a composite, the composite's name comes first.

    Attributes
    ----------
    trainable : bool, default True
        False keeps its parameters, and those of the layers within it, as they are in training.
    lr_scale : float, default 1
        Its parameters learn at the learning rate times this, > 0 (Howard & Ruder 2018,
        discriminative fine-tuning); within a composite, times that one's too. A layer in several
        places learns as in the first.
    """

    config_key: ClassVar[str] = "class"
    #: Whether the layer may stand only at the start of a network.
    first_only: ClassVar[bool] = False
    name: str | None

    def __init__(self, *, name: str | None = None) -> None:
        self.name = None if name is None else _check_name(name)
        self.trainable = True
        self.lr_scale = 1.0

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of a row that comes out when one of `input_shape` goes in.

        Raises
        ------
        ShapeError
            The layer does not take such rows.
        """
        return input_shape

    def spec(self, input_shape: Shape) -> dict[str, Any]:
        """Return what the core reads; ``kind`` is always there."""
        return {"kind": self.kind}

    def weights(self, input_shape: Shape) -> dict[str, Parameter]:
        """Return the parameters by name: the kernel first, then the bias."""
        return {}

    def buffers(self, input_shape: Shape) -> dict[str, Shape]:
        """Return the shapes of what is kept beside the parameters and not trained, by name."""
        return {}

    def place(self, graph: Graph, value: int) -> int:
        """Put the layer behind a value of the graph; return the value that comes out."""
        shape = graph.shapes[value]
        out = self.output_shape(shape)
        return graph.add(
            self.spec(shape),
            [value],
            out,
            layer=self,
            weights=self.weights(shape),
            buffers=self.buffers(shape),
        )

    @classmethod
    def config_name(cls) -> str:
        """Return the name of the class."""
        return cls.__name__

    def config(self, path: str = "", written: dict[int, str] | None = None) -> dict[str, Any]:
        """Return a dict of JSON types that `from_config` makes an equal layer from.

        Parameters
        ----------
        path : str
            Where the layer stands in what is written.
        written : dict, optional
            The paths of the layers written so far, by id; further uses of one become
            ``{"shared": path}``.
        """
        written = {} if written is None else written
        written[id(self)] = path
        fields = {
            name: config_of(value, argument_path(path, name, value), written)
            for name, value in self.arguments().items()
        }
        fields["trainable"] = self.trainable
        if self.lr_scale != 1.0:
            fields["lr_scale"] = self.lr_scale
        return {self.config_key: self.config_name(), **fields}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], argument: str = "config") -> Self:
        """Make a layer from what `config` returned; a ValueError when a key does not fit."""
        fields = dict(config)
        trainable, scale = fields.pop("trainable", True), fields.pop("lr_scale", 1.0)
        layer = super().from_config(fields, argument)
        layer.trainable, layer.lr_scale = trainable, scale
        return layer

    def __setattr__(self, name: str, value: object) -> None:
        """Set what may change, or anything else once: a network read it when it was made."""
        if name == "trainable":
            value = check_bool(name, value)
        elif name == "lr_scale":
            value = check_positive(name, value)
        elif name in self.__dict__:
            raise AttributeError(f"{type(self).__name__}.{name} is fixed: make another layer")
        super().__setattr__(name, value)
        if name in ("trainable", "lr_scale"):
            global _last
            _last = next(_numbers)


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


def check_layers(argument: str, values: object) -> tuple[Layer, ...]:
    """Return a sequence of layers, which may be empty, as a tuple."""
    if not is_list(values):
        raise bad_type(argument, "a list of layers", values)
    assert isinstance(values, Sequence)
    return tuple(check_layer(f"{argument}[{i}]", value) for i, value in enumerate(values))


def join(path: str, name: str) -> str:
    """Return the path of what is called `name` within `path`."""
    return f"{path}.{name}" if path else name


def config_of(value: object, path: str, written: dict[int, str]) -> Any:
    """Return an argument of a layer, or a list of layers, in JSON types."""
    if isinstance(value, Layer):
        known = written.get(id(value))
        return value.config(path, written) if known is None else {"shared": known}
    if is_list(value):
        assert isinstance(value, Sequence)
        return [
            config_of(each, join(path, getattr(each, "name", None) or str(i)), written)
            for i, each in enumerate(value)
        ]
    return value.config() if isinstance(value, Configurable) else value


def argument_path(path: str, name: str, value: object) -> str:
    """Return the path of an argument of a layer: what a composite is made of has its own."""
    return path if is_list(value) and name in ("layers", "branches") else join(path, name)


def is_list(value: object) -> bool:
    """Whether a value is a sequence, and no text."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
