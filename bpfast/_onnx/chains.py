"""Steps as layers: what stands in a row, and composites where ways part and meet again."""

from __future__ import annotations

from typing import Final

from bpfast import layers as ours
from bpfast._graph import MOST_LAYERS
from bpfast._onnx.steps import Nodes, Step, error
from bpfast.errors import ShapeError
from bpfast.layers.base import Layer, config_of
from bpfast.layers.residual import projection
from bpfast.layers.shapes import Shape

#: Composites within each other, at most; each is up to three lists deep in a model file.
MOST_DEPTH: Final = 16


class Chains:
    """Makes layers of the steps of a model.

    A step that joins others has a `top`, from which the ways to it part: each is a branch.
    """

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._count = 0
        self._held = {id(layer): f"{i}" for i, (layer, _) in enumerate(nodes.arrays)}
        self._residuals: dict[str, ours.Residual] = {}

    def between(self, top: Step, end: Step, depth: int = 0) -> list[Layer]:
        """Return the layers that lead from one step to another, which lies below it."""
        parts: list[list[Layer]] = []
        while end is not top:
            assert end.node is not None
            assert end.top is not None
            part = [self._joined(end, depth)] if end.join else list(end.layers)
            end = end.top
            parts.append(part)
            self._count += 1
            if self._count > MOST_LAYERS:
                raise ValueError(f"a model must have at most {MOST_LAYERS:,} steps")
        return [layer for part in reversed(parts) for layer in part]

    def _joined(self, step: Step, depth: int) -> Layer:
        """Return the composite that joins the branches of a step."""
        assert step.node is not None
        assert step.top is not None
        if depth == MOST_DEPTH:
            raise error(step.node, f"is within {MOST_DEPTH} others that join branches, at most so")
        branches = [self.between(step.top, parent, depth + 1) for parent in step.parents]
        if step.join == "concat":
            return ours.Concatenate(branches)
        if step.join == "distance":
            return self._siamese(step, branches)
        return self._residual(step, step.top.shape, branches)

    def _siamese(self, step: Step, branches: list[list[Layer]]) -> Layer:
        """Return the layers of two branches that are the same behind a half of the features."""
        assert step.node is not None
        assert step.top is not None
        size = step.top.shape[-1]
        halves = [(0, size // 2), (size // 2, size)]
        heads = [
            (branch[0].start, branch[0].stop)
            for branch in branches
            if branch and isinstance(branch[0], ours.Slice)
        ]
        one, other = (branch[1:] for branch in branches)
        if size % 2 or heads != halves or not one or self._sign(one) != self._sign(other):
            raise error(step.node, "must be of two halves of a tensor behind the same layers")
        return ours.Siamese(one)

    def _residual(self, step: Step, before: Shape, branches: list[list[Layer]]) -> Layer:
        """Return the skip connection whose branches these are.

        One is the input, its projection, or another way past the layers: the shorter one.
        """
        assert step.node is not None
        for shortcut, way in (branches, branches[::-1]):
            if not way:
                continue
            if not shortcut and before == step.shape:
                return ours.Residual(way)
            if self._projects(shortcut, before, step.shape):
                key = repr((self._sign(way), self._sign(shortcut)))
                if key not in self._residuals:
                    made = self._residuals[key] = ours.Residual(way)
                    held = next(
                        arrays for each, arrays in self._nodes.arrays if each is shortcut[0]
                    )
                    self._nodes.hold(made, {"projection.kernel": held["kernel"]})
                    self._held[id(made)] = key
                return self._residuals[key]
        shortcut, way = sorted(branches, key=len)
        if not way:
            raise error(step.node, "must not add a tensor to itself")
        return ours.Residual(way, shortcut=shortcut)

    def _projects(self, shortcut: list[Layer], before: Shape, after: Shape) -> bool:
        """Whether a branch is what a Residual puts beside its layers where shapes differ."""
        if len(shortcut) != 1 or before == after:
            return False
        try:
            wanted = projection(before, after)
        except ShapeError:
            return False
        return bool(wanted.config() == shortcut[0].config())

    def _sign(self, layers: list[Layer]) -> str:
        """Return a text that is equal for equal layers with the same arrays."""
        return repr(config_of(layers, "", dict(self._held)))
