"""Figures of a training: how it went, what the weights did, and where the network errs.

Each function draws into `ax`, or into a new figure, and returns the Axes: go on with
``ax.set_title(...)`` or ``ax.figure.savefig("run.png")``. A new figure is one of pyplot's where
pyplot is in use, so that notebooks and ``plt.show()`` show it; else nobody holds it but you.
Colours are those of Okabe & Ito (2008), and maps that are even in lightness; where colour tells
lines apart, dashes or markers do too.

Needs matplotlib: ``pip install 'bpfast[plot]'``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bpfast._check import bad_type, bad_value, check_text, listed
from bpfast._figures import axes_or_new, color_map, grid, legend, plain_ticks, shades, whole_numbers

if TYPE_CHECKING:
    from bpfast._figures import Axes
    from bpfast._find_lr import LearningRateTest
    from bpfast.callbacks import History
    from bpfast.network import Network
    from bpfast.weight_monitor import Look, WeightMonitor

__all__ = [
    "confusion",
    "first_layer",
    "gradient_flow",
    "gradients",
    "learning_curves",
    "learning_rate_test",
    "weights",
]

BLUE: Final = "#0072B2"
ORANGE: Final = "#D55E00"
GREY: Final = "#6B6B6B"
MOST_RIDGES: Final = 12
CUT: Final = 5e-3  # share of a distribution at each end that is not shown
FEW: Final = 8  # values a bin, below which bins are joined
MOST_LINES: Final = 5
MOST_IMAGES: Final = 64
MOST_CELLS: Final = 20  # a side, with a number in each


# ---- the plots ---------------------------------------------------------------------------------


def learning_curves(
    history: History | Mapping[str, Sequence[float]], key: str = "loss", *, ax: Axes | None = None
) -> Axes:
    """Draw a number of each epoch, of the training and of the validation rows.

    Parameters
    ----------
    history : History or dict of lists
        What `Network.fit` returned.
    key : str, default "loss"
        A key without ``val_``; the other is drawn where there is one, its best epoch marked.
    ax : Axes, optional

    Returns
    -------
    Axes
        Epochs count from 1; the scale is logarithmic where the values span a factor of 50.

    Raises
    ------
    ValueError
        There is no such key, or no epoch.
    """
    record: Any = getattr(history, "history", history)
    if not isinstance(record, Mapping):
        raise bad_type("history", "a History or a dict of lists", history)
    check_text("key", key)
    if key not in record:
        raise bad_value("key", f"one of {listed(record)}", key)
    curves = {"training": np.asarray(record[key], float)}
    if f"val_{key}" in record:
        curves["validation"] = np.asarray(record[f"val_{key}"], float)
    epochs = np.arange(1, len(curves["training"]) + 1)
    if len(epochs) == 0:
        raise bad_value("history", "of at least one epoch", record)
    ax = axes_or_new(ax)
    marker = "o" if len(epochs) <= 25 else None
    for (name, values), color, dash in zip(
        curves.items(), (BLUE, ORANGE), ("-", "--"), strict=False
    ):
        ax.plot(epochs, values, dash, color=color, marker=marker, markersize=3.5, label=name)
    if "validation" in curves and np.isfinite(curves["validation"]).any():
        _mark_best(ax, curves["validation"], key)
    finite = np.concatenate(list(curves.values()))
    finite = finite[np.isfinite(finite)]
    if len(finite) and finite.min() > 0 and finite.max() > 50 * finite.min():
        ax.set_yscale("log")
        plain_ticks(ax)
    ax.set_xlabel("epoch")
    ax.set_ylabel(key)
    whole_numbers(ax)
    grid(ax)
    legend(ax)
    return ax


def weights(monitor: WeightMonitor, tensor: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw how the values of a tensor are distributed, one ridge an epoch, the first on top.

    Parameters
    ----------
    monitor : WeightMonitor
        After a fit.
    tensor : str, optional
        As in `Network.params`, such as ``"0.kernel"``; the default is the first.
    ax : Axes, optional

    Returns
    -------
    Axes
        At most 12 epochs. Each ridge has a height of its own; half a hundredth at each end is cut.

    Raises
    ------
    ValueError
        Nothing was looked at, or there is no such tensor.
    """
    ax = _ridges(monitor, tensor, "histogram", "edges", ax)
    ax.set_xlabel("weight")
    return ax


def gradients(monitor: WeightMonitor, tensor: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw how the gradients of a tensor are distributed; arguments and result as of `weights`."""
    ax = _ridges(monitor, tensor, "gradient_histogram", "gradient_edges", ax)
    ax.set_xlabel("gradient")
    return ax


def gradient_flow(monitor: WeightMonitor, *, ax: Axes | None = None) -> Axes:
    """Draw the norm of each kernel's gradient, from the input to the output, over the epochs.

    A line that falls from right to left by powers of ten shows gradients that vanish on their way
    back; one that rises shows them explode.

    Parameters
    ----------
    monitor : WeightMonitor
        After a fit.
    ax : Axes, optional

    Returns
    -------
    Axes
        At most five epochs, the first and the last among them.

    Raises
    ------
    ValueError
        Nothing was looked at.
    """
    looks = _looks(monitor)
    names = [name for name in looks[0].tensors if name.endswith(".kernel")]
    names = names or list(looks[0].tensors)
    ax = axes_or_new(ax)
    chosen = _thinned(looks, MOST_LINES)
    for look, color, marker, dash in zip(
        chosen, shades(len(chosen)), "os^Dv", ("-", "--", "-.", ":", "-"), strict=False
    ):
        norms = np.array([look.tensors[name].gradient_norm for name in names], float)
        norms[~(norms > 0)] = np.nan
        label = f"epoch {look.epoch + 1}"
        ax.plot(
            range(len(names)), norms, dash, color=color, marker=marker, markersize=5, label=label
        )
    ax.set_yscale("log")
    plain_ticks(ax)
    ax.set_xticks(range(len(names)), [name.removesuffix(".kernel") for name in names])
    if sum(map(len, names)) > 60:
        ax.tick_params(axis="x", rotation=60)
    ax.set_xlabel("layer, from input to output")
    ax.set_ylabel("norm of the gradient")
    grid(ax)
    legend(ax, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


def first_layer(
    net: Network, shape: Sequence[int] | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw the weights of the first layer as images, one for each unit.

    Parameters
    ----------
    net : Network
        Its first parameters are a dense or convolutional layer's.
    shape : (height, width) or (height, width, 3), optional
        Of a dense layer's inputs. The default is the network's `input_shape` where that is an
        image, or a square.
    ax : Axes, optional

    Returns
    -------
    Axes
        At most 64 units. White is 0, orange above, purple below; with three channels, colours.

    Raises
    ------
    ValueError
        The weights of a unit are no such image.
    """
    name, kernel = next(iter(net.params.items()))
    if kernel.ndim not in (2, 4) or not name.endswith(".kernel"):
        raise bad_value("net", "one whose first layer is Dense or Conv2D", name)
    images = _images(net, kernel, shape)
    ax = axes_or_new(ax, 4.8, 4.8)
    if images.ndim == 4:
        low, high = images.min(axis=(1, 2, 3)), images.max(axis=(1, 2, 3))
        span = np.where(high > low, high - low, 1)[:, None, None, None]
        ax.imshow(
            _montage((images - low[:, None, None, None]) / span, 1.0), interpolation="nearest"
        )
    else:
        limit = float(np.quantile(np.abs(images), 0.999)) or 1.0
        seen = ax.imshow(
            _montage(images, np.nan),
            cmap=color_map("PuOr_r").with_extremes(bad="0.75"),
            vmin=-limit,
            vmax=limit,
            interpolation="nearest",
        )
        ax.figure.colorbar(seen, ax=ax, shrink=0.8, pad=0.02).outline.set_visible(False)
    units = kernel.shape[-1]
    count = f"{len(images)} of {units}" if len(images) < units else f"{units}"
    size = " x ".join(map(str, images.shape[1:]))
    ax.set_title(f"{name}: {count} units of {size}")
    ax.set_axis_off()
    return ax


def confusion(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    labels: Sequence[Any] | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw how many rows of each class were taken for which.

    Parameters
    ----------
    y_true, y_pred : array (rows,)
        Classes as they are, and as they were predicted: numbers or texts.
    labels : sequence, optional
        Names of the classes 0, 1, ...; by default the values themselves, sorted.
    ax : Axes, optional

    Returns
    -------
    Axes
        Colours are shares of a row, so that rare classes are seen; up to 20 classes have counts.

    Raises
    ------
    ShapeError, ValueError
        The arrays do not fit each other, are empty, or hold what `labels` has no name for.
    """
    from bpfast.errors import ShapeError

    true, found = np.asarray(y_true), np.asarray(y_pred)
    if true.ndim != 1 or true.shape != found.shape or len(true) == 0:
        raise ShapeError(
            f"y_true and y_pred must both have shape (rows,), got {true.shape} and {found.shape}"
        )
    classes = np.unique(np.concatenate([true, found])) if labels is None else range(len(labels))
    place = {value: i for i, value in enumerate(np.asarray(classes).tolist())}
    unknown = set(true.tolist() + found.tolist()) - set(place)
    if unknown:
        raise bad_value("labels", f"{max(map(int, unknown)) + 1} names or more", labels)
    counts = np.zeros((len(place), len(place)), np.int64)
    np.add.at(counts, ([place[v] for v in true.tolist()], [place[v] for v in found.tolist()]), 1)
    names = [str(value) for value in (place if labels is None else labels)]
    size = min(max(3.2, 1.4 + 0.42 * len(names)), 9.0)
    ax = axes_or_new(ax, size + 0.8, size)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    seen = ax.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    if len(names) <= MOST_CELLS:
        for (i, j), count in np.ndenumerate(counts):
            color = "black" if shares[i, j] > 0.6 else "white"
            dim = 1.0 if count else 0.35
            ax.text(j, i, f"{count}", ha="center", va="center", color=color, alpha=dim, fontsize=8)
    step = max(1, len(names) // MOST_CELLS)
    ticks = range(0, len(names), step)
    long = max(map(len, names)) > 3
    ax.set_xticks(
        ticks, names[::step], rotation=60 if long else 0, ha="right" if long else "center"
    )
    ax.set_yticks(ticks, names[::step])
    if long:
        ax.tick_params(axis="x", pad=1)
        for label in ax.get_xticklabels():
            label.set_rotation_mode("anchor")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    bar = ax.figure.colorbar(seen, ax=ax, shrink=0.8, pad=0.02, label="share of the true class")
    bar.outline.set_visible(False)
    return ax


def learning_rate_test(result: LearningRateTest, *, ax: Axes | None = None) -> Axes:
    """Draw the losses of `Network.find_lr` over the rates, and the suggestion.

    Parameters
    ----------
    result : LearningRateTest
    ax : Axes, optional

    Returns
    -------
    Axes
        Losses that have diverged are cut off.
    """
    ax = axes_or_new(ax)
    ax.plot(result.rates, result.raw, ".", color=GREY, alpha=0.45, markersize=4, label="batches")
    ax.plot(result.rates, result.losses, "-", color=BLUE, linewidth=2, label="smoothed")
    ax.axvline(
        result.suggestion, linestyle="--", color=ORANGE, label=f"suggestion {result.suggestion:.2g}"
    )
    low, start = float(result.losses.min()), float(result.losses[0])
    room = max(start - low, 1e-3 * abs(start), 1e-12)
    ax.set_ylim(min(low, float(result.raw.min())) - 0.05 * room, start + 0.6 * room)
    ax.set_xscale("log")
    ax.set_xlabel("learning rate")
    ax.set_ylabel("loss")
    grid(ax)
    legend(ax, loc="lower left")
    return ax


def _mark_best(ax: Axes, values: NDArray[Any], key: str) -> None:
    """Put a ring around the best epoch."""
    from bpfast._monitor import MAXIMISED

    best = int(np.nanargmax(values) if key in MAXIMISED else np.nanargmin(values))
    label = f"best: {values[best]:.4g}, epoch {best + 1}"
    ax.plot(
        best + 1,
        values[best],
        "o",
        markersize=9,
        markerfacecolor="none",
        color="black",
        label=label,
    )


def _thinned(looks: Sequence[Look], most: int) -> list[Look]:
    """Return at most so many, evenly spaced, the first and the last among them."""
    if len(looks) <= most:
        return list(looks)
    places = np.linspace(0, len(looks) - 1, most).round().astype(int)
    return [looks[i] for i in places]


# ---- ridges ------------------------------------------------------------------------------------


def _looks(monitor: WeightMonitor) -> list[Look]:
    """Return what the monitor saw."""
    found = list(getattr(monitor, "looks", ()))
    if not hasattr(monitor, "looks"):
        raise bad_type("monitor", "a WeightMonitor", monitor)
    if not found:
        raise bad_value("monitor", "one that has looked: give it to fit as a callback", monitor)
    return found


def _ridges(
    monitor: WeightMonitor, tensor: str | None, counts_name: str, edges_name: str, ax: Axes | None
) -> Axes:
    """Draw the histograms of a tensor, the first epoch on top."""
    looks = _looks(monitor)
    names = looks[0].tensors
    if tensor is None:
        tensor = next(iter(names))
    elif tensor not in names:
        raise bad_value("tensor", f"one of {listed(names)}", tensor)
    ridges = []
    for look in _thinned(looks, MOST_RIDGES):
        counts = np.asarray(getattr(look.tensors[tensor], counts_name), float)
        edges = np.asarray(getattr(look.tensors[tensor], edges_name), float)
        if counts.sum() > 0 and np.isfinite(edges).all() and edges[-1] > edges[0]:
            ridges.append((look.epoch, *_joined(counts, edges)))
    ax = axes_or_new(ax, 6.0, 0.6 + 0.32 * max(len(ridges), 5))
    for place, ((_, counts, edges), color) in enumerate(
        zip(ridges, shades(len(ridges)), strict=True)
    ):
        density = counts / np.diff(edges)
        x, y = np.repeat(edges, 2), np.concatenate([[0], np.repeat(density, 2), [0]])
        y = place - 1.6 * y / y.max()  # the y axis points down
        ax.fill_between(x, place, y, color=color, alpha=0.75, linewidth=0, zorder=place)
        ax.plot(x, y, color="white", linewidth=0.7, zorder=place)
    _place_ridges(ax, ridges)
    ax.set_title(tensor)
    return ax


def _joined(counts: NDArray[Any], edges: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return bins two by two, until there are values enough in them to have a shape."""
    while len(counts) % 2 == 0 and counts.sum() < FEW * len(counts):
        counts, edges = counts[::2] + counts[1::2], edges[::2]
    return counts, edges


def _place_ridges(ax: Axes, ridges: list[tuple[int, NDArray[Any], NDArray[Any]]]) -> None:
    """Set the limits, and a tick at each ridge's base line."""
    if ridges:
        spans = [_span(counts, edges) for _, counts, edges in ridges]
        ax.set_xlim(min(low for low, _ in spans), max(high for _, high in spans))
        ax.set_ylim(len(ridges) - 0.8, -1.75)
    ax.set_yticks(range(len(ridges)), [f"{epoch + 1}" for epoch, _, _ in ridges])
    ax.tick_params(axis="y", length=0)
    ax.set_ylabel("epoch")
    ax.grid(axis="x", color="0.9", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _span(counts: NDArray[Any], edges: NDArray[Any]) -> tuple[float, float]:
    """Return between which edges all but CUT on either side lies."""
    share = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    first = int(np.searchsorted(share, CUT, side="right")) - 1
    last = int(np.searchsorted(share, 1 - CUT, side="left"))
    return float(edges[first]), float(edges[last])


# ---- images ------------------------------------------------------------------------------------


def _images(net: Network, kernel: NDArray[Any], shape: Sequence[int] | None) -> NDArray[Any]:
    """Return (units, height, width) or (units, height, width, 3)."""
    if kernel.ndim == 4:
        if shape is not None:
            raise bad_value("shape", "None for a convolution", shape)
        images = np.moveaxis(np.asarray(kernel, float)[..., :MOST_IMAGES], -1, 0)
        return images if images.shape[-1] == 3 else images.mean(axis=-1)
    wanted = tuple(shape) if shape is not None else _image_shape(net)
    rgb = len(wanted) == 3 and wanted[2] == 3
    if math.prod(wanted) != len(kernel) or not (len(wanted) == 2 or rgb or wanted[2:] == (1,)):
        expected = f"(height, width) or (height, width, 3) of {len(kernel)} inputs"
        raise bad_value("shape", expected, wanted)
    images = np.asarray(kernel, float).T[:MOST_IMAGES].reshape(-1, *wanted)
    return images if rgb or images.ndim == 3 else images[..., 0]


def _image_shape(net: Network) -> tuple[int, ...]:
    """Return the shape of an input, or the square that it makes."""
    if len(net.input_shape) > 1:
        return tuple(net.input_shape)
    side = math.isqrt(net.inputs)
    return (side, side)


def _montage(images: NDArray[Any], gap: float) -> NDArray[Any]:
    """Return the images side by side in one, a pixel of `gap` between them."""
    count, height, width, *rest = images.shape
    columns = math.ceil(math.sqrt(count))
    lines = math.ceil(count / columns)
    whole = np.full((lines * (height + 1) - 1, columns * (width + 1) - 1, *rest), gap)
    for i, image in enumerate(images):
        y, x = i // columns * (height + 1), i % columns * (width + 1)
        whole[y : y + height, x : x + width] = image
    return whole
