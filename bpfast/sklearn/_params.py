"""The arguments of the estimators: kept as they come, checked when `fit` begins."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np

from bpfast import activations, schedules
from bpfast._check import (
    bad_type,
    bad_value,
    check_bool,
    check_choice,
    check_count,
    check_fraction,
    check_int,
    check_non_negative,
    check_number,
    check_optional_positive,
    check_positive,
)
from bpfast.callbacks import check_callbacks
from bpfast.network import Network

SOLVERS: Final = ("lbfgs", "sgd", "adam")
RATES: Final = ("constant", "invscaling", "adaptive")
#: Of hidden layers: scikit-learn's name of sigmoid, and ours of all.
ACTIVATIONS: Final = ("logistic", *(name for name in activations.NAMES if name != "softmax"))


def keep(est: object, arguments: Mapping[str, object]) -> None:
    """Set an estimator's attributes to its constructor's `locals()`, as scikit-learn wants them.

    It reads the names from the signature, by which it clones: each argument unchanged, none more.
    """
    for name, value in arguments.items():
        if name != "self":
            setattr(est, name, value)


def hidden_sizes(value: object) -> list[int]:
    """Return the sizes of the hidden layers, given as an int or a sequence of ints, maybe none."""
    sizes = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    return [check_count(f"hidden_layer_sizes[{i}]", n) for i, n in enumerate(sizes)]


def activation(value: object) -> str:
    """Return our name of a hidden layer's activation; scikit-learn calls sigmoid logistic."""
    name = check_choice("activation", value, ACTIVATIONS)
    return "sigmoid" if name == "logistic" else name


def threads(n_jobs: object) -> int | None:
    """Return the most threads: None where the machine's limit is meant, as by -1."""
    if n_jobs is None or n_jobs == -1:
        return None
    return check_count("n_jobs", n_jobs)


def _momentum(name: str, value: object) -> float:
    return check_number(name, value, 0.0, 1.0)


def _choice(*names: str) -> Callable[[str, object], object]:
    return lambda name, value: check_choice(name, value, names)


def _batch_size(name: str, value: object) -> None:
    if value != "auto":
        check_count(name, value)


def _patience(name: str, value: object) -> None:
    if not (isinstance(value, float) and value == math.inf):
        check_count(name, value)


def _verbose(name: str, value: object) -> None:
    if not isinstance(value, (bool, np.bool_)):
        check_int(name, value, 0)


def _network(name: str, value: object) -> None:
    if value is not None and not isinstance(value, Network) and not callable(value):
        raise bad_type(name, "None, a Network, or a function (inputs, outputs, rng)", value)


def _class_weight(name: str, value: object) -> None:
    known = value is None or value == "balanced" or isinstance(value, (Mapping, list))
    if not known:
        raise bad_value(name, "a dict, a list of dicts, 'balanced' or None", value)


#: What an argument passes through; those that only some estimators have, too.
CHECKS: Final[Mapping[str, Callable[[str, object], object]]] = {
    "hidden_layer_sizes": lambda name, value: hidden_sizes(value),
    "activation": lambda name, value: activation(value),
    "solver": _choice(*SOLVERS),
    "alpha": check_non_negative,
    "batch_size": _batch_size,
    "learning_rate": _choice(*RATES),
    "learning_rate_init": check_positive,
    "power_t": check_non_negative,
    "max_iter": check_count,
    "shuffle": check_bool,
    "tol": check_non_negative,
    "verbose": _verbose,
    "warm_start": check_bool,
    "momentum": _momentum,
    "nesterovs_momentum": check_bool,
    "early_stopping": check_bool,
    "validation_fraction": check_fraction,
    "beta_1": check_fraction,
    "beta_2": check_fraction,
    "epsilon": check_positive,
    "n_iter_no_change": _patience,
    "max_fun": check_count,
    "dropout": check_fraction,
    "batch_norm": check_bool,
    "layer_norm": check_bool,
    "residual": check_bool,
    "label_smoothing": check_fraction,
    "class_weight": _class_weight,
    "schedule": lambda name, value: schedules.get(value),
    "clip_norm": check_optional_positive,
    "clip_value": check_optional_positive,
    "callbacks": lambda name, value: check_callbacks(value or ()),
    "n_jobs": lambda name, value: threads(value),
    "network": _network,
}


def check_params(params: Mapping[str, Any]) -> None:
    """Raise for the first argument that is not what it may be, or does not go with another.

    Raises
    ------
    TypeError, ValueError
        The message names the argument.
    """
    for name, value in params.items():
        if name in CHECKS:
            CHECKS[name](name, value)
    if params["batch_norm"] and params["layer_norm"]:
        raise ValueError("batch_norm and layer_norm must not both be True")
    if params["solver"] == "lbfgs":
        for name in ("dropout", "batch_norm"):
            if params[name]:
                raise ValueError(
                    f"{name} must be {type(params[name])(0)!r} with solver 'lbfgs', which needs "
                    f"equal losses for equal weights; got {params[name]!r}"
                )
