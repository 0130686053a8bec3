"""The network of an estimator: its layers, the weights it begins with, those it shows."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpfast._check import bad_type
from bpfast.layers import Activation, BatchNorm, Dense, Dropout, LayerNorm, Residual
from bpfast.layers.base import Layer
from bpfast.network import Network
from bpfast.sklearn import _params

Array = NDArray[Any]

#: The seed of a Network is below it; RandomState.randint draws so much.
_SEEDS = 2**31


def build(
    params: dict[str, Any], inputs: int, head: Sequence[Layer], dtype: str, rng: Any
) -> Network:
    """Return a network with the weights that training begins with.

    `rng`, a RandomState, gives the weights that scikit-learn would draw from it, in the same order;
    nothing else is drawn.
    """
    seed = int(copy.deepcopy(rng).randint(_SEEDS))
    n_threads = _params.threads(params["n_jobs"])
    outputs = _units(head)
    given = params["network"]
    if given is not None:
        net = _of_template(given, inputs, outputs, seed)
        net.n_threads = n_threads
        return net
    layers = [*_hidden(params), *head]
    net = Network(layers, input_shape=inputs, dtype=dtype, rng=seed, n_threads=n_threads)
    _draw(net, 2.0 if _params.activation(params["activation"]) == "sigmoid" else 6.0, rng)
    return net


def made_of(params: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that a network cannot change once it is built."""
    names = ("activation", "dropout", "batch_norm", "layer_norm", "residual")
    sizes = _params.hidden_sizes(params["hidden_layer_sizes"])
    return {"hidden_layer_sizes": sizes, **{name: params[name] for name in names}}


def _units(head: Sequence[Layer]) -> int:
    """Return the outputs: all layers of a head have as many."""
    first = head[0]
    assert isinstance(first, Dense)
    assert first.units is not None
    return first.units


def _of_template(given: Any, inputs: int, outputs: int, seed: int) -> Network:
    """Return a copy of the user's network, or what the user's function makes."""
    if isinstance(given, Network):
        net = given.clone()
    else:
        net = given(inputs, outputs, seed)
        if not isinstance(net, Network):
            raise bad_type("what network(inputs, outputs, rng) returns", "a Network", net)
    if (net.inputs, net.outputs) != (inputs, outputs):
        raise ValueError(
            f"network must have {inputs} inputs and {outputs} outputs for this X and y, "
            f"got {net.inputs} and {net.outputs}"
        )
    return net


def _hidden(params: dict[str, Any]) -> list[Layer]:
    """Return the layers before the head.

    The order within a block is that of Ioffe & Szegedy (2015): product, normalisation, activation;
    dropout comes last. With `residual` all blocks but the first add their input.
    """
    name, rate = _params.activation(params["activation"]), params["dropout"]
    layers: list[Layer] = []
    for i, units in enumerate(_params.hidden_sizes(params["hidden_layer_sizes"])):
        norms: list[Layer] = [BatchNorm()] if params["batch_norm"] else []
        norms += [LayerNorm()] if params["layer_norm"] else []
        block: list[Layer] = [Dense(units, "identity" if norms else name), *norms]
        block += [Activation(name)] if norms else []
        block += [Dropout(rate)] if rate else []
        layers += [Residual(block)] if params["residual"] and i > 0 else block
    return layers


def _draw(net: Network, factor: float, rng: Any) -> None:
    """Draw what is trained uniformly within sqrt(factor / (inputs + outputs)).

    As scikit-learn, after Glorot & Bengio (2010), equation 16; its factor is 6, for sigmoids 2.
    """
    bound = 0.0
    trained = net._plan.trainable()
    for name, values in _dense(net).items():
        if not trained[net._plan.parameters[name].layer]:
            continue
        if name.endswith(".kernel"):
            bound = math.sqrt(factor / sum(values.shape))
        values[...] = rng.uniform(-bound, bound, values.shape)


def _dense(net: Network) -> dict[str, Array]:
    """Return the parameters of the dense layers, kernel before bias."""
    plan = net._plan
    return {
        name: net.params[name]
        for name, tensor in plan.parameters.items()
        if plan.layers[tensor.layer].kind == "dense"
    }


def coefs(net: Network) -> list[Array]:
    """Return the kernels of its dense layers: views, in the order of the network."""
    return [values for name, values in _dense(net).items() if name.endswith(".kernel")]


def intercepts(net: Network) -> list[Array]:
    """Return the biases of its dense layers: views, in the order of the network."""
    return [values for name, values in _dense(net).items() if name.endswith(".bias")]


def kernels(net: Network, of: dict[str, Array]) -> list[Array]:
    """Return those of `of`, which are params or grads, that `alpha` is about."""
    plan, trained = net._plan, net._plan.trainable()
    return [
        of[name]
        for name, tensor in plan.parameters.items()
        if plan.layers[tensor.layer].kind in ("dense", "conv")
        and trained[tensor.layer]
        and not tensor.part
    ]


def squares(arrays: list[Array]) -> float:
    """Return the sum of squares of all elements."""
    return float(sum(np.vdot(w, w) for w in arrays))
