"""Optimizers, losses, regularizers, constraints, initializers: fields, checks, descriptions."""

from __future__ import annotations

import copy
import json
import math
import pickle
import re
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from bpfast import activations, constraints, initializers, losses, optimizers, regularizers
from bpfast._check import check_bool, check_int, check_number, check_pair, show
from bpfast.constraints import MaxNorm, NonNegative
from bpfast.errors import DivergenceError, ShapeError
from bpfast.initializers import (
    Constant,
    FromArray,
    FromCallable,
    Given,
    Normal,
    Orthogonal,
    Uniform,
)
from bpfast.losses import CrossEntropy, Huber, Quantile
from bpfast.optimizers import SGD, Adagrad, Adam, AdamW, Lion, RMSprop, Rprop
from bpfast.regularizers import L1, L2, ElasticNet

NAN, INF = math.nan, math.inf

#: module, objects with fields that are not the defaults
FAMILIES = [
    (
        optimizers,
        [
            SGD(0.1, momentum=0.9, nesterov=True),
            Adam(1e-2, beta_1=0.8, bias_correction=False, clip_norm=1.0),
            AdamW(weight_decay=0.1),
            RMSprop(rho=0.5),
            Adagrad(epsilon=1e-3),
            Rprop(etas=(0.4, 1.1), step_limits=(1e-5, 1.0)),
            Lion(clip_value=0.5),
        ],
    ),
    (losses, [Huber(2.0), Quantile(0.9), CrossEntropy(0.1), *[c() for c in losses.TABLE.values()]]),
    (regularizers, [L1(0.1), L2(0.2), ElasticNet(0.1, 0.2)]),
    (constraints, [MaxNorm(3.0), NonNegative()]),
    (initializers, [Uniform(-2, 3), Normal(1, 2), Orthogonal(2), Constant(-1.5), Given()]),
]
VALUES = [(module, value) for module, values in FAMILIES for value in values]


@pytest.mark.parametrize(("module", "value"), VALUES, ids=repr)
def test_config_survives_json(module, value):
    config = json.loads(json.dumps(value.config(), allow_nan=False))
    again = module.get(config)
    assert again == value
    assert type(again) is type(value)
    assert type(value).from_config(config) == value


@pytest.mark.parametrize(("module", "value"), VALUES, ids=repr)
def test_values_are_immutable_hashable_and_copyable(module, value):
    assert module.get(value) is value
    assert pickle.loads(pickle.dumps(value)) == value == copy.deepcopy(value)
    assert hash(value) == hash(copy.copy(value))
    for name in value.arguments():
        with pytest.raises(AttributeError):
            setattr(value, name, 1.0)
    with pytest.raises(AttributeError, match="immutable"):
        value.misspelt = 1.0


@pytest.mark.parametrize("module", [module for module, _ in FAMILIES])
def test_every_name_is_its_class(module):
    for name, cls in module.TABLE.items():
        assert cls.kind == name
        try:
            value = cls()
        except TypeError:  # an argument without default: the name alone says which
            with pytest.raises(ValueError, match=rf"'{name}' needs .*{cls.__name__}\("):
                module.get(name)
        else:
            assert module.get(name) == value
            assert repr(value) == f"{cls.__name__}()"


def test_repr_is_the_call():
    for value in (Adam(0.5, beta_1=0.8), Rprop(etas=(0.1, 2.0)), L2(1e-4), Huber(2.0)):
        assert eval(repr(value)) == value
    assert repr(Adam(0.5, beta_1=0.8)) == "Adam(0.5, beta_1=0.8)"


def test_replace_makes_another():
    adam = Adam(clip_norm=1.0)
    other = adam.replace(learning_rate=0.5)
    assert (adam.learning_rate, other.learning_rate, other.clip_norm) == (1e-3, 0.5, 1.0)
    with pytest.raises(ValueError, match="beta_1"):
        adam.replace(beta_1=2)
    with pytest.raises(TypeError, match="speed"):
        adam.replace(speed=1)


# ---- optimizers -----------------------------------------------------------------------------

LIMITS = {"clip_norm": 0.0, "clip_value": 0.0}
MOMENTS = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "bias_correction": True}
SPECS = [
    (SGD(), {"kind": "sgd", "learning_rate": 0.01, "momentum": 0.0, "nesterov": False}),
    (Adam(), {"kind": "adam", "learning_rate": 1e-3, **MOMENTS}),
    (AdamW(), {"kind": "adamw", "learning_rate": 1e-3, "weight_decay": 1e-2, **MOMENTS}),
    (RMSprop(), {"kind": "rmsprop", "learning_rate": 1e-3, "rho": 0.9, "epsilon": 1e-8}),
    (Adagrad(), {"kind": "adagrad", "learning_rate": 1e-2, "epsilon": 1e-10}),
    (
        Rprop(),
        {
            "kind": "rprop",
            "learning_rate": 1e-2,
            "eta_minus": 0.5,
            "eta_plus": 1.2,
            "step_min": 1e-6,
            "step_max": 50.0,
        },
    ),
    (
        Lion(),
        {
            "kind": "lion",
            "learning_rate": 1e-4,
            "beta_1": 0.9,
            "beta_2": 0.99,
            "weight_decay": 0.0,
        },
    ),
]


@pytest.mark.parametrize(("value", "spec"), SPECS, ids=lambda x: getattr(x, "kind", ""))
def test_optimizer_defaults_are_the_contract(value, spec):
    assert value.spec() == {**spec, **LIMITS}
    limited = value.replace(clip_norm=2)
    assert limited.spec() == {**spec, "clip_norm": 2.0, "clip_value": 0.0}


def test_all_optimizers_are_tested():
    assert {value.kind for value, _ in SPECS} == set(optimizers.TABLE)


# ---- losses ---------------------------------------------------------------------------------


def test_loss_specs():
    assert list(losses.TABLE) == [
        "half_squared_error",
        "mse",
        "mae",
        "huber",
        "quantile",
        "cross_entropy",
        "binary_cross_entropy",
        "poisson",
    ]
    parameters = {"huber": 1.0, "quantile": 0.5}
    for name in losses.TABLE:
        assert losses.get(name).spec() == {"kind": name, "parameter": parameters.get(name, 0.0)}
    assert Huber(3).spec() == {"kind": "huber", "parameter": 3.0}
    assert Quantile(0.9).spec()["parameter"] == 0.9
    assert Quantile([0.1, 0.9]) == Quantile((0.1, 0.9))
    assert Quantile((0.1, 0.9)).spec()["each"] == (0.1, 0.9)
    assert losses.get(Quantile((0.1, 0.9)).config()) == Quantile((0.1, 0.9))
    assert CrossEntropy(0.1).spec()["parameter"] == 0.1


def test_a_function_is_a_loss():
    def loss(y, output):
        return 0.0, output

    assert losses.get(loss) is loss


# ---- regularizers, constraints, activations -------------------------------------------------


def test_regularizers_have_both_strengths():
    assert (L1(0.5).l1, L1(0.5).l2) == (0.5, 0.0)
    assert (L2(0.5).l1, L2(0.5).l2) == (0.0, 0.5)
    assert (ElasticNet(0.5, 2).l1, ElasticNet(0.5, 2).l2) == (0.5, 2.0)
    assert L1(0.5).config() == {"name": "l1", "l1": 0.5}
    assert regularizers.get(None) is None


def test_constraints_have_both_limits():
    assert (MaxNorm(3).max_norm, MaxNorm(3).non_negative) == (3.0, False)
    assert (NonNegative().max_norm, NonNegative().non_negative) == (0.0, True)
    assert constraints.get(None) is None


def test_activation_names_keep_their_order():
    assert " ".join(activations.NAMES) == (
        "identity sigmoid tanh relu leaky_relu elu selu gelu gelu_tanh silu mish softplus "
        "softsign hard_sigmoid hard_swish softmax"
    )
    assert set(activations.NAMES) > activations.RELU_LIKE
    documented = re.findall(r"^(\w+)  +\S", activations.__doc__, re.MULTILINE)[1:]
    assert tuple(documented) == activations.NAMES


# ---- initializers ---------------------------------------------------------------------------

DRAWS = [
    ("uniform", ("uniform", -1.0, 1.0)),
    ("normal", ("normal", 0.0, 0.1)),
    ("glorot_uniform", ("uniform", -math.sqrt(6 / 16), math.sqrt(6 / 16))),
    ("glorot_normal", ("normal", 0.0, math.sqrt(2 / 16))),
    ("he_uniform", ("uniform", -math.sqrt(6 / 12), math.sqrt(6 / 12))),
    ("he_normal", ("normal", 0.0, math.sqrt(2 / 12))),
    ("lecun_uniform", ("uniform", -math.sqrt(3 / 12), math.sqrt(3 / 12))),
    ("lecun_normal", ("normal", 0.0, math.sqrt(1 / 12))),
    ("orthogonal", ("orthogonal", 1.0, 0.0)),
    ("zeros", ("constant", 0.0, 0.0)),
    ("ones", ("constant", 1.0, 0.0)),
    ({"name": "given"}, ("constant", 0.0, 0.0)),
    (Constant(7), ("constant", 7.0, 0.0)),
]


@pytest.mark.parametrize(("value", "spec"), DRAWS, ids=lambda x: x if isinstance(x, str) else "")
def test_initializer_draws(value, spec):
    initializer = initializers.get(value)
    assert initializer.spec(12, 4) == spec
    assert initializer.values((12, 4)) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.uint64])
def test_an_array_is_copied_and_kept(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    initializer = initializers.get(array)
    array += 1
    values = initializer.values((2, 3))
    assert initializer.spec(2, 3) == ("given", 0.0, 0.0)
    assert values.dtype == (np.float32 if dtype is np.float32 else np.float64)
    assert values.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not values.flags.writeable
    with pytest.raises(ShapeError, match=r"\(3, 2\), got \(2, 3\)"):
        initializer.values((3, 2))
    assert initializers.get(initializer.config()) == Given()
    assert pickle.loads(pickle.dumps(initializer)).values((2, 3)).tolist() == values.tolist()
    assert "(2, 3)" in repr(initializer)


def test_a_list_and_a_buffer_are_arrays():
    assert initializers.get([1, 2.5]).values((2,)).tolist() == [1, 2.5]
    buffer = memoryview(np.ones(3))
    assert initializers.get(buffer).values((3,)).tolist() == [1, 1, 1]


def test_a_function_is_called_with_the_shape():
    initializer = initializers.get(lambda shape: np.full(shape, 2))
    assert initializer.spec(3, 2) == ("given", 0.0, 0.0)
    assert initializer.values((3, 2)).tolist() == [[2, 2]] * 3
    assert initializer.config() == {"name": "given"}
    assert copy.deepcopy(initializer) is initializer
    assert pickle.loads(pickle.dumps(initializer)) == Given()
    assert "lambda" in repr(initializer)
    with pytest.raises(ShapeError, match=r"result must have shape \(2,\), got \(3,\)"):
        FromCallable(lambda shape: [1, 2, 3]).values((2,))
    with pytest.raises(ValueError, match="result must be finite"):
        FromCallable(lambda shape: [NAN]).values((1,))


BAD_ARRAYS = [
    ([[1], [1, 2]], ShapeError, "rectangular"),
    ([1, NAN], ValueError, "finite"),
    (np.array([INF]), ValueError, "finite"),
    (np.array([True]), TypeError, "real numbers, got dtype bool"),
    (np.array([1j]), TypeError, "real numbers, got dtype complex128"),
    (["a"], TypeError, "real numbers"),
    (np.float64(3), ShapeError, "Constant"),
    (3.0, TypeError, "got 3.0"),
    (initializers.HeNormal, TypeError, r"HeNormal\(\.\.\.\)"),
    ({"name": "given", "x": 1}, ValueError, "takes the arguments none, got x"),
    ("he", ValueError, "one of uniform, normal"),
    ("given", ValueError, "one of uniform, .*, constant, got 'given'"),
]


@pytest.mark.parametrize(("value", "error", "message"), BAD_ARRAYS)
def test_bad_initializers_name_the_argument(value, error, message):
    with pytest.raises(error, match=message) as caught:
        initializers.get(value, "bias_init")
    assert "\n" not in str(caught.value)
    assert "bias_init" in str(caught.value)


# ---- bad arguments --------------------------------------------------------------------------

#: class, good positional arguments, field, values that are refused
BAD = [
    *[(cls, (), "learning_rate", [0, -1, NAN, INF, 10**400]) for cls in optimizers.TABLE.values()],
    *[(cls, (), "clip_norm", [0, -1.0, NAN, INF]) for cls in optimizers.TABLE.values()],
    *[(cls, (), "clip_value", [0, -1.0, NAN, INF]) for cls in optimizers.TABLE.values()],
    (SGD, (), "momentum", [-0.1, 1, NAN]),
    *[(cls, (), beta, [-0.1, 1.0, NAN]) for cls in (Adam, AdamW, Lion) for beta in ("beta_1",)],
    *[(cls, (), beta, [-0.1, 1.0, NAN]) for cls in (Adam, AdamW, Lion) for beta in ("beta_2",)],
    *[(cls, (), "epsilon", [0.0, -1e-8, INF]) for cls in (Adam, AdamW, RMSprop, Adagrad)],
    *[(cls, (), "weight_decay", [-1e-3, INF]) for cls in (AdamW, Lion)],
    (RMSprop, (), "rho", [-0.1, 1.0]),
    (Rprop, (), "etas", [(0, 1.2), (0.5, 1.0), (1.0, 1.2), (0.5,), (0.5, INF)]),
    (Rprop, (), "step_limits", [(0, 1), (2, 1), (1, 2, 3), (NAN, 1)]),
    (Huber, (), "delta", [0, -1, NAN, INF]),
    (Quantile, (), "tau", [0, 1, -0.5, NAN]),
    (CrossEntropy, (), "label_smoothing", [-0.1, 1, NAN]),
    (losses.BinaryCrossEntropy, (), "label_smoothing", [-0.1, 1, NAN]),
    (L1, (), "l1", [-1, NAN, INF]),
    (L2, (), "l2", [-1, NAN, INF]),
    (MaxNorm, (), "max_value", [0, -1, NAN, INF]),
    (Uniform, (), "low", [2, NAN, -INF]),
    (Uniform, (), "high", [-2, NAN, INF]),
    (Normal, (), "mean", [NAN, INF]),
    (Normal, (), "std", [-1, NAN, INF]),
    (Orthogonal, (), "gain", [0, -1, NAN]),
    (Constant, (), "value", [NAN, INF]),
]


@pytest.mark.parametrize(("cls", "arguments", "field", "refused"), BAD)
def test_bad_values_are_named(cls, arguments, field, refused):
    for value in refused:
        with pytest.raises(ValueError, match=rf"(?s)(?:{field}|high).*must be.*got") as caught:
            cls(*arguments, **{field: value})
        assert "\n" not in str(caught.value)
    for value in ("0.5", True, object(), [0.5], 1j, np.ones(2)):
        if field in ("etas", "step_limits") and not isinstance(value, bool):
            continue
        if field == "tau" and isinstance(value, list):  # a quantile for each output
            continue
        with pytest.raises(TypeError, match=rf"{field} must be .*got") as caught:
            cls(*arguments, **{field: value})
        assert "\n" not in str(caught.value)


def test_bad_combinations():
    with pytest.raises(ValueError, match="momentum must be > 0 with nesterov"):
        SGD(nesterov=True)
    with pytest.raises(TypeError, match="nesterov must be True or False, got 1"):
        SGD(momentum=0.5, nesterov=1)
    with pytest.raises(TypeError, match="etas must be two numbers, got '12'"):
        Rprop(etas="12")
    with pytest.raises(TypeError, match=r"etas\[0\] must be a finite number, got 'a'"):
        Rprop(etas=("a", 1.2))
    for cls in optimizers.TABLE.values():
        with pytest.raises(TypeError):
            cls(0.1, 0.9)  # one argument by position


UNKNOWN = [
    (optimizers, "optimizer"),
    (losses, "loss"),
    (regularizers, "weight_regularizer"),
    (constraints, "weight_constraint"),
]


@pytest.mark.parametrize(("module", "argument"), UNKNOWN)
def test_unknown_names_and_types(module, argument):
    first = next(iter(module.TABLE))
    cls = module.TABLE[first]
    for value, error, message in [
        ("nonsense", ValueError, rf"{argument} must be one of {first}, .*got 'nonsense'"),
        ("", ValueError, argument),
        (3, TypeError, rf"{argument} must be a name.*got 3"),
        (cls, TypeError, rf"{argument} .*call it: {cls.__name__}"),
        ({"name": "nonsense"}, ValueError, rf"{argument}\['name'\] must be one of {first}"),
        ({"name": ["x"]}, ValueError, argument),
        ({}, ValueError, argument),
        (
            {"name": first, "nonsense": 1},
            ValueError,
            rf"{argument} '{first}' takes .* nonsense",
        ),
    ]:
        with pytest.raises(error, match=message) as caught:
            module.get(value)
        assert "\n" not in str(caught.value)


def test_from_config_refuses_another_class():
    with pytest.raises(ValueError, match="'adam', got 'sgd'"):
        Adam.from_config(SGD().config())


# ---- the checks themselves ------------------------------------------------------------------


def test_numpy_scalars_become_python_numbers():
    adam = Adam(np.float32(0.5), beta_1=np.float64(0.5), bias_correction=np.bool_(False))
    assert type(adam.learning_rate) is float
    assert type(adam.beta_1) is float
    assert adam.bias_correction is False
    assert type(check_int("n", np.int64(3))) is int
    assert check_number("x", Fraction(1, 2)) == 0.5
    assert check_pair("x", np.array([1, 2])) == (1.0, 2.0)
    for value in (np.bool_(True), "1", None, 1j):
        with pytest.raises(TypeError):
            check_number("x", value)
    for value in (np.bool_(True), True, 3.0, "3", None, np.float32(3)):
        with pytest.raises(TypeError, match="n must be an int >= 1"):
            check_int("n", value, 1)
    for value in (0, 1, None, "yes"):
        with pytest.raises(TypeError):
            check_bool("flag", value)


def test_ranges_are_written_as_they_are():
    for call, text in [
        (lambda: check_number("x", NAN), "x must be a finite number, got nan"),
        (lambda: check_number("x", 2, 0, 1), r"x must be a finite number in \[0, 1\], got 2"),
        (lambda: check_number("x", 2, high=1), "x must be a finite number <= 1, got 2"),
        (lambda: check_int("n", 9, high=8), "n must be an int <= 8, got 9"),
        (lambda: check_int("n", 9, 1, 8), r"n must be an int in \[1, 8\], got 9"),
    ]:
        with pytest.raises(ValueError, match=f"^{text}$"):
            call()


def test_show_is_short_and_one_line():
    for value in (10**5000, "x" * 999, np.zeros((500, 500)), list(range(999)), object(), {}, int):
        text = show(value)
        assert len(text) < 80
        assert "\n" not in text


def test_errors():
    assert issubclass(ShapeError, ValueError)
    assert issubclass(DivergenceError, FloatingPointError)
    error = DivergenceError("loss became NaN", layer="1", epoch=2, batch=3)
    for caught in (error, pickle.loads(pickle.dumps(error))):
        assert (caught.layer, caught.epoch, caught.batch) == ("1", 2, 3)
        assert str(caught) == "loss became NaN"


def test_importing_loads_neither_numpy_nor_optional_packages():
    code = """
import importlib, sys
for name in ("optimizers", "losses", "layers", "schedules", "metrics", "callbacks"):
    importlib.import_module("bpfast." + name)
assert not {"numpy", "tqdm", "safetensors"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_given_arrays_compare_by_identity():
    one = FromArray([1.0])
    assert one == one
    assert one != FromArray([1.0])
    assert len({one, FromArray([1.0])}) == 2
