"""The methods of a network that write it in the formats of others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpfast.network import Network


def to_c(
    net: Network, path: str | Path, *, name: str | None = None, classes: Sequence[str] | None = None
) -> None:
    """Write the network as one C99 file that computes what `predict` does, row by row.

    It needs math.h, stddef.h and stdint.h, allocates nothing, and holds weights as constants, a
    Standardize layer's statistics among them. Its first lines say how to use it, and what flash and
    RAM it takes. It defines ``NAME_predict(x, y)``; of a classifier also
    ``NAME_predict_proba(x, y)`` and, unless each output is a yes or no of its own,
    ``NAME_classify(x)``. Compiled with ``-DNAME_TEST_MAIN`` it is a program that checks itself.

    Parameters
    ----------
    path : str or Path
        Of the file, such as ``"model.h"``; replaced as a whole.
    name : str, optional
        What all names in the file begin with: letters, digits and underscores. Default: the file's
        name without its suffix.
    classes : sequence of str, optional
        What the labels mean: one text an output, two for a single output. Default: those that
        ``bpfast train`` keeps in `metadata`.

    Raises
    ------
    TypeError, ValueError
        An argument is not one of the above; a layer has no form in C; a weight is not finite.
    OSError
        The file cannot be written; an older one is intact.
    RuntimeError
        A fit of this network is running in another thread.

    Notes
    -----
    Sums and elementary functions are the library's, step by step, so that the file gives the bits
    of `predict` for inputs of the network's dtype, also without an instruction for fused
    multiply-adds: then float32 goes through double, float64 through ``fma`` of math.h. For machines
    where both are slow ``-DNAME_FMA=0`` rounds twice. Numbers below the least normal one, which the
    library flushes to zero, are flushed in activations alone. Compilers must keep to IEEE
    arithmetic: no ``-ffast-math``.
    """
    from bpfast.export import c

    c.write(net, path, name, classes)
