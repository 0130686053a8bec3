"""A network's core layers as C statements, constant arrays and one work buffer.

In the texts ``P_`` and ``PU_`` stand for the file's prefix, as in `_c_text`.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bpfast.export import _c_functions, _c_text
from bpfast.layers.shapes import core_shape

if TYPE_CHECKING:
    from bpfast._graph import CoreLayer
    from bpfast.network import Network

#: Kinds that leave a row's numbers as they are at inference.
_SAME = ("dropout", "noise", "reshape")
#: Kinds that may write over their first input.
_IN_PLACE = ("activation", "add", "batchnorm", "distance", "layernorm", "rmsnorm")


class Program:
    """What a network computes for one row.

    Parameters
    ----------
    net : Network

    Attributes
    ----------
    arrays : list of str
        Definitions of constants.
    statements : list of str
        From x to y, through ``work``.
    constants, work, patch : int
        Numbers in the arrays, in the buffer, and in another that takes what a window sees.

    Raises
    ------
    ValueError
        A layer has no form in C, or a weight is not finite.
    """

    def __init__(self, net: Network) -> None:
        self._dtype = net.dtype.name
        self._layers = net._plan.layers
        self._params = {(t.layer, t.part): net.params[n] for n, t in net._plan.parameters.items()}
        self._buffers = {(t.layer, t.part): net.buffers[n] for n, t in net._plan.buffers.items()}
        for name, values in (*net.params.items(), *net.buffers.items()):
            if not np.isfinite(values).all():
                raise ValueError(f"weights must be finite to be exported, {name} has others")
        self.arrays: list[str] = []
        self.statements: list[str] = []
        self.constants = self.patch = 0
        self._known: set[str] = set()
        self._sources = self._read_sources()
        self._places, self.work = self._place()
        for i, layer in enumerate(self._layers):
            if self._sources[i + 1] == i + 1:
                writer = getattr(self, f"_{layer.kind}", None)
                if writer is None:
                    raise ValueError(f"layer {layer.path}: {layer.kind} has no form in C")
                inputs = [self._places[self._sources[value]] for value in layer.inputs]
                path = re.sub(r"[^\w.\-]", "_", layer.path, flags=re.ASCII)
                self.statements.append(f"/* {path}: {layer.kind} {layer.shape} */")
                self.statements += writer(i, layer, self._places[i + 1], inputs)

    # ---- memory

    def _read_sources(self) -> list[int]:
        """Return of each value the one whose numbers it has, in their order."""
        sources = [0]
        for i, layer in enumerate(self._layers):
            same = layer.kind in _SAME
            same = same or (layer.kind, layer.spec.get("activation")) == ("activation", "identity")
            sources.append(sources[layer.inputs[0]] if same else i + 1)
        return sources

    def _place(self) -> tuple[dict[int, str], int]:
        """Return where each value stands, and the length of the buffer.

        A value takes the first gap between those that are still read.
        """
        last = {source: source - 1 for source in self._sources}
        for i, layer in enumerate(self._layers):
            if self._sources[i + 1] == i + 1:
                last |= {self._sources[value]: i for value in layer.inputs}
        output = self._sources[-1]
        names, spans = {0: "x", output: "y"}, dict[int, tuple[int, int]]()
        for i, layer in enumerate(self._layers):
            value, size = i + 1, math.prod(layer.shape)
            if self._sources[value] != value or value == output:
                continue
            over = self._sources[layer.inputs[0]]
            if layer.kind in _IN_PLACE and over in spans and last[over] == i:
                spans[value] = spans[over]
            else:
                start = 0
                for begin, end in sorted(s for v, s in spans.items() if last[v] >= i):
                    if begin - start >= size:
                        break
                    start = max(start, end)
                spans[value] = (start, start + size)
        names |= {v: f"work + {begin}" if begin else "work" for v, (begin, _) in spans.items()}
        return names, max((end for _, end in spans.values()), default=0)

    # ---- constants

    def _array(self, layer: int, name: str, values: NDArray[Any]) -> str:
        """Define a constant array once, and return its name."""
        name = f"P_{layer}_{name}"
        if name not in self._known:
            self._known.add(name)
            self.arrays.append(_c_functions.array(name, values, self._dtype))
            self.constants += values.size
        return name

    def _owner(self, i: int) -> int:
        """Return the core layer whose parameters a core layer has."""
        layer = self._layers[i]
        return i if layer.owns or layer.shares is None else layer.shares

    def _param(self, i: int, part: int, name: str) -> str:
        """Return a parameter that lies as it is, or NULL."""
        owner = self._owner(i)
        values = self._params.get((owner, part))
        return "NULL" if values is None else self._array(owner, name, values)

    def _kernel(self, i: int) -> str:
        """Return a kernel, outputs first."""
        owner = i if self._layers[i].shares is None else self._layers[i].shares
        assert owner is not None
        return self._array(owner, "kernel", np.moveaxis(self._params[owner, 0], -1, 0))

    # ---- layers: each returns the statements that compute y from its inputs

    def _standardize(self, i: int, layer: CoreLayer, y: str, x: list[str]) -> list[str]:
        mean, scale = (self._buffers[i, part] for part in (0, 1))
        arrays = f"{self._array(i, 'mean', mean)}, {self._array(i, 'scale', scale)}"
        return [f"P_standardize({y}, {x[0]}, {arrays}, {mean.size});"]

    def _dense(self, i: int, layer: CoreLayer, y: str, x: list[str]) -> list[str]:
        function = "P_dense_tied" if layer.tied else "P_dense"
        sizes = f"{math.prod(layer.input_shape)}, {layer.shape[0]}"
        weights = f"{self._kernel(i)}, {self._param(i, 1, 'bias')}"
        return [f"{function}({y}, {x[0]}, {weights}, {sizes});", *self._activated(layer, y, y)]

    def _conv(self, i: int, layer: CoreLayer, y: str, x: list[str]) -> list[str]:
        weights = f"{self._kernel(i)}, {self._param(i, 1, 'bias')}"
        kernel = self._params[self._owner(i), 0]
        self.patch = max(self.patch, math.prod(kernel.shape[:-1]))
        call = f"P_conv({y}, {x[0]}, {weights}, &{self._window(i)}, patch);"
        return [call, *self._activated(layer, y, y)]

    def _maxpool(self, i: int, layer: CoreLayer, y: str, x: list[str]) -> list[str]:
        return [f"P_pool({y}, {x[0]}, &{self._window(i)}, 1);"]

    def _avgpool(self, i: int, layer: CoreLayer, y: str, x: list[str]) -> list[str]:
        return [f"P_pool({y}, {x[0]}, &{self._window(i)}, 0);"]

    def _window(self, i: int) -> str:
        """Define the window of a layer, and return its name."""
        layer, name = self._layers[i], f"P_{i}_window"
        spec = layer.spec
        numbers = [
            *core_shape(layer.input_shape),
            # global pooling gives a vector, one position
            *(core_shape(layer.shape)),
            *spec["window"],
            *spec["stride"],
            *spec.get("dilation", (1, 1)),
            spec["outside_y"][0],
            spec["outside_x"][0],
            spec.get("groups", 1),
        ]
        listed = ", ".join(map(str, numbers))
        self.arrays.append(f"static const P_window {name} = {{{listed}}};\n")
        return name

    def _batchnorm(self, i: int, layer: CoreLayer, y: str, x: list[str]) -> list[str]:
        """Scale and shift as the core makes them of the running statistics, in double."""
        owner, n = self._owner(i), layer.shape[-1]
        mean, variance = (self._buffers[owner, part].astype(np.float64) for part in (0, 1))
        gamma, beta = (self._params.get((owner, part)) for part in (0, 1))
        ones = np.ones(n) if gamma is None else gamma.astype(np.float64)
        scale = ones / np.sqrt(variance + float(layer.spec["epsilon"]))
        shift = (0.0 if beta is None else beta.astype(np.float64)) - mean * scale
        names = [
            self._array(owner, part, values.astype(self._dtype))
            for part, values in (("scale", scale), ("shift", shift))
        ]
        rows = math.prod(layer.shape[:-1])
        return [f"P_scale({y}, {x[0]}, {', '.join(names)}, {rows}, {n});"]

    def _layernorm(self, i: int, layer: CoreLayer, y: str, x: list[str]) -> list[str]:
        arrays = f"{self._param(i, 0, 'gamma')}, {self._param(i, 1, 'beta')}"
        epsilon = float(np.dtype(self._dtype).type(layer.spec["epsilon"]))
        number = _c_functions.literal(epsilon, self._dtype)
        sizes = f"{math.prod(layer.shape[:-1])}, {layer.shape[-1]}"
        centred = int(layer.kind == "layernorm")
        return [f"P_norm({y}, {x[0]}, {arrays}, {sizes}, {number}, {centred});"]

    _rmsnorm = _layernorm

    def _activation(self, i: int, layer: CoreLayer, y: str, x: list[str]) -> list[str]:
        return self._activated(layer, y, x[0])

    def _activated(self, layer: CoreLayer, y: str, x: str) -> list[str]:
        """Return the statement that applies a layer's activation."""
        name = str(layer.spec["activation"])
        if name == "identity":
            return []
        return [applied(name, y, x, math.prod(layer.shape[:-1]), layer.shape[-1])]

    def _add(self, i: int, layer: CoreLayer, y: str, x: list[str]) -> list[str]:
        return [f"P_add({y}, {x[0]}, {x[1]}, {math.prod(layer.shape)});"]

    def _distance(self, i: int, layer: CoreLayer, y: str, x: list[str]) -> list[str]:
        return [f"P_distance({y}, {x[0]}, {x[1]}, {math.prod(layer.shape)});"]

    def _concat(self, i: int, layer: CoreLayer, y: str, x: list[str]) -> list[str]:
        n, first = layer.shape[-1], layer.input_shape[-1]
        rows = math.prod(layer.shape[:-1])
        return [
            f"P_columns({y}, {n}, {x[0]}, {first}, {first}, {rows});",
            f"P_columns({y} + {first}, {n}, {x[1]}, {n - first}, {n - first}, {rows});",
        ]

    def _slice(self, i: int, layer: CoreLayer, y: str, x: list[str]) -> list[str]:
        n, first = layer.shape[-1], layer.spec["first"]
        rows = math.prod(layer.shape[:-1])
        return [f"P_columns({y}, {n}, {x[0]} + {first}, {layer.input_shape[-1]}, {n}, {rows});"]


def applied(activation: str, y: str, x: str, rows: int, columns: int) -> str:
    """Return the statement that applies an activation to a matrix."""
    if activation == "softmax":
        return f"P_softmax({y}, {x}, {rows}, {columns});"
    if activation not in _c_text.ACTIVATIONS:
        raise ValueError(f"activation {activation} has no form in C")
    return f"P_apply_{activation}({y}, {x}, {rows * columns});"
