"""Session-wide settings: which bpfast is tested, and the seed of random test data."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# The clone's own bpfast/ has no compiled _core, but `python -m pytest` puts the clone first on
# sys.path, and so would every `python -c` that a test starts here.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
os.environ["PYTHONSAFEPATH"] = "1"

# The same examples every run: a failure in CI is a failure here.
settings.register_profile("bpfast", deadline=None, derandomize=True, database=None)
settings.load_profile("bpfast")

SEEDS = os.environ.get("BPFAST_TEST_SEED", "0")


def wanted_seeds() -> list[int]:
    """BPFAST_TEST_SEED: one seed, or a range such as 0-99 that runs every seeded test for each."""
    first, _, last = SEEDS.partition("-")
    return list(range(int(first), int(last or first) + 1))


def pytest_sessionstart() -> None:
    """Stop at once when the library cannot be tested, or is not the one that was asked for."""
    # A shell starts what runs in its background with Ctrl-C ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        from bpfast import show_config
    except ImportError as error:
        raise pytest.UsageError(str(error)) from error
    isa = show_config()["isa"]
    expected = os.environ.get("BPFAST_EXPECT_ISA", isa)
    if isa != expected:
        raise pytest.UsageError(f"BPFAST_EXPECT_ISA is {expected}, but the library runs {isa}")


def pytest_report_header() -> list[str]:
    """Say what is tested, and with which seed."""
    import bpfast

    isa = bpfast.show_config()["isa"]
    return [
        f"bpfast: {bpfast.__version__} from {Path(bpfast.__file__).parent}, ISA {isa}",
        f"seed: {SEEDS} (BPFAST_TEST_SEED, a number or a range such as 0-99)",
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that asks for `seed` (or `rng`) every wanted seed."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", wanted_seeds(), scope="session", ids=lambda s: f"seed{s}")


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """A generator for test data, new for every test."""
    return np.random.default_rng(seed)


@pytest.fixture(scope="session")
def native_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of kernel_check and kernel_digest, compiled as the library is."""
    import c_programs

    folder = tmp_path_factory.mktemp("native_programs")
    return c_programs.build(folder, c_programs.native(), ["kernel_check", "kernel_digest"])


@pytest.fixture
def exact_threads() -> Iterator[None]:
    """Teams as large as asked for, however small the work and the machine."""
    from bpfast import config

    config.exact_threads = True
    yield
    config.exact_threads = False


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """PyTorch's pool is slower than one thread on arrays as small as those of tests."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
