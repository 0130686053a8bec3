"""What the rows of a record say: times by peer and threads, and the ratios between them.

A row is one workload of one interleaved run: ``workload``, ``what``, ``kind``, ``batch``,
``gflop_per_step``, where it was measured (``date``, ``command``, ``versions``, ``load_before``),
``times``, one entry a peer and number of threads, ``peaks`` of multiply-adds in the same rounds,
and ``isolated``, bpfast alone.
"""

from __future__ import annotations

from typing import Any

from bpfast.bench import peers, workloads

Row = dict[str, Any]
Time = dict[str, Any]
#: Peers without which a row of each kind is not one against the best; of a workload's, those that
#: do it.
REQUIRED = {
    "fit": {"bpfast", "numpy", "torch", "torch-compiled", "jax-jit", "jax-scan"},
    "predict": {"bpfast", "numpy", "torch", "torch-compiled", "jax-jit", "onnxruntime"},
}


def title(peer: str) -> str:
    """Return a peer's name in tables."""
    return peers.ALL[peer].title


def complete(row: Row) -> bool:
    """Say whether all peers that must be there have been measured on each number of threads."""
    workload = workloads.ALL[row["workload"]]
    required = {name for name in REQUIRED[row["kind"]] if peers.ALL[name].does(workload)}
    counts = {time["threads"] for time in row["times"]}
    return all({t["peer"] for t in row["times"] if t["threads"] == n} >= required for n in counts)


def time(row: Row, peer: str, threads: int) -> Time | None:
    """Return a peer's times, if it was measured."""
    found = (t for t in row["times"] if t["peer"] == peer and t["threads"] == threads)
    return next(found, None)


def best(row: Row, threads: int, *, any_threads: bool = False) -> Time:
    """Return the fastest peer's times, on as many threads, or on as many as serve it best."""
    rivals = [
        t
        for t in row["times"]
        if t["peer"] != "bpfast" and (any_threads or t["threads"] == threads)
    ]
    return min(rivals, key=lambda t: float(t["median_us"]))


def ratio(row: Row, rival: Time, threads: int) -> float:
    """Return how many times faster than `rival` bpfast is, by medians."""
    ours = time(row, "bpfast", threads)
    assert ours is not None
    return float(rival["median_us"] / ours["median_us"])
