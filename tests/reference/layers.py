"""Layers other than dense: forward, and backward as the function that forward returns beside it.

`y, back = layer(x, ...)`; `back(dy)` is the gradient with respect to x, then those of the
parameters in the order of the arguments. Values are (rows, channels), (rows, length, channels) or
(rows, height, width, channels): the channels are last, and every other axis counts positions.
"""

from __future__ import annotations

import itertools

import numpy as np

from reference import activations

# ---- normalisation ------------------------------------------------------------------------------


def standardised(x, axes, epsilon):
    """(x - mean) / sqrt(variance + epsilon) over the axes, the biased variance; its backward."""
    deviation = x - x.mean(axis=axes, keepdims=True)
    scale = 1 / np.sqrt((deviation**2).mean(axis=axes, keepdims=True) + epsilon)
    y = deviation * scale

    def back(dy):
        mean = dy.mean(axis=axes, keepdims=True)
        return scale * (dy - mean - y * (dy * y).mean(axis=axes, keepdims=True))

    return y, back


def affine(x, gamma, beta):
    """x gamma + beta, each a number a channel; None: 1, 0."""
    y = x if gamma is None else x * gamma
    y = y if beta is None else y + beta
    rows = tuple(range(x.ndim - 1))

    def back(dy):
        dx = dy if gamma is None else dy * gamma
        return dx, (dy * x).sum(axis=rows), dy.sum(axis=rows)

    return y, back


def normalised(x, axes, gamma, beta, epsilon):
    middle, back_middle = standardised(x, axes, epsilon)
    y, back_affine = affine(middle, gamma, beta)

    def back(dy):
        d_middle, d_gamma, d_beta = back_affine(dy)
        return back_middle(d_middle), d_gamma, d_beta

    return y, back


def batchnorm(x, gamma=None, beta=None, epsilon=1e-5):
    """Each channel over the batch and its positions (Ioffe & Szegedy 2015)."""
    return normalised(x, tuple(range(x.ndim - 1)), gamma, beta, epsilon)


def layernorm(x, gamma=None, beta=None, epsilon=1e-5):
    """Each position over its channels (Ba, Kiros & Hinton 2016)."""
    return normalised(x, -1, gamma, beta, epsilon)


def rmsnorm(x, gamma=None, beta=None, epsilon=1e-6):
    """x / sqrt(mean of x^2 + epsilon) over the channels (Zhang & Sennrich 2019)."""
    scale = 1 / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon)
    middle = x * scale
    y, back_affine = affine(middle, gamma, beta)

    def back(dy):
        d, d_gamma, d_beta = back_affine(dy)
        return scale * (d - middle * (d * middle).mean(axis=-1, keepdims=True)), d_gamma, d_beta

    return y, back


def batchnorm_inference(x, mean, variance, gamma=None, beta=None, epsilon=1e-5):
    """By running statistics, which are constants."""
    scale = 1 / np.sqrt(variance + epsilon)
    y, back_affine = affine((x - mean) * scale, gamma, beta)

    def back(dy):
        d, d_gamma, d_beta = back_affine(dy)
        return d * scale, d_gamma, d_beta

    return y, back


def running(mean, variance, x, momentum=0.1):
    """The running statistics after one more batch: of the variance, the unbiased one."""
    x = x.reshape(-1, x.shape[-1])
    unbiased = x.var(axis=0) * len(x) / max(len(x) - 1, 1)
    return (1 - momentum) * mean + momentum * x.mean(axis=0), (
        (1 - momentum) * variance + momentum * unbiased
    )


# ---- windows over positions ---------------------------------------------------------------------


def outside(padding, sizes, window, stride, dilation):
    """Positions (before, after) the first and the last of each axis.

    "same" gives ceil(size / stride) outputs, an odd number's last one after (TensorFlow's rule).
    """
    if padding == "valid":
        return [(0, 0)] * len(sizes)
    if padding == "same":
        pairs = []
        for n, k, s, d in zip(sizes, window, stride, dilation, strict=True):
            total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            pairs.append((total // 2, total - total // 2))
        return pairs
    each = (padding,) * len(sizes) if isinstance(padding, int) else padding
    return [(p, p) for p in each]


def windows(sizes, window, stride, dilation):
    """(output position, slices of the padded input that its window covers), one after another."""
    spans = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    counts = [(n - e) // s + 1 for n, e, s in zip(sizes, spans, stride, strict=True)]
    for place in itertools.product(*map(range, counts)):
        starts = [i * s for i, s in zip(place, stride, strict=True)]
        yield (
            place,
            tuple(slice(a, a + e, d) for a, e, d in zip(starts, spans, dilation, strict=True)),
        )


def padded(x, pairs, value):
    return np.pad(x, ((0, 0), *pairs, (0, 0)), constant_values=value)


def cropped(x, pairs):
    inside = tuple(slice(a, n - b) for (a, b), n in zip(pairs, x.shape[1:-1], strict=True))
    return x[(slice(None), *inside)]


def shape_of(places, rows, channels):
    """The output's shape: that of the last position, plus one."""
    return (rows, *(i + 1 for i in places[-1][0]), channels)


def conv(x, kernel, bias, *, strides, padding, dilation, groups):
    """Cross-correlation with kernel (*window, channels in / groups, channels out)."""
    window = kernel.shape[:-2]
    pairs = outside(padding, x.shape[1:-1], window, strides, dilation)
    p = padded(x, pairs, 0.0)
    places = list(windows(p.shape[1:-1], window, strides, dilation))
    ins, outs = x.shape[-1] // groups, kernel.shape[-1] // groups
    parts = [
        (slice(g * ins, (g + 1) * ins), slice(g * outs, (g + 1) * outs)) for g in range(groups)
    ]
    summed = kernel.ndim - 1  # axes: the window's positions and the channels in

    y = np.zeros(shape_of(places, len(x), kernel.shape[-1]))
    for place, cut in places:
        patch = p[(slice(None), *cut)]
        for c, o in parts:
            y[(slice(None), *place, o)] = np.tensordot(patch[..., c], kernel[..., o], summed)
    if bias is not None:
        y = y + bias

    def back(dy):
        dp, d_kernel = np.zeros_like(p), np.zeros_like(kernel)
        for place, cut in places:
            for c, o in parts:
                d = dy[(slice(None), *place, o)]
                dp[(slice(None), *cut, c)] += np.tensordot(d, kernel[..., o], (1, summed))
                d_kernel[..., o] += np.tensordot(p[(slice(None), *cut, c)], d, (0, 0))
        return cropped(dp, pairs), d_kernel, dy.sum(axis=tuple(range(dy.ndim - 1)))

    return y, back


def maxpool(x, *, pool, strides, padding):
    """The largest of each window; its gradient goes to the first of equals."""
    ones = (1,) * len(pool)
    pairs = outside(padding, x.shape[1:-1], pool, strides, ones)
    p = padded(x, pairs, -np.inf)
    places = list(windows(p.shape[1:-1], pool, strides, ones))
    y = np.zeros(shape_of(places, len(x), x.shape[-1]))
    for place, cut in places:
        y[(slice(None), *place)] = flat(p[(slice(None), *cut)]).max(axis=1)

    def back(dy):
        dp = np.zeros_like(p)
        for place, cut in places:
            patch = flat(p[(slice(None), *cut)])
            first = patch.argmax(axis=1)[:, None]
            d = np.zeros_like(patch)
            np.put_along_axis(d, first, dy[(slice(None), *place)][:, None], 1)
            dp[(slice(None), *cut)] += d.reshape(dp[(slice(None), *cut)].shape)
        return (cropped(dp, pairs),)

    return y, back


def pool_gap(x, *, pool, strides, padding):
    """The least distance of a window's largest from its second: where the gradient jumps."""
    ones = (1,) * len(pool)
    p = padded(x, outside(padding, x.shape[1:-1], pool, strides, ones), -np.inf)
    least = np.inf
    for _, cut in windows(p.shape[1:-1], pool, strides, ones):
        patch = np.sort(flat(p[(slice(None), *cut)]), axis=1)
        if patch.shape[1] > 1:
            least = min(least, (patch[:, -1] - patch[:, -2]).min())
    return least


def avgpool(x, *, pool, strides, padding):
    """The mean of the positions of each window that are inside."""
    ones = (1,) * len(pool)
    pairs = outside(padding, x.shape[1:-1], pool, strides, ones)
    p, inside = padded(x, pairs, 0.0), padded(np.ones_like(x), pairs, 0.0)
    places = list(windows(p.shape[1:-1], pool, strides, ones))
    y = np.zeros(shape_of(places, len(x), x.shape[-1]))
    axes = tuple(range(1, x.ndim - 1))
    for place, cut in places:
        total = p[(slice(None), *cut)].sum(axis=axes)
        y[(slice(None), *place)] = total / inside[(slice(None), *cut)].sum(axis=axes)

    def back(dy):
        dp = np.zeros_like(p)
        for place, cut in places:
            counts = inside[(slice(None), *cut)].sum(axis=axes)
            share = dy[(slice(None), *place)] / counts
            dp[(slice(None), *cut)] += np.expand_dims(share, axes)
        return (cropped(dp, pairs),)

    return y, back


def flat(patch):
    """(rows, positions, channels)."""
    return patch.reshape(len(patch), -1, patch.shape[-1])


# ---- without parameters -------------------------------------------------------------------------


def activation(x, name):
    """Of each element; softmax of each position's channels."""
    rows = x.reshape(-1, x.shape[-1])

    def back(dy):
        d = activations.backward(name, dy.reshape(rows.shape), rows)
        return (d.reshape(x.shape),)

    return activations.VALUES[name](rows).reshape(x.shape), back


def reshape(x, shape):
    return x.reshape(len(x), *shape), lambda dy: (dy.reshape(x.shape),)


def sliced(x, start, stop):
    """Channels start .. stop."""

    def back(dy):
        dx = np.zeros_like(x)
        dx[..., start:stop] = dy
        return (dx,)

    return x[..., start:stop], back


def distance(a, b):
    """|a - b|; its slope is 0 where they are equal."""
    return np.abs(a - b), lambda dy: (np.sign(a - b) * dy, -np.sign(a - b) * dy)
