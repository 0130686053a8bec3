"""How fast bpfast means to be, as data, and which of it a record shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import ratios

#: Workload -> least ratio of median samples a second to the best peer's, on 1 and on 2 threads.
TRAINING: Final = {
    "T0": (4.0, 4.0),
    "T1": (1.75, 3.0),
    "T2": (2.0, 2.7),
    "T3": (1.22, 1.65),
    "T3b": (1.3, 1.35),
    "T4": (1.5, 1.6),
    "T5": (1.06, 1.13),
    "T6": (1.38, 1.7),
    "T6bn": (1.4, 2.0),
    "T7": (2.0, 2.5),
}
#: Small enough that a peer may be faster on fewer threads: its best thread count is the rival.
TINY: Final = ("T0", "T1", "T2")
#: Workload -> least percent of the multiply-add peak on one thread, bpfast alone.
PEAK: Final = {"T1": 63, "T2": 61, "T3": 90, "T3b": 90, "T4": 86, "T5": 87, "T6": 84}
#: Workload -> least ratio to eager PyTorch on one thread.
TORCH: Final = {"T0": 150.0, "T1": 20.0, "T2": 18.0}
#: Workload -> least ratio to the best peer that predicts, on one thread.
PREDICTION: Final = {
    "P1x1": 4.0,
    "P2x1": 4.0,
    "P3x1": 1.8,
    "P1x1024": 1.0,
    "P2x1024": 1.15,
    "P3x1024": 1.08,
}
#: Workload -> least ratio of two threads to one.
SCALING: Final = {"T3": 1.85, "T3b": 1.85, "T4": 1.85, "T5": 1.85, "T6": 1.85}


@dataclass(frozen=True)
class Verdict:
    """One target beside what was measured.

    Attributes
    ----------
    workload, what : str
    threads : int
    least, found : float
        A ratio, or percent where `what` says so.
    takes : float, optional
        Percent of the multiply-add peak at which bpfast would have to run, its whole step counted.
    """

    workload: str
    threads: int
    what: str
    least: float
    found: float
    takes: float | None = None

    @property
    def holds(self) -> bool:
        return self.found >= self.least


def judge(row: dict[str, Any]) -> list[Verdict]:
    """Return the verdicts on one row of a record, on all that it has measured.

    What cannot be said from it, since a peer or a number of threads is missing, is left out.
    """
    name = row["workload"]
    verdicts = []
    if ratios.complete(row):
        pairs = {**TRAINING, **{key: (least,) for key, least in PREDICTION.items()}}
        for threads, least in enumerate(pairs[name], 1):
            if ratios.time(row, "bpfast", threads):
                best = ratios.best(row, threads, any_threads=name in TINY)
                fewer = f", {best['threads']} thread" if best["threads"] < threads else ""
                found = ratios.ratio(row, best, threads)
                what = f"of {ratios.title(best['peer'])}{fewer}"
                takes = least * share_of_peak(row, best, threads)
                verdicts.append(Verdict(name, threads, what, least, found, takes))
    eager = ratios.time(row, "torch", 1)
    if name in TORCH and eager and ratios.time(row, "bpfast", 1):
        what = f"of {ratios.title('torch')}, eager"
        takes = TORCH[name] * share_of_peak(row, eager, 1)
        found = ratios.ratio(row, eager, 1)
        verdicts.append(Verdict(name, 1, what, TORCH[name], found, takes))
    alone = [a for a in row.get("isolated", []) if a["threads"] == 1]
    if name in PEAK and alone:
        what = "percent of peak"
        found = alone[0]["percent_of_peak"]
        verdicts.append(Verdict(name, 1, what, PEAK[name], found, PEAK[name]))
    one = ratios.time(row, "bpfast", 1)
    if name in SCALING and one and ratios.time(row, "bpfast", 2):
        found = ratios.ratio(row, one, 2)
        verdicts.append(Verdict(name, 2, "of 1 thread", SCALING[name], found))
    return verdicts


def share_of_peak(row: dict[str, Any], entry: dict[str, Any], threads: int) -> float:
    """Return at what percent of the peak of so many threads a peer ran."""
    (peak,) = [p["gflops"] for p in row["peaks"] if p["threads"] == threads]
    return float(1e8 * row["gflop_per_step"] / entry["median_us"] / peak)


def table(verdicts: list[Verdict]) -> str:
    """Return the verdicts in Markdown: what was meant, what was found, by how much it differs."""
    lines = [
        "| workload | threads | bpfast against | at least | found | holds | by "
        "| % of peak it takes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for v in verdicts:
        cells = [v.workload, str(v.threads), v.what, f"{v.least:g}", f"{v.found:.2f}"]
        cells += ["yes" if v.holds else "**no**", f"{100 * (v.found / v.least - 1):+.0f}%"]
        cells += ["" if v.takes is None else f"{v.takes:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
