"""One fit at a time: who may use a network while it trains."""

from __future__ import annotations

import os
import threading
import weakref
from types import TracebackType


class FitLock:
    """Held by a fit, and by each call for a single batch, as a context manager.

    Attributes
    ----------
    owner : int or None
        The thread that holds it.
    """

    __slots__ = ("__weakref__", "_lock", "owner")

    def __init__(self) -> None:
        self.free()
        _locks.add(self)

    def free(self) -> None:
        """Make it a lock that nobody holds."""
        self._lock = threading.Lock()
        self.owner: int | None = None

    def __enter__(self) -> None:
        """Take it, or raise a RuntimeError at once."""
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("a fit of this network is running; wait for it or fit a clone")
        self.owner = threading.get_ident()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go."""
        self.owner = None
        self._lock.release()

    def check_idle(self, what: str) -> None:
        """Raise when another thread is in fit; the fit's own callbacks may go on."""
        owner = self.owner
        if owner is not None and owner != threading.get_ident():
            raise RuntimeError(f"{what} while another thread fits this network; use a clone")


_locks: weakref.WeakSet[FitLock] = weakref.WeakSet()


def _free_after_fork() -> None:
    """In a fork's child: open what was held by threads that do not exist there."""
    for lock in _locks:
        if lock.owner != threading.get_ident():
            lock.free()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_after_fork)
