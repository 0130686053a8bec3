"""A record as one figure: how many times faster bpfast is than each peer.

python benchmarks/plot.py benchmarks/results/<machine>.json OUT.png
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import ratios
import record
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

#: Peer -> colour (Okabe and Ito 2008: told apart by the colour-blind) and marker.
STYLES = {
    "numpy": ("#0072B2", "o"),
    "numpy-naive": ("#56B4E9", "v"),
    "sklearn": ("#009E73", "s"),
    "torch": ("#D55E00", "D"),
    "torch-compiled": ("#E69F00", "P"),
    "jax-jit": ("#CC79A7", "X"),
    "jax-scan": ("#000000", "^"),
    "onnxruntime": ("#7F7F7F", "*"),
}


def panel(ax: Axes, rows: list[ratios.Row], threads: int, title: str) -> None:
    """Draw the ratios of some rows on one number of threads."""
    ax.axhspan(1e-3, 1, color="0.93", zorder=0)
    ax.axhline(1, color="0.4", linewidth=1, zorder=1)
    for i, row in enumerate(rows):
        rivals = [t for t in row["times"] if t["threads"] == threads and t["peer"] in STYLES]
        for rival in rivals:
            color, marker = STYLES[rival["peer"]]
            # Side by side, lest equal ratios hide each other.
            x = i + 0.09 * (list(STYLES).index(rival["peer"]) - (len(STYLES) - 1) / 2)
            ratio = ratios.ratio(row, rival, threads)
            ax.plot(x, ratio, marker, color=color, markersize=6, zorder=3)
    for i in range(1, len(rows)):
        ax.axvline(i - 0.5, color="0.9", linewidth=0.8, zorder=1)
    ax.set_xlim(-0.5, len(rows) - 0.5)
    ax.set_xticks(range(len(rows)), [row["workload"].replace("x", "\n") for row in rows])
    ax.set_title(title, fontsize=10, loc="left")
    ax.grid(axis="y", color="0.88", linewidth=0.7)
    ax.tick_params(length=0)


def draw(found: dict[str, Any], out: Path) -> None:
    """Draw the record's rows into a file; its suffix tells the format."""
    mpl.use("Agg")
    rows = found["peers"]["rows"]
    training = [row for row in rows if row["kind"] == "fit"]
    predicting = [row for row in rows if row["kind"] == "predict"]
    counts = sorted({t["threads"] for row in training for t in row["times"]})
    panels = [(training, n, f"training, {n} thread{'s' * (n > 1)}") for n in counts if training]
    panels += [(predicting, 1, "prediction of 1 and 1024 rows, 1 thread")] if predicting else []
    widths = [len(kept) for kept, *_ in panels]

    figure, axes = plt.subplots(
        1, len(panels), sharey=True, figsize=(11, 4.6), width_ratios=widths, squeeze=False
    )
    for ax, (kept, n, title) in zip(axes[0], panels, strict=True):
        panel(ax, kept, n, title)
    all_ratios = [
        ratios.ratio(row, rival, n)
        for kept, n, _ in panels
        for row in kept
        for rival in row["times"]
        if rival["threads"] == n and rival["peer"] != "bpfast"
    ]
    first = axes[0][0]
    first.set_yscale("log")
    low, high = min([0.7, *all_ratios]) * 0.8, max([4, *all_ratios]) * 1.4
    ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500]
    first.set_yticks([tick for tick in ticks if low <= tick <= high])
    first.set_ylim(low, high)
    first.minorticks_off()
    first.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}x"))
    first.set_ylabel("how many times faster bpfast is (log scale)")
    seen = {t["peer"] for kept, *_ in panels for row in kept for t in row["times"]}
    handles = [
        plt.Line2D([], [], color=color, marker=marker, linestyle="", label=ratios.title(peer))
        for peer, (color, marker) in STYLES.items()
        if peer in seen
    ]
    figure.legend(handles=handles, loc="upper center", ncols=len(handles), frameon=False,
                  fontsize=9, handletextpad=0.1, columnspacing=1.2)  # fmt: skip
    machine, versions = found["machine"], {}
    for row in rows:
        versions |= row["versions"]
    caption = (
        f"{machine['cpu']} ({machine['microarchitecture'].replace('-', ' ')}, {machine['cores']} "
        f"cores), bpfast {versions['bpfast']} with {versions['isa']}. Medians of interleaved runs, "
        "float32: python benchmarks/run.py. Below 1, in grey, the peer is faster."
    )
    figure.text(0.01, 0.015, caption, fontsize=7.5, color="0.35")
    figure.tight_layout(rect=(0, 0.04, 1, 0.93))
    figure.savefig(out, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    draw(record.read(Path(sys.argv[1])), Path(sys.argv[2]))
