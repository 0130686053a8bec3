"""Networks of any layers, composites included: forward, backward, how far inputs are from kinks.

Parameters are dicts as `Network.params`. Layers are bpfast's objects, of which only the attributes
are read. A layer that stands in several places adds up its gradients under its one name.
"""

from __future__ import annotations

import numpy as np

from reference import activations
from reference import layers as each


def inside(layer):
    """The lists of layers within a composite, with what their names begin with."""
    kind = type(layer).__name__
    if kind == "Concatenate":
        return [(f"{i}.", branch) for i, branch in enumerate(layer.branches)]
    if kind in ("Residual", "Siamese"):
        shortcut = getattr(layer, "shortcut", None) or ()
        return [("", layer.layers), ("shortcut.", shortcut)]
    return []


def places(layers, prefix=""):
    """(name, layer) of each place where a layer stands, composites before what they hold."""
    for i, layer in enumerate(layers):
        name = prefix + (str(i) if layer.name is None else layer.name)
        yield name, layer
        for part, branch in inside(layer):
            yield from places(branch, f"{name}.{part}")


def regularizers(layers):
    """(parameter name, regularizer) pairs, each parameter once."""
    seen = set()
    for name, layer in places(layers):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        if getattr(layer, "weight_regularizer", None) is not None:
            yield f"{name}.kernel", layer.weight_regularizer
        if getattr(layer, "bias_regularizer", None) is not None:
            yield f"{name}.bias", layer.bias_regularizer


class Tape:
    """One pass over a network.

    gradients: of each parameter, after the function that `run` returns was called.
    clear: the least distance of any value from where a slope jumps.
    spread: the least standard deviation, or root mean square, that anything was divided by.
    """

    def __init__(self, layers, params, buffers=None):
        self.params, self.buffers = params, buffers
        self.gradients = {name: np.zeros(view.shape) for name, view in params.items()}
        self.names = {}
        for name, layer in places(layers):
            self.names.setdefault(id(layer), name)
        self.clear = self.spread = np.inf
        self.seen = {}  # what each normalisation by the batch was given, by name

    def run(self, layers, x):
        """The output, and backward: the gradient at x from that at the output."""
        backs = []
        for layer in layers:
            x, back = KINDS[type(layer).__name__](self, layer, x)
            backs.append(back)

        def whole(dy):
            for back in reversed(backs):
                dy = back(dy)
            return dy

        return x, whole

    def parts(self, layer, *kinds):
        """Names and values of a layer's parameters; None for one that it does not have."""
        names = [f"{self.names[id(layer)]}.{kind}" for kind in kinds]
        return names, [self.params.get(name) for name in names]

    def taking(self, names, back):
        """A backward that keeps the parameters' gradients and hands on that at x."""

        def taken(dy):
            dx, *found = back(dy)
            for name, gradient in zip(names, found, strict=True):
                if name in self.gradients:
                    self.gradients[name] += gradient.reshape(self.gradients[name].shape)
            return dx

        return taken

    def project(self, layer, x, shape):
        """x brought to the shape of a residual's sum: every so many positions, times a kernel."""
        names, (kernel,) = self.parts(layer, "projection.kernel")
        if kernel is None:
            return x, lambda dy: dy
        if x.ndim == 2:
            return x @ kernel, self.taking(names, lambda dy: (dy @ kernel.T, x.T @ dy))
        strides = [-(-n // m) for n, m in zip(x.shape[1:-1], shape[1:-1], strict=True)]
        ones = (1,) * len(strides)
        options = {"strides": strides, "padding": "valid", "dilation": ones, "groups": 1}
        y, back = each.conv(x, kernel, None, **options)
        return y, self.taking(names, lambda dy: back(dy)[:2])

    def activate(self, name, z):
        """An activation after what a layer computed."""
        self.clear = min(self.clear, activations.kink_distance(name, z))
        y, back = each.activation(z, name)
        return y, lambda dy: back(dy)[0]


# ---- layers with parameters ---------------------------------------------------------------------


def dense(tape, layer, x):
    if layer.tied_to is None:
        names, (w, b) = tape.parts(layer, "kernel", "bias")
    else:
        own, (b,) = tape.parts(layer, "bias")
        kernel, (w,) = tape.parts(layer.tied_to, "kernel")
        names, w = kernel + own, w.T
    z = x @ w if b is None else x @ w + b

    def back(dz):
        rows, d = x.reshape(-1, x.shape[-1]), dz.reshape(-1, dz.shape[-1])
        d_kernel = rows.T @ d
        return dz @ w.T, d_kernel if layer.tied_to is None else d_kernel.T, d.sum(axis=0)

    y, back_activation = tape.activate(layer.activation, z)
    taken = tape.taking(names, back)
    return y, lambda dy: taken(back_activation(dy))


def conv(tape, layer, x):
    names, (kernel, bias) = tape.parts(layer, "kernel", "bias")
    options = {n: getattr(layer, n) for n in ("strides", "padding", "dilation")}
    z, back = each.conv(x, kernel, bias, **per_axis(options, x), groups=layer.groups)
    y, back_activation = tape.activate(layer.activation, z)
    taken = tape.taking(names, back)
    return y, lambda dy: taken(back_activation(dy))


def norm(function):
    """A row of KINDS for a normalisation."""

    def run(tape, layer, x):
        names, (gamma, beta) = tape.parts(layer, "gamma", "beta")
        name = tape.names[id(layer)]
        if function is each.batchnorm and tape.buffers is not None:
            mean, variance = (tape.buffers[f"{name}.running_{w}"] for w in ("mean", "variance"))
            y, back = each.batchnorm_inference(x, mean, variance, gamma, beta, layer.epsilon)
        else:
            tape.seen.setdefault(name, []).append(x)
            tape.spread = min(tape.spread, spread(function, x))
            y, back = function(x, gamma, beta, layer.epsilon)
        return y, tape.taking(names, back)

    return run


def spread(function, x):
    """The least number that a normalisation divides by, without its epsilon."""
    if function is each.rmsnorm:
        return np.sqrt((x**2).mean(axis=-1)).min()
    axes = -1 if function is each.layernorm else tuple(range(x.ndim - 1))
    return x.std(axis=axes).min()


# ---- layers without -----------------------------------------------------------------------------


def plain(function):
    """A row of KINDS for a layer without parameters: function(layer, x) -> y, back."""

    def run(tape, layer, x):
        y, back = function(layer, x)
        return y, lambda dy: back(dy)[0]

    return run


def pool(function):
    def run(tape, layer, x):
        strides = layer.pool_size if layer.strides is None else layer.strides
        options = {"pool": layer.pool_size, "strides": strides, "padding": layer.padding}
        options = per_axis(options, x)
        if function is each.maxpool:
            tape.clear = min(tape.clear, each.pool_gap(x, **options))
        y, back = function(x, **options)
        return y, lambda dy: back(dy)[0]

    return run


def global_pool(_, x):
    y, back = each.avgpool(x, pool=x.shape[1:-1], strides=x.shape[1:-1], padding="valid")
    value, back_value = each.reshape(y, (x.shape[-1],))
    return value, lambda dy: back(back_value(dy)[0])


def per_axis(options, x):
    """Numbers that serve for every axis, written out; texts as they are."""
    axes = x.ndim - 2
    return {
        name: value if isinstance(value, (str, tuple)) else (value,) * axes
        for name, value in options.items()
    }


# ---- composites ---------------------------------------------------------------------------------


def residual(tape, layer, x):
    f, back = tape.run(layer.layers, x)
    if layer.shortcut is None:
        shortcut, back_shortcut = tape.project(layer, x, f.shape)
    else:
        shortcut, back_shortcut = tape.run(layer.shortcut, x)
    y, back_activation = tape.activate(layer.activation, shortcut + f)

    def whole(dy):
        d = back_activation(dy)
        return back(d) + back_shortcut(d)

    return y, whole


def concatenate(tape, layer, x):
    results = [tape.run(branch, x) for branch in layer.branches]
    ends = np.cumsum([y.shape[-1] for y, _ in results])[:-1]

    def whole(dy):
        parts = np.split(dy, ends, axis=-1)
        return sum(back(d) for (_, back), d in zip(results, parts, strict=True))

    return np.concatenate([y for y, _ in results], axis=-1), whole


def siamese(tape, layer, x):
    a, b = np.split(x, 2, axis=-1)
    (a, back_a), (b, back_b) = tape.run(layer.layers, a), tape.run(layer.layers, b)
    if layer.merge == "concatenate":
        middle = a.shape[-1]
        return np.concatenate([a, b], axis=-1), lambda dy: np.concatenate(
            [back_a(dy[..., :middle]), back_b(dy[..., middle:])], axis=-1
        )
    tape.clear = min(tape.clear, np.abs(a - b).min())
    y, back = each.distance(a, b)

    def whole(dy):
        da, db = back(dy)
        return np.concatenate([back_a(da), back_b(db)], axis=-1)

    return y, whole


KINDS = {
    "Dense": dense,
    "Conv1D": conv,
    "Conv2D": conv,
    "BatchNorm": norm(each.batchnorm),
    "LayerNorm": norm(each.layernorm),
    "RMSNorm": norm(each.rmsnorm),
    "MaxPool1D": pool(each.maxpool),
    "MaxPool2D": pool(each.maxpool),
    "AvgPool1D": pool(each.avgpool),
    "AvgPool2D": pool(each.avgpool),
    "GlobalAvgPool": plain(global_pool),
    "Activation": lambda tape, layer, x: tape.activate(layer.activation, x),
    "Flatten": plain(lambda _, x: each.reshape(x, (x[0].size,))),
    "Reshape": plain(lambda layer, x: each.reshape(x, layer.shape)),
    "Slice": plain(lambda layer, x: each.sliced(x, layer.start, layer.stop)),
    "Residual": residual,
    "Concatenate": concatenate,
    "Siamese": siamese,
}
