"""How much memory calls take, seen from outside: each case runs in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import peers
import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="/proc tells the memory of a process on Linux"
)

MEGABYTE = 2**20

#: `Peak` samples the anonymous memory of its process while a call runs without the GIL. Pages of a
#: mapped file are the system's cache, which it takes back when it wants: they do not count.
PEAK = """
    import sys, threading, time
    import numpy as np
    import bpfast as bp

    def anonymous():
        for line in open("/proc/self/status"):
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024

    class Peak(threading.Thread):
        def __enter__(self):
            self.bytes = self.before = anonymous()
            self.done = threading.Event()
            self.start()
            return self
        def run(self):
            while not self.done.wait(0.0005):
                self.bytes = max(self.bytes, anonymous())
        def __exit__(self, *_):
            self.done.set()
            self.join()
            self.growth = max(self.bytes, anonymous()) - self.before

    bp.set_num_threads(1)
    warm = bp.Network([4, 8, 2], rng=0)
    warm.fit(np.zeros((64, 4), "f"), np.zeros((64, 2), "f"), loss="mse", epochs=1)
    warm.predict(np.zeros((200, 4), "f"))
"""


def run(code: str, *arguments: object) -> list[int]:
    """The integers that the code prints."""
    text = textwrap.dedent(PEAK) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_predict_streams_a_memory_map(tmp_path, dtype):
    """128 MB of rows go through in the memory of a chunk and the packed weights."""
    growth, rows = run(
        """
        size = 128 * 2**20 // (512 * np.dtype(sys.argv[2]).itemsize)
        X = np.memmap(sys.argv[1], sys.argv[2], "w+", shape=(size, 512))
        net = bp.Network([512, 64, 1], rng=0)
        with Peak() as peak:
            out = net.predict(X)
        print(peak.growth - out.nbytes, len(out))
        """,
        tmp_path / "rows",
        dtype,
    )
    assert rows >= 32768
    assert growth < 4 * MEGABYTE


def test_training_takes_what_memory_required_says():
    """Parameters, gradients, snapshot, moments and work memory; arenas round up to huge pages."""
    growth, required = run(
        """
        X = np.zeros((2048, 256), "f")
        y = np.zeros((2048, 16), "f")
        X[:], y[:] = 1, 1
        with Peak() as peak:
            net = bp.Network([256, 1024, 1024, 16], rng=0)
            net.fit(X, y, loss="mse", optimizer="adam", epochs=2, batch_size=256)
        print(peak.growth, net.memory_required(256, rows=len(X), optimizer="adam"))
        """
    )
    assert required > 30 * MEGABYTE
    assert growth < required + 8 * MEGABYTE
    assert growth > 0.9 * required


def test_an_average_takes_what_memory_required_says():
    """Seen while the fit goes on: afterwards the callback has a copy."""
    code = """
        class Look(bp.Callback):
            def on_epoch_end(self, epoch, logs):
                self.bytes = anonymous()
        X = np.ones((64, 512), "f")
        y = np.ones((64, 16), "f")
        averages, look = sys.argv[1] == "True", Look()
        net = bp.Network([512, 2048, 2048, 16], rng=0)
        callbacks = [look, bp.EMA()] if averages else [look]
        net.fit(X, y, loss="mse", optimizer="sgd", epochs=2, batch_size=64, callbacks=callbacks)
        print(look.bytes, net.memory_required(64, optimizer="sgd", average=averages))
        """
    (plain, without), (averaged, required) = run(code, False), run(code, True)
    assert required - without > 20 * MEGABYTE
    assert abs(averaged - plain - (required - without)) < 3 * MEGABYTE  # pages may be of 2 MB


def test_many_fits_take_no_more_than_a_few():
    first, later = run(
        """
        X = np.ones((512, 64), "f")
        y = np.ones((512, 16), "f")
        net = bp.Network([64, 256, 256, 16], rng=0)
        def fit():
            net.fit(X, y, loss="mse", optimizer="sgd", epochs=1, validation_data=(X, y))
            net.predict(X)
        with Peak() as first:
            for _ in range(5):
                fit()
        with Peak() as many:
            for _ in range(50):
                fit()
        print(first.growth, many.growth)
        """
    )
    assert first > MEGABYTE
    assert later < MEGABYTE


def test_sparse_rows_are_never_dense():
    """Rows that would take 1.6 GB train and predict in the memory of a batch."""
    peers.require("scipy.sparse")
    growth, standard, dense = run(
        """
        import scipy.sparse
        rows, cols, each = 200_000, 2000, 4
        rng = np.random.default_rng(0)
        columns = rng.integers(cols // each, size=(rows, each), dtype="i4") * each + np.arange(each)
        X = scipy.sparse.csr_array(
            (np.ones(rows * each, "f"), columns.ravel().astype("i4"),
             np.arange(0, rows * each + 1, each)), shape=(rows, cols))
        y = np.zeros((rows, 1), "f")
        net = bp.Network([cols, 8, 1], rng=0)
        with Peak() as peak:
            net.fit(X, y, loss="mse", epochs=1, batch_size=256, validation_data=(X, y))
            net.evaluate(X, y)
            net.predict(X)
        scaled = bp.Network([bp.Standardize(), bp.Dense(1)], input_shape=cols, rng=0)
        with Peak() as again:
            scaled.fit(X, y, loss="mse", epochs=1, batch_size=256)
        print(peak.growth, again.growth, rows * cols * 4)
        """
    )
    assert dense == 1_600_000_000
    assert growth < 24 * MEGABYTE
    assert standard < 24 * MEGABYTE
