"""Ctrl-C, SIGKILL and full disks at any moment: typed errors, sound networks, whole files.

Each test has a short form; the long one, of 100 moments, is marked long.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cases import everything

import bpfast as bp

#: The promise is 0.2 s; a machine that runs other things may hold a process up for a while.
PROMISE, PATIENCE = 0.2, 0.3

moments = pytest.mark.parametrize(
    "times",
    [6, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.long])],
    ids=lambda n: f"{n} times",
)


def problem(rows: int) -> dict[str, object]:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(rows, 20)).astype("f4")
    return {"X": X, "y": np.tanh(X[:, :3]), "loss": "mse", "metrics": ["r2"]}


def make() -> bp.Network:
    layers = [bp.Standardize(), bp.Dense(64, "tanh"), bp.Dropout(0.1), bp.Dense(3)]
    return bp.Network(layers, input_shape=20, rng=0)


# ---- Ctrl-C --------------------------------------------------------------------------------------


@contextlib.contextmanager
def busy_thread() -> Iterator[None]:
    """Another thread that never gives the interpreter up by itself."""
    done = threading.Event()

    def spin() -> None:
        while not done.is_set():
            sum(range(100))

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@moments
@pytest.mark.parametrize("beside", [contextlib.nullcontext, busy_thread], ids=["alone", "busy"])
def test_ctrl_c(beside: Callable[[], contextlib.AbstractContextManager], times, seed, rng) -> None:
    """The fit stops at once; its weights are finite, it predicts, and it can be gone on with."""
    print(f"seed {seed}")
    options = problem(4000)
    net = make()
    late = []
    for _ in range(times):
        sent = []

        def interrupt(sent: list[float] = sent) -> None:
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)

        with beside():
            timer = threading.Timer(rng.uniform(0, 0.3), interrupt)
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it may come before the fit
                timer.start()
                net.fit(**options, epochs=10**9, batch_size=int(rng.integers(1, 300)))
            late.append(time.perf_counter() - sent[0])
            timer.join()
        assert np.isfinite(net.parameters).all()
        assert np.isfinite(net.predict(options["X"])).all()
        net.fit(**options, epochs=1)
        assert net.history.epoch == [0]
        assert net._progress is None
    print(f"seconds from the signal to the exception: {sorted(late)[-3:]}")
    assert sorted(late)[len(late) // 2] < PROMISE
    assert max(late) < PROMISE + PATIENCE


@moments
def test_a_fit_that_was_interrupted_again_and_again_ends_with_the_same_bits(times, seed, rng):
    """By signals at any instruction of Python, the ends of epochs included."""
    print(f"seed {seed}")
    options = {**problem(64), "epochs": 20 * times, "batch_size": 16}
    whole = make()
    start = time.perf_counter()
    whole.fit(**options)
    between = 1.5 * (time.perf_counter() - start) / times
    net, interrupted = interrupt_often(options, between, 100 * times, rng)
    while interrupted < 2:  # the fit that was timed met a slow moment of the machine
        between /= 2
        net, interrupted = interrupt_often(options, between, 100 * times, rng)
    print(f"interrupted {interrupted} times")
    assert net.parameters.tobytes() == whole.parameters.tobytes()
    assert net._core.counters() == whole._core.counters()


def interrupt_often(options, between, most, rng):
    """A net trained by fits that signals interrupt, up to `between` seconds after their start."""
    net, interrupted = make(), 0
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        while True:
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.01, 1) * between)
                net.fit(**options, resume=True)
                return net, interrupted
            except KeyboardInterrupt:
                interrupted += 1
                assert interrupted < most
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, previous)


# ---- SIGKILL -------------------------------------------------------------------------------------

TRAIN = """
    import sys
    import numpy as np
    import bpfast as bp
    from pathlib import Path

    path = Path(sys.argv[1])
    rng = np.random.default_rng(5)
    X = rng.normal(size=(200, 20)).astype("f4")
    y = np.tanh(X[:, :3])
    layers = [bp.Standardize(), bp.Dense(64, "tanh"), bp.Dropout(0.1), bp.Dense(3)]
    net = bp.load(path) if path.exists() else bp.Network(layers, input_shape=20, rng=0)
    print("begins", flush=True)
    net.fit(X, y, loss="mse", optimizer="adam", epochs=int(sys.argv[2]), batch_size=16,
            callbacks=[bp.Checkpoint(path)], resume=True)
    print(net._core.counters(), net.parameters.tobytes().hex())
"""


def train(path: Path, epochs: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(TRAIN), str(path), str(epochs)],
        stdout=subprocess.PIPE,
        text=True,
    )


@moments
def test_killed_at_any_moment(times, seed, rng, tmp_path) -> None:
    """The file is one of a whole epoch, and resuming ends with the uninterrupted run's bits."""
    print(f"seed {seed}")
    epochs = 30 * times
    start = time.perf_counter()
    whole = train(tmp_path / "whole", epochs)
    assert whole.stdout is not None
    whole.stdout.readline()
    expected = whole.communicate()[0]
    seconds = time.perf_counter() - start
    path = tmp_path / "killed" / "model"
    path.parent.mkdir()
    reached, kills = [], 0
    while True:
        process = train(path, epochs)
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        if kills == times:
            assert process.communicate()[0] == expected
            assert process.returncode == 0
            break
        time.sleep(rng.uniform(0, seconds / times))
        process.kill()
        process.communicate()
        kills += 1
        if path.exists():
            net = bp.load(path)
            reached.append(epochs if net._progress is None else net._progress.epoch)
    print(f"epochs that the file had after each kill: {reached}")
    assert reached == sorted(reached)
    assert bp.load(path).history is None


# ---- full disks, folders that cannot be written --------------------------------------------------


@contextlib.contextmanager
def small_files() -> Iterator[None]:
    """No file of this process may grow beyond a kilobyte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def failing(name: str) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

    return fail


#: The system calls of a save that a full disk can refuse.
REFUSED = ["os.fsync", "pathlib.Path.replace", "pathlib.Path.chmod", "tempfile.mkstemp"]


@pytest.mark.parametrize("what", ["write", *REFUSED])
def test_a_full_disk_leaves_the_old_file(what: str, tmp_path: Path, monkeypatch) -> None:
    old, net = make(), make()
    net.fit(**problem(50), epochs=1)
    path = tmp_path / "model"
    old.save(path, metadata={"who": "old"})
    content, before = path.read_bytes(), everything(net)
    with monkeypatch.context() as patch, small_files() if what == "write" else patch.context():
        if what != "write":
            patch.setattr(what, failing(what))
        with pytest.raises(OSError) as caught:
            net.save(path, metadata={"who": "new"})
    assert caught.value.errno in (errno.ENOSPC, errno.EFBIG)
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert everything(net) == before
    net.save(path)
    assert path.read_bytes() != content


def test_a_full_disk_stops_a_fit_that_can_go_on(tmp_path: Path) -> None:
    path = tmp_path / "model"
    options = {**problem(50), "epochs": 4, "callbacks": [bp.Checkpoint(path)]}
    whole, net = make(), make()
    whole.fit(**options)
    path.unlink()
    with small_files(), pytest.raises(OSError):
        net.fit(**options)
    assert list(tmp_path.iterdir()) == []
    net.fit(**options, resume=True)
    assert net.parameters.tobytes() == whole.parameters.tobytes()
    assert bp.load(path).parameters.tobytes() == whole.parameters.tobytes()


SAVE = """
    import os, sys
    import bpfast as bp

    folder = sys.argv[1]
    net = bp.Network([3, 200], rng=0)
    net.save(sys.argv[2])  # all is imported while that is allowed
    if os.getuid() == 0:  # for whom no folder is read-only
        os.setgid(65534)
        os.setuid(65534)
    try:
        net.save(os.path.join(folder, "model"))
    except OSError as error:
        print(type(error).__name__, error.errno)
"""


def save_elsewhere(folder: Path, warm: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SAVE), str(folder), str(warm)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that other users can reach."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent.owner() == Path.home().owner() and parent.name.startswith(("pytest", "test")):
            parent.chmod(0o755)
    return tmp_path


def test_a_read_only_folder(open_folder: Path, tmp_path_factory) -> None:
    bp.Network([3, 2], rng=0).save(open_folder / "model")
    content = (open_folder / "model").read_bytes()
    open_folder.chmod(0o555)
    try:
        warm = tmp_path_factory.mktemp("warm") / "model"
        assert save_elsewhere(open_folder, warm) == f"PermissionError {errno.EACCES}"
    finally:
        open_folder.chmod(0o755)
    assert (open_folder / "model").read_bytes() == content
    assert [p.name for p in open_folder.iterdir()] == ["model"]


def test_a_small_file_system(tmp_path: Path) -> None:
    """A disk that is really full: 16 KB of tmpfs, where the tests may mount one."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(tmp_path)]
    try:
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("no right to mount")
    except FileNotFoundError:
        pytest.skip("no mount program")
    try:
        path = tmp_path / "model"
        bp.Network([3, 200], rng=0).save(path)
        content = path.read_bytes()
        with pytest.raises(OSError) as caught:
            bp.Network([3, 2000], rng=0).save(path)
        assert caught.value.errno == errno.ENOSPC
        assert path.read_bytes() == content
        assert [p.name for p in tmp_path.iterdir()] == ["model"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
