"""The table of README.md, from a machine's committed results.

python benchmarks/readme_table.py benchmarks/results/epyc-zen5-2c.json
"""

from __future__ import annotations

import sys
from pathlib import Path

import ratios
import record


def on_two(row: ratios.Row) -> str:
    """Return the ratio to the best other library on two threads, if they were measured."""
    if not ratios.time(row, "bpfast", 2):
        return ""
    return f"{ratios.ratio(row, ratios.best(row, 2), 2):.2f}"


def main(path: str) -> None:
    """Print one line a workload: times on one thread, ratios on one and two."""
    results = record.read(Path(path))
    if "peers" not in results:
        sys.exit(f"{path} holds no results of benchmarks/run.py")
    rows = results["peers"]["rows"]
    print(
        "| one step or call, one thread | bpfast, us | best other library, us | ratio "
        "| ratio, two threads |"
    )
    print("|---|---|---|---|---|")
    versions: dict[str, str] = {}
    for row in rows:
        versions |= row["versions"]
        ours, best = ratios.time(row, "bpfast", 1), ratios.best(row, 1)
        assert ours is not None
        cells = [
            f"{row['workload']} {row['what']}",
            f"{ours['median_us']:,.1f}",
            f"{ratios.title(best['peer'])} {best['median_us']:,.1f}",
            f"{ratios.ratio(row, best, 1):.2f}",
            on_two(row),
        ]
        print(f"| {' | '.join(cells)} |")
    machine = results["machine"]
    seen = {t["peer"]: ratios.title(t["peer"]) for row in rows for t in row["times"]}
    others = ", ".join(title for peer, title in seen.items() if peer != "bpfast")
    print(
        f"\nMedians on {machine['cpu']} ({machine['microarchitecture'].replace('-', ' ')}, "
        f"{machine['cores']} cores), ISA {versions['isa']}, in turn with {others}: "
        "`python benchmarks/run.py`."
    )


if __name__ == "__main__":
    main(sys.argv[1])
