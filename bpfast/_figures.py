"""What `bpfast.plot` and the report need of matplotlib."""

from __future__ import annotations

import io
import re
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from bpfast._check import bad_type

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes


def _matplotlib() -> Any:
    """Return matplotlib, or say how to get it."""
    try:
        import matplotlib as mpl
        import matplotlib.figure
    except ImportError as error:
        raise ImportError(
            f"bpfast.plot needs matplotlib ({error}): pip install 'bpfast[plot]'"
        ) from None
    return mpl


def new_axes(width: float, height: float) -> Axes:
    """Return Axes in a figure of so many inches that nobody else knows."""
    figure = _matplotlib().figure.Figure((width, height), layout="constrained")
    ax: Axes = figure.add_subplot()
    return ax


def axes_or_new(ax: Axes | None, width: float = 6.0, height: float = 3.8) -> Axes:
    """Return `ax`, or Axes in a new figure."""
    if ax is not None:
        if not hasattr(ax, "get_xlim"):
            raise bad_type("ax", "None or an Axes of matplotlib", ax)
        return ax
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return new_axes(width, height)
    new: Axes = pyplot.figure(figsize=(width, height), layout="constrained").add_subplot()
    return new


def svg(ax: Axes, name: str) -> str:
    """Return the figure of these Axes as an SVG element for a page.

    `name` is its own on the page; equal figures give equal text. Letters stay letters.
    """
    figure: Any = ax.figure
    file = io.StringIO()
    with _matplotlib().rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'\b(id="|href="#)', rf"\g<1>{name}-", text)
    return text.replace("url(#", f"url(#{name}-")


def grid(ax: Axes) -> None:
    """Draw thin lines behind the data, and no frame but the axes."""
    ax.grid(color="0.9", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def whole_numbers(ax: Axes) -> None:
    """Put ticks of the x axis at whole numbers."""
    locator: Any = ax.xaxis.get_major_locator()
    locator.set_params(integer=True)


def legend(ax: Axes, **place: Any) -> None:
    """Name the lines, on white that lets what is behind shine through."""
    ax.legend(framealpha=0.75, edgecolor="none", **place)


def shades(count: int) -> Any:
    """Return colours from dark to light, even in lightness, none too light to be seen on white."""
    return color_map("viridis")(np.linspace(0.0, 0.85, count))


def color_map(name: str) -> Any:
    """Return a map of colours."""
    return _matplotlib().colormaps[name]


def plain_ticks(ax: Axes) -> None:
    """Write the numbers of a logarithmic y axis as they are: 0.5, not 5 x 10^-1."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = ax.get_ylim()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
