"""The activation functions, by name.

An activation is a string; the formulas live in the compiled core.

============= ================================================= ==========================
name          f(x)                                              source
============= ================================================= ==========================
identity      x
sigmoid       1 / (1 + exp(-x))
tanh          tanh(x)
relu          max(x, 0); f'(0) = 0                              Nair & Hinton 2010
leaky_relu    x for x > 0, else 0.01 x                          Maas et al. 2013
elu           x for x > 0, else exp(x) - 1 (alpha = 1)          Clevert et al. 2016
selu          s x for x > 0, else s a (exp(x) - 1);             Klambauer et al. 2017
              a = 1.6732632423543772, s = 1.0507009873554805
gelu          x/2 (1 + erf(x / sqrt(2)))                        Hendrycks & Gimpel 2016
gelu_tanh     x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))     Hendrycks & Gimpel 2016
silu          x / (1 + exp(-x))                                 Elfwing et al. 2018
mish          x tanh(softplus(x))                               Misra 2020
softplus      log(1 + exp(x))                                   Dugas et al. 2001
softsign      x / (1 + abs(x))
hard_sigmoid  min(max(x + 3, 0), 6) / 6                         Howard et al. 2019
hard_swish    x min(max(x + 3, 0), 6) / 6                       Howard et al. 2019
softmax       exp(x_j) / sum_k exp(x_k), over each row          Bridle 1990
============= ================================================= ==========================

``gelu`` is the exact form, as in PyTorch and Keras. The slope 0.01 of ``leaky_relu`` is
PyTorch's (Keras' layer: 0.3). ``hard_sigmoid`` is the form of PyTorch and Keras 3 (Keras 2 had
min(max(0.2 x + 0.5, 0), 1)).
"""

from __future__ import annotations

from typing import Final

from bpfast._check import check_choice

#: Every activation; the compiled core numbers them in this order.
NAMES: Final = (
    "identity",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "gelu_tanh",
    "silu",
    "mish",
    "softplus",
    "softsign",
    "hard_sigmoid",
    "hard_swish",
    "softmax",
)

#: Those that are near 0 on one side and near x on the other: He et al.'s initial weights suit them.
RELU_LIKE: Final = frozenset(
    {
        "relu",
        "leaky_relu",
        "elu",
        "selu",
        "gelu",
        "gelu_tanh",
        "silu",
        "mish",
        "softplus",
        "hard_swish",
    }
)


def get(value: object, argument: str = "activation") -> str:
    """Return the activation's name.

    Raises
    ------
    TypeError, ValueError
        `value` is not a string, or not one of `NAMES`.
    """
    return check_choice(argument, value, NAMES)
