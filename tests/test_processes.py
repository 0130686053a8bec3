"""Forks, workers, other runtimes, and systems without room: no hang, no exit, the same bits."""

from __future__ import annotations

import os
import sys

import pytest
from peers import require
from process_work import run, train

import bpfast as bp

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
OPENMP = bp.show_config()["openmp"]
TEAM = 2 if OPENMP else 1
needs_openmp = pytest.mark.skipif(not OPENMP, reason="a serial build")


@pytest.fixture(scope="module")
def bits() -> str:
    """What `train` gives on one thread."""
    return str(run("print(train(1))"))


# ---- fork ----------------------------------------------------------------------------------------

# Each prints bits, and after them the threads that the child used: its pool is a new one.
FORKS = {
    "before use": "print(forked(lambda: (train(), threads_alive())))",
    "after use": "train(); print(forked(lambda: (train(), threads_alive())))",
    "parent afterwards": "train(); forked(train); print((train(), threads_alive()))",
    "again and again": """
train()
print(forked(lambda: (train(), forked(lambda: (train(), threads_alive())))[1]))""",
    "another thread": """
train()
print(in_thread(lambda: (train(), forked(lambda: (train(), threads_alive())))[1]))""",
    "while a third trains": """
train()
with Training():
    print(in_thread(lambda: forked(lambda: (train(), threads_alive()))))""",
    "in a callback": """
found = []
fork = lambda *_: found.append(forked(lambda: (train(), threads_alive())))
train(callbacks=[bp.LambdaCallback(on_epoch_end=fork)])
print(found[0])""",
}


@pytest.mark.parametrize("name", FORKS)
def test_fork(name: str, bits: str) -> None:
    assert run(FORKS[name]) == str((bits, TEAM))


def test_child_may_use_the_network_that_a_lost_thread_was_training() -> None:
    """Its lock went with the thread that held it; the parent's fit goes on."""
    code = """
def use():
    X, y = data(50)
    before = training.net.predict(X)
    training.net.fit(X, y, loss="mse", epochs=1)
    return np.isfinite(before).all() and np.isfinite(training.net.predict(X)).all()

with Training() as training:
    print([forked(use) for _ in range(5)])
    try:
        training.net.fit(*data(50), loss="mse")
    except RuntimeError as error:
        print(error)
"""
    assert run(code).splitlines() == [
        str(["True"] * 5),
        "a fit of this network is running; wait for it or fit a clone",
    ]


def test_child_that_forked_in_a_callback_still_holds_its_own_fit() -> None:
    code = """
def again(*_):
    try:
        net.fit(*data(50), loss="mse")
    except RuntimeError as error:
        return error

net, found = make(), []
fork = lambda *_: found.append(forked(again))
net.fit(*data(50), loss="mse", epochs=1, callbacks=[bp.LambdaCallback(on_epoch_end=fork)])
print(found[0])
"""
    assert run(code) == "a fit of this network is running; wait for it or fit a clone"


@needs_openmp
def test_fork_inside_a_region_has_one_thread(bits: str) -> None:
    """The runtime cannot take a pool down that is at work: the child does without."""
    code = """
def member(number):
    if number == 0:
        print(forked(lambda: (train(), threads_alive(), bp.show_config()["threads_reason"])))

train()
in_region(member)
print((train(), threads_alive()))
"""
    child = (bits, 1, "inside a parallel region")
    assert run(code).splitlines() == [str(child), str((bits, TEAM))]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method: str, bits: str) -> None:
    code = f"""
import multiprocessing
train()
with multiprocessing.get_context("{method}").Pool(2) as pool:
    print(set(pool.map(train, [1, 2, 3, 2])) == {{train()}}, train())
"""
    assert run(code) == f"True {bits}"


@pytest.mark.parametrize("backend", ["threading", "loky", "multiprocessing"])
def test_joblib(backend: str, bits: str) -> None:
    require("joblib")
    code = f"""
from joblib import Parallel, delayed
train()
found = Parallel(n_jobs=2, backend="{backend}")(delayed(train)(n) for n in (1, 2, 3, 2))
print(set(found) == {{train()}}, train())
"""
    assert run(code) == f"True {bits}"


# ---- other users of threads ----------------------------------------------------------------------

LIBRARIES = {
    "torch": "import torch; a = torch.ones(600, 600); (a @ a).sum()",
    "sklearn": """
from sklearn.ensemble import HistGradientBoostingRegressor
HistGradientBoostingRegressor(max_iter=2).fit(data()[0], data()[1][:, 0])""",
    "lightgbm": """
import lightgbm
lightgbm.LGBMRegressor(n_estimators=2, verbose=-1).fit(data()[0], data()[1][:, 0])""",
}


@pytest.mark.slow
@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_beside_another_runtime(library: str, order: str, bits: str) -> None:
    """Both at work in turn, and ours in a child too."""
    require(library)
    use = LIBRARIES[library]
    first, second = (use, "train()") if order == "before" else ("train()", use)
    code = f"{first}\n{second}\n{use}\nprint(train(), forked(train), train())"
    assert run(code, seconds=2 * 30, PYTHONWARNINGS="ignore") == " ".join([bits] * 3)


@needs_openmp
def test_threadpoolctl_limits_are_obeyed_and_visible(bits: str) -> None:
    require("threadpoolctl")
    code = """
from threadpoolctl import threadpool_info, threadpool_limits
ours = lambda: {p["num_threads"] for p in threadpool_info()
                if p["user_api"] == "openmp" and p["filepath"] == runtime()._name}
os.environ.pop("OMP_NUM_THREADS", None)
with threadpool_limits(1):
    print(ours(), config.thread_choice(None), train(None), threads_alive())
"""
    assert run(code) == f'{{1}} (1, "OpenMP\'s maximum") {bits} 1'


# ---- no room -------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [2, 4])
def test_thread_limit_of_one(asked: int, bits: str) -> None:
    code = f"print(train({asked}), threads_alive(), bp.show_config()['threads'])"
    assert run(code, OMP_THREAD_LIMIT="1") == f"{bits} 1 1"


@needs_openmp
def test_nested_in_a_region_is_one_thread(bits: str) -> None:
    """Python threads of a region of the same runtime; each call runs on its own."""
    code = """
found = []
in_region(lambda number: found.append((train(), bp.show_config()["threads_reason"])))
print(found, threads_alive())
"""
    assert run(code) == f"{[(bits, 'inside a parallel region')] * 2} 2"


NO_ROOM = """
import resource
train(1)                      # imports what it needs, as long as it may read it
if os.geteuid() == 0:         # root is exempt
    os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
try:
    threading.Thread(target=int).start()
    print("there was room")
except RuntimeError:
    print(train(), threads_alive())
"""


def test_no_room_for_a_thread(bits: str) -> None:
    """OpenMP's runtime would end the process."""
    if os.geteuid() == 0 and run("os.setuid(65534); print(os.geteuid())") != "65534":
        pytest.skip("this root cannot become another user")
    assert run(NO_ROOM) == f"{bits} 1"


@needs_openmp
def test_no_room_for_a_larger_team(bits: str) -> None:
    """A pool of two is there, one of four is not to be had."""
    code = NO_ROOM.replace("train(1)", "train(2)").replace("train()", "train(4), train(2)")
    assert run(code) == f"{bits} {bits} 2"


def test_bits_in_this_process(bits: str) -> None:
    """The scripts compare with what everybody sees."""
    from bpfast import config

    try:
        assert train() == bits
    finally:
        config.exact_threads = False
