"""The benchmarks compare the same work, and their command runs."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
NAMES = ["T0", "T1", "T2", "T3", "T3b", "T4", "T5", "T6"]


@pytest.fixture
def folder(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.mark.parametrize("name", NAMES)
def test_both_sides_do_the_same_work(name, folder):
    """Equal losses of each epoch and equal weights after them, in float64.

    Nine steps of sums of at most 300 products: 1e-10 is far above their roundings (eps is 2e-16)
    and far below any difference in what is computed. Layers are cut to 300 units, still enough for
    several blocks of the update.
    """
    import workloads
    from bpfast_peer import BpfastTrainer
    from numpy_peer import NumpyTrainer

    full = workloads.ALL[name]
    sizes = tuple(min(n, 300) for n in full.sizes)
    small = dataclasses.replace(full, sizes=sizes, batch=min(full.batch, 24), steps=3)
    X, y = workloads.data(small)
    ours, theirs = (kind(small, X, y, np.float64) for kind in (BpfastTrainer, NumpyTrainer))
    for _ in range(2):  # the second time from the start again
        losses = [trainer.fit(3, shuffle=False) for trainer in (ours, theirs)]
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-10)
        assert losses[0][-1] < losses[0][0]
        weights = ours.net.parameters, theirs.w
        np.testing.assert_allclose(*weights, rtol=0, atol=1e-10 * np.abs(theirs.w).max())
        ours.reset()
        theirs.reset()


def test_workloads_are_those_of_the_table(folder):
    import workloads

    assert list(workloads.ALL) == NAMES
    shapes = {name: str(w) for name, w in workloads.ALL.items()}
    assert shapes["T0"] == "4-16-3 tanh, CE, momentum, batch 16"
    assert shapes["T5"] == "1024-2048-2048-1024 relu, MSE, momentum, batch 512"
    assert shapes["T6"] == "256-8x256-10 relu, CE, adam, batch 128"


@pytest.mark.parametrize(
    ("vendor", "model", "flags", "expected"),
    [
        ("GenuineIntel", "Intel(R) Xeon(R) Processor", "avx2 avx512f amx_tile", "sapphire-rapids"),
        ("AuthenticAMD", "AMD EPYC 7B13", "avx2 vaes clwb", "zen3"),
        ("GenuineIntel", "Intel(R) Core(TM) i7-8700", "avx2 adx clflushopt", "skylake"),
    ],
)
def test_machine_names(vendor, model, flags, expected, folder):
    import machine

    info = {"vendor_id": vendor, "model name": model, "flags": flags}
    assert machine.microarchitecture(info) == expected
    brand = next(b for b in ("xeon", "epyc", "core") if b in model.lower())
    assert machine.slug(info, 2) == f"{brand}-{expected}-2c"
    assert machine.slug({"model name": "Neoverse-N1 (r3p1)"}, 4) == "neoverse-n1-r3p1-4c"


def test_the_command(tmp_path):
    """One workload, quickly: a table on stdout, and no file unless asked for."""
    out = tmp_path / "machine.json"
    out.write_text('{"other": 1}')
    # The script imports its neighbours, which a safe path would hide.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    command = [sys.executable, str(FOLDER / "first_table.py"), "--quick", "--workloads=T0"]
    run = subprocess.run(
        [*command, "--threads=1", f"--out={out}"], env=env, capture_output=True, text=True
    )
    assert run.returncode in (0, 1), run.stderr  # 1: slower, which tests do not judge
    assert "| T0 4-16-3 tanh, CE, momentum, batch 16 | 1 |" in run.stdout
    text = out.read_text()
    assert '"other": 1' in text
    assert '"ratio"' in text
    assert os.uname().nodename not in text
