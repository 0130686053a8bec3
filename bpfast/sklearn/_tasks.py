"""The epochs of a fit as tasks of scikit-learn's callbacks, from its version 1.9 on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bpfast._callback import Callback, Logs


class Tasks(Callback):
    """Tells scikit-learn's callbacks of each epoch, or of each iteration of lbfgs.

    Parameters
    ----------
    est : estimator
    root : sklearn.callback.CallbackContext
        The fit's own task.
    X, y : array_like
        As the user gave them.
    metadata : dict
        What else was given to `fit`.
    """

    def __init__(self, est: Any, root: Any, X: Any, y: Any, metadata: Mapping[str, Any]) -> None:
        self.est, self.root = est, root
        self.data = {"estimator": est, "X": X, "y": y, "metadata": dict(metadata)}
        self.task: Any = None

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Begin a task."""
        self.task = self.root.subcontext(task_name="epoch")
        self.task.call_on_fit_task_begin(**self.data)

    def on_epoch_end(self, epoch: int, logs: Logs) -> bool:
        """End it; a true answer of a callback ends the fit."""
        task, self.task = self.task, None
        parts = self.est._fitted_parts
        return bool(task.call_on_fit_task_end(**self.data, reconstruction_attributes=parts))

    def end(self) -> None:
        """End the fit's own task."""
        self.root.call_on_fit_task_end(
            **self.data, reconstruction_attributes=self.est._fitted_parts
        )


def tasks_of(est: Any, X: Any, y: Any, metadata: Mapping[str, Any]) -> Tasks | None:
    """Begin the fit's task, and return what tells of its parts; None where nobody listens."""
    if not hasattr(est, "_skl_callbacks"):  # what set_callbacks sets
        return None
    root = est._init_callback_context(max_subtasks=est.max_iter)
    given = {name: value for name, value in metadata.items() if value is not None}
    root.call_on_fit_task_begin(estimator=est, X=X, y=y, metadata=given)
    return Tasks(est, root, X, y, given)
