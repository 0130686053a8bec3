"""How many threads are used and why, and what it costs to ask for too many."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from process_work import data, make, predict_rate, rates_of_processes, run, train

import bpfast as bp
from bpfast import _core, config

CPUS = int(_core.thread_limits()["cpus"])
SANITIZED = "BPFAST_SANITIZED" in os.environ
pytestmark = pytest.mark.skipif(not bp.show_config()["openmp"], reason="a serial build")
needs_two_cpus = pytest.mark.skipif(CPUS < 2, reason="one CPU")
needs_speed = pytest.mark.skipif(SANITIZED, reason="sanitizers change the speed")


@pytest.fixture(autouse=True)
def default_settings():
    """Leave the module's settings as they are at import."""
    yield
    config.exact_threads = False
    bp.set_num_threads(None)


# ---- what decides --------------------------------------------------------------------------------


def choice(code: str = "", argument: int | None = None, **variables: str) -> tuple[int, str]:
    """The number of threads and its reason in a new process."""
    text = run(
        f"{code}\nimport json; print(json.dumps(config.thread_choice({argument})))", **variables
    )
    threads, reason = json.loads(text)
    return threads, reason


def test_argument_then_set_num_threads_then_openmp():
    most = min(2, CPUS)
    assert choice(OMP_NUM_THREADS="1") == (1, "OpenMP's maximum")
    for argument, code in ((2, ""), (None, "bp.set_num_threads(2)"), (2, "bp.set_num_threads(1)")):
        threads, reason = choice(code, argument, OMP_NUM_THREADS="1")
        assert threads == most
        assert reason.startswith("n_threads" if argument else "set_num_threads")
    assert choice("bp.set_num_threads(1)") == (1, "set_num_threads")


def test_asking_for_more_than_the_cpus_says_what_limits():
    threads, reason = choice(argument=1000)
    assert threads == CPUS
    assert reason.startswith("n_threads=1000, limited by ")
    assert choice(argument=8, OMP_THREAD_LIMIT="1") == (
        1,
        "n_threads=8, limited by OMP_THREAD_LIMIT",
    )


def test_affinity():
    one = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    threads, reason = choice(one, 4)
    assert (threads, reason) == (1, "n_threads=4, limited by CPU affinity")


@needs_two_cpus
def test_affinity_that_shrinks_during_a_fit():
    """Teams after the change are smaller; the number that was asked for stays the run's."""
    code = """
def narrow(epoch, logs):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

net = make(2)
net.fit(*data(), loss="mse", epochs=2, callbacks=[bp.LambdaCallback(on_epoch_end=narrow)])
print(config.thread_choice(2)[0])
"""
    assert run(code) == "1"


@needs_two_cpus
def test_threads_keep_their_affinity():
    """Those that meet on one CPU part by binding themselves for a moment."""
    code = """
stop = threading.Event()
def spin():
    while not stop.is_set():
        pass
crowd = threading.Thread(target=spin)
crowd.start()
for threads in (2, 3, 2):
    train(threads, epochs=5)
stop.set()
crowd.join()
print(*sorted({str(os.sched_getaffinity(int(task))) for task in os.listdir("/proc/self/task")}))
"""
    assert run(code).strip() == str(os.sched_getaffinity(0))


def test_threads_that_the_runtime_binds():
    """OMP_PROC_BIND leaves the caller one CPU of its own; its team has them all."""
    assert choice(OMP_PROC_BIND="true")[0] == choice()[0]


# ---- the control group, from files of our own ----------------------------------------------------

V2 = "0::{path}\n"
V1 = "12:pids:{path}\n4:cpu,cpuacct:{path}\n0::/\n"
# name: /proc/self/cgroup; files below /sys/fs/cgroup; CPUs of the quota, 0 without one
GROUPS = {
    "none": (None, {"cpu.max": "100000 100000"}, 0),
    "2, unlimited": (V2.format(path="/"), {"cpu.max": "max 100000\n"}, 0),
    "2, no file": (V2.format(path="/a/b"), {}, 0),
    "2, own": (V2.format(path="/a/b"), {"a/b/cpu.max": "300000 100000\n"}, 3),
    "2, rounded down": (V2.format(path="/a"), {"a/cpu.max": "399999 100000\n"}, 3),
    "2, at least one": (V2.format(path="/a"), {"a/cpu.max": "50000 100000\n"}, 1),
    "2, other period": (V2.format(path="/a"), {"a/cpu.max": "50000 10000\n"}, 5),
    "2, parent": (
        V2.format(path="/a/b"),
        {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"},
        2,
    ),
    "2, the least of all": (
        V2.format(path="/a/b/c"),
        {"a/b/c/cpu.max": "900000 100000", "a/b/cpu.max": "700000 100000", "a/cpu.max": "max 1"},
        7,
    ),
    "2, not of a sibling": (V2.format(path="/a"), {"ab/cpu.max": "100000 100000"}, 0),
    "2, inside a container": (V2.format(path="/"), {"cpu.max": "200000 100000"}, 2),
    "2, path of the host": (V2.format(path="/docker/1f"), {"cpu.max": "200000 100000"}, 2),
    "2, colon in a name": (V2.format(path="/a:b"), {"a:b/cpu.max": "200000 100000"}, 2),
    "2, beside 1": (V2.format(path="/a"), {"unified/a/cpu.max": "200000 100000"}, 2),
    "2, nonsense": (V2.format(path="/a"), {"a/cpu.max": "many\n"}, 0),
    "1, unlimited": (
        V1.format(path="/"),
        {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
        0,
    ),
    "1, own": (
        V1.format(path="/a"),
        {"cpu/a/cpu.cfs_quota_us": "250000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
        2,
    ),
    "1, under both names": (
        V1.format(path="/a"),
        {"cpu,cpuacct/a/cpu.cfs_quota_us": "250000", "cpu,cpuacct/a/cpu.cfs_period_us": "50000"},
        5,
    ),
    "1, parent": (
        V1.format(path="/a/b"),
        {
            "cpu/a/cpu.cfs_quota_us": "150000\n",
            "cpu/a/cpu.cfs_period_us": "100000\n",
            "cpu/a/b/cpu.cfs_quota_us": "-1\n",
            "cpu/a/b/cpu.cfs_period_us": "100000\n",
        },
        1,
    ),
    "1, another controller": (
        "3:cpuset:/a\n",
        {"cpu/a/cpu.cfs_quota_us": "100000", "cpu/a/cpu.cfs_period_us": "100000"},
        0,
    ),
}


@pytest.mark.parametrize("name", GROUPS)
def test_quota(name: str, tmp_path: Path):
    own, files, expected = GROUPS[name]
    if own is not None:
        write(tmp_path / "proc/self/cgroup", own)
    for path, text in files.items():
        write(tmp_path / "sys/fs/cgroup" / path, text)
    assert _core.cpu_quota(os.fsencode(tmp_path)) == expected


def test_quota_of_a_path_too_long(tmp_path: Path):
    write(tmp_path / "proc/self/cgroup", V2.format(path="/a" * 3000) + V1.format(path="/b"))
    write(tmp_path / "sys/fs/cgroup/cpu/b/cpu.cfs_quota_us", "200000")
    write(tmp_path / "sys/fs/cgroup/cpu/b/cpu.cfs_period_us", "100000")
    assert _core.cpu_quota(os.fsencode(tmp_path)) == 2


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        ([(0, 0), (0, 1), (0, 2), (0, 3)], 4),
        ([(0, 0), (0, 0), (0, 1), (0, 1)], 2),  # two threads a core
        ([(0, 0), (0, 1), (0, 0), (0, 1)], 2),  # numbered the other way
        ([(0, 0), (1, 0), (0, 1), (1, 1)], 4),  # two packages
        ([(0, 0), None], 0),  # unknown
    ],
)
def test_physical_cores(cores: list[tuple[int, int] | None], expected: int, tmp_path: Path):
    for cpu, pair in enumerate(cores):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology"
        if pair:
            write(folder / "physical_package_id", f"{pair[0]}\n")
            write(folder / "core_id", f"{pair[1]}\n")
    assert _core.cpu_cores(os.fsencode(tmp_path), len(cores)) == expected


# ---- the budget ----------------------------------------------------------------------------------


def team_of_a_step(net: bp.Network) -> int:
    """The threads that a training step of this network really gets."""
    X, y = data()
    rows = _core.Data(x=X, y=y)
    objective = _core.Objective("mse", 0.0, False)
    net._core.set_optimizer({"rule": "sgd", "learning_rate": 0.0})
    run_ = _core.Run(net._core, rows, None, objective, 250, 2, planned_epochs=1e9)
    run_.begin_epoch(np.zeros(1), {})
    seconds = np.zeros((1, run_.threads, len(_core.pieces(run_))))
    return _core.profile(run_, 1, seconds)[1]


@needs_two_cpus
def test_teams_share_the_cpus():
    """While callers keep all CPUs at work another caller gets none beside its own."""
    over = threading.Event()
    nets = [bp.Network([20, 400, 3], rng=0, n_threads=1) for _ in range(CPUS)]
    stop = bp.LambdaCallback(on_epoch_end=lambda *_: over.is_set())
    X, y = data(5000)
    fits = [
        threading.Thread(
            target=net.fit,
            args=(X, y),
            kwargs={"loss": "mse", "epochs": 10**6, "callbacks": [stop]},
        )
        for net in nets
    ]
    net = bp.Network([20, 2000, 3], rng=0)
    alone = team_of_a_step(net)
    for fit in fits:
        fit.start()
    time.sleep(0.2)
    teams = [team_of_a_step(net) for _ in range(20)]
    over.set()
    for fit in fits:
        fit.join()
    assert alone == 2
    assert np.median(teams) == 1
    assert team_of_a_step(net) == 2


def test_fits_at_once_give_the_same_bits():
    expected = train(1)
    config.exact_threads = False
    results: list[str] = []

    def work() -> None:
        X, y = data()
        net = make(2)
        net.fit(X, y, loss="mse", epochs=2, batch_size=100)
        results.append(net.predict(X).tobytes().hex())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert len(set(results)) == 1
    assert train(2) == expected


# ---- what it costs -------------------------------------------------------------------------------


def seconds_of_a_fit(n_threads: int, exact: bool, clock: Callable[[], float]) -> float:
    """Time by this clock of one fit of 0.1 s or so."""
    config.exact_threads = exact
    net = bp.Network([64, 256, 256, 8], rng=0, n_threads=n_threads)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4096, 64)), rng.normal(size=(4096, 8))
    start = clock()
    net.fit(X, y, loss="mse", epochs=3, batch_size=256)
    return clock() - start


def ratio_of_fits(
    more: tuple[int, bool],
    fewer: tuple[int, bool],
    most: float,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Time with `more` over that with `fewer` (threads, exact): median of neighbouring pairs."""
    seconds_of_a_fit(*fewer, clock)  # the first one imports
    ratios: list[float] = []
    while len(ratios) < 5 or (np.median(ratios) > most and len(ratios) < 40):
        pair = (fewer, more) if len(ratios) % 2 else (more, fewer)
        seconds = {which: seconds_of_a_fit(*which, clock) for which in pair}
        ratios.append(seconds[more] / seconds[fewer])
    ratio = float(np.median(ratios))
    print(f"{more} against {fewer}: {ratio:.3f} over {len(ratios)} pairs")
    return ratio


@needs_speed
@pytest.mark.slow
def test_eight_threads_asked_for_cost_nothing():
    assert ratio_of_fits((8, False), (2, False), 1.05) <= 1.05


@needs_speed
@pytest.mark.slow
def test_eight_threads_forced_on_the_cpus():
    assert ratio_of_fits((8, True), (2, False), 2.0) <= 2.0


@needs_speed
@pytest.mark.slow
def test_four_threads_asked_for_on_one_cpu():
    """By CPU time, since the CPU may have other work."""
    code = """
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from test_threads import ratio_of_fits
ratio = ratio_of_fits((4, False), (1, False), 1.05, time.process_time)
print(len(os.sched_getaffinity(0)), ratio)
"""
    cpus, ratio = run(code, seconds=120).splitlines()[-1].split()
    if cpus != "1":
        pytest.skip("another process changes the affinity of this one")
    assert float(ratio) <= 1.05


@needs_speed
@pytest.mark.slow
def test_sixteen_python_threads_predict_at_the_rate_of_the_cpus():
    """Against as many processes as there are CPUs, one thread each, at the same time."""
    ratios = []
    with ProcessPoolExecutor(CPUS, mp_context=get_context("spawn")) as pool:
        for _ in range(10):
            alone = rates_of_processes(pool, CPUS)
            ratios.append(predict_rate(16) / alone)
            if ratios[-1] >= 0.8:
                break
    print(f"16 threads reach {max(ratios):.2f} of {CPUS} processes")
    assert max(ratios) >= 0.8
