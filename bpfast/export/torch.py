"""Networks as PyTorch modules.

Images are channels first there, so arrays change their axes; behind Flatten a vector's features
have another order, which the next kernel's columns, or a `Reorder`, make up for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bpfast import layers as ours
from bpfast._transfer import channels_first
from bpfast.export.torch_modules import (
    ChannelNorm,
    Concatenate,
    Reorder,
    Reshape,
    Residual,
    Siamese,
    Slice,
    Standardize,
)
from bpfast.layers.base import Layer, join
from bpfast.layers.shapes import Shape
from bpfast.layers.window import Window

if TYPE_CHECKING:
    from bpfast.network import Network

Array = NDArray[Any]
_Order = NDArray[np.int64] | None

#: What makes the module of each activation but the identity.
ACTIVATIONS: Final[dict[str, Callable[[], nn.Module]]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU("tanh"),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_swish": nn.Hardswish,
    "softmax": lambda: nn.Softmax(dim=1),
}


def module_of(net: Network) -> nn.Sequential:
    """Return the module; see `Network.to_torch`."""
    net._lock.check_idle("to_torch")
    with torch.random.fork_rng(devices=[]):  # modules draw initial weights
        builder = _Builder(net)
        modules, _, order = builder.chain(net.layers, net.input_shape, None)
        return nn.Sequential(*modules, *_restored(order)).to(builder.dtype).eval()


def code_of(module: nn.Sequential) -> str | None:
    """Return the expression that makes such a module, or None where it has classes from here."""
    if any(not type(each).__module__.startswith("torch.nn.") for each in module.modules()):
        return None
    return f"nn.Sequential({', '.join(f'nn.{each!r}' for each in module)})"


# ---- from layers to modules ---------------------------------------------------------------------


def _restored(order: _Order) -> list[nn.Module]:
    """Return what puts features back in our order."""
    return [] if order is None else [Reorder(torch.from_numpy(order))]


def _inverse(order: _Order, array: Array) -> Array:
    """Return an array, whose first axis has our features, in PyTorch's order."""
    if order is None:
        return array
    moved = np.empty_like(array)
    moved[order] = array
    return moved


class _Builder:
    """Makes the modules of a network's layers.

    Rows have a shape, and vectors the order in which PyTorch has our features.
    """

    def __init__(self, net: Network) -> None:
        self.dtype = {4: torch.float32, 8: torch.float64}[net.dtype.itemsize]
        self._net = net
        self._arrays = {**net.params, **net.buffers}
        self._known: dict[object, nn.Module] = {}  # of layers that may stand in several places

    def chain(
        self, layers: Sequence[Layer], shape: Shape, order: _Order
    ) -> tuple[list[nn.Module], Shape, _Order]:
        """Return the modules of layers one behind the other, what shape they give, its order."""
        found: list[nn.Module] = []
        for layer in layers:
            if not isinstance(layer, _ORDERED):
                found += _restored(order)
                order = None
            modules, order = _MODULES[type(layer).__name__](self, layer, shape, order)
            if not layer.trainable:
                for module in modules:
                    module.requires_grad_(False)
            found += modules
            shape = self._shape(layer, shape)
        return found, shape, order

    def body(self, layers: Sequence[Layer], shape: Shape) -> nn.Sequential:
        """Return the layers of a composite, whose results have our order."""
        modules, _, order = self.chain(layers, shape, None)
        return nn.Sequential(*modules, *_restored(order))

    def array(self, layer: Layer, role: str) -> Array | None:
        """Return an array of a layer by its role, or None."""
        return self._arrays.get(join(self._net._plan.path_of(layer), role))

    def ordered(self, layer: Layer, order: _Order, **roles: str) -> dict[str, Array | None]:
        """Return arrays of a layer by PyTorch's names of their roles, in PyTorch's order."""
        found = {name: self.array(layer, role) for name, role in roles.items()}
        return {k: None if array is None else _inverse(order, array) for k, array in found.items()}

    def filled(
        self, layer: Layer, order: _Order, make: Callable[[], nn.Module], **arrays: Array | None
    ) -> nn.Module:
        """Return a layer's module with these arrays, the same one in each place of the layer."""
        key = (id(layer), None if order is None else order.tobytes())
        if key not in self._known:
            module = self._known[key] = make().to(self.dtype)
            with torch.no_grad():
                for name, array in arrays.items():
                    if array is not None:
                        tensor = torch.from_numpy(np.array(array, order="C"))
                        getattr(module, name).copy_(tensor)
        return self._known[key]

    def shape(self, layers: Sequence[Layer], shape: Shape) -> Shape:
        """Return the shape of what layers one behind the other give."""
        for layer in layers:
            shape = self._shape(layer, shape)
        return shape

    def _shape(self, layer: Layer, shape: Shape) -> Shape:
        """Return the shape of what a layer gives; a tied one knows it by its owner."""
        if isinstance(layer, ours.Dense) and layer.tied_to is not None:
            owner = self.array(layer.tied_to, "kernel")
            assert owner is not None
            return owner.shape[:1]
        if isinstance(layer, ours.Residual):
            return self.shape(layer.layers, shape)
        if isinstance(layer, ours.Siamese):
            inner = self.shape(layer.layers, _half(shape))
            return inner if layer.merge == "distance" else (*inner[:-1], 2 * inner[-1])
        if isinstance(layer, ours.Concatenate):
            outs = [self.shape(branch, shape) for branch in layer.branches]
            return (*outs[0][:-1], sum(out[-1] for out in outs))
        return layer.output_shape(shape)


def _half(shape: Shape) -> Shape:
    """Return the shape of half of the channels."""
    return (*shape[:-1], shape[-1] // 2)


_Made = tuple[list[nn.Module], _Order]


def _activated(name: str, modules: list[nn.Module]) -> list[nn.Module]:
    """Add the module of an activation."""
    return modules if name == "identity" else [*modules, ACTIVATIONS[name]()]


def _dense(b: _Builder, layer: ours.Dense, shape: Shape, order: _Order) -> _Made:
    kernel = b.array(layer.tied_to or layer, "kernel")
    assert kernel is not None
    kernel = kernel.T if layer.tied_to else kernel
    inputs, units = kernel.shape
    linear = b.filled(
        layer,
        order,
        lambda: nn.Linear(inputs, units, bias=layer.use_bias),
        weight=_inverse(order, kernel).T,
        bias=b.array(layer, "bias"),
    )
    return _activated(layer.activation, [linear]), None


def _conv(b: _Builder, layer: Any, shape: Shape, order: _Order) -> _Made:
    kernel = b.array(layer, "kernel")
    assert kernel is not None
    axes = kernel.ndim - 2
    padding, around = _padding(layer._window(), shape)
    stride, dilation = layer._window().stride, layer._window().dilation
    cls = (nn.Conv1d, nn.Conv2d)[axes - 1]
    conv = b.filled(
        layer,
        None,
        lambda: cls(
            shape[-1],
            layer.filters,
            tuple(kernel.shape[:axes]),
            stride=stride[2 - axes :],
            padding=padding,
            dilation=dilation[2 - axes :],
            groups=layer.groups,
            bias=layer.use_bias,
        ),
        weight=kernel.transpose(axes + 1, axes, *range(axes)),
        bias=b.array(layer, "bias"),
    )
    pads = [(nn.ConstantPad1d, nn.ConstantPad2d)[axes - 1](around, 0.0)] if around else []
    return _activated(layer.activation, [*pads, conv]), None


def _padding(window: Window, shape: Shape) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the padding of a window, and what has to be added before it where sides differ.

    The latter goes from the last axis to the first, as PyTorch's padding modules have it.
    """
    lengths = (1, *shape)[-3:-1]
    outside = [window.outside(axis, lengths[axis]) for axis in range(2 - window.axes, 2)]
    if all(before == behind for before, behind in outside):
        return tuple(before for before, _ in outside), ()
    return (0,) * window.axes, tuple(n for pair in reversed(outside) for n in pair)


def _pool(b: _Builder, layer: Any, shape: Shape, order: _Order) -> _Made:
    window: Window = layer._window()
    here = slice(2 - window.axes, 2)
    padding, around = _padding(window, shape)
    options: dict[str, Any] = {"stride": window.stride[here], "padding": padding}
    size = window.size[here]
    if layer.kind == "maxpool":
        pads = (nn.ConstantPad1d, nn.ConstantPad2d)[window.axes - 1]
        before = [pads(around, -float("inf"))] if around else []
        return [*before, (nn.MaxPool1d, nn.MaxPool2d)[window.axes - 1](size, **options)], None
    if around:
        name = b._net._plan.path_of(layer)
        raise ValueError(
            f"layer {name} ({type(layer).__name__}) has no counterpart in PyTorch: its padding "
            f"{layer.padding!r} adds more behind than before, {around}"
        )
    cls = (nn.AvgPool1d, nn.AvgPool2d)[window.axes - 1]
    return [cls(size, count_include_pad=False, **options)], None


def _global_pool(b: _Builder, layer: Layer, shape: Shape, order: _Order) -> _Made:
    cls = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)[len(shape) - 2]
    return [cls(1), nn.Flatten()], None


def _batch_norm(b: _Builder, layer: ours.BatchNorm, shape: Shape, order: _Order) -> _Made:
    cls = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
    affine = layer.center or layer.scale
    arrays = b.ordered(
        layer,
        order,
        weight="gamma",
        bias="beta",
        running_mean="running_mean",
        running_var="running_variance",
    )

    def make() -> nn.Module:
        return cls(shape[-1], layer.epsilon, layer.momentum, affine=affine)

    norm = b.filled(layer, order, make, **arrays)
    return [norm], order


def _row_norm(b: _Builder, layer: Any, shape: Shape, order: _Order) -> _Made:
    if isinstance(layer, ours.RMSNorm):

        def make() -> nn.Module:
            return nn.RMSNorm(shape[-1], layer.epsilon, elementwise_affine=layer.scale)
    else:
        affine = layer.scale or layer.center

        def make() -> nn.Module:
            return nn.LayerNorm(
                shape[-1], layer.epsilon, elementwise_affine=affine, bias=layer.center
            )

    arrays = b.ordered(layer, order, weight="gamma", bias="beta")  # RMSNorm has no beta
    norm = b.filled(layer, order, make, **arrays)
    return [norm if len(shape) == 1 else ChannelNorm(norm)], order


def _standardize(b: _Builder, layer: Layer, shape: Shape, order: _Order) -> _Made:
    tensors = []
    for role in ("mean", "scale"):
        array = b.array(layer, role)
        assert array is not None
        tensors.append(torch.from_numpy(np.array(np.moveaxis(array, -1, 0), order="C")))
    return [Standardize(*tensors)], None


def _flatten(b: _Builder, layer: Layer, shape: Shape, order: _Order) -> _Made:
    if len(shape) == 1:
        return [], order
    return [nn.Flatten()], channels_first(shape)


def _reshape(b: _Builder, layer: ours.Reshape, shape: Shape, order: _Order) -> _Made:
    if len(layer.shape) == 1:
        return _flatten(b, layer, shape, order)
    return [Reshape(layer.shape)], None


def _residual(b: _Builder, layer: ours.Residual, shape: Shape, order: _Order) -> _Made:
    kernel = b.array(layer, "projection.kernel")
    wanted = b.shape([layer], shape)
    shortcut: nn.Module = nn.Identity()
    if layer.shortcut is not None:
        shortcut = b.body(layer.shortcut, shape)
    elif kernel is not None and kernel.ndim == 2:
        shortcut = b.filled(
            layer, None, lambda: nn.Linear(*kernel.shape, bias=False), weight=kernel.T
        )
    elif kernel is not None:
        axes = kernel.ndim - 2
        stride = tuple(-(-n // m) for n, m in zip(shape[:-1], wanted[:-1], strict=True))
        cls = (nn.Conv1d, nn.Conv2d)[axes - 1]
        weight = kernel.transpose(axes + 1, axes, *range(axes))
        shortcut = b.filled(
            layer, None, lambda: cls(shape[-1], wanted[-1], 1, stride, bias=False), weight=weight
        )
    activation = _activated(layer.activation, [])
    made = Residual(b.body(layer.layers, shape), shortcut, *(activation or [nn.Identity()]))
    return [made], None


def _concatenate(b: _Builder, layer: ours.Concatenate, shape: Shape, order: _Order) -> _Made:
    return [Concatenate([b.body(branch, shape) for branch in layer.branches])], None


def _siamese(b: _Builder, layer: ours.Siamese, shape: Shape, order: _Order) -> _Made:
    return [Siamese(b.body(layer.layers, _half(shape)), layer.merge)], None


#: Layers that take the features of a vector in any order.
_ORDERED: Final = (
    ours.Dense,
    ours.BatchNorm,
    ours.LayerNorm,
    ours.RMSNorm,
    ours.Activation,
    ours.Dropout,
    ours.GaussianNoise,
    ours.Flatten,
)
#: What makes the modules of each layer, and the order of the features behind them.
_MODULES: Final[dict[str, Callable[..., _Made]]] = {
    "Activation": lambda b, layer, shape, order: (_activated(layer.activation, []), order),
    "AvgPool1D": _pool,
    "AvgPool2D": _pool,
    "BatchNorm": _batch_norm,
    "Concatenate": _concatenate,
    "Conv1D": _conv,
    "Conv2D": _conv,
    "Dense": _dense,
    "Dropout": lambda b, layer, shape, order: ([nn.Dropout(layer.rate)], order),
    "Flatten": _flatten,
    "GaussianNoise": lambda b, layer, shape, order: ([], order),
    "GlobalAvgPool": _global_pool,
    "LayerNorm": _row_norm,
    "MaxPool1D": _pool,
    "MaxPool2D": _pool,
    "RMSNorm": _row_norm,
    "Reshape": _reshape,
    "Residual": _residual,
    "Siamese": _siamese,
    "Slice": lambda b, layer, shape, order: ([Slice(layer.start, layer.stop)], None),
    "Standardize": _standardize,
}
