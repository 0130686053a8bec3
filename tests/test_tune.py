"""The number of threads that a run settles on, on machines made up of numbers."""

from __future__ import annotations

import re

import c_programs
import cbuild
import pytest

#: Time over that of the better number of threads throughout, at most: trials cost something.
RATIOS = {
    "two pay": 1.02,
    "two pay, one guessed": 1.15,
    "two pay, short steps": 1.02,
    "one pays": 1.03,
    "a crowd": 4.0,
    "two pay, a crowd that goes": 1.2,
    "two pay, stalls": 1.02,
    "two pay, stalls, one guessed": 1.1,
}
#: Of the later half of the steps, those with the better number, in percent.
RIGHT = 97


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, float]]:
    """By machine: percent of late steps with the better number, and the ratio of times."""
    folder, toolchain = tmp_path_factory.mktemp("tune"), c_programs.native()
    sources = (c_programs.SOURCES / "threads/tune_check.c", cbuild.KERNELS.parent / "net/tune.c")
    jobs = {f.stem: [str(f), "-O1"] for f in sources}
    objects = cbuild.compile_all(folder, toolchain, jobs)
    program = cbuild.link(folder / "tune_check", toolchain, objects)
    report = toolchain.run(program).stdout
    print(report)
    lines = re.findall(r"^(.+): (\d+)% ([\d.]+)$", report, re.M)
    return {name: (int(right), float(ratio)) for name, right, ratio in lines}


@pytest.mark.parametrize("name", RATIOS)
def test_the_better_number_is_found(found: dict[str, tuple[int, float]], name: str) -> None:
    right, ratio = found[name]
    assert right >= RIGHT
    assert ratio <= RATIOS[name]
