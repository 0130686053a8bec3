"""A trained network used again: weights from elsewhere, frozen layers, another head.

The functions are methods of `Network`.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from bpfast._build import draw_weights
from bpfast._check import (
    bad_type,
    bad_value,
    check_bool,
    check_count,
    check_int,
    check_path,
    listed,
    show,
)
from bpfast._spec import seed_of
from bpfast.layers.base import Layer, check_layers
from bpfast.layers.composite import Composite
from bpfast.layers.dense import Dense

if TYPE_CHECKING:
    from bpfast._graph import Use
    from bpfast._transfer import Matches
    from bpfast.network import Network


# ---- weights ------------------------------------------------------------------------------------


def load_weights(net: Network, src: object, *, strict: bool = True) -> Matches:
    """Copy weights from a file, a dict, a PyTorch module or a scikit-learn network.

    Parameters
    ----------
    src : path, dict, torch.nn.Module or scikit-learn MLP
        A safetensors file, or arrays (PyTorch's tensors too) by name; a module's ``state_dict()``;
        a fitted MLPClassifier or MLPRegressor. Names are those of `params`, and of `buffers` for
        running statistics, which may be missing; or PyTorch's: ``name.weight`` (out, in) or
        (out, in / groups, height, width) is transposed, of a normalisation it is gamma;
        ``running_var`` is the running variance. Where PyTorch's weights follow a ``Flatten``,
        rows are taken from its order, channels first, to ours, channels last.

        Where the names do not fit, the layers with weights are matched in order, first to first:
        all of them or none, each of the same kind and shapes. A dict is in the order of its keys.
        A file keeps no order: there the names must differ in numbers, as ``0.weight, 3.weight``.
    strict : bool, default True
        Raise unless every name and shape matches; False copies what does.

    Returns
    -------
    Matches
        What was copied from where, what was not, and why.

    Raises
    ------
    TypeError, ValueError
        `src` is none of these, or not finite; or `strict` and something is missing, unexpected or
        of another shape. Nothing was copied.
    OSError
        The file cannot be read.
    """
    from bpfast import io
    from bpfast._foreign import is_mlp, is_module, mlp_weights, module_weights
    from bpfast._transfer import copy_weights

    check_bool("strict", strict)
    if is_module(src):
        return copy_weights(net, module_weights(src), strict)
    if is_mlp(src):
        return copy_weights(net, mlp_weights(src), strict)
    if isinstance(src, (str, os.PathLike)):
        with io.opened(check_path("src", src)) as (tensors, _):
            return copy_weights(net, tensors, strict, ordered=False)
    if not isinstance(src, Mapping):
        raise bad_type(
            "src", "a path, a dict of arrays, a PyTorch module or a scikit-learn MLP", src
        )
    return copy_weights(net, src, strict)


# ---- frozen layers ------------------------------------------------------------------------------


def freeze(net: Network, *layers: Layer | str | int) -> None:
    """Keep these layers as they are in training: sets `trainable` to False.

    A fit, or a call for a single batch, honours it from its next epoch or call on. Below the
    first layer that still learns no gradient is computed.

    Parameters
    ----------
    *layers : Layer, str or int
        Layers of the network, their paths as `summary` shows them, or indices in `layers`; of
        composites all within. Without any, the whole network.

    Raises
    ------
    TypeError, ValueError
        One is no layer of this network; nothing was frozen.

    Notes
    -----
    A layer in several places, or several networks, is frozen in all of them. A kernel that others
    are tied to is frozen with the layer that owns it; freezing a tied layer freezes its bias. A
    frozen `BatchNorm` keeps its running statistics and normalises with them in training too, as in
    Keras. The projection of a `Residual` is frozen when all its layers are.
    """
    _set(net, layers, False)


def unfreeze(net: Network, *layers: Layer | str | int) -> None:
    """Train these layers again; see `freeze`.

    Within a composite that is frozen as a whole, all other layers stay frozen.
    """
    _set(net, layers, True)


def _set(net: Network, layers: Sequence[object], trainable: bool) -> None:
    """Freeze or thaw layers; a composite is frozen when all within it are."""
    wanted, able = chosen(net, layers), _able(net)
    composites = [
        (use.layer, _within(able, use.path))
        for use in net._plan.uses
        if isinstance(use.layer, Composite)
    ]
    for layer in (each for whole, inside in composites if not whole.trainable for each in inside):
        layer.trainable = False
    for layer in wanted:
        layer.trainable = trainable
    for whole, inside in composites:
        if inside:
            whole.trainable = any(layer.trainable for layer in inside)


def chosen(net: Network, layers: Sequence[object], argument: str = "layers") -> list[Layer]:
    """Return the layers with parameters or statistics that these stand for; all for none."""
    able = _able(net)
    if not layers:
        return list(able.values())
    uses = [_find(net, f"{argument}[{i}]", which) for i, which in enumerate(layers)]
    return [layer for use in uses for layer in _within(able, use.path)]


def _find(net: Network, argument: str, which: object) -> Use:
    """Return the first use of the layer that is meant."""
    uses = net._plan.uses
    if isinstance(which, Layer):
        for use in uses:
            if use.layer is which:
                return use
        raise ValueError(f"{argument} must be a layer of this network, got {show(which)}")
    if isinstance(which, str):
        for use in uses:
            if use.path == which and _is_made(use):
                raise ValueError(
                    f"{argument}: {which} is frozen and thawed with what it is part of"
                )
            if use.path == which:
                return use
        paths = listed(use.path for use in uses)
        raise bad_value(argument, f"the path of a layer, one of {paths}", which)
    if isinstance(which, bool) or not isinstance(which, Integral):
        raise bad_type(argument, "a layer, its path or its index", which)
    top = [use for use in uses if use.depth == 0]
    return top[check_int(argument, which, -len(top), len(top) - 1)]


def _able(net: Network) -> dict[str, Layer]:
    """Return the layers that can learn by path, but for those that composites have made."""
    kept = {
        layer.path
        for layer in net._plan.layers
        if (layer.weights or layer.buffers) and layer.kind != "standardize"
    }
    return {
        use.path: use.layer
        for use in net._plan.uses
        if use.path in kept and not isinstance(use.layer, Composite) and not _is_made(use)
    }


def _within(able: dict[str, Layer], outer: str) -> list[Layer]:
    """Return the layer of a path, or those within a composite."""
    if outer in able:
        return [able[outer]]
    return [layer for path, layer in able.items() if is_within(path, outer)]


def _is_made(use: Use) -> bool:
    """Whether a composite has made the layer for itself: it has no number in a list, no name."""
    return use.layer.name is None and not use.path.rpartition(".")[2].isdecimal()


def is_within(path: str, outer: str) -> bool:
    """Whether a path is that of a layer, or of something within it."""
    return path == outer or path.startswith(f"{outer}.")


# ---- another head -------------------------------------------------------------------------------


def replace_head(
    net: Network,
    layers: int | Sequence[Layer],
    *,
    rng: int | np.random.Generator | None = None,
    freeze: bool = False,
) -> Network:
    """Return a new network with this one's body and another head, for other outputs.

    The head is the last of `layers` with parameters, and what stands behind it; the body all
    before, whose weights, running statistics and input scales are copied. The optimizer's state,
    history and metadata are not.

    Parameters
    ----------
    layers : int or list of Layer
        Outputs: the last dense layer again, with so many units; or the layers of the new head.
    rng : int, numpy.random.Generator or None, default None
        Seed of the new network: the head's weights, shuffling, dropout and splits.
    freeze : bool, default False
        Freeze the body.

    Raises
    ------
    TypeError, ValueError
        An argument is not one of the above; or outputs were given and the last layer with
        parameters is no `Dense` of its own.

    Notes
    -----
    The layers of the body are copies: to freeze them does not freeze this network's.

    References
    ----------
    Yosinski, Clune, Bengio & Lipson 2014, How transferable are features in deep neural networks?
    """
    from bpfast.network import Network

    net._lock.check_idle("replace_head")
    check_bool("freeze", freeze)
    place = _head_of(net)
    names = [str(i) if layer.name is None else layer.name for i, layer in enumerate(net.layers)]
    if isinstance(layers, (int, np.integer)) and not isinstance(layers, bool):
        head = [_resized(net, place, check_count("layers", layers)), *net.layers[place + 1 :]]
        stack = copy.deepcopy([*net.layers[:place], *head])  # together: they may share
    else:
        head = list(check_layers("layers", layers))
        if not head:
            raise bad_value("layers", "at least one layer", layers)
        stack = [*copy.deepcopy(net.layers[:place]), *head]
    new = Network.__new__(Network)
    new._setup(stack, net.input_shape, net.dtype.name, seed_of(rng), net.n_threads)
    body = set(names[:place])
    kept = [name for name in new.params if name.partition(".")[0] in body]
    draw_weights(new, skip=kept)
    for name in kept:
        new.params[name][...] = net.params[name]
    for name, view in new.buffers.items():
        if name.partition(".")[0] in body:
            view[...] = net.buffers[name]
    new._measured = net._measured
    if freeze and place:
        new.freeze(*range(place))
    return new


def _head_of(net: Network) -> int:
    """Return the index of the last layer with parameters."""
    with_weights = [layer.path for layer in net._plan.layers if layer.weights or layer.tied]
    paths = [use.path for use in net._plan.uses if use.depth == 0]
    return max(i for i, path in enumerate(paths) if any(is_within(w, path) for w in with_weights))


def _resized(net: Network, place: int, units: int) -> Dense:
    """Return the dense layer at this place with so many units."""
    layer = net.layers[place]
    if not isinstance(layer, Dense) or layer.tied_to is not None:
        kind = type(layer).__name__ + (" tied to another" if isinstance(layer, Dense) else "")
        raise bad_type("layers", f"a list of layers where the head is a {kind}", units)
    if any(layer is other for other in net.layers[:place]):
        raise bad_type("layers", "a list of layers where the head shares its weights", units)
    arguments: dict[str, Any] = {**layer.arguments(), "units": units}
    if layer.weight_init is not None and layer.weight_init.kind == "given":
        arguments["weight_init"] = None
    if layer.bias_init.kind == "given":
        arguments["bias_init"] = "zeros"
    return Dense(**arguments)
