"""What the tests of processes and threads run elsewhere: importable, so that workers find it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

import bpfast as bp
from bpfast import _core, config

#: A process that takes longer hangs.
SECONDS = 30


def make(n_threads: int | None = None) -> bp.Network:
    """A network small enough to train in a hundredth of a second."""
    layers = [bp.Dense(64, "relu"), bp.Dropout(0.2), bp.Dense(3)]
    return bp.Network(layers, input_shape=20, rng=1, n_threads=n_threads)


def data(rows: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets, always the same."""
    rng = np.random.default_rng(2)
    return rng.normal(size=(rows, 20)), rng.normal(size=(rows, 3))


def train(n_threads: int | None = 2, epochs: int = 2, **options: object) -> str:
    """Train, predict, and return the bits of both. Teams are as large as asked."""
    config.exact_threads = n_threads is not None
    X, y = data()
    net = make(n_threads)
    net.fit(X, y, loss="mse", epochs=epochs, batch_size=100, **options)
    return hashlib.sha256(net.parameters.tobytes() + net.predict(X).tobytes()).hexdigest()


def threads_alive() -> int:
    """Threads of this process: after `train` its callers and their pools."""
    return len(list(Path("/proc/self/task").iterdir()))


def forked(work: Callable[[], object]) -> str:
    """Fork; run `work` in the child; return what it returned, as text."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, str(work()).encode())
        except BaseException as error:  # it must not run on into the parent's code
            os.write(write, repr(error).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


def in_thread(work: Callable[[], object]) -> object:
    """What `work` returns in a new thread."""
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


class Training:
    """A long fit in another thread, for as long as the `with` block runs."""

    def __init__(self) -> None:
        self.net = make(2)
        self.over = False
        self.begun = threading.Event()
        self.thread = threading.Thread(target=self.fit)

    def fit(self) -> None:
        """Train until told to stop."""

        def ends(epoch: int, logs: object) -> bool:
            self.begun.set()
            return self.over

        callback = bp.LambdaCallback(on_epoch_end=ends)
        self.net.fit(*data(20_000), loss="mse", epochs=1_000_000, callbacks=[callback])

    def __enter__(self) -> Training:
        self.thread.start()
        self.begun.wait()
        return self

    def __exit__(self, *error: object) -> None:
        self.over = True
        self.thread.join()


def runtime() -> ctypes.CDLL:
    """The OpenMP runtime that the core is linked with."""
    files = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    found = [name for name in files if "gomp" in Path(name).name or "omp.so" in Path(name).name]
    packages = Path(_core.__file__).parents[1]  # a repaired wheel brings its own, as others do
    own = [name for name in found if Path(name).parent == packages / "bpfast.libs"]
    system = [name for name in found if not Path(name).is_relative_to(packages)]
    return ctypes.CDLL((own or system)[0])


def in_region(work: Callable[[int], None], n_threads: int = 2) -> None:
    """Call `work` with 0, 1, ... from the members of a parallel region of that runtime."""
    members = iter(range(n_threads))
    lock = threading.Lock()

    def member(_: object) -> None:
        with lock:
            number = next(members)
        work(number)

    task = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(member)
    runtime().GOMP_parallel(task, None, n_threads, 0)


def run(code: str, *, seconds: float = SECONDS, **variables: str) -> str:
    """Run code in a new process, where this module's names are known; return what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    environment |= {"PYTHONPATH": str(Path(__file__).parent), "OPENBLAS_NUM_THREADS": "1"}
    code = f"from process_work import *\n{code}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],  # fork beside threads
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ---- rates ---------------------------------------------------------------------------------------


def predict_rate(callers: int, seconds: float = 0.5) -> float:
    """Predictions of 8000 rows a second by so many Python threads on one network."""
    net = bp.Network([64, 128, 10], rng=0)
    X = np.random.default_rng(0).normal(size=(8000, 64)).astype(np.float32)
    net.predict(X)
    counts = [0] * callers
    start = time.perf_counter()

    def work(i: int) -> None:
        while time.perf_counter() < start + seconds:
            net.predict(X)
            counts[i] += 1

    threads = [threading.Thread(target=work, args=(i,)) for i in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


def rates_of_processes(pool: ProcessPoolExecutor, processes: int) -> float:
    """The rates of one-threaded processes at the same time, added up."""
    return sum(pool.map(predict_rate, [1] * processes))
