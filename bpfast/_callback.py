"""The base class of the callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpfast._fit import Fit
    from bpfast.network import Network

#: The numbers of an epoch or batch by name.
Logs = Mapping[str, float]


class Callback:
    """Base class: every method does nothing; override those that are wanted.

    The order is on_train_begin, then for each epoch on_epoch_begin, on_batch_end for each batch,
    on_epoch_end, and on_train_end last, also when the fit stops early. Each may return True to
    stop the fit there; None and False go on.

    Attributes
    ----------
    net : Network
        The network that is being trained; set by fit.
    monitor : str or None
        A key that the fit must record; a ValueError before training when it will not.
    """

    net: Network
    monitor: str | None = None

    def check_net(self, net: Network) -> None:
        """Raise where this does not fit the network: fit asks before any work."""

    def attach(self, fit: Fit) -> None:
        """Belong to a fit, before it begins: set `net`."""
        self.net = fit.net

    def on_train_begin(self, logs: Logs) -> bool | None:
        """Begin a fit; ``logs["epochs"]`` is the number of epochs asked for."""
        return None

    def on_train_end(self, logs: Logs) -> bool | None:
        """End a fit, with the numbers of the last epoch."""
        return None

    def on_epoch_begin(self, epoch: int, logs: Logs) -> bool | None:
        """Begin an epoch."""
        return None

    def on_epoch_end(self, epoch: int, logs: Logs) -> bool | None:
        """End an epoch, validation included."""
        return None

    def on_batch_end(self, batch: int, logs: Logs) -> bool | None:
        """End a batch. A fit returns to Python for it only where a callback has this method."""
        return None

    @property
    def uses_batches(self) -> bool:
        """Whether fit must call `on_batch_end`."""
        return type(self).on_batch_end is not Callback.on_batch_end

    def get_state(self) -> dict[str, Any]:
        """Return what a resumed fit needs, in JSON types."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned; called after `on_train_begin`."""
