# lock.pxi - one fit at a time: who may use a network while it trains.
# SPDX-License-Identifier: BSD-3-Clause

import os
from _thread import get_ident

cdef unsigned long forks = 0  # that led to this process


def count_fork():
    """In a fork's child: what was held by threads that do not exist here is open."""
    global forks
    forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=count_fork)


cdef class FitLock:
    """Held by a fit, and by each call for a single batch, as a context manager.

    `owner` is the thread that holds it, or None. The methods are compiled, so no handler of a
    signal can run inside them: one that raised there would leave the network locked for good. The
    GIL makes each a single step for other threads.
    """

    cdef readonly object owner
    cdef unsigned long taken  # after so many forks

    cdef bint held(self):
        """Whether a thread of this process holds it; of a parent, the one that forked."""
        return self.owner is not None and (self.taken == forks or self.owner == get_ident())

    def __enter__(self):
        """Take it, or raise a RuntimeError at once."""
        caller = get_ident()
        if self.held():
            raise RuntimeError("a fit of this network is running; wait for it or fit a clone")
        self.taken = forks
        self.owner = caller

    def __exit__(self, kind, error, trace):
        """Let go."""
        self.owner = None

    def check_idle(self, str what):
        """Raise when another thread is in fit; the fit's own callbacks may go on."""
        if self.held() and self.owner != get_ident():
            raise RuntimeError(f"{what} while another thread fits this network; use a clone")
