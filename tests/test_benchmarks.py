"""The benchmarks compare the same work, judge it by their tables, and their commands run."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import bp

from bpfast.bench import data, machine, peers, turns, workloads

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
#: Peers that a run of the project's checks must have installed; it says so in BPFAST_PEERS.
EXPECTED = ("torch", "sklearn")
#: Both activations, losses and optimizers, norms and convolutions: enough where each workload takes
#: seconds to compile.
BRANCHES = ("T0", "T1", "T2", "T5", "T6bn", "T7")
TRAINS = [
    pytest.param(
        name,
        workload,
        marks=[pytest.mark.slow] * (name == "torch-compiled")
        + [pytest.mark.long] * (name == "torch-compiled" and workload not in ("T1", "T2")),
    )
    for name in peers.ALL
    for workload in (BRANCHES if name.startswith(("jax", "torch-")) else workloads.TRAINING)
    if peers.ALL[name].does(workloads.ALL[workload]) and name != "bpfast"
]
PREDICTS = [
    pytest.param(name, workload, marks=[pytest.mark.slow] * (name == "torch-compiled"))
    for name in peers.ALL
    for workload in (("P1x1", "P2x1024") if name == "torch-compiled" else workloads.PREDICTION)
    if peers.ALL[name].predictor
]


@pytest.fixture
def folder(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def peer(name: str) -> peers.Peer:
    """Return a peer that is installed, or skip."""
    found = peers.ALL[name]
    if not found.installed():
        required = "BPFAST_PEERS" in os.environ and name.split("-")[0] in EXPECTED
        (pytest.fail if required else pytest.skip)(f"{' or '.join(found.packages)} is missing")
    return found


def small(name: str) -> workloads.Workload:
    """Return a workload cut to what takes milliseconds, with several blocks of the update."""
    full = workloads.ALL[name]
    sizes = tuple(min(n, 300) for n in full.sizes)
    image = (14, 13, 2) if full.image else None
    sizes = (14 * 13 * 2, *sizes[1:]) if image else sizes
    return dataclasses.replace(full, sizes=sizes, image=image, batch=min(full.batch, 24), steps=3)


# ---- the same work ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("default")  # those of the peers are not ours
@pytest.mark.parametrize(("rival", "name"), TRAINS)
def test_peers_train_alike(rival, name, monkeypatch):
    """Equal losses of each epoch and equal weights after them, in float64.

    Nine steps of sums of at most 300 products: 1e-10 is far above their roundings (eps is 2e-16)
    and far below any difference in what is computed. scikit-learn adds Adam's epsilon before the
    bias correction: beside it epsilon is made too small to matter.
    """
    chosen, cut, tolerance = peer(rival), small(name), 1e-10
    if rival == "sklearn":
        monkeypatch.setattr(workloads, "EPSILON", 1e-20)
    X, y = data.rows(cut)
    both = [p.load(cut)(cut, X, y, dtype=np.float64) for p in (peers.ALL["bpfast"], chosen)]
    for _ in range(2):  # the second time from the start again
        ours, theirs = (trainer.fit(3, shuffle=False) for trainer in both)
        np.testing.assert_allclose(theirs, ours, rtol=tolerance)
        assert ours[-1] < ours[0]
        weights, others = (trainer.weights() for trainer in both)
        np.testing.assert_allclose(others, weights, atol=tolerance * np.abs(weights).max())
        for trainer in both:
            trainer.reset()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("rival", "name"), PREDICTS)
def test_peers_predict_alike(rival, name):
    """Outputs equal those in float64 to 1e-4 of the largest: 784 products in float32, 6e-8 each."""
    workload = workloads.ALL[name]
    chosen = peer(rival)
    X, _ = data.rows(workload)
    a = X.astype(np.float64)
    weights = data.start(workload)
    for i, (kernel, bias) in enumerate(zip(weights[::2], weights[1::2], strict=True)):
        inside = np.tanh if workload.activation == "tanh" else lambda z: np.maximum(z, 0)
        z = a @ kernel + bias
        a = z if 2 * i + 2 == len(weights) else inside(z)
    outputs = chosen.load(workload)(workload, X)()
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs.reshape(a.shape), a, rtol=0, atol=1e-4 * np.abs(a).max())


def test_gradients_are_of_the_same_loss():
    """What benchmarks/shapes.py times: `loss_and_gradient` beside NumPy's forward and backward."""
    workload = workloads.Workload("shape", (8, 24, 24), "relu", 5, "gradient")
    X, y = data.rows(workload)
    ours, theirs = (
        peers.ALL[name].load(workload)(workload, X, y, dtype=np.float64)
        for name in ("bpfast", "numpy")
    )
    assert ours.gradient() == pytest.approx(theirs.gradient(), rel=1e-12)
    np.testing.assert_allclose(ours.net.gradients, theirs.g, atol=1e-14)


# ---- tables and verdicts ------------------------------------------------------------------------


def test_workloads_are_those_of_the_table():
    assert list(workloads.TRAINING) == [
        "T0", "T1", "T2", "T3", "T3b", "T4", "T5", "T6", "T6bn", "T7"
    ]  # fmt: skip
    shapes = {name: str(w) for name, w in workloads.ALL.items()}
    assert shapes["T0"] == "4-16-3 tanh, CE, momentum, batch 16"
    assert shapes["T5"] == "1024-2048-2048-1024 relu, MSE, momentum, batch 512"
    assert shapes["T6"] == "256-8x256-10 relu, CE, adam, batch 128"
    assert shapes["T6bn"] == "256-8x256-10 relu, BatchNorm, CE, adam, batch 128"
    assert shapes["T7"] == "28x28x1-conv16-conv32-128-10 relu, CE, adam, batch 64"
    assert shapes["P3x1024"] == "784-512-256-10 relu, 1024 rows"


def test_gflop_counts_the_products_of_a_step():
    """4-16-3: forward 4x16 + 16x3, weight gradients as many, input gradients 16x3 alone."""
    t0 = workloads.ALL["T0"]
    assert t0.gflop == pytest.approx(2e-9 * 16 * (2 * (64 + 48) + 48))
    t7 = workloads.ALL["T7"]
    conv = 26 * 26 * 9 * 16, 11 * 11 * 9 * 16 * 32
    rest = conv[1] + 5 * 5 * 32 * 128 + 128 * 10
    assert t7.gflop == pytest.approx(2e-9 * 64 * (2 * conv[0] + 3 * rest))
    p1 = dataclasses.replace(t0, kind="predict")
    assert p1.gflop == pytest.approx(2e-9 * 16 * (64 + 48))


def row_of(name: str, times: dict[tuple[str, int], float], **more: object) -> dict:
    """Return a record's row with these medians, in microseconds."""
    found = [{"peer": p, "threads": n, "median_us": us} for (p, n), us in times.items()]
    peaks = [{"threads": 1, "gflops": 100.0}, {"threads": 2, "gflops": 200.0}]
    row = {"workload": name, "kind": workloads.ALL[name].kind, "times": found, "peaks": peaks}
    return {**row, "gflop_per_step": 1e-3, **more}


FIT = ("numpy", "torch", "torch-compiled", "jax-jit", "jax-scan")


def test_targets_are_judged(folder):
    import targets

    times = {("bpfast", 1): 10.0, ("bpfast", 2): 6.0}
    times |= {(p, n): 50.0 for p in FIT for n in (1, 2)} | {("jax-scan", 1): 20.0}
    alone = [{"threads": 1, "percent_of_peak": 62.0}]
    verdicts = targets.judge(row_of("T1", times, isolated=alone))
    found = {(v.what, v.threads): (v.least, round(v.found, 3), v.holds) for v in verdicts}
    assert found == {
        ("of JAX scan", 1): (1.75, 2.0, True),
        ("of JAX scan, 1 thread", 2): (3.0, 3.333, True),  # tiny: its better thread count
        ("of PyTorch, eager", 1): (20.0, 5.0, False),
        ("percent of peak", 1): (63, 62.0, False),
    }
    line = "| T1 | 1 | of PyTorch, eager | 20 | 5.00 | **no** | -75% | 400 |"
    assert line in targets.table(verdicts)

    assert verdicts[0].takes == pytest.approx(1.75 * 50)  # the rival runs at half of the peak

    verdicts = targets.judge(row_of("T4", times, isolated=[]))
    found = {(v.what, v.threads): round(v.found, 3) for v in verdicts}
    assert found[("of NumPy", 2)] == 8.333  # equal threads
    assert found[("of 1 thread", 2)] == 1.667


def test_a_row_without_a_peer_is_not_against_the_best(folder):
    import ratios
    import targets

    times = {("bpfast", 1): 10.0} | {(p, 1): 50.0 for p in FIT}
    assert ratios.complete(row_of("T4", times))
    assert targets.judge(row_of("T4", times))
    for missing in FIT:
        rest = {key: us for key, us in times.items() if key[0] != missing}
        assert not ratios.complete(row_of("T4", rest))
        assert not targets.judge(row_of("T4", rest))


def test_every_workload_has_a_target(folder):
    import targets

    assert list(targets.TRAINING) == list(workloads.TRAINING)
    assert list(targets.PREDICTION) == list(workloads.PREDICTION)


@pytest.mark.parametrize(
    ("vendor", "model", "flags", "expected"),
    [
        ("GenuineIntel", "Intel(R) Xeon(R) Processor", "avx2 avx512f amx_tile", "sapphire-rapids"),
        ("AuthenticAMD", "AMD EPYC 7B13", "avx2 vaes clwb", "zen3"),
        ("GenuineIntel", "Intel(R) Core(TM) i7-8700", "avx2 adx clflushopt", "skylake"),
    ],
)
def test_machine_names(vendor, model, flags, expected):
    info = {"vendor_id": vendor, "model name": model, "flags": flags}
    assert machine.microarchitecture(info) == expected
    brand = next(b for b in ("xeon", "epyc", "core") if b in model.lower())
    assert machine.slug(info, 2) == f"{brand}-{expected}-2c"
    assert machine.slug({"model name": "Neoverse-N1 (r3p1)"}, 4) == "neoverse-n1-r3p1-4c"


# ---- processes and commands ---------------------------------------------------------------------


def test_a_worker_that_fails_says_why():
    worker = turns.Worker(peers.ALL["numpy"], [machine.cores()[0]])
    worker.send('{"name": "T0", "sizes": [4, 3], "activation": "relu", "batch": "many"}')
    with pytest.raises(RuntimeError, match=r"ended early: \w+Error: "):
        worker.facts()
    worker.close()


def test_a_worker_is_pinned():
    cpu = machine.cores()[0]
    worker = turns.Worker(peers.ALL["numpy"], [cpu], isa="avx2", seconds=0.001)
    facts = turns.prepare([worker], workloads.ALL["T0"])
    assert facts["numpy"] == np.__version__
    assert worker.sample() > 0
    assert os.sched_getaffinity(worker.process.pid) == {cpu}
    environment = Path(f"/proc/{worker.process.pid}/environ").read_text().split("\0")
    assert {"OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1"} <= set(environment)
    assert "OPENBLAS_CORETYPE=Haswell" in environment
    worker.close()


def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script of benchmarks/."""
    # It imports its neighbours, which a safe path would hide.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    command = [sys.executable, str(FOLDER / name), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def small_run(tmp_path_factory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A quick run of two workloads beside NumPy, and the file where it found rows of others."""
    if shutil.which(os.environ.get("CC", "cc")) is None:
        pytest.skip("no C compiler, for benchmarks/limits.c")
    out = tmp_path_factory.mktemp("run") / "machine.json"
    times = {("bpfast", 1): 10.0, ("numpy", 1): 20.0}
    rows = [row_of(name, times, what="before", versions={}, isolated=[]) for name in ("T1", "T0")]
    out.write_text(json.dumps({"other": 1, "peers": {"rows": rows}}))
    options = ("--quick", "--peers=numpy", "--threads=1", f"--out={out}")
    run = script("run.py", "--workloads=P2x1,T0", *options)
    assert run.returncode == 0, run.stderr
    return run, out


def test_the_run(small_run):
    run, out = small_run
    assert "| T0 4-16-3 tanh, CE, momentum, batch 16 | 1 | bpfast |" in run.stdout
    assert "| 1 | bpfast alone |" in run.stdout
    assert "Not against the best, since peers are missing: P2x1, T0." in run.stdout
    found = json.loads(out.read_text())
    assert found["other"] == 1
    rows = {row["workload"]: row for row in found["peers"]["rows"]}
    assert list(rows) == ["T0", "T1", "P2x1"]  # in the order of the table
    assert rows["T1"]["what"] == "before"
    for row in (rows["T0"], rows["P2x1"]):
        assert {(t["peer"], t["threads"]) for t in row["times"]} == {("bpfast", 1), ("numpy", 1)}
        assert all(0 < t["min_us"] <= t["median_us"] and t["rounds"] == 3 for t in row["times"])
        assert 0 < row["isolated"][0]["percent_of_peak"] < 150
        assert row["versions"]["numpy"] == np.__version__
    assert found["peers"]["limits"][0]["fma_gflops"] > 0
    assert os.uname().nodename not in out.read_text()


def test_the_readme_table(small_run):
    run = script("readme_table.py", str(small_run[1]))
    assert run.returncode == 0, run.stderr
    assert "| T0 4-16-3 tanh, CE, momentum, batch 16 |" in run.stdout
    assert "NumPy" in run.stdout


def test_the_plot(small_run, folder, tmp_path):
    pytest.importorskip("matplotlib")
    import plot
    import record

    out = tmp_path / "plot.png"
    plot.draw(record.read(small_run[1]), out)
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--workloads=T9", "must be of T0, T1"),
        ("--threads=0", "must be from 1 to"),
        ("--peers=caffe", "must be of bpfast, numpy"),
    ],
)
def test_the_run_refuses(option, message):
    run = script("run.py", option)
    assert run.returncode == 2
    assert message in run.stderr


def test_shapes():
    run = script("shapes.py", "--batches=1,8", "--widths=8,16", "--seconds=0.01")
    assert run.returncode in (0, 1), run.stderr  # 1: slower, which tests do not judge
    assert "of 4 shapes" in run.stdout
    assert "| 8 | " in run.stdout
    part = script("shapes.py", "--record", "--widths=8")
    assert part.returncode == 2
    assert "--record takes the whole list" in part.stderr


def test_bpfast_bench(monkeypatch):
    """Beside NumPy alone: the libraries' own start takes seconds."""
    here = ("bpfast", "numpy")
    monkeypatch.setattr(peers.Peer, "installed", lambda peer: peer.packages[0] in here)
    result = bp("bench", "--quick", "--workloads", "T0,P1x1", "--json")
    assert result.code == 0, result.err
    assert "us/step" in result.out
    assert "T0 4-16-3 tanh, CE, momentum, batch 16" in result.out
    found = {row["workload"]: row for row in result.json["workloads"]}
    assert list(found) == ["T0", "P1x1"]
    assert set(found["T0"]["us"]) == {"bpfast", "numpy", "numpy-naive"}
    assert set(found["P1x1"]["us"]) == {"bpfast", "numpy"}
    assert "not installed: scikit-learn, PyTorch" in result.err
    assert result.json["versions"]["numpy"] == np.__version__


def test_bpfast_bench_refuses():
    result = bp("bench", "--workloads", "T0,T9")
    assert result.code == 2
    assert "got T9" in result.err
    result = bp("bench", "--threads", "4096")
    assert result.code == 1
    assert "got 4096" in result.err
