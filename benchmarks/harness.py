"""Rivals in processes of their own, pinned alike, timed in turn.

As a program it is one worker: `harness.py RIVAL WORKLOAD THREADS`. It prints a line of facts, then
for each line it reads one sample: the seconds of a call of `fit` from the same start.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

RIVALS = ("bpfast", "numpy")
#: Every name by which a thread pool asks for its size.
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


class Worker:
    """One rival on one workload with one number of threads, waiting for its turn."""

    def __init__(self, rival: str, workload: str, threads: int) -> None:
        self.rival, self.workload, self.threads = rival, workload, threads
        env = {**os.environ, **dict.fromkeys(POOLS, str(threads))}
        self.process = subprocess.Popen(
            [sys.executable, __file__, rival, workload, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        self.facts: dict[str, Any] = json.loads(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker {self.rival} on {self.workload} ended early")
        return line

    def sample(self) -> float:
        """Return the seconds of one call."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        """End the process: it stops when nothing more can be asked."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def rotate(workers: list[Worker], least: int, most: int, seconds: float) -> list[list[float]]:
    """Sample the workers in turn; return each one's seconds.

    The first round warms up and is not kept; it decides how many rounds fit in `seconds`, at least
    `least` and at most `most`. Every other round goes backwards, so that each worker comes as often
    right after one neighbour as after the other.
    """
    begin = time.perf_counter()
    for worker in workers:
        worker.sample()
    rounds = int(seconds / (time.perf_counter() - begin))
    samples: list[list[float]] = [[] for _ in workers]
    for turn in range(min(max(rounds, least), most)):
        order = range(len(workers))
        for i in order if turn % 2 == 0 else reversed(order):
            samples[i].append(workers[i].sample())
    return samples


def work(rival: str, name: str, threads: int) -> None:
    """Be a worker."""
    import machine

    os.sched_setaffinity(0, machine.cores()[:threads])  # before any pool counts its CPUs
    import workloads

    workload = workloads.ALL[name]
    X, y = workloads.data(workload)
    facts: dict[str, Any] = {}
    trainer: Any
    if rival == "numpy":
        from numpy_peer import NumpyTrainer

        trainer = NumpyTrainer(workload, X, y)
        facts = dict(machine.numpy_facts())
    else:
        from bpfast_peer import BpfastTrainer

        import bpfast as bp

        trainer = BpfastTrainer(workload, X, y, threads=threads)
        config = bp.show_config()
        facts = {"bpfast": config["version"], "isa": config["isa"], "compiler": config["compiler"]}
    print(json.dumps(facts), flush=True)
    for _ in sys.stdin:
        trainer.reset()
        begin = time.perf_counter()
        trainer.fit(workload.epochs)
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rival", choices=RIVALS)
    parser.add_argument("workload")
    parser.add_argument("threads", type=int)
    args = parser.parse_args()
    work(args.rival, args.workload, args.threads)
