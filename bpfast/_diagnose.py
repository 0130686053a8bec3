"""Network.diagnose: troubles named, with evidence and advice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike

from bpfast import _core
from bpfast._check import bad_type, bad_value, check_count
from bpfast._data import Rows, as_rows, check_finite
from bpfast._diagnosis import Diagnosis, Finding
from bpfast._streams import USER

if TYPE_CHECKING:
    from bpfast._graph import CoreLayer
    from bpfast._probe import Probe
    from bpfast.losses import Loss
    from bpfast.network import Network
    from bpfast.optimizers import Optimizer

#: Values that inputs may have, and the outputs of all layers for the rows that go through them
#: together: 64 MB in float32; of these the rows that are enough, and the fewest.
_MOST_VALUES: Final = 1 << 24
_MOST_ROWS, _LEAST_ROWS = 512, 32

#: A layer is in trouble when at least so many of its units are equal, dead or saturated.
_HALF: Final = 0.5
#: Gradients that are equal but for rounding of a sum.
_EQUAL: Final = 1e-5

#: Signals of the first layer and the last may differ a thousandfold; root mean squares of outputs
#: and input a thousandfold downwards, a hundredfold upwards. Initial weights that keep the variance
#: (Glorot & Bengio 2010, He et al. 2015) keep both within about ten.
_GRADIENTS: Final = 1e3
_VANISHED, _EXPLODED = 1e-3, 1e2
#: An answer is too large when its loss is so many times that of the best constant and it is so many
#: times as large as targets; logits of this size say that a probability is 1 - 5e-5.
_WORSE, _LARGER, _LOGITS = 10.0, 10.0, 10.0
#: Outputs of one layer that are so many times the size of its inputs: where an explosion begins.
_GAIN: Final = 4.0

#: The loss of validation rows is well above that of training rows when it is twice as high, and the
#: difference a tenth of what the best constant answer loses.
_GAP, _MATTERS = 2.0, 0.1

#: Layers that give every column mean 0 and variance 1, or every row length 1.
_SCALES: Final = ("standardize", "batchnorm", "layernorm", "rmsnorm")
_WEIGHTS: Final = (
    "he_normal before relu and its kin, glorot_uniform before tanh; BatchNorm behind each layer, "
    "or Residual around every two"
)
_BOUNDED: Final = ("sigmoid", "hard_sigmoid", "softmax")


def diagnose(
    net: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: str | Loss | Mapping[str, Any] | Callable[..., Any] | None = None,
    optimizer: str | Optimizer = "adam",
    batch_size: int = 32,
    validation_data: tuple[Any, Any] | None = None,
    feature_names: Sequence[str] | None = None,
    rows: int = 2048,
) -> Diagnosis:
    """Look for what keeps the network from learning.

    Data are looked at, one batch goes forward and backward without dropout and noise, and a copy
    makes up to 100 trial steps. The network keeps all its bits and its state.

    Parameters
    ----------
    X : array (rows, inputs) or (rows, *input_shape)
    y : array (rows,) or (rows, outputs)
        As `fit` takes them: the training data.
    loss : str, Loss or callable, optional
        The last fit's by default.
    optimizer : str or Optimizer, default "adam"
        Of the trial steps; its learning rate is judged.
    batch_size : int, default 32
        Of the trial steps; `fit`'s default.
    validation_data : (X, y), optional
        To compare with the training rows; else the last fit's history is read, where it has
        ``val_loss``.
    feature_names : sequence of str, optional
        Of the columns, for the findings; their index by default.
    rows : int, default 2048
        Most rows that are looked at, drawn by `seed`; up to 512 go through the layers. Fewer where
        rows are large. Labels are counted in all rows.

    Returns
    -------
    Diagnosis
        ``print`` shows it; it iterates over findings with name, layer, evidence, advice and
        severity. The names, with the thresholds:

        - ``symmetric units``: half of a layer's units have the same weights and gradients
        - ``dead relu``: half of the units of a relu layer have no positive output
        - ``saturated sigmoid`` (tanh, softsign, hard_sigmoid): half of a hidden layer's outputs lie
          where the slope is below a twentieth of the steepest
        - ``vanishing gradients``, ``exploding gradients``: the signal at the first trained layer is
          a thousandth, or a thousand times, that at the last
        - ``vanishing activations``, ``exploding activations``: a hidden layer's outputs are a
          thousandth, or a hundred times, the size of the inputs; or the answers lose ten times as
          much as the best constant one
        - ``unscaled inputs``: a column's root mean square is above 10, or all are below 0.01
        - ``constant columns`` (not those of zeros, which take no part), ``duplicated columns``
        - ``label imbalance``: the largest class is over 9 times the smallest
        - ``learning rate too high``: the trial diverges; or steps are above a hundredth of the
          weights and batches lose less at a tenth of the rate; ``learning rate too low``: steps are
          below 1e-5 of the weights and the loss does not fall
        - ``validation gap``: validation rows lose more than twice as much as training rows

        What follows from an earlier one of them is left out.

    Raises
    ------
    ShapeError, ValueError, TypeError
        Before any work; ValueError too without `loss` where the network was never fitted.
    RuntimeError
        A fit of this network is running.

    References
    ----------
    Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks.
    """
    from bpfast import losses, optimizers
    from bpfast._diagnose_data import look_at_inputs, look_at_targets
    from bpfast._diagnose_steps import constant_loss, look_at_rate
    from bpfast._probe import Probe
    from bpfast._score import Scorer

    net._lock.check_idle("diagnose")
    if loss is None and net._loss is None:
        raise ValueError("loss must be given: this network was never fitted")
    chosen = net._loss if loss is None else losses.get(loss)
    assert chosen is not None
    rule = optimizers.get(optimizer)
    batch = check_count("batch_size", batch_size)
    most = min(check_count("rows", rows), max(_LEAST_ROWS, _MOST_VALUES // net.inputs))
    names = _names(feature_names, net.inputs)
    known = chosen if isinstance(chosen, losses.Loss) else None
    size = net.dtype.itemsize
    given = as_rows(X, y, net.input_shape, net.outputs, known, size, may_stream=True, dense=True)
    sample = _drawn(given, most, net.seed)
    check_finite("X", sample.x, size)
    checked = _validation(net, validation_data, known, most)
    scorer = Scorer(net, chosen, (), given)

    probe = Probe(net, sample.take(np.arange(_probe_rows(net, len(sample)))), chosen,
                  scorer.objective)  # fmt: skip
    constant = constant_loss(sample, net.outputs, chosen, scorer.objective)
    scaled = all(layer.kind in _SCALES for layer in net._plan.layers if 0 in layer.inputs)
    found = [*look_at_inputs(sample.x, names, scaled), *look_at_targets(given, net.outputs, chosen)]
    unscaled = any(finding.name == "unscaled inputs" for finding in found)
    layers = list(_look_at_units(net, probe)) or list(_look_at_signals(net, probe))
    if not layers and not unscaled:
        logits = known is not None and known.kind in ("cross_entropy", "binary_cross_entropy")
        layers = list(_look_at_answers(net, probe, sample, constant, logits))
    found += layers
    steps = 0
    if not layers and not unscaled:
        trouble, steps = look_at_rate(net, sample, chosen, rule, batch, constant)
        found += trouble
    found += _look_at_gap(net, scorer, sample, checked, constant)
    found.sort(key=lambda finding: finding.severity)  # errors first, else in the order above
    return Diagnosis(tuple(found), len(sample), steps)


# ---- what was given


def _names(given: object, inputs: int) -> Sequence[str] | None:
    """Return the names of the columns, one for each input."""
    if given is None:
        return None
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise bad_type("feature_names", "a sequence of names", given)
    names = [str(name) for name in given]
    if len(names) != inputs:
        raise bad_value("feature_names", f"{inputs} names, one for each input", names)
    return names


def _drawn(rows: Rows, most: int, seed: int) -> Rows:
    """Return at most so many rows."""
    if len(rows) <= most:
        return rows
    return rows.take(np.sort(_core.permutation(len(rows), seed, USER)[:most]))


def _validation(net: Network, given: object, loss: Loss | None, most: int) -> Rows | None:
    """Return rows to validate on."""
    if given is None:
        return None
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise bad_type("validation_data", "(X, y)", given)
    size = net.dtype.itemsize
    x, y = given
    rows = as_rows(x, y, net.input_shape, net.outputs, loss, size, "_validation", dense=True)
    return _drawn(rows, most, net.seed)


def _probe_rows(net: Network, rows: int) -> int:
    """Return how many rows go through the layers at once."""
    each = net.inputs + sum(math.prod(layer.shape) for layer in net._plan.layers)
    return min(rows, max(_LEAST_ROWS, min(_MOST_ROWS, _MOST_VALUES // each)))


# ---- layers


def _kernel(layer: CoreLayer) -> str | None:
    """Return the name of a kernel that a dense or convolutional layer owns."""
    owns = layer.kind in ("dense", "conv") and "kernel" in layer.weights and layer.shares is None
    return f"{layer.path}.kernel" if owns else None


def _look_at_units(net: Network, probe: Probe) -> Iterator[Finding]:
    """Yield layers whose units are equal, dead or saturated.

    Behind a layer that is all dead every layer sees a constant: it is the last one looked at.
    """
    last = net._plan.layers[-1].path
    for i, layer in enumerate(net._plan.layers):
        equal = _equal_units(net, probe, layer) if i + 1 < len(net._plan.layers) else 0.0
        if equal >= _HALF:
            yield Finding(
                "symmetric units",
                layer.path,
                f"{equal:.0%} of its {layer.shape[-1]} units have the same weights and the same "
                "gradients, and will stay the same",
                "draw the initial weights at random: the default weight_init does",
                "error",
            )
    for path, seen in probe.layers.items():
        if seen.activation == "relu" and seen.dead >= _HALF:
            yield Finding(
                "dead relu",
                path,
                f"{seen.dead:.0%} of its {seen.units} units have no positive output: no gradient "
                "comes through them",
                "start biases at 0 and weights with he_normal, lower the learning rate, or use "
                "leaky_relu",
                "error",
            )
            if seen.dead == 1.0:
                return
        elif seen.activation != "softmax" and path != last and seen.saturated >= _HALF:
            yield Finding(
                f"saturated {seen.activation}",
                path,
                f"{seen.saturated:.0%} of its outputs lie where the slope is below a twentieth of "
                "the steepest",
                "make its weights or inputs smaller: glorot_uniform, scaled inputs, or BatchNorm "
                "before it",
                "error",
            )


def _equal_units(net: Network, probe: Probe, layer: CoreLayer) -> float:
    """Return the share of a layer's units that are like the first one, weights and gradients."""
    name = _kernel(layer)
    units = layer.shape[-1]
    if name is None or units < 2:
        return 0.0
    w = net.params[name].reshape(-1, units)
    same = (w == w[:, :1]).all(axis=0)
    bias = f"{layer.path}.bias"
    if bias in net.params:
        same &= net.params[bias] == net.params[bias][0]
    if same.sum() < _HALF * units:
        return 0.0
    for part in (name, bias):
        if part in probe.grads:
            g = probe.grads[part].reshape(-1, units)
            same &= (np.abs(g - g[:, :1]) <= _EQUAL * np.abs(g).max()).all(axis=0)
    return float(same.mean())


def _look_at_signals(net: Network, probe: Probe) -> Iterator[Finding]:
    """Yield where outputs or gradients grow or shrink from layer to layer."""
    plan, sizes = net._plan, probe.sizes
    trainable = plan.trainable()
    for layer, size in zip(plan.layers[:-1], sizes[1:], strict=False):
        if _kernel(layer) is None:
            continue
        if size > _EXPLODED * max(sizes[0], 1.0):
            yield _explosion(net, probe, layer, size, f"of the inputs {sizes[0]:.2g}")
            return
        if size < _VANISHED * min(sizes[0], 1.0) and layer.spec["activation"] not in _BOUNDED:
            yield Finding(
                "vanishing activations",
                layer.path,
                f"the root mean square of its outputs is {size:.2g}, of the inputs {sizes[0]:.2g}",
                _WEIGHTS,
                "error",
            )
            break
    signals = [
        (layer.path, _signal(probe, layer, name))
        for i, layer in enumerate(plan.layers)
        if (name := _kernel(layer)) is not None and trainable[i]
    ]
    if len(signals) < 2 or not signals[-1][1] > 0:
        return
    (first, near), (last, far) = signals[0], signals[-1]
    ratio = near / far
    if ratio < 1 / _GRADIENTS or ratio > _GRADIENTS:
        vanishes = ratio < 1
        yield Finding(
            f"{'vanishing' if vanishes else 'exploding'} gradients",
            first,
            f"the gradient at its outputs is {ratio:.1e} times that at layer {last}, "
            f"{abs(ratio) ** (1 / (len(signals) - 1)):.2g} times a layer",
            _WEIGHTS + ("" if vanishes else "; or clip_norm=1.0"),
            "error",
        )


def _explosion(net: Network, probe: Probe, layer: CoreLayer, size: float, beside: str) -> Finding:
    """Return the finding of a layer with outputs that are too large, where that begins."""
    first, gain = layer, math.nan
    for i, one in enumerate(net._plan.layers):
        source = probe.sizes[one.inputs[0]]
        if _kernel(one) is not None and probe.sizes[i + 1] > _GAIN * source > 0:
            first, gain = one, probe.sizes[i + 1] / source
            break
    begins = (
        "" if math.isnan(gain) else f"its outputs are {gain:.2g} times the size of its inputs; "
    )
    return Finding(
        "exploding activations",
        first.path,
        f"{begins}the root mean square behind layer {layer.path} is {size:.2g}, {beside}",
        _WEIGHTS,
        "error",
    )


def _signal(probe: Probe, layer: CoreLayer, name: str) -> float:
    """Return about the size of the gradient at a layer's outputs, from that of its kernel x^T dz.

    That one is proportional to the inputs, to the root of their number, and to that of the
    positions where the kernel is used.
    """
    gradient = probe.grads[name].astype(np.float64)
    inputs = gradient.size // gradient.shape[-1]
    positions = math.prod(layer.shape[:-1])
    scale = probe.sizes[layer.inputs[0]] * math.sqrt(inputs * positions)
    return float(np.linalg.norm(gradient)) / scale if scale > 0 else 0.0


def _look_at_answers(
    net: Network, probe: Probe, rows: Rows, constant: float, reads_logits: bool
) -> Iterator[Finding]:
    """Yield answers so large that any constant one would be much better."""
    from bpfast._probe import root_mean_square

    if not probe.loss > _WORSE * constant:  # also where nothing is known of constants
        return
    limit = _LOGITS if reads_logits else _LARGER * root_mean_square(rows.target())
    if probe.sizes[-1] > limit:
        beside = f"the loss {probe.loss:.3g}, of the best constant answer {constant:.3g}"
        yield _explosion(net, probe, net._plan.layers[-1], probe.sizes[-1], beside)


# ---- validation


def _look_at_gap(
    net: Network, scorer: Any, sample: Rows, validation: Rows | None, constant: float
) -> Iterator[Finding]:
    """Yield a loss of validation rows that is well above that of training rows."""
    if validation is not None:
        source = f"{len(sample):,} training and {len(validation):,} validation rows"
        train, other = scorer.evaluate(sample)["loss"], scorer.evaluate(validation)["loss"]
    else:
        record = net.history.history if net.history is not None else {}
        if not record.get("val_loss"):
            return
        source = "the last epoch of the last fit"
        train, other = record["loss"][-1], record["val_loss"][-1]
    matters = other - train > _MATTERS * constant or math.isnan(constant)
    if other > _GAP * train and matters:
        yield Finding(
            "validation gap",
            "training",
            f"loss {train:.3g} on training rows and {other:.3g} on validation rows ({source})",
            "more data, EarlyStopping, Dropout, weight_regularizer=bp.L2(1e-4), or fewer units",
        )
