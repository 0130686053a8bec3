"""PyTorch on CPU: eager with fused optimizers, and the whole step compiled."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bpfast.bench import data
from bpfast.bench.data import Array
from bpfast.bench.workloads import BETA_1, BETA_2, EPSILON, MOMENTUM, RATES, Workload

ACTIVATIONS: dict[str, Any] = {"relu": nn.ReLU, "tanh": nn.Tanh}
LOSSES: dict[str, Any] = {"cross_entropy": functional.cross_entropy, "mse": functional.mse_loss}


def network(workload: Workload, dtype: Any) -> nn.Sequential:
    """Return the workload's network with its initial weights, for images with channels last."""
    activation = ACTIVATIONS[workload.activation]
    modules: list[nn.Module] = []
    for (_, _, channels), filters in zip(workload.maps[:-1], workload.filters, strict=True):
        modules += [nn.Conv2d(channels, filters, 3), activation(), nn.MaxPool2d(2)]
    modules += [nn.Flatten()] if workload.filters else []
    *hidden, (features, classes) = pairwise(workload.dense)
    for inputs, outputs in hidden:
        modules.append(nn.Linear(inputs, outputs, bias=not workload.norm))
        modules += [nn.BatchNorm1d(outputs)] if workload.norm else []
        modules.append(activation())
    modules.append(nn.Linear(features, classes))
    model = nn.Sequential(*modules).to(torch.from_numpy(np.empty(0, dtype)).dtype)
    model = model.to(memory_format=torch.channels_last) if workload.filters else model
    set_weights(list(model.parameters()), workload)
    return model


def inputs_of(X: Array, dtype: Any) -> Tensor:
    """Return the inputs; images as (rows, channels, height, width), in memory as they are."""
    x = torch.from_numpy(X.astype(dtype))
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def theirs(weight: Array, workload: Workload) -> Array:
    """Return a weight of `data.start` as PyTorch has it: the outputs first.

    It flattens the channels first, so that the first dense kernel's inputs change places.
    """
    if weight.ndim == 4:
        return weight.transpose(3, 2, 0, 1)
    if workload.filters and weight.shape == workload.dense[:2]:
        return (
            weight.reshape(*workload.maps[-1], -1).transpose(3, 2, 0, 1).reshape(weight.shape[::-1])
        )
    return weight.T


def ours(weight: Array, workload: Workload) -> Array:
    """Return a weight of PyTorch's as `data.start` has it."""
    if weight.ndim == 4:
        return weight.transpose(2, 3, 1, 0)
    if workload.filters and weight.shape[::-1] == workload.dense[:2]:
        height, width, channels = workload.maps[-1]
        return weight.reshape(-1, channels, height, width).transpose(2, 3, 1, 0)
    return weight.T


def set_weights(parameters: list[Tensor], workload: Workload) -> None:
    """Copy the initial weights."""
    with torch.no_grad():
        for parameter, weight in zip(parameters, data.start(workload), strict=True):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(theirs(weight, workload))))


class Trainer:
    """Trains step by step, eagerly; see `bpfast.bench.peers.Trainer`."""

    def __init__(
        self, workload: Workload, X: Array, y: Array, *, threads: int = 1, dtype: Any = np.float32
    ) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.workload = workload
        self.X = inputs_of(X, dtype)
        self.y = torch.from_numpy(y if workload.loss == "cross_entropy" else y.astype(dtype))
        self.loss = LOSSES[workload.loss]
        self.model = network(workload, dtype)
        self.parameters: list[Tensor] = list(self.model.parameters())
        self.prepare()

    def prepare(self) -> None:
        """Make the optimizer."""
        rate = RATES[self.workload.optimizer]
        self.optimizer: torch.optim.Optimizer
        if self.workload.optimizer == "adam":
            betas = (BETA_1, BETA_2)
            self.optimizer = torch.optim.Adam(
                self.parameters, rate, betas=betas, eps=EPSILON, fused=True
            )
        else:
            self.optimizer = torch.optim.SGD(self.parameters, rate, momentum=MOMENTUM, fused=True)

    def reset(self) -> None:
        set_weights(self.parameters, self.workload)
        for state in self.optimizer.state.values():
            for moment in state.values():
                moment.zero_()

    def weights(self) -> Array:
        found = [ours(p.detach().numpy(), self.workload) for p in self.parameters]
        return data.flat(found, self.X.numpy().dtype)

    def fit(self, epochs: int, *, shuffle: bool = True) -> list[float]:
        history = []
        for _ in range(epochs):
            order = torch.randperm(len(self.X)) if shuffle else torch.arange(len(self.X))
            losses = [self.step(index) for index in order.split(self.workload.batch)]
            history.append(torch.stack(losses).mean().item())
        return history

    def step(self, index: Tensor) -> Tensor:
        """Train on these rows; return their mean loss."""
        self.optimizer.zero_grad(set_to_none=True)
        output = self.model(self.X.index_select(0, index))
        loss = self.loss(output, self.y.index_select(0, index))
        loss.backward()
        self.optimizer.step()
        return cast(Tensor, loss.detach())


class CompiledTrainer(Trainer):
    """Gather, forward, backward and update in one graph without a break."""

    def prepare(self) -> None:
        self.m = [torch.zeros_like(p) for p in self.parameters]
        self.v = [torch.zeros_like(p) for p in self.parameters]
        self.parameters = [p.detach() for p in self.parameters]
        self.names = [name for name, _ in self.model.named_parameters()]
        self.running = dict(self.model.named_buffers())
        self.reset()
        self.compiled = torch.compile(self.graph, fullgraph=True, dynamic=False)

    def reset(self) -> None:
        set_weights(self.parameters, self.workload)
        for moment in (*self.m, *self.v):
            moment.zero_()
        self.t = torch.zeros((), dtype=self.X.dtype)

    def step(self, index: Tensor) -> Tensor:
        loss, self.t = self.compiled(self.parameters, self.m, self.v, self.t, self.X, self.y, index)
        return loss

    def mean_loss(
        self, parameters: list[Tensor], x: Tensor, y: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch as a function of the parameters, and new statistics."""
        running = {name: value.clone() for name, value in self.running.items()}
        named = dict(zip(self.names, parameters, strict=True)) | running
        return self.loss(torch.func.functional_call(self.model, named, x), y), running

    def graph(
        self,
        parameters: list[Tensor],
        m: list[Tensor],
        v: list[Tensor],
        t: Tensor,
        X: Tensor,
        y: Tensor,
        index: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Make step t + 1; return the loss and the step. This is what is compiled."""
        x, target = X.index_select(0, index), y.index_select(0, index)
        of = torch.func.grad_and_value(self.mean_loss, has_aux=True)
        gradients, (loss, running) = of(parameters, x, target)
        rate, t = RATES[self.workload.optimizer], t + 1
        with torch.no_grad():
            for name, value in running.items():
                self.running[name].copy_(value)
            if self.workload.optimizer == "momentum":
                for p, g, velocity in zip(parameters, gradients, v, strict=True):
                    velocity.mul_(MOMENTUM).add_(g)
                    p.sub_(velocity, alpha=rate)
                return loss, t
            first, second = 1 - BETA_1**t, (1 - BETA_2**t).sqrt()
            for p, g, a, b in zip(parameters, gradients, m, v, strict=True):
                a.lerp_(g, 1 - BETA_1)
                b.mul_(BETA_2).addcmul_(g, g, value=1 - BETA_2)
                p.sub_(rate / first * a / (b.sqrt() / second + EPSILON))
            return loss, t


class Predictor:
    """Predicts with a frozen script; see `bpfast.bench.peers.Predictor`."""

    def __init__(self, workload: Workload, X: Array, *, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        self.X = X
        self.model = self.prepare(network(workload, np.float32).eval(), torch.from_numpy(X))

    def prepare(self, model: nn.Module, x: Tensor) -> Any:
        """Return what is called."""
        traced = torch.jit.trace(model, x)
        return torch.jit.optimize_for_inference(torch.jit.freeze(traced))

    def __call__(self) -> Array:
        with torch.inference_mode():
            outputs: Array = self.model(torch.from_numpy(self.X)).numpy()
        return outputs


class CompiledPredictor(Predictor):
    """Predicts with a compiled module."""

    def prepare(self, model: nn.Module, x: Tensor) -> Any:
        return torch.compile(model, fullgraph=True, dynamic=False)
