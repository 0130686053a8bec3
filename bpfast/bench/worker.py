"""One peer in a process of its own, which times it when asked.

``python -P -m bpfast.bench.worker PEER CPUS SECONDS`` pins itself to the CPUs (such as ``0,1``),
one thread each, then answers lines of JSON with lines of JSON: the fields of a workload, when it is
prepared and warm, with the versions of what does it; ``null``, with the seconds of one step.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from typing import Any


class Timed:
    """A workload that is ready to be timed.

    Parameters
    ----------
    peer : Peer
    workload : Workload
    threads : int
    seconds : float
        What a sample should last: fewer epochs are trained than the workload's, but one, when they
        would take longer; short calls are repeated.
    """

    def __init__(self, peer: Any, workload: Any, threads: int, seconds: float) -> None:
        from bpfast.bench import data

        X, y = data.rows(workload)
        self.workload, self.calls, self.lasts = workload, 1, seconds
        self.steps: int = workload.steps
        kind = peer.load(workload)
        if workload.kind == "predict":
            self.call = kind(workload, X, threads=threads)
        else:
            self.trainer = kind(workload, X, y, threads=threads)
        if workload.kind == "gradient":
            self.call = self.trainer.gradient
        self.seconds()  # compiles, fills caches, wakes threads
        self.calibrated = workload.kind == "fit" and workload.epochs == 1
        gc.collect()

    def sample(self) -> float:
        """Return the seconds of one step; the first call finds out how much makes a sample.

        Not when it is made: others may be getting ready then, and disturb.
        """
        if not self.calibrated:
            self.calibrated = True
            once = self.seconds()
            if self.workload.kind == "fit":
                epochs = round(self.lasts / (once * self.workload.steps))
                self.calls = min(self.workload.epochs, max(1, epochs))
            else:
                self.calls = max(1, round(self.lasts / once))
        return self.seconds()

    def seconds(self) -> float:
        """Return the seconds of one step, from the start if it trains."""
        if self.workload.kind == "fit":
            self.trainer.reset()
            begin = time.perf_counter()
            self.trainer.fit(self.calls)
            return (time.perf_counter() - begin) / (self.calls * self.steps)
        call = self.call
        begin = time.perf_counter()
        for _ in range(self.calls):
            call()
        return (time.perf_counter() - begin) / self.calls


def facts(peer: Any) -> dict[str, str]:
    """Return the versions of what is timed."""
    from bpfast.bench import machine

    if peer.name == "bpfast":
        import bpfast

        config = bpfast.show_config()
        return {"bpfast": config["version"], "isa": config["isa"], "compiler": config["compiler"]}
    if peer.name == "numpy":
        return machine.numpy_facts()
    return {peer.packages[0]: peer.version()}


def main(name: str, cpus: str, seconds: str) -> None:
    """Answer until there are no more questions."""
    pinned = [int(cpu) for cpu in cpus.split(",")]
    os.sched_setaffinity(0, pinned)  # before any pool counts its CPUs
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer

    from bpfast.bench import peers
    from bpfast.bench.workloads import Workload

    peer = peers.ALL[name]
    timed: Timed | None = None
    for line in sys.stdin:
        fields = json.loads(line)
        if fields is not None:
            timed = None  # its memory is free before the next one takes its own
            lists = {k: tuple(v) for k, v in fields.items() if isinstance(v, list)}
            timed = Timed(peer, Workload(**{**fields, **lists}), len(pinned), float(seconds))
            print(json.dumps(facts(peer)), file=answers)
        else:
            assert timed is not None, "no workload was prepared"
            print(json.dumps(timed.sample()), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
