"""Objects of PyTorch and scikit-learn, known by their classes: nothing is imported."""

from __future__ import annotations

from typing import Any

_MLPS = ("MLPClassifier", "MLPRegressor")


def is_a(value: object, package: str, *names: str) -> bool:
    """Whether a value is an instance of a class of this package, under one of these names."""
    return any(
        cls.__name__ in names and cls.__module__.partition(".")[0] == package
        for cls in type(value).__mro__
    )


def is_module(value: object) -> bool:
    """Whether this is a ``torch.nn.Module``."""
    return is_a(value, "torch", "Module")


def is_mlp(value: object) -> bool:
    """Whether this is a multilayer perceptron of scikit-learn."""
    return is_a(value, "sklearn", *_MLPS)


def to_array(value: Any) -> Any:
    """Return a tensor of PyTorch as an ndarray that shares its memory where it can; else `value`.

    What NumPy has no type for, such as bfloat16, becomes float32.
    """
    if not is_a(value, "torch", "Tensor"):
        return value
    tensor = value.detach().cpu()
    try:
        return tensor.numpy()
    except TypeError:
        return tensor.float().numpy()


def module_weights(module: Any) -> dict[str, Any]:
    """Return the tensors of a module's ``state_dict``, shared ones under their first name."""
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if is_a(tensor, "torch", "Tensor") and id(tensor) not in seen:
            found[name] = tensor
            seen.add(id(tensor))
    return found


def mlp_weights(estimator: Any, argument: str = "src") -> dict[str, Any]:
    """Return the arrays of a fitted estimator under our names, layer by layer."""
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"{argument} must be fitted: call its fit first")
    found: dict[str, Any] = {}
    for i, (kernel, bias) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        found |= {f"{i}.kernel": kernel, f"{i}.bias": bias}
    return found
