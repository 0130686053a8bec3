"""Arguments and exit codes of the command ``bpfast``.

Help and version must answer at once, so nothing here imports NumPy or the compiled core: a
subcommand's own module is imported when it runs.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import bpfast
from bpfast._check import check_count, check_fraction, check_index, check_non_negative
from bpfast._check import check_positive as _check_positive
from bpfast.bench.workloads import ALL as WORKLOADS
from bpfast.cli.recipes import RECIPES
from bpfast.optimizers import TABLE as OPTIMIZERS

OK: Final = 0
FAILURE: Final = 1  # data, files, training
USAGE: Final = 2  # what argparse exits with
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells report it

#: What goes wrong with a user's files, data or machine. Anything else is a bug: a traceback.
FAILURES: Final = (OSError, ValueError, ArithmeticError, MemoryError, RuntimeError, ImportError)

DATA_HELP: Final = (
    "digits (in the package), fashion-mnist, a folder of IDX files, or a table: "
    ".csv, .tsv, .parquet, .npy, .npz"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (the process's own by default).

    Returns
    -------
    int
        The exit code: 0 done, 1 failed, 2 wrong usage (as SystemExit), 130 stopped by Ctrl-C.
    """
    arguments = _parser().parse_args(argv)
    arguments.line = shlex.join(["bpfast", *(sys.argv[1:] if argv is None else argv)])
    try:
        module = importlib.import_module(f"bpfast.cli.{arguments.command}")
        code: int = module.run(arguments)
        print(end="", flush=True)
    except KeyboardInterrupt as stop:
        print(f"bpfast: interrupted {stop}".rstrip(), file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # nobody reads standard output any more: its last flush must not fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except FAILURES as error:
        print(f"bpfast: {str(error) or type(error).__name__}", file=sys.stderr)
        return FAILURE
    return code


def _parser() -> argparse.ArgumentParser:
    """Make the parser of the command and its subcommands."""
    parser = argparse.ArgumentParser(
        prog="bpfast", description="Train neural networks on CPUs by backpropagation."
    )
    parser.add_argument("--version", action="version", version=f"bpfast {bpfast.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    train = _command(commands, "train", "train a network, score it and save it")
    train.add_argument("data", nargs="?", default="digits", help=f"{DATA_HELP} (default: digits)")
    _add_table_flags(train)
    _add_text_flags(train)
    _add_network_flags(train)
    train.add_argument("--threads", metavar="N", type=COUNT, help="default: chosen by the machine")
    train.add_argument("--out", metavar="FILE", help="model file (default: DATA.safetensors)")
    train.add_argument(
        "--report",
        metavar="FILE",
        help="also write a page (HTML) with curves, weights, diagnosis and mistakes; needs "
        "matplotlib",
    )
    _add_force(train)
    _add_json(train)
    volume = train.add_mutually_exclusive_group()
    volume.add_argument("--verbose", action="store_true", help="a row for every epoch")
    volume.add_argument("--quiet", action="store_true", help="print nothing but what --json asks")

    predict = _command(commands, "predict", "write what each row is predicted as")
    predict.add_argument("model", metavar="MODEL", help="a file that train wrote")
    predict.add_argument(
        "rows",
        metavar="ROWS",
        help="a table with the columns that the model was trained on, in any order; for models of "
        "images a .npy or IDX file, or the test rows of digits or fashion-mnist",
    )
    predict.add_argument(
        "--proba", action="store_true", help="the probability of each class, comma-separated"
    )
    _add_text_flags(predict)
    predict.add_argument("--out", metavar="FILE", help="text file (default: standard output)")
    _add_force(predict)

    evaluate = _command(commands, "evaluate", "score a model on test rows")
    evaluate.add_argument("model", metavar="MODEL", help="a file that train wrote")
    evaluate.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help=f"{DATA_HELP} (default: the images it was trained on)",
    )
    _add_text_flags(evaluate)
    _add_json(evaluate)

    info = _command(commands, "info", "describe a model file")
    info.add_argument("model", metavar="MODEL", help="a model file")
    info.add_argument(
        "--speed", action="store_true", help="also time a training step and say what limits it"
    )

    export = _command(commands, "export", "write a model for other programs")
    export.add_argument("model", metavar="MODEL", help="a file that train wrote")
    export.add_argument(
        "--to",
        choices=("onnx", "torch", "c"),
        required=True,
        help="onnx: a model for onnxruntime and others; torch: the tensors of a state_dict as "
        "safetensors; c: a C99 file that needs nothing else",
    )
    export.add_argument(
        "-o", "--out", metavar="FILE", help="default: MODEL as .onnx, .torch.safetensors or .h"
    )
    _add_force(export)

    bench = _command(commands, "bench", "time bpfast beside NumPy and what else is installed")
    bench.add_argument("--quick", action="store_true", help="fewer workloads and rounds")
    bench.add_argument(
        "--workloads",
        metavar="NAME,NAME",
        type=_workloads,
        help=f"of {','.join(WORKLOADS)} (default: those of a few seconds)",
    )
    bench.add_argument("--threads", metavar="N", type=COUNT, help="of each library (default: 1)")
    _add_json(bench)
    return parser


def _command(commands: Any, name: str, purpose: str) -> argparse.ArgumentParser:
    """Add a subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}."
    )
    return parser


def _add_table_flags(parser: argparse.ArgumentParser) -> None:
    """Add what says how to read the columns of a table."""
    group = parser.add_argument_group("tables", "Columns are named, or counted from 0.")
    group.add_argument("--target", metavar="COLUMN", help="the column to predict")
    group.add_argument(
        "--task",
        choices=("classification", "regression"),
        help="default: classification of text, and of whole numbers of at most 20 different values",
    )
    group.add_argument(
        "--one-hot", metavar="A,B", type=_names, help="columns whose values have an input each"
    )
    group.add_argument("--drop", metavar="A,B", type=_names, help="columns to leave out")
    group.add_argument(
        "--fill-missing",
        action="store_true",
        default=None,
        help="put a column's mean where a number is missing (default: an error)",
    )
    group.add_argument(
        "--test-share",
        metavar="SHARE",
        type=_percent,
        help="of the rows, held out to score the model, in hundredths (default: 0.2)",
    )


def _add_text_flags(parser: argparse.ArgumentParser) -> None:
    """Add what says how a CSV file is written; a model remembers it."""
    group = parser.add_argument_group("CSV files")
    group.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="whether the first line holds names (default: it must look like that)",
    )
    group.add_argument(
        "--delimiter", metavar="MARK", type=_mark, help="between cells (default: , or tab for .tsv)"
    )


def _add_network_flags(parser: argparse.ArgumentParser) -> None:
    """Add what shapes the network and its training; `train.Settings` holds the defaults."""
    parser.add_argument(
        "--model",
        choices=tuple(RECIPES),
        help="mlp: dense layers (default); cnn: convolutions, for images; resmlp: dense layers "
        "with normalisation and residuals",
    )
    parser.add_argument(
        "--hidden",
        metavar="N,N",
        type=_hidden,
        help="units of each hidden layer, of cnn channels of each convolution and units of a dense "
        "layer, or none (default: "
        f"{'; '.join(f'{name} ' + ','.join(map(str, r.hidden)) for name, r in RECIPES.items())})",
    )
    parser.add_argument(
        "--epochs",
        metavar="N",
        type=COUNT,
        help=f"default: {RECIPES['mlp'].epochs[0]}, or from 10,000 rows on "
        f"{', '.join(f'{name} {r.epochs[1]}' for name, r in RECIPES.items())}, and as many as make "
        "1,000 steps",
    )
    parser.add_argument(
        "--batch-size",
        metavar="N",
        type=COUNT,
        help="rows per step (default: 32, or 128 from 10,000 rows on; rprop: all)",
    )
    parser.add_argument(
        "--optimizer", metavar="NAME", choices=OPTIMIZERS, help=f"{', '.join(OPTIMIZERS)}; adam"
    )
    parser.add_argument(
        "--lr",
        metavar="RATE",
        type=POSITIVE,
        help="highest learning rate; it falls to 0 along a cosine (default: the optimizer's; with "
        f"adam {', '.join(f'{name} {r.lr:g}' for name, r in RECIPES.items() if r.lr)})",
    )
    parser.add_argument(
        "--dropout",
        metavar="RATE",
        type=FRACTION,
        help="of hidden units (default: "
        f"{', '.join(f'{name} {r.dropout:g}' for name, r in RECIPES.items())}; quantities half)",
    )
    parser.add_argument(
        "--l2", metavar="LAMBDA", type=NON_NEGATIVE, help="weight penalty (default: 0)"
    )
    parser.add_argument(
        "--scale",
        choices=("standard", "none"),
        help="standard: inputs of mean 0 and deviation 1, inside the model (default, but for cnn); "
        "or none",
    )
    parser.add_argument(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        help="turn images left to right at random, where that makes no other class (default: cnn "
        "on fashion-mnist)",
    )
    parser.add_argument(
        "--shift",
        metavar="PIXELS",
        type=INDEX,
        help="move images at random by at most so many (default: 0, or cnn "
        f"{RECIPES['cnn'].shift[1]} from 10,000 rows on)",
    )
    parser.add_argument(
        "--seed", metavar="N", type=INDEX, default=0, help="of split and training (default: 0)"
    )


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="overwrite any file")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="end with a line of JSON")


def _checked(
    kind: Callable[[str], object], check: Callable[[str, object], Any], expected: str
) -> Callable[[str], Any]:
    """Return a function that reads one argument and says what was expected."""

    def read(text: str) -> Any:
        try:
            return check("value", kind(text))
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}") from None

    return read


COUNT: Final = _checked(int, check_count, "a whole number of 1 or more")
INDEX: Final = _checked(int, check_index, "a whole number of 0 or more")
POSITIVE: Final = _checked(float, _check_positive, "a number above 0")
NON_NEGATIVE: Final = _checked(float, check_non_negative, "a number of 0 or more")
FRACTION: Final = _checked(float, check_fraction, "a number from 0 up to, but not including, 1")


def _hidden(text: str) -> tuple[int, ...]:
    """Read the units of the hidden layers."""
    if text == "none":
        return ()
    try:
        return tuple(check_count("value", int(part)) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected whole numbers of 1 or more, such as 256,128, or none; got {text!r}"
        ) from None


def _names(text: str) -> tuple[str, ...]:
    """Read names of columns."""
    return tuple(name.strip() for name in text.split(","))


def _percent(text: str) -> int:
    """Read a share of rows, as percent."""
    percent: float = 100 * FRACTION(text)
    if not 1 <= percent <= 90 or abs(percent - round(percent)) > 1e-9:
        raise argparse.ArgumentTypeError(f"expected 0.01, 0.02, ... or 0.9, got {text!r}")
    return round(percent)


def _mark(text: str) -> str:
    """Read what separates cells."""
    mark = "\t" if text == "\\t" else text
    if len(mark) != 1 or not mark.isascii() or mark.isalnum() or mark in '"\r\n.+-':
        raise argparse.ArgumentTypeError(f"expected one mark, such as ';' or '\\t', got {text!r}")
    return mark


def _workloads(text: str) -> list[str]:
    """Read the names of workloads."""
    names = text.split(",")
    if unknown := [name for name in names if name not in WORKLOADS]:
        known, came = ", ".join(WORKLOADS), ", ".join(unknown)
        raise argparse.ArgumentTypeError(f"expected names of {known}; got {came}")
    return names
