"""Limits that the weights keep: after each step they are moved back to the nearest allowed value.

The first move comes after the first step, so initial weights may be outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final

from bpfast._check import check_positive
from bpfast._value import Value, resolve, value


@value
class Constraint(Value):
    """Base class.

    Attributes
    ----------
    max_norm : float
        The greatest norm of a unit's weights; 0.0 means any.
    non_negative : bool
        Whether weights below 0 become 0.
    """

    checks: ClassVar[Mapping[str, Callable[[str, object], object]]] = {
        "max_value": check_positive,
    }

    @property
    def max_norm(self) -> float:
        """Greatest norm of a unit's weights; 0.0 means any."""
        return 0.0

    @property
    def non_negative(self) -> bool:
        """Whether weights below 0 become 0."""
        return False


@value
class MaxNorm(Constraint):
    """Keep the Euclidean norm of each unit's incoming weights at `max_value` or below.

    A unit's weights are a column of the (inputs, units) kernel, without its bias. A longer column
    w becomes w max_value / norm(w). Keras' ``MaxNorm`` with axis=0 does the same.

    Parameters
    ----------
    max_value : float
        The limit, > 0; Srivastava et al. used 3 to 4 together with dropout.

    References
    ----------
    Srivastava et al. 2014, Dropout, section 5.1.
    """

    kind: ClassVar[str] = "max_norm"
    max_value: float

    @property
    def max_norm(self) -> float:
        """Greatest norm of a unit's weights."""
        return self.max_value


class NonNegative(Constraint):
    """Keep every weight at 0 or above: w becomes max(w, 0).

    With increasing activations and non-negative weights in every layer the output never falls
    when an input rises (Sill 1998, Monotonic networks).
    """

    kind: ClassVar[str] = "non_negative"

    @property
    def non_negative(self) -> bool:
        """Whether weights below 0 become 0: they do."""
        return True


#: Every constraint that a name or a model file can ask for.
TABLE: Final[dict[str, type[Constraint]]] = {cls.kind: cls for cls in (MaxNorm, NonNegative)}


def get(value: object, argument: str = "weight_constraint") -> Constraint | None:
    """Return None as it is, else the constraint that a name, config or object stands for.

    Raises
    ------
    TypeError, ValueError
        `value` is none of these, or ``"max_norm"`` alone: the limit has no default.
    """
    return None if value is None else resolve(argument, value, TABLE, Constraint)
