"""Networks that nobody chose: hypothesis draws them layer by layer, composites and all."""

from __future__ import annotations

import math

from hypothesis import strategies as st
from layer_cases import Shape

import bpfast as bp
from bpfast.layers.residual import projection

#: Without an exact 0 among their values: there the next kink, or a pool's draw, would lie.
ACTIVATIONS = ("identity", "tanh", "leaky_relu", "elu", "sigmoid", "silu", "gelu", "softsign")
SMOOTH = ("identity", "tanh", "sigmoid", "silu", "gelu", "mish")

#: Composites within each other, at most.
LEVELS = 2
Drawn = tuple[list[bp.Layer], Shape]


class Maker:
    """Draws layers for a shape, with the shape that they give.

    masks: layers that draw masks are allowed. Nobody outside knows those, so all is smooth then,
    and norms divide by at least the root of 0.1, so that no derivative is large.
    """

    def __init__(self, draw: st.DrawFn, masks: bool) -> None:
        self.draw, self.masks = draw, masks

    def count(self, least: int, most: int) -> int:
        return self.draw(st.integers(least, most))

    def activation(self) -> str:
        return self.draw(st.sampled_from(SMOOTH if self.masks else ACTIVATIONS))

    def chain(self, shape: Shape, most: int, levels: int, *, keep: bool = False) -> Drawn:
        """Up to `most` layers; keep: the positions stay, and a vector stays a vector."""
        layers: list[bp.Layer] = []
        length = self.count(1, most)
        while len(layers) < length:
            found, shape = self.one(shape, levels, keep)
            layers += found
        return layers, shape

    def one(self, shape: Shape, levels: int, keep: bool) -> Drawn:
        kinds = ["norm", "activate", "repeated", "weights", "weights"]
        if shape[-1] > 1:
            kinds += ["columns"]
        if self.masks:
            kinds += ["masked"]
        if levels:
            kinds += ["residual", "concatenate"]
            if shape[-1] % 2 == 0:
                kinds += ["siamese"]
        if len(shape) == 1:
            kinds += ["tied"]
            if shape[0] % 2 == 0 and not keep:
                kinds += ["reshape"]
        elif not keep:
            kinds += ["pool", "flatten", "global_pool"]
        kind = self.draw(st.sampled_from(kinds))
        return getattr(self, kind)(shape, levels, keep)

    def norm(self, shape: Shape, *_: object) -> Drawn:
        kinds = [bp.BatchNorm, bp.RMSNorm] + [bp.LayerNorm] * (shape[-1] > 2)
        kind = self.draw(st.sampled_from(kinds))
        return [kind(epsilon=0.1 if self.masks else 1e-5)], shape

    def masked(self, shape: Shape, *_: object) -> Drawn:
        return [self.draw(st.sampled_from([bp.Dropout, bp.GaussianNoise]))(0.3)], shape

    def columns(self, shape: Shape, *_: object) -> Drawn:
        start = self.count(0, shape[-1] - 1)
        stop = self.count(start + 1, shape[-1])
        return [bp.Slice(start, stop)], (*shape[:-1], stop - start)

    def weights(self, shape: Shape, _: int, keep: bool, units: int | None = None) -> Drawn:
        """A dense layer or a convolution, of so many units."""
        n = self.count(1, 6) if units is None else units
        bias = self.draw(st.booleans())
        if len(shape) == 1:
            return [bp.Dense(n, self.activation(), use_bias=bias)], (n,)
        groups = self.draw(st.sampled_from([g for g in (1, 2, 3) if shape[-1] % g == n % g == 0]))
        sizes = shape[:-1]
        window = tuple(self.count(1, min(3, size)) for size in sizes)
        strides = dilation = (1,) * len(sizes)
        padding: str = "same"
        if not keep:
            strides = tuple(self.count(1, 2) for _ in sizes)
            padding = self.draw(st.sampled_from(["same", "valid"]))
            if padding == "same":
                dilation = tuple(self.count(1, 2) for _ in sizes)
        kind = bp.Conv1D if len(sizes) == 1 else bp.Conv2D
        scalar = len(sizes) == 1
        layer = kind(
            n,
            window[0] if scalar else window,
            self.activation(),
            strides=strides[0] if scalar else strides,
            padding=padding,
            dilation=dilation[0] if scalar else dilation,
            groups=groups,
            use_bias=bias,
        )
        spans = window if padding == "valid" else (1,) * len(sizes)
        out = [-(-(s - e + 1) // t) for s, e, t in zip(sizes, spans, strides, strict=True)]
        return [layer], (*out, n)

    def repeated(self, shape: Shape, levels: int, keep: bool) -> Drawn:
        """The same layer two or three times."""
        again, _ = self.weights(shape, levels, True, units=shape[-1])
        return again * self.count(2, 3), shape

    def tied(self, shape: Shape, levels: int, keep: bool) -> Drawn:
        first, between = self.weights(shape, levels, keep)
        alone = levels == LEVELS  # within a composite it may stand twice, where a bias may not
        bias = alone and self.draw(st.booleans())
        last = bp.Dense(tied_to=first[0], activation=self.activation(), use_bias=bias)
        return [*first, *self.norm(between)[0], last], shape

    def activate(self, shape: Shape, *_: object) -> Drawn:
        return [bp.Activation(self.activation())], shape

    def pool(self, shape: Shape, *_: object) -> Drawn:
        names = ["AvgPool"] + ["MaxPool"] * (not self.masks)
        name = f"{self.draw(st.sampled_from(names))}{len(shape) - 1}D"
        return [getattr(bp, name)(2, padding="same")], (
            *(-(-n // 2) for n in shape[:-1]),
            shape[-1],
        )

    def flatten(self, shape: Shape, *_: object) -> Drawn:
        return [bp.Flatten()], (math.prod(shape),)

    def global_pool(self, shape: Shape, *_: object) -> Drawn:
        return [bp.GlobalAvgPool()], (shape[-1],)

    def reshape(self, shape: Shape, *_: object) -> Drawn:
        to = self.draw(st.sampled_from([(shape[0] // 2, 2), (2, 1, shape[0] // 2)]))
        return [bp.Reshape(to)], to

    def residual(self, shape: Shape, levels: int, _: bool) -> Drawn:
        layers, to = self.chain(shape, 3, levels - 1, keep=True)
        shortcut = None
        if self.draw(st.booleans()):
            shortcut = [projection(shape, to), *self.norm(to)[0]]
        return [bp.Residual(layers, shortcut=shortcut, activation=self.activation())], to

    def concatenate(self, shape: Shape, levels: int, _: bool) -> Drawn:
        branches = [self.chain(shape, 2, levels - 1, keep=True)]
        kind = self.draw(st.sampled_from(["skip", "shared", "other", "all"]))
        if kind in ("other", "all"):
            branches.append(self.chain(shape, 2, levels - 1, keep=True))
        if kind in ("skip", "all"):
            branches.append(([], shape))
        if kind in ("shared", "all"):
            branches.append(branches[0])
        channels = sum(to[-1] for _, to in branches)
        return [bp.Concatenate([layers for layers, _ in branches])], (*shape[:-1], channels)

    def siamese(self, shape: Shape, levels: int, _: bool) -> Drawn:
        half = (*shape[:-1], shape[-1] // 2)
        layers, to = self.chain(half, 2, levels - 1, keep=True)
        merge = (
            "concatenate" if self.masks else self.draw(st.sampled_from(["concatenate", "distance"]))
        )
        return [bp.Siamese(layers, merge=merge)], (
            (*to[:-1], 2 * to[-1]) if merge == "concatenate" else to
        )


INPUTS: tuple[Shape, ...] = ((4,), (6,), (5, 3), (6, 2), (4, 5, 2), (3, 3, 4))


@st.composite
def networks(draw: st.DrawFn, *, masks: bool) -> Drawn:
    """Up to six layers, composites two deep among them, and a dense one; and the input's shape."""
    maker = Maker(draw, masks)
    shape = draw(st.sampled_from(INPUTS))
    layers, to = maker.chain(shape, 6, LEVELS)
    end = [] if len(to) == 1 else [bp.Flatten()]
    return [*layers, *end, bp.Dense(maker.count(1, 3), maker.activation())], shape
