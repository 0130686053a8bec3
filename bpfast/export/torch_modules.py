"""Modules that PyTorch has not. Images have their channels first."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bpfast.layers.shapes import Shape


class Standardize(nn.Module):  # type: ignore[misc]
    """y = (x - mean) scale."""

    def __init__(self, mean: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return (x - self.mean) * self.scale


class Reorder(nn.Module):  # type: ignore[misc]
    """The features of a flattened image in the order of channels last."""

    def __init__(self, order: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the columns in this order."""
        return x.index_select(1, self.order)


class Reshape(nn.Module):  # type: ignore[misc]
    """Another shape for the values of a row, which are taken and given channels last."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def extra_repr(self) -> str:
        """Show the shape."""
        return f"{self.shape}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rows in their new shape."""
        return x.movedim(1, -1).reshape(len(x), *self.shape).movedim(-1, 1)


class Slice(nn.Module):  # type: ignore[misc]
    """Channels start to stop - 1."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def extra_repr(self) -> str:
        """Show the channels."""
        return f"{self.start}, {self.stop}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return these channels."""
        return x[:, self.start : self.stop]


class ChannelNorm(nn.Module):  # type: ignore[misc]
    """A norm over the channels of each position."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalised images."""
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


class Residual(nn.Module):  # type: ignore[misc]
    """y = activation(x V + f(x)); V, the projection, may be the identity."""

    def __init__(self, body: nn.Module, projection: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.body, self.projection, self.activation = body, projection, activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.activation(self.projection(x) + self.body(x))


class Concatenate(nn.Module):  # type: ignore[misc]
    """Branches side by side."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what all branches give."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class Siamese(nn.Module):  # type: ignore[misc]
    """The same module on both halves of the channels, then their distance, or both."""

    def __init__(self, body: nn.Module, merge: str) -> None:
        super().__init__()
        self.body, self.merge = body, merge

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return |f(a) - f(b)|, or both side by side."""
        one, other = (self.body(half) for half in x.chunk(2, 1))
        return (one - other).abs() if self.merge == "distance" else torch.cat([one, other], 1)
