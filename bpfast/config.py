"""What this build and machine offer, and how many threads are used."""

from __future__ import annotations

import os
from typing import Any

from bpfast import __version__, _core
from bpfast._check import check_count

#: What `set_num_threads` set; None means the machine's limit.
_num_threads: int | None = None
#: Tests set this to run more threads than CPUs; teams are then exactly as large as asked.
exact_threads = False
_LIMITS = ("openmp", "thread_limit", "affinity", "cores", "quota")


def isas() -> list[str]:
    """Return the names of the instruction-set rows that this CPU runs, the best first.

    ``BPFAST_ISA=name`` in the environment forces one for all networks made afterwards.
    """
    return list(_core.supported_isas())


def chosen_isa() -> str:
    """Return the row that a new network will use.

    Raises
    ------
    ValueError
        ``BPFAST_ISA`` names no row, or one that this CPU does not run.
    """
    name = os.environ.get("BPFAST_ISA")
    if not name:
        return str(_core.default_isa())
    if name not in isas():
        known = "is not supported by this CPU" if name in _core.ISAS else "is not known"
        raise ValueError(f"BPFAST_ISA must be one of {', '.join(isas())}; {name!r} {known}")
    return name


def set_num_threads(n: int | None) -> None:
    """Set the most threads that networks without ``n_threads`` use; None for the machine's limit.

    Parameters
    ----------
    n : int or None
        >= 1. More than the CPUs that can run them are never used.
    """
    global _num_threads
    _num_threads = None if n is None else check_count("n", n)


def thread_choice(n_threads: int | None) -> tuple[int, str]:
    """Return the most threads a network may use, and what decided it."""
    asked, reason = (n_threads, "n_threads") if n_threads else (_num_threads, "set_num_threads")
    if asked == 1:
        return 1, reason
    limits = _core.thread_limits()
    if asked is None:
        return int(limits["threads"]), str(limits["reason"])
    if exact_threads or asked <= limits["cpus"]:
        return asked, reason
    return int(limits["cpus"]), f"{reason}={asked}, limited by {limits['cpus_reason']}"


def show_config() -> dict[str, Any]:
    """Return version, compiler, instruction sets and threads as a dict.

    Returns
    -------
    dict
        ``version``, ``compiler``, ``openmp`` (False: a serial build, same results), ``isa`` (of
        new networks), ``isas`` (that this CPU runs), ``isas_built``, ``threads``,
        ``threads_reason`` (what set that number) and ``thread_limits``.
    """
    limits = _core.thread_limits()
    threads, reason = thread_choice(None)
    return {
        "version": __version__,
        "compiler": _core.COMPILER,
        "openmp": limits["has_openmp"],
        "isa": chosen_isa(),
        "isas": isas(),
        "isas_built": list(_core.ISAS),
        "threads": threads,
        "threads_reason": reason,
        "thread_limits": {k: limits[k] for k in _LIMITS},
    }
