"""Search with atheris for bytes that `bpfast.load` does not survive: `nox -s fuzz -- SECONDS`.

    python fuzz_load.py FOLDER [libFuzzer's options]

New inputs are kept in FOLDER, beside the seeds of corpus/. Half of the changes are to the bytes,
half to the values in the header and in the description, which plain changes would only break.
"""

from __future__ import annotations

import copy
import random
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["bpfast", "safetensors"], enable_loader_override=False):
    import load_target

    import bpfast.io  # noqa: F401 - all that is lazy must be imported here
    from bpfast import _description, _fit, network  # noqa: F401

VALUES = [
    None, True, False, 0, 1, -1, 2, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 10**400,
    0.5, -0.0, 1e308, float("nan"), float("inf"), "", "a", "\n", "\ud800",
    "F64", "BF16", "given", "mse",
    [], {}, [[]], [1, 2], {"name": "adam"}, {"name": "zeros"}, {"class": "Dense", "units": 2},
]  # fmt: skip


def places(value: object) -> list[tuple[dict | list, object]]:
    """Every (container, key) inside a JSON value."""
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    else:
        return []
    found = [(value, key) for key in keys]
    for key in keys:
        found += places(value[key])
    return found


def change(root: dict, rng: random.Random) -> None:
    """Change one value somewhere inside."""
    found = places(root)
    if not found:
        return
    holder, key = rng.choice(found)
    action = rng.randrange(5)
    if action == 0:
        holder[key] = copy.deepcopy(rng.choice(VALUES))
    elif action == 1:
        del holder[key]
    elif action == 2:
        other, place = rng.choice(found)
        holder[key] = copy.deepcopy(other[place])
    elif action == 3 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif action == 3:
        holder[rng.choice([str(k) for _, k in found])] = copy.deepcopy(holder[key])
    elif isinstance(holder[key], (int, float)):
        holder[key] = rng.choice([holder[key] + 1, holder[key] - 1, -holder[key], holder[key] * 2])


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Change values or bytes."""
    rng = random.Random(seed)
    if rng.random() < 0.5:
        return atheris.Mutate(data, max_size)
    try:
        header, description, numbers = load_target.split(data)
        for _ in range(rng.choice([1, 1, 2, 4])):
            change(description if rng.random() < 0.7 else header, rng)
        return load_target.join(header, description, numbers)[:max_size]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return atheris.Mutate(data, max_size)


def main() -> None:
    """Run libFuzzer."""
    memory = Path("/dev/shm")  # a file is written for every input
    folder = Path(tempfile.mkdtemp(prefix="fuzz-load-", dir=memory if memory.is_dir() else None))
    arguments = [*sys.argv, str(Path(__file__).parent / "corpus"), "-max_len=65536"]
    atheris.Setup(arguments, lambda data: load_target.check(data, folder), custom_mutator=mutate)
    try:
        atheris.Fuzz()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
