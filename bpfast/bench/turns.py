"""Processes that are pinned alike and take turns."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

from bpfast.bench.peers import Peer
from bpfast.bench.workloads import Workload

#: What a sample should last, in seconds: long beside a call, short beside what disturbs.
SAMPLE = 0.1
#: How long idle threads may spin in wait of work, in seconds: OpenBLAS's for 2^26 clock ticks.
SPIN = 0.05
#: Every name by which a thread pool asks for its size.
POOLS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NPROC",  # XLA's pool
)
XLA_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
#: What keeps each library to an instruction set. onnxruntime has no such switch, and JAX's does not
#: reach its matrix products.
CAPS = {
    "avx2": {
        "BPFAST_ISA": "avx2",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
        "OPENBLAS_CORETYPE": "Haswell",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    },
}


def environment(threads: int, isa: str = "") -> dict[str, str]:
    """Return the environment of a process with so many threads, kept to an instruction set.

    Parameters
    ----------
    threads : int
    isa : str, default ""
        A key of `CAPS`; empty for what each library chooses.
    """
    found = {**os.environ, **dict.fromkeys(POOLS, str(threads)), **CAPS.get(isa, {})}
    if threads == 1:
        found["XLA_FLAGS"] = f"{found.get('XLA_FLAGS', '')} {XLA_ONE_THREAD}".strip()
    return found


class Child:
    """A process that answers each line with a line.

    Raises
    ------
    RuntimeError
        It ended instead of answering; the message has its last words.
    """

    def __init__(self, command: Sequence[str], env: dict[str, str] | None = None) -> None:
        self.command = command
        self.errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  `close` closes it
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=env,
        )

    def send(self, line: str) -> None:
        """Ask without waiting."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `receive` tells why
            print(line, file=self.process.stdin, flush=True)

    def receive(self) -> str:
        """Return the next answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            words = self.errors.read().strip().splitlines()[-1:]
            raise RuntimeError(": ".join([f"{' '.join(self.command[-2:])} ended early", *words]))
        return line

    def close(self) -> None:
        """End the process: it stops when nothing more can be asked."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()


class Worker(Child):
    """A peer pinned to some CPUs, one thread each; its samples last about so many seconds."""

    def __init__(
        self, peer: Peer, cpus: Sequence[int], *, isa: str = "", seconds: float = SAMPLE
    ) -> None:
        self.peer, self.threads = peer, len(cpus)
        words = [peer.name, ",".join(map(str, cpus)), str(seconds)]
        command = [sys.executable, "-P", "-m", "bpfast.bench.worker", *words]
        super().__init__(command, environment(len(cpus), isa))

    def begin(self, workload: Workload) -> None:
        """Let it make a workload ready and warm."""
        self.send(json.dumps(dataclasses.asdict(workload)))

    def facts(self) -> dict[str, str]:
        """Wait until it is; return the versions of what does it."""
        found: dict[str, str] = json.loads(self.receive())
        return found

    def sample(self) -> float:
        """Return the seconds of one step."""
        self.send("null")
        return float(self.receive())


@contextlib.contextmanager
def workers(
    peers: Sequence[tuple[Peer, Sequence[int]]], *, isa: str = "", seconds: float = SAMPLE
) -> Iterator[list[Worker]]:
    """Start a worker for each peer and its CPUs; end them all at the end."""
    with contextlib.ExitStack() as stack:
        started = []
        for peer, cpus in peers:
            started.append(Worker(peer, cpus, isa=isa, seconds=seconds))
            stack.callback(started[-1].close)
        yield started


def prepare(workers: Sequence[Worker], workload: Workload) -> dict[str, str]:
    """Make all workers ready, side by side; return the versions of what they use."""
    for worker in workers:
        worker.begin(workload)
    versions: dict[str, str] = {}
    for worker in workers:
        versions |= worker.facts()
    return versions


def rotate(
    workers: Sequence[Worker],
    least: int,
    most: int,
    seconds: float,
    each_round: Callable[[], None] = lambda: None,
) -> list[list[float]]:
    """Sample the workers in turn; return each one's seconds a step, round by round.

    Parameters
    ----------
    workers : sequence of Worker
        Prepared for the same workload.
    least, most : int
        Rounds that are kept.
    seconds : float
        How long to go on, between those limits. The first round, not kept, tells how many fit.
    each_round : callable, optional
        Called before each round that is kept.

    Every other round goes backwards, so that each worker comes as often right after one neighbour
    as after the other. Where there are several threads a turn waits until those of the last one are
    asleep.
    """
    pause = SPIN if any(worker.threads > 1 for worker in workers) else 0.0
    begin = time.perf_counter()
    for worker in workers:
        worker.sample()
    rounds = int(seconds / (time.perf_counter() - begin))
    samples: list[list[float]] = [[] for _ in workers]
    for turn in range(min(max(rounds, least), most)):
        each_round()
        order = range(len(workers))
        for i in order if turn % 2 == 0 else reversed(order):
            time.sleep(pause)
            samples[i].append(workers[i].sample())
    return samples
