"""Networks of others as ours: PyTorch's Sequential, scikit-learn's perceptrons, ONNX models.

Neither PyTorch nor scikit-learn is imported: the object that is given brings its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from bpfast import layers as ours
from bpfast._check import bad_type, show
from bpfast._data import check_finite
from bpfast._foreign import is_mlp, is_module, mlp_weights, to_array
from bpfast._onnx.read import from_onnx
from bpfast._transfer import output_order
from bpfast.errors import ShapeError
from bpfast.layers.shapes import Shape, check_shape
from bpfast.network import Network

if TYPE_CHECKING:
    from bpfast.layers.base import Layer

__all__ = ["from_onnx", "from_sklearn", "from_torch"]


def from_torch(
    module: Any,
    *,
    input_shape: int | Sequence[int],
    dtype: str | None = None,
    rng: int | np.random.Generator | None = None,
) -> Network:
    """Return the network that a PyTorch module is, with its weights and statistics.

    Parameters
    ----------
    module : torch.nn.Sequential
        Of Linear, Conv1d, Conv2d, BatchNorm1d, BatchNorm2d, LayerNorm, RMSNorm (both over
        vectors), activations, MaxPool, AvgPool, AdaptiveAvgPool and AdaptiveMaxPool (sizes that
        divide the input's), Flatten, Dropout, Identity, the Standardize, Slice and Reshape of
        `Network.to_torch`, and Sequential of these; or one of them.
    input_shape : int or tuple of int
        Of an input row as bpfast has it, channels last: n, (length, channels) or (height, width,
        channels), where PyTorch has (channels, height, width).
    dtype : {"float32", "float64"}, optional
        None means that of the weights, float32 for shorter ones.
    rng : int, numpy.random.Generator or None, default None
        Seed of the network: of what later fits draw.

    Returns
    -------
    Network
        With a layer for each module, in order: names are equal unless Sequentials are nested.
        `predict` gives what the module gives in evaluation mode. Modules none of whose parameters
        requires a gradient are frozen.

    Raises
    ------
    TypeError
        `module` is no ``torch.nn.Module``, or a module is of a class that has no counterpart.
    ValueError
        A module has an option that has none, or its input another shape; the message names its
        path, class and option.

    Notes
    -----
    Images go in as (rows, height, width, channels): ``X.transpose(0, 2, 3, 1)`` of PyTorch's.
    Behind Flatten, rows of the next kernel are permuted accordingly. Where a module stands in
    several places, so does the layer.

    Examples
    --------
    >>> net = bpfast.convert.from_torch(module, input_shape=(28, 28, 1))  # doctest: +SKIP
    """
    if not is_module(module):
        raise bad_type("module", "a torch.nn.Module", module)
    first = shape = check_shape("input_shape", input_shape)
    layers: list[Layer] = []
    weights: dict[str, Any] = {}
    known: dict[int, Layer] = {}  # modules with parameters may stand in several places
    owners: dict[int, _Part] = {}
    for part in _parts(module, "module"):
        layer = known[id(part.module)] if id(part.module) in known else part.layer(shape)
        shape = part.guarded(layer.output_shape, shape)
        tensors = part.tensors()
        if tensors and id(part.module) not in known:
            known[id(part.module)] = layer
            weights |= {f"{len(layers)}.{name}": tensor for name, tensor in tensors.items()}
            for tensor in tensors.values():
                other = owners.setdefault(id(tensor), part)
                if other is not part:
                    raise part.error(f"must not share a tensor with another, {other.path}")
        layers.append(layer)
    dtype = _dtype_of(weights) if dtype is None else dtype
    net = Network(layers, input_shape=first, dtype=dtype, rng=rng)
    if output_order(net._plan) is not None:
        raise ValueError(
            "module must not end with images flattened, whose channels come first there and last "
            "here: end it with Linear"
        )
    net.load_weights(weights)
    if net._plan.standardizes:
        _copy_scaling(net, next(_parts(module, "module")).module)
    return net


def _copy_scaling(net: Network, module: Any) -> None:
    """Copy mean and scale of a first Standardize, whose images are channels first there."""
    for name in net._plan.measured_buffers():
        array = np.moveaxis(to_array(getattr(module, name.rpartition(".")[2])), 0, -1)
        check_finite(f"the module's {name}", np.ascontiguousarray(array), net.dtype.itemsize)
        net.buffers[name][...] = array
    net._measured = True


def from_sklearn(
    estimator: Any, *, dtype: str | None = None, rng: int | np.random.Generator | None = None
) -> Network:
    """Return the network that a fitted MLPClassifier or MLPRegressor is.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    dtype : {"float32", "float64"}, optional
        None means that of the weights.
    rng : int, numpy.random.Generator or None, default None
        Seed of the network: of what later fits draw.

    Returns
    -------
    Network
        Of `Dense` layers, the last with softmax (several classes), sigmoid (two, or several labels;
        one output for two classes) or without activation. ``metadata["classes"]`` has the class
        labels as JSON, in the order of the outputs; of two the second is that of an output near 1.

    Raises
    ------
    TypeError, ValueError
        `estimator` is something else, not fitted, or its output function has no counterpart.
    """
    if not is_mlp(estimator):
        raise bad_type("estimator", "an MLPClassifier or MLPRegressor of scikit-learn", estimator)
    weights = mlp_weights(estimator, "estimator")
    kernels = estimator.coefs_
    names = [estimator.activation] * (len(kernels) - 1) + [estimator.out_activation_]
    unknown = [name for name in names if name not in _SKLEARN]
    if unknown:
        expected = ", ".join(_SKLEARN)
        raise ValueError(f"estimator's activations must be of {expected}, got {show(unknown[0])}")
    layers = [
        ours.Dense(kernel.shape[1], _SKLEARN[name])
        for kernel, name in zip(kernels, names, strict=True)
    ]
    dtype = _dtype_of(weights) if dtype is None else dtype
    net = Network(layers, input_shape=kernels[0].shape[0], dtype=dtype, rng=rng)
    net.load_weights(weights)
    if hasattr(estimator, "classes_"):
        net.metadata["classes"] = json.dumps(np.asarray(estimator.classes_).tolist(), default=str)
    return net


#: scikit-learn's names of our activations.
_SKLEARN: Final = {
    "identity": "identity",
    "logistic": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "softmax": "softmax",
}


def _dtype_of(weights: dict[str, Any]) -> str:
    """Return float64 where some weights are that, else float32."""
    double = any(to_array(array).dtype == np.float64 for array in weights.values())
    return "float64" if double else "float32"


# ---- PyTorch's modules --------------------------------------------------------------------------


class _Part(NamedTuple):
    """A module with its path and the name of the class in `_MODULES` whose forward it has."""

    path: str
    kind: str
    module: Any

    def error(self, text: str, kind: type[Exception] = ValueError) -> Exception:
        """Make an error that names the module."""
        return kind(f"{self.path} ({self.kind}) {text}")

    def demand(self, **options: object) -> None:
        """Raise unless each option has this value."""
        for option, wanted in options.items():
            value = getattr(self.module, option)
            if value != wanted:
                raise self.error(f"must have {option}={wanted!r}, got {value!r}")

    def guarded(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function whose ValueErrors shall name the module."""
        try:
            return function(*arguments)
        except (TypeError, ValueError) as error:
            if str(error).startswith(self.path):
                raise
            if isinstance(error, ShapeError):
                raise self.error(str(error), ShapeError) from None
            raise self.error(f"has no counterpart: {error}") from None

    def layer(self, shape: Shape) -> Layer:
        """Return the layer that does what the module does with rows of this shape."""
        layer: Layer = self.guarded(_MODULES[self.kind], self, shape)
        parameters = list(self.module.parameters())
        if parameters and not any(each.requires_grad for each in parameters):
            layer.trainable = False
        return layer

    def tensors(self) -> dict[str, Any]:
        """Return parameters and running statistics by PyTorch's names."""
        names = ("weight", "bias", "running_mean", "running_var")
        found = {name: getattr(self.module, name, None) for name in names}
        return {name: tensor for name, tensor in found.items() if tensor is not None}


def _parts(module: Any, path: str) -> Iterator[_Part]:
    """Give the modules in the order in which they run."""
    cls: Any
    for cls in type(module).__mro__:
        name, known = cls.__name__, cls.__module__.startswith(_HOMES)
        if not known or (name not in _MODULES and name != "Sequential"):
            continue
        if type(module).forward is not cls.forward:
            break
        if module._forward_hooks or module._forward_pre_hooks:
            raise ValueError(f"{path} ({name}) must not have hooks: they change what it computes")
        if name != "Sequential":
            yield _Part(path, name, module)
            return
        for child, each in module._modules.items():
            yield from _parts(each, f"{path}.{child}")
        return
    raise TypeError(
        f"{path} ({type(module).__name__}) must be a Sequential of modules such as Linear, Conv2d "
        "or ReLU that bpfast has as a layer, with their own forward"
    )


def _linear(part: _Part, shape: Shape) -> Layer:
    _check_rank(part, shape, 1)
    _check_features(part, "in_features", shape)
    return ours.Dense(part.module.out_features, use_bias=part.module.bias is not None)


def _check_features(part: _Part, option: str, shape: Shape) -> None:
    """Raise unless the last size of the shape is what the module expects."""
    expected = getattr(part.module, option)
    if shape[-1] != expected:
        raise part.error(f"has {option}={expected}, got an input of shape {shape}", ShapeError)


def _check_rank(part: _Part, shape: Shape, *ranks: int) -> None:
    """Raise unless rows have one of these numbers of dimensions."""
    if len(shape) not in ranks:
        wanted = " or ".join(map(str, ranks))
        raise part.error(f"needs rows of {wanted} dimensions, got shape {shape}", ShapeError)


def _conv(part: _Part, shape: Shape) -> Layer:
    module = part.module
    part.demand(padding_mode="zeros", transposed=False)
    axes = len(module.kernel_size)
    _check_rank(part, shape, axes + 1)
    _check_features(part, "in_channels", shape)
    options: dict[str, Any] = {
        "strides": _extent(module.stride),
        "padding": module.padding if isinstance(module.padding, str) else _extent(module.padding),
        "dilation": _extent(module.dilation),
        "groups": module.groups,
        "use_bias": module.bias is not None,
    }
    cls: Any = ours.Conv1D if axes == 1 else ours.Conv2D
    layer: Layer = cls(module.out_channels, _extent(module.kernel_size), **options)
    return layer


def _extent(value: Any) -> Any:
    """Return PyTorch's int or tuple as an int, or a pair."""
    if isinstance(value, (tuple, list)):
        return value[0] if len(value) == 1 else tuple(value)
    return value


def _batch_norm(part: _Part, shape: Shape) -> Layer:
    module = part.module
    _check_rank(part, shape, *((3,) if part.kind == "BatchNorm2d" else (1, 2)))
    _check_features(part, "num_features", shape)
    part.demand(track_running_stats=True)
    if module.momentum is None:
        raise part.error("must have a momentum, got None (a cumulative mean)")
    return ours.BatchNorm(module.momentum, module.eps, center=module.affine, scale=module.affine)


def _vector_norm(part: _Part, shape: Shape) -> Layer:
    module = part.module
    _check_rank(part, shape, 1)
    if tuple(module.normalized_shape) != shape:
        sizes = tuple(module.normalized_shape)
        raise part.error(f"has normalized_shape={sizes}, got an input of shape {shape}", ShapeError)
    if part.kind == "LayerNorm":
        center = module.bias is not None
        return ours.LayerNorm(module.eps, center=center, scale=module.elementwise_affine)
    epsilon = module.eps
    if epsilon is None:  # the spacing of numbers at 1 in the dtype of the input
        epsilon = float(np.finfo(_dtype_of(part.tensors())).eps)
    return ours.RMSNorm(epsilon, scale=module.elementwise_affine)


def _activation(name: str, **options: object) -> Callable[[_Part, Shape], Layer]:
    """Return what makes this activation of a module with these options."""

    def make(part: _Part, shape: Shape) -> Layer:
        part.demand(**options)
        return ours.Activation(name)

    return make


def _gelu(part: _Part, shape: Shape) -> Layer:
    return ours.Activation("gelu_tanh" if part.module.approximate == "tanh" else "gelu")


def _softmax(part: _Part, shape: Shape) -> Layer:
    dim = part.module.dim
    if dim not in (1, -len(shape)):
        raise part.error(f"must have dim=1, the channels, got dim={dim!r}")
    return ours.Activation("softmax")


def _pool(part: _Part, shape: Shape) -> Layer:
    module = part.module
    axes = 1 if part.kind.endswith("1d") else 2
    _check_rank(part, shape, axes + 1)
    part.demand(ceil_mode=False)
    padding = _extent(module.padding)
    if part.kind.startswith("Max"):
        part.demand(return_indices=False)
        if _extent(module.dilation) not in (1, (1, 1)):
            part.demand(dilation=1)
    elif padding not in (0, (0, 0)):
        part.demand(count_include_pad=False)
    if part.kind == "AvgPool2d":
        part.demand(divisor_override=None)
    cls: Any = ours.TABLE[f"{part.kind[:7]}{axes}D"]
    layer: Layer = cls(_extent(module.kernel_size), strides=_extent(module.stride), padding=padding)
    return layer


def _adaptive_pool(part: _Part, shape: Shape) -> Layer:
    axes = 1 if part.kind.endswith("1d") else 2
    _check_rank(part, shape, axes + 1)
    sizes = part.module.output_size
    sizes = tuple(sizes) if isinstance(sizes, (tuple, list)) else (sizes,) * axes
    windows = []
    for length, size in zip(shape, sizes, strict=False):
        size = length if size is None else size
        if length % size:
            raise part.error(f"must have an output_size that divides {shape[:-1]}, got {sizes}")
        windows.append(length // size)
    cls: Any = ours.TABLE[f"{part.kind.removeprefix('Adaptive')[:7]}{axes}D"]
    layer: Layer = cls(_extent(windows))
    return layer


def _flatten(part: _Part, shape: Shape) -> Layer:
    part.demand(start_dim=1, end_dim=-1)
    return ours.Flatten()


#: Where the classes below live.
_HOMES: Final = ("torch.nn.modules.", "bpfast.export.torch_modules")
#: What makes a layer of a module, by the name of its class, and of the shape of its input.
_MODULES: Final[dict[str, Callable[[_Part, Shape], Layer]]] = {
    "Linear": _linear,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "BatchNorm1d": _batch_norm,
    "BatchNorm2d": _batch_norm,
    "LayerNorm": _vector_norm,
    "RMSNorm": _vector_norm,
    "Identity": _activation("identity"),
    "ReLU": _activation("relu"),
    "LeakyReLU": _activation("leaky_relu", negative_slope=0.01),
    "ELU": _activation("elu", alpha=1.0),
    "SELU": _activation("selu"),
    "GELU": _gelu,
    "SiLU": _activation("silu"),
    "Mish": _activation("mish"),
    "Softplus": _activation("softplus", beta=1.0, threshold=20.0),
    "Softsign": _activation("softsign"),
    "Hardsigmoid": _activation("hard_sigmoid"),
    "Hardswish": _activation("hard_swish"),
    "Sigmoid": _activation("sigmoid"),
    "Tanh": _activation("tanh"),
    "Softmax": _softmax,
    "MaxPool1d": _pool,
    "MaxPool2d": _pool,
    "AvgPool1d": _pool,
    "AvgPool2d": _pool,
    "AdaptiveAvgPool1d": _adaptive_pool,
    "AdaptiveAvgPool2d": _adaptive_pool,
    "AdaptiveMaxPool1d": _adaptive_pool,
    "AdaptiveMaxPool2d": _adaptive_pool,
    "Flatten": _flatten,
    "Dropout": lambda part, shape: ours.Dropout(part.module.p),
    "Reshape": lambda part, shape: ours.Reshape(part.module.shape),
    "Slice": lambda part, shape: ours.Slice(part.module.start, part.module.stop),
    "Standardize": lambda part, shape: ours.Standardize(),
}
