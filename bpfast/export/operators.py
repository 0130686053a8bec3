"""The table of operators: which of ONNX's do what a core layer does, for writing and for reading.

Most kinds are one operator, a row of `LAYERS`. Activations and what has no operator of its own in
the pinned set are expressions of several, in `ACTIVATIONS` and below: the writer makes their nodes,
the reader finds them among a model's nodes.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

#: The operator set that is written: the first with Gelu, read by onnxruntime since 1.17.
OPSET: Final = 20
#: The version of the file format that goes with it.
IR_VERSION: Final = 9
#: The oldest set that is read: BatchNormalization there is that of today.
OLDEST_OPSET: Final = 7

#: Where a matrix has its channels: behind the batch, as ONNX's windows want them, or at the end, as
#: bpfast has them. Vectors are the same in both.
FIRST: Final = "channels first"
LAST: Final = "channels last"
#: The note in a model's metadata that its images are channels last.
LAYOUT_KEY: Final = "bpfast.layout"


def channels_axis(shape: tuple[int, ...], layout: str) -> int:
    """Return the axis of the channels in a tensor of rows of this shape of ours."""
    return 1 if layout == FIRST else len(shape)


class Row(NamedTuple):
    """One operator.

    Attributes
    ----------
    op : str
        ONNX's name.
    layout : str or None
        The layout that it needs of images; None: any.
    arrays : tuple of str
        The names of our arrays, in the order of its inputs behind the first.
    """

    op: str
    layout: str | None
    arrays: tuple[str, ...] = ()


#: Kinds of core layers that are one operator.
LAYERS: Final = {
    "dense": Row("Gemm", LAST, ("kernel", "bias")),
    "conv": Row("Conv", FIRST, ("kernel", "bias")),
    "batchnorm": Row(
        "BatchNormalization", FIRST, ("gamma", "beta", "running_mean", "running_variance")
    ),
    "layernorm": Row("LayerNormalization", LAST, ("gamma", "beta")),
    "maxpool": Row("MaxPool", FIRST),
    "avgpool": Row("AveragePool", FIRST),
    "reshape": Row("Reshape", LAST),
    "slice": Row("Slice", None),
    "concat": Row("Concat", None),
    "add": Row("Add", None),
}
#: Kinds that do nothing outside of training.
NOTHING: Final = frozenset({"dropout", "noise"})


class Op(NamedTuple):
    """An operator within an expression.

    Attributes
    ----------
    op : str
        ONNX's name.
    inputs : tuple
        Expressions, numbers, and names: of a tensor that goes in, or of constants.
    attributes : dict
        Those that must have these values; of the others any will do.
    """

    op: str
    inputs: tuple[Op | float | str, ...]
    attributes: dict[str, Any]


def _op(op: str, *inputs: Op | float | str, **attributes: Any) -> Op:
    return Op(op, inputs, attributes)


#: What goes into an expression, and the second tensor that does.
X: Final = "x"
OTHER: Final = "other"

#: Of each activation but the identity. Softmax also has an axis.
ACTIVATIONS: Final = {
    "sigmoid": _op("Sigmoid", X),
    "tanh": _op("Tanh", X),
    "relu": _op("Relu", X),
    "leaky_relu": _op("LeakyRelu", X, alpha=0.01),
    "elu": _op("Elu", X, alpha=1.0),
    "selu": _op("Selu", X, alpha=1.6732632423543772, gamma=1.0507009873554805),
    "gelu": _op("Gelu", X, approximate="none"),
    "gelu_tanh": _op("Gelu", X, approximate="tanh"),
    "silu": _op("Mul", X, _op("Sigmoid", X)),
    "mish": _op("Mish", X),
    "softplus": _op("Softplus", X),
    "softsign": _op("Softsign", X),
    "hard_sigmoid": _op("HardSigmoid", X, alpha=1 / 6, beta=0.5),
    "hard_swish": _op("HardSwish", X),
    "softmax": _op("Softmax", X),
}
_CDF = _op("Add", _op("Erf", _op("Div", X, 2**0.5)), 1.0)
#: How others write activations: older sets lack Gelu, Mish and HardSwish, this one Swish, and
#: PyTorch takes Softsign apart, and leaves out exp(-20) = 2e-9 of Softplus.
OTHER_SPELLINGS: Final = (
    ("gelu", _op("Mul", _op("Mul", X, _CDF), 0.5)),
    ("gelu", _op("Mul", X, _op("Mul", _CDF, 0.5))),
    ("gelu", _op("Mul", _op("Mul", X, 0.5), _CDF)),
    ("mish", _op("Mul", X, _op("Tanh", _op("Softplus", X)))),
    ("hard_swish", _op("Mul", X, _op("HardSigmoid", X, alpha=1 / 6, beta=0.5))),
    ("silu", _op("Swish", X, alpha=1.0)),
    ("softplus", _op("Where", _op("Greater", X, 20.0), X, _op("Softplus", X))),
    ("softsign", _op("Div", X, _op("Add", _op("Abs", X), 1.0))),
)

#: y = x / sqrt(mean(x^2) + epsilon) over the `axes`, the last one; gamma multiplies it.
RMS_NORM: Final = _op(
    "Div",
    X,
    _op("Sqrt", _op("Add", _op("ReduceMean", _op("Mul", X, X), "axes", keepdims=1), "epsilon")),
)
#: As PyTorch writes it.
OTHER_RMS_NORM: Final = _op(
    "Mul",
    X,
    _op(
        "Reciprocal",
        _op(
            "Sqrt",
            _op("Add", _op("ReduceMean", _op("Pow", X, 2.0), "axes", keepdims=1), "epsilon"),
        ),
    ),
)
#: y = (x - mean) scale.
STANDARDIZE: Final = _op("Mul", _op("Sub", X, "mean"), "scale")
#: y = |x - other|.
DISTANCE: Final = _op("Abs", _op("Sub", X, OTHER))
