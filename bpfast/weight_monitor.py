"""A callback that records what weights, gradients and layers' outputs look like."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bpfast._callback import Callback, Logs
from bpfast._check import bad_value, check_count, check_int

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bpfast._fit import Fit
    from bpfast._plan import Plan
    from bpfast.network import Network

#: An output is saturated where the slope is at most this share of the steepest: learning through it
#: is 20 times slower. For tanh that is beyond 0.975 in size; 0.97 and 0.99 are common elsewhere.
_FLAT: Final = 0.05
#: y (1 - y) = _FLAT / 4.
_SIGMOID: Final = (1 - math.sqrt(1 - _FLAT)) / 2
#: 1 - y^2 = _FLAT.
_TANH: Final = math.sqrt(1 - _FLAT)
#: (1 - abs(y))^2 = _FLAT.
_SOFTSIGN: Final = 1 - math.sqrt(_FLAT)

#: Outputs <= the first and >= the second are saturated. A softmax is where one output has all.
SATURATED: Final[dict[str, tuple[float, float]]] = {
    "sigmoid": (_SIGMOID, 1 - _SIGMOID),
    "tanh": (-_TANH, _TANH),
    "softsign": (-_SOFTSIGN, _SOFTSIGN),
    "hard_sigmoid": (0.0, 1.0),
    "softmax": (math.nan, 1 - _SIGMOID),
}

#: Activations of which a unit without a positive output is dead, or lives on its flat side.
CAN_DIE: Final = frozenset(
    ("relu", "leaky_relu", "elu", "selu", "gelu", "gelu_tanh", "silu", "mish", "hard_swish")
)

#: Core layers whose outputs are looked at.
_KINDS: Final = ("dense", "conv", "activation")

#: Rows that go through the layers at each look: a two hundredth of all, a sixth of a percent of an
#: epoch's arithmetic, within these bounds.
_LEAST_ROWS, _MOST_ROWS, _SHARE = 32, 256, 200

#: More bins than anybody can see.
_MOST_BINS: Final = 65536


@dataclass(slots=True)
class TensorLook:
    """A parameter tensor after an epoch; NaN where something is not defined.

    Attributes
    ----------
    count : int
        Elements.
    mean, std, norm, min, max : float
        Of the weights; std divides by the count, norm is the root of the sum of squares.
    histogram : ndarray of int64 (bins,)
        Weights in each bin, the last one closed.
    edges : ndarray of float64 (bins + 1,)
        Evenly from min to max; half a unit to both sides where these are equal.
    gradient_norm, gradient_mean, gradient_std : float
        Of the gradient that the epoch's last step used, see `WeightMonitor`.
    gradient_histogram, gradient_edges : ndarray
        Like the weights'.
    update_ratio : float
        Norm of what the last step changed / `norm`.
    """

    count: int
    mean: float
    std: float
    norm: float
    min: float
    max: float
    histogram: NDArray[np.int64]
    edges: NDArray[np.float64]
    gradient_norm: float
    gradient_mean: float
    gradient_std: float
    gradient_histogram: NDArray[np.int64]
    gradient_edges: NDArray[np.float64]
    update_ratio: float


@dataclass(slots=True)
class LayerLook:
    """Outputs of a layer after an epoch; NaN where something is not defined.

    Attributes
    ----------
    activation : str
    mean, std : float
        Of all outputs for the rows that were looked at.
    dead : float
        Share of units without a positive output, 0 to 1, of relu and its kin (of those with a slope
        below 0 such units live, but on that side alone). A unit is a channel.
    saturated : float
        Share of outputs where the slope is below a twentieth of the steepest (`SATURATED`), 0 to 1,
        of sigmoid, tanh, softsign and hard_sigmoid; of a softmax the share of rows in which one
        output is above 0.987.
    units : int
    """

    activation: str
    mean: float
    std: float
    dead: float
    saturated: float
    units: int


@dataclass(slots=True)
class Look:
    """What there was after an epoch: tensors by name, layers by path."""

    epoch: int
    tensors: dict[str, TensorLook]
    layers: dict[str, LayerLook]


class WeightMonitor(Callback):
    """Record what weights, gradients and layers' outputs look like.

    All figures are computed in C, in double, with the same bits for any number of threads. No bit
    of the training changes. Where a look is due, the epoch's last step leaves its gradient in
    `Network.gradients`.

    Parameters
    ----------
    every : int, default 1
        Look after every so many epochs, >= 1. A look costs about as much as one or two steps, but
        at least 0.2 ms.
    bins : int, default 64
        Of each histogram, 1 to 65,536.

    Attributes
    ----------
    epochs : list of int
        The epochs that were looked at, from 0.
    looks : list of Look
        One for each. ``look.tensors["0.kernel"]`` is a `TensorLook`, named as in `Network.params`;
        ``look.layers["0"]`` a `LayerLook`, by the path of each dense, convolutional and activation
        layer.

    Notes
    -----
    Gradients are those of the epoch's last batch in training mode: of loss and penalty, zero for
    what is frozen, and after clipping. The update is the change that this batch made, whatever
    the optimizer; about 1e-3 of the weights is usual (Bengio 2012, section 3.3). Both are NaN where
    a resumed fit had no step left.

    Outputs are those of inference, with the weights at the end of the epoch, for one in two hundred
    training rows, at least 32 and at most 256, evenly from the first to the last. A convolution
    with a max pooling behind it shows what the pooling gives.

    A fit that is resumed with the same object goes on with its record; the state in a model file
    does not hold it.

    References
    ----------
    Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks.
    Bengio 2012, Practical recommendations for gradient-based training of deep architectures.
    """

    def __init__(self, *, every: int = 1, bins: int = 64) -> None:
        self.every = check_count("every", every)
        self.bins = check_int("bins", bins, 1, _MOST_BINS)
        self.epochs: list[int] = []
        self._looks: list[Look] = []
        self._taken: list[_Taken] = []  # since somebody read `looks`: names can wait
        self._fit: Fit | None = None
        self._view: _View | None = None
        self._rows: NDArray[Any] | None = None

    @property
    def looks(self) -> list[Look]:
        """One for each of `epochs`."""
        self._looks += [taken.view.look(taken) for taken in self._taken]
        self._taken.clear()
        return self._looks

    def attach(self, fit: Fit) -> None:
        """Note the fit."""
        super().attach(fit)
        self._fit = fit

    def on_train_begin(self, logs: Logs) -> None:
        """Forget earlier fits, but not the epochs before a resumption."""
        assert self._fit is not None
        begun = self.net._progress.epoch if self.net._progress is not None else 0
        self._looks = [look for look in self.looks if look.epoch < begun]
        self.epochs = [look.epoch for look in self._looks]
        self._view, self._rows = _View(self.net), _some(self._fit.rows.x)

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Ask for the last step's gradient and change."""
        assert self._fit is not None
        if (epoch + 1) % self.every == 0:
            self._fit.watch_last_step()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Look, if it is time."""
        if (epoch + 1) % self.every:
            return
        assert self._fit is not None
        assert self._view is not None
        assert self._rows is not None
        before = self._fit.before if self._fit.run_.watched else None
        self._taken.append(self._view.take(self.net, self._rows, epoch, self.bins, before))
        self.epochs.append(epoch)

    def on_train_end(self, logs: Logs) -> None:
        """Let go of the fit and its data."""
        self._fit = self._view = self._rows = None

    def table(self, look: int = -1) -> str:
        """Return one look as text; the last one by default.

        Raises
        ------
        ValueError
            There is no such look.
        """
        number = check_int("look", look)
        if not -len(self.looks) <= number < len(self.looks):
            raise bad_value("look", f"the index of one of {len(self.looks)} looks", look)
        return _table(self.looks[number])

    def as_dict(self) -> dict[str, Any]:
        """Return the record in JSON types: arrays as lists, what is not finite as None."""
        return {
            "every": self.every,
            "bins": self.bins,
            "epochs": list(self.epochs),
            "looks": [
                {
                    "epoch": look.epoch,
                    "tensors": {name: _plain(tensor) for name, tensor in look.tensors.items()},
                    "layers": {path: _plain(layer) for path, layer in look.layers.items()},
                }
                for look in self.looks
            ],
        }

    def __repr__(self) -> str:
        """Show the number of looks."""
        return f"<WeightMonitor of {len(self.epochs)} looks>"


class _Taken(NamedTuple):
    """The figures of a look, before they have names."""

    view: _View
    epoch: int
    knows_step: bool  # of the last step: its gradient and change
    figures: list[tuple[float, ...]]  # of weights and gradients in turn
    histograms: NDArray[np.int64]
    edges: NDArray[np.float64]
    outputs: list[tuple[int, int, float, float, int, int, int]]


class _View:
    """What a look at a network needs, found once; nothing of the network itself."""

    def __init__(self, net: Network) -> None:
        self._counts = {name: array.size for name, array in net.params.items()}
        self._sizes = list(self._counts.values())
        self._layers = seen_layers(net._plan)
        self._threads = net._threads()
        self._wanted = [
            (index, *SATURATED.get(activation, (math.nan, math.nan)))
            for index, activation in self._layers.values()
        ]

    def take(
        self, net: Network, x: NDArray[Any], epoch: int, bins: int, before: NDArray[Any] | None
    ) -> _Taken:
        """Take the figures; `before`: what the last step met, where that left its gradient."""
        from bpfast import _core

        arrays = [(net.parameters, before), (net.gradients, None)]
        summaries = _core.summaries(arrays, self._sizes, bins, *self._threads)
        outputs = _core.outputs(net._core, x, self._wanted, *self._threads)
        return _Taken(self, epoch, before is not None, *summaries, outputs)

    def look(self, taken: _Taken) -> Look:
        """Give the figures their names."""
        import numpy as np

        tensors = {}
        for i, (name, count) in enumerate(self._counts.items()):
            w, g = taken.figures[2 * i], taken.figures[2 * i + 1]
            mean, std, norm, low, high, change = w
            tensors[name] = tensor = TensorLook(
                count, mean, std, norm, low, high, taken.histograms[2 * i], taken.edges[2 * i],
                g[2], g[0], g[1], taken.histograms[2 * i + 1], taken.edges[2 * i + 1],
                change / norm if norm > 0 else math.nan,
            )  # fmt: skip
            if not taken.knows_step:
                tensor.gradient_norm = tensor.gradient_mean = tensor.gradient_std = math.nan
                tensor.gradient_histogram = np.zeros_like(tensor.histogram)
                tensor.gradient_edges = np.full_like(tensor.edges, math.nan)
                tensor.update_ratio = math.nan
        layers = {
            path: layer_look(activation, figures)
            for (path, (_, activation)), figures in zip(
                self._layers.items(), taken.outputs, strict=True
            )
        }
        return Look(taken.epoch, tensors, layers)


def _some(x: NDArray[Any]) -> NDArray[Any]:
    """Return the rows that go through the layers."""
    count = min(len(x), max(_LEAST_ROWS, min(_MOST_ROWS, len(x) // _SHARE)))
    return x[:: len(x) // count][:count]


def seen_layers(plan: Plan) -> dict[str, tuple[int, str]]:
    """Return core layer and activation by path; of several in one place, the last."""
    return {
        layer.path: (i, str(layer.spec["activation"]))
        for i, layer in enumerate(plan.layers)
        if layer.kind in _KINDS
    }


def layer_look(activation: str, figures: tuple[int, int, float, float, int, int, int]) -> LayerLook:
    """Return what `_core.outputs` found of a layer."""
    units, outputs, mean, std, silent, lows, highs = figures
    dead = silent / units if activation in CAN_DIE else math.nan
    saturated = math.nan
    if activation == "softmax":
        saturated = highs * units / outputs
    elif activation in SATURATED:
        saturated = (lows + highs) / outputs
    return LayerLook(activation, mean, std, dead, saturated, units)


def _plain(record: TensorLook | LayerLook) -> dict[str, Any]:
    """Return the fields in JSON types."""
    return {field.name: _json(getattr(record, field.name)) for field in fields(record)}


def _json(value: Any) -> Any:
    """Return a value in JSON types."""
    if hasattr(value, "tolist"):  # an array
        return [_json(element) for element in value.tolist()]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(look: Look) -> str:
    """Write a look as two tables."""
    tensors = [
        ("tensor", "count", "mean", "std", "norm", "min", "max", "gradient", "update"),
        *(
            (name, f"{t.count:,}", *_cells(t.mean, t.std, t.norm, t.min, t.max),
             *_cells(t.gradient_norm, t.update_ratio))
            for name, t in look.tensors.items()
        ),
    ]  # fmt: skip
    layers = [
        ("layer", "activation", "units", "mean", "std", "dead", "saturated"),
        *(
            (path, v.activation, f"{v.units:,}", *_cells(v.mean, v.std),
             *(f"{share:.1%}" if share == share else "" for share in (v.dead, v.saturated)))
            for path, v in look.layers.items()
        ),
    ]  # fmt: skip
    lines = [f"epoch {look.epoch}", *_aligned(tensors, 1), "", *_aligned(layers, 2)]
    return "\n".join(lines)


def _cells(*values: float) -> Iterable[str]:
    """Write numbers with four digits, unknown ones as nothing."""
    return ("" if math.isnan(value) else f"{value:.4g}" for value in values)


def _aligned(rows: Sequence[tuple[str, ...]], left: int) -> list[str]:
    """Return lines, the first columns aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
