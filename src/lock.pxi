# lock.pxi - one fit at a time: who may use a network while it trains.
# SPDX-License-Identifier: BSD-3-Clause

from _thread import get_ident


cdef class FitLock:
    """Held by a fit, and by each call for a single batch, as a context manager.

    `owner` is the thread that holds it, or None. The methods are compiled, so no handler of a
    signal can run inside them: one that raised there would leave the network locked for good. The
    GIL makes each a single step for other threads.
    """

    cdef readonly object owner

    def __enter__(self):
        """Take it, or raise a RuntimeError at once."""
        caller = get_ident()
        if self.owner is not None:
            raise RuntimeError("a fit of this network is running; wait for it or fit a clone")
        self.owner = caller

    def __exit__(self, kind, error, trace):
        """Let go."""
        self.owner = None

    def check_idle(self, str what):
        """Raise when another thread is in fit; the fit's own callbacks may go on."""
        if self.owner is not None and self.owner != get_ident():
            raise RuntimeError(f"{what} while another thread fits this network; use a clone")
