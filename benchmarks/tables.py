"""A record in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ratios
import targets


def report(
    machine: dict[str, Any], bounds: Sequence[dict[str, Any]], rows: Sequence[ratios.Row]
) -> str:
    """Return the machine, its limits, all times, and the targets."""
    versions: dict[str, str] = {}
    for row in rows:
        versions |= row["versions"]
    about = ", ".join(f"{key} {value}" for key, value in versions.items())
    verdicts = [verdict for row in rows for verdict in targets.judge(row)]
    parts = [f"{machine['cpu']} ({machine['name']}); {about}", limits(bounds), times(rows)]
    if verdicts:
        parts += [targets.table(verdicts)]
        parts += [f"{sum(v.holds for v in verdicts)} of {len(verdicts)} targets hold."]
    if short := [row["workload"] for row in rows if not ratios.complete(row)]:
        parts += [f"Not against the best, since peers are missing: {', '.join(short)}."]
    return "\n\n".join(parts)


def limits(bounds: Sequence[dict[str, Any]]) -> str:
    """Return what the machine can do at most."""
    levels = list(bounds[0]["triad_gbytes_per_second"])
    lines = [
        f"| cores | float32 multiply-adds, GFLOP/s | triad in {' / '.join(levels)}, GB/s |",
        "|---|---|---|",
    ]
    for bound in bounds:
        rates = " / ".join(f"{rate:,.0f}" for rate in bound["triad_gbytes_per_second"].values())
        lines.append(f"| {bound['threads']} | {bound['fma_gflops']:,.0f} | {rates} |")
    return "\n".join(lines)


def times(rows: Sequence[ratios.Row]) -> str:
    """Return each peer's medians and minima, with the percent of the peak in the same rounds."""
    lines = [
        "| workload | threads | peer | us a step | least | samples/s | GFLOP/s | % of peak "
        "| time of bpfast |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        name = f"{row['workload']} {row['what']}"
        for alone in row["isolated"]:
            n = alone["threads"]
            entries = [t for t in row["times"] if t["threads"] == n]
            ours = ratios.time(row, "bpfast", n)
            assert ours is not None
            (peak,) = [p["gflops"] for p in row["peaks"] if p["threads"] == n]
            share = f"{alone['percent_of_peak']:.0f}"
            lines.append(line(name, n, "bpfast alone", alone, share, ""))
            for entry in sorted(entries, key=lambda t: float(t["median_us"])):
                share = f"{100 * entry['gflops'] / peak:.0f}"
                ratio = f"{entry['median_us'] / ours['median_us']:.2f}"
                lines.append(line(name, n, ratios.title(entry["peer"]), entry, share, ratio))
    return "\n".join(lines)


def line(name: str, threads: int, peer: str, entry: dict[str, Any], share: str, ratio: str) -> str:
    """Return one line of the table of times."""
    cells = [name, str(threads), peer, f"{entry['median_us']:,.1f}", f"{entry['min_us']:,.1f}"]
    cells += [f"{entry['samples_per_second']:,}", f"{entry['gflops']:,.1f}", share, ratio]
    return f"| {' | '.join(cells)} |"
