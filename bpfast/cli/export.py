"""``bpfast export``: a model for other programs, as ONNX, PyTorch's weights or C."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from bpfast._inference import head_of
from bpfast.cli import story
from bpfast.cli.files import check_output
from bpfast.cli.model import Model, load_model
from bpfast.cli.schema import Schema
from bpfast.cli.table import some
from bpfast.io import write_atomically


class Format(NamedTuple):
    """How a format's files end, and what writes one and returns lines that say how to use it."""

    suffix: str
    write: Callable[[Model, Path], list[str]]


def run(arguments: argparse.Namespace) -> int:
    """Write the file and tell."""
    source = Path(arguments.model)
    chosen = FORMATS[arguments.to]
    out = Path(arguments.out) if arguments.out else source.with_suffix(chosen.suffix)
    check_output(out, force=arguments.force)
    model = load_model(source)
    if model.schema is not None:
        _check_columns(source, model.schema)
    lines = chosen.write(model, out)
    story.say(f"{out}: {out.stat().st_size:,} bytes", *_input_lines(model), *lines)
    return 0


def _check_columns(source: Path, schema: Schema) -> None:
    """Raise where the network reads something else than the numbers of the columns."""
    for feature in schema.features:
        if feature.values is not None:
            raise ValueError(
                f"{source}: column {feature.name!r} is text, which only bpfast predict turns into "
                "the network's inputs; train with numbers in its place, or --drop it"
            )


def _input_lines(model: Model) -> list[str]:
    """Say what goes in."""
    if model.schema is None:
        return [f"input: rows of {' x '.join(map(str, model.net.input_shape))} numbers"]
    lines = [f"input: columns {', '.join(model.schema.input_names)}, in this order"]
    fills = [f for f in model.schema.features if f.fill is not None]
    if fills:
        means = ", ".join(f"{f.name} {f.fill:.9g}" for f in fills)
        lines.append(f"for a missing number put the column's mean: {means}")
    return lines


def _write_onnx(model: Model, out: Path) -> list[str]:
    """Write an ONNX model, whose labels are those of the training file."""
    model.net.to_onnx(out)
    if head_of(model.net) is not None:
        return [f"output: label and probabilities of {some(model.classes.tolist())}"]
    return [f"output: {'output' if model.schema is None else model.schema.target}"]


def _write_torch(model: Model, out: Path) -> list[str]:
    """Write the tensors of a state_dict as safetensors."""
    from safetensors.numpy import save

    module = model.net.to_torch()
    from bpfast.export.torch import code_of  # which needs PyTorch: to_torch said so

    tensors = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    code = code_of(module) or "bpfast.load(MODEL).to_torch()  # it has modules of bpfast"
    write_atomically(out, save(tensors, {"module": code}))
    images = len(model.net.input_shape) > 1
    return [
        *(["PyTorch's order of axes: (rows, channels, ...)"] if images else []),
        f"module = {code}",
        f"module.load_state_dict(safetensors.torch.load_file({str(out)!r})); module.eval()",
    ]


def _write_c(model: Model, out: Path) -> list[str]:
    """Write a C file."""
    model.net.to_c(out)
    return [f"its first lines say how to use it: {out}"]


#: Every format, by its name on the command line.
FORMATS: Final = {
    "onnx": Format(".onnx", _write_onnx),
    "torch": Format(".torch.safetensors", _write_torch),
    "c": Format(".h", _write_c),
}
