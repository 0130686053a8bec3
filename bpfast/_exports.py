"""The methods of a network that write it in the formats of others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpfast.network import Network


def to_onnx(
    net: Network,
    path: str | Path,
    *,
    dtype: str = "float32",
    classifier: bool | None = None,
    classes: Sequence[int] | Sequence[str] | None = None,
) -> None:
    """Write an ONNX model: the whole of `predict`, input scaling included, for any number of rows.

    Input ``input`` (rows, *input_shape) as `predict` takes it, images with channels last. A
    classifier has the outputs ``label``, as `predict_classes` gives it, and ``probabilities``
    (rows, outputs), those of `predict_proba`; another network has ``output`` (rows, outputs).

    Parameters
    ----------
    path : str or Path
        The file appears whole or not at all.
    dtype : {"float32", "float64"}, default "float32"
        Of input, weights and probabilities, whatever the network's: few of onnxruntime's operators
        take float64.
    classifier : bool, optional
        None: whether `predict_proba` has probabilities to give, by the last activation or the last
        fit's loss. False writes ``output`` alone, what `predict` returns.
    classes : list of int or of str, optional
        The labels of the outputs, of a single one those of no and yes; None means the metadata's
        ``"classes"`` (written by `bpfast train`), else 0, 1, ... Outputs that are each a yes or no
        of their own have none: their label (rows, outputs) is 0 and 1.

    Raises
    ------
    ImportError
        The extra ``onnx`` is not installed.
    TypeError, ValueError
        An argument is not one of the above, or the weights have 2 GB or more.
    OSError
        The file cannot be written.
    RuntimeError
        A fit of this network is running.

    Notes
    -----
    Opset 20 (onnx 1.15, onnxruntime 1.17), operators of ONNX's own domain alone. Layers that only
    training knows, such as `Dropout`, are left out. The metadata go along.
    `bpfast.convert.from_onnx` reads the file.

    References
    ----------
    https://onnx.ai/onnx/operators

    Examples
    --------
    >>> net.to_onnx("model.onnx")  # doctest: +SKIP
    """
    from bpfast.export import onnx

    onnx.write(net, path, dtype=dtype, classifier=classifier, classes=classes)


def to_torch(net: Network) -> Any:
    """Return the network as a ``torch.nn.Sequential`` with copies of its weights, in eval mode.

    A module for each layer, and one for each activation. Images go in as (rows, channels, height,
    width), as PyTorch has them: behind Flatten the weights are in that order. `Standardize`,
    `Reshape`, `Slice` and composites are modules of `bpfast.export.torch_modules`; where a layer
    stands in several places, so does its module. A tied kernel becomes a copy.

    Raises
    ------
    ImportError
        PyTorch is not installed.
    ValueError
        A layer has no counterpart there: `AvgPool2D` whose padding differs before and behind.
    RuntimeError
        A fit of this network is running.

    Notes
    -----
    Parameters of frozen layers require no gradient. `bpfast.convert.from_torch` reads the module
    back, but for composites, norms over positions, and features behind Flatten that are cut.

    Examples
    --------
    >>> module = net.to_torch()  # doctest: +SKIP
    """
    try:
        from bpfast.export.torch import module_of
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError("to_torch needs PyTorch: pip install torch") from None
    return module_of(net)


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
