"""The table of README.md, from a machine's committed results.

python benchmarks/readme_table.py benchmarks/results/xeon-sapphire-rapids-2c.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(path: str) -> None:
    """Print one line a workload, on one thread."""
    results = json.loads(Path(path).read_text())
    versions = results["first_table"]["versions"]
    print("| training step, one thread | bpfast, us | NumPy, us | NumPy / bpfast |")
    print("|---|---|---|---|")
    for row in results["first_table"]["rows"]:
        found = next(r for r in row["by_threads"] if r["threads"] == 1)
        steps = [found[rival]["median_us"] for rival in ("bpfast", "numpy")]
        cells = [f"{row['workload']} {row['what']}", *(f"{step:,.1f}" for step in steps)]
        print(f"| {' | '.join(cells)} | {found['ratio']:.2f} |")
    machine = results["machine"]
    print(
        f"\nMedians on {machine['cpu']} ({machine['microarchitecture'].replace('-', ' ')}, "
        f"{machine['cores']} cores), ISA {versions['isa']}, NumPy {versions['numpy']} with "
        f"{versions['blas']}, interleaved: `python benchmarks/first_table.py`."
    )


if __name__ == "__main__":
    main(sys.argv[1])
