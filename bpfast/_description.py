"""What a model file says beside its numbers, checked before anything is made of it.

The file may be foreign, damaged or hostile: every value is of its type and range, and every tensor
of the shape that the layers ask for, before memory is taken for a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from bpfast import _core, losses, metrics, optimizers
from bpfast._check import (
    bad_type,
    bad_value,
    check_choice,
    check_count,
    check_index,
    check_int,
    check_notes,
    check_real,
    listed,
)
from bpfast._plan import Plan
from bpfast._spec import DTYPES, core_rule, read_layers
from bpfast._value import build
from bpfast.errors import ShapeError
from bpfast.layers.base import Layer
from bpfast.layers.configs import from_configs
from bpfast.layers.shapes import Shape

if TYPE_CHECKING:
    from bpfast._fit import Progress
    from bpfast.losses import Loss
    from bpfast.optimizers import Optimizer

#: The version of descriptions that this code writes. Version 1 had the number of inputs in place of
#: their shape, and each layer once.
SCHEMA = 2
#: What the names of the optimizer's tensors begin with.
STATE = "optimizer."
#: And those of an average of the weights, which no slot is called.
AVERAGE = f"{STATE}average."


class Tensors(Protocol):
    """Arrays by name, of which dtype and shape are known before they are read."""

    def __contains__(self, name: object, /) -> bool: ...
    def __iter__(self) -> Any: ...
    def __getitem__(self, name: str, /) -> Any: ...
    def kind(self, name: str, /) -> tuple[str, tuple[int, ...]]:
        """Return the dtype's name and the shape."""


@dataclass(frozen=True, slots=True)
class Description:
    """Everything about a network but its numbers.

    Attributes
    ----------
    seed, step, epoch : int
        The counters.
    slots : list of str
        Names of the optimizer's state.
    """

    dtype: str
    input_shape: Shape
    layers: list[Layer]
    plan: Plan
    seed: int
    step: int
    epoch: int
    loss: Loss | None
    metrics: list[str]
    optimizer: Optimizer | None
    slots: list[str]
    progress: Progress | None
    metadata: dict[str, str]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the parameters' names and shapes, in the network's order."""
        return {name: tensor.shape for name, tensor in self.plan.parameters.items()}

    def averages(self, tensors: Tensors) -> bool:
        """Return whether an average of the weights is there: of a fit that can be resumed."""
        has = any(f"{AVERAGE}{name}" in tensors for name in self.plan.parameters)
        return has and self.optimizer is not None

    def check(self, tensors: Tensors) -> bool:
        """Raise unless the tensors are those of this network; return whether statistics are there.

        Raises
        ------
        ValueError
            A tensor is missing, unknown, or of another shape or dtype.
        """
        expected = self.shapes()
        for slot in self.slots:
            expected |= {f"{STATE}{slot}.{name}": shape for name, shape in self.shapes().items()}
        if self.averages(tensors):
            expected |= {f"{AVERAGE}{name}": shape for name, shape in self.shapes().items()}
        measured = self.plan.measured_buffers()
        has_measured = any(name in tensors for name in measured)
        for name, tensor in self.plan.buffers.items():
            if has_measured or name not in measured:
                expected[name] = tensor.shape
        for name, shape in expected.items():
            if name not in tensors:
                raise ValueError(f"tensor {name} is missing")
            dtype, found = tensors.kind(name)
            if (dtype, found) != (self.dtype, shape):
                raise ShapeError(f"tensor {name} must be {self.dtype} {shape}, got {dtype} {found}")
        unknown = [name for name in tensors if name not in expected]
        if unknown:
            raise ValueError(f"unexpected tensors: {listed(sorted(unknown))}")
        return has_measured


def read(value: object) -> Description:
    """Return the description that `value`, of JSON types, stands for.

    Raises
    ------
    TypeError, ValueError
        A part is missing, of the wrong type or out of range; the message names it.
    """
    of = _Part("description", value)
    schema = of["schema"]
    if schema not in (1, SCHEMA) or isinstance(schema, bool):
        raise bad_value("schema", f"1 or {SCHEMA} (of this bpfast)", schema)
    rows = check_count("inputs", of["inputs"]) if schema == 1 else of.items("input_shape")
    layers, input_shape = read_layers(from_configs(of.items("layers")), rows)
    plan = Plan(layers, input_shape)
    counters = _Part("counters", of["counters"])
    optimizer, loss, progress = of["optimizer"], of["loss"], of["progress"]
    rule = None if optimizer is None else build("optimizer", optimizer, optimizers.TABLE)
    described = Description(
        dtype=check_choice("dtype", of["dtype"], DTYPES),
        input_shape=input_shape,
        layers=layers,
        plan=plan,
        seed=check_int("counters['seed']", counters["seed"], 0, 2**63 - 1),
        step=check_int("counters['step']", counters["step"], 0, 2**63 - 1),
        epoch=check_int("counters['epoch']", counters["epoch"], 0, 2**63 - 1),
        loss=None if loss is None else build("loss", loss, losses.TABLE),
        metrics=[
            check_choice(f"metrics[{i}]", name, metrics.NAMES)
            for i, name in enumerate(of.items("metrics"))
        ],
        optimizer=rule,
        slots=[] if rule is None else _core.Net.slot_names(str(core_rule(rule)["rule"])),
        progress=None,
        metadata=check_notes("metadata", of["metadata"]),
    )
    if progress is None:
        return described
    (outputs,) = plan.layers[-1].shape
    return replace(described, progress=_read_progress(_Part("progress", progress), outputs))


class _Part:
    """A dict of the description; a missing key is a ValueError that says where."""

    def __init__(self, argument: str, value: object) -> None:
        if not isinstance(value, Mapping):
            raise bad_type(argument, "a dict", value)
        self._argument, self._value = argument, value

    def __getitem__(self, key: str) -> Any:
        if key not in self._value:
            raise ValueError(f"{self._argument} must have {key!r}, got {listed(self._value)}")
        return self._value[key]

    def items(self, key: str) -> list[Any]:
        """Return the list that stands under `key`."""
        found = self[key]
        if not isinstance(found, list):
            raise bad_type(f"{self._argument}[{key!r}]", "a list", found)
        return found


def _read_progress(of: _Part, outputs: int) -> Progress:
    """Return where an interrupted fit stands: the core will rely on the cursor."""
    from bpfast._fit import Progress

    rows = check_count("progress['rows']", of["rows"])
    batch_size = check_int("progress['batch_size']", of["batch_size"], 1, rows)
    history = _Part("progress['history']", of["history"])
    lists = _Part("progress['history']['history']", history["history"])
    return Progress(
        epoch=check_index("progress['epoch']", of["epoch"]),
        cursor=_read_cursor(of["cursor"], -(-rows // batch_size), outputs),
        rows=rows,
        batch_size=batch_size,
        history={
            "history": {key: _numbers(key, lists.items(key)) for key in lists._value},
            "epoch": [check_index("progress's epochs", n) for n in history.items("epoch")],
        },
        callbacks=[dict(_Part("callback", state)._value) for state in of.items("callbacks")],
        schedule=dict(_Part("schedule", of["schedule"])._value),
    )


def _read_cursor(value: object, batches: int, outputs: int) -> dict[str, Any]:
    """Return {} between epochs, else the batches done and the sums so far."""
    of = _Part("cursor", value)
    if not of._value:
        return {}
    sums = ("loss_sum", "weight_sum", "correct", "squared", "absolute")
    cursor: dict[str, Any] = {
        "batch": check_int("cursor['batch']", of["batch"], 0, batches),
        **{key: check_real(f"cursor[{key!r}]", of[key]) for key in sums},
    }
    if "residuals" in of._value:
        cursor["residuals"] = _numbers("residuals", of.items("residuals"))
        if len(cursor["residuals"]) != outputs:
            raise bad_value("cursor['residuals']", f"of length {outputs}", of["residuals"])
    return cursor


def _numbers(argument: str, values: list[Any]) -> list[float]:
    return [check_real(argument, x) for x in values]
