"""Products and normalisations of an ONNX model as layers."""

from __future__ import annotations

import numpy as np

from bpfast import layers as ours
from bpfast._onnx.steps import Array, Nodes, Step, demand, error, layer_of, number
from bpfast.export.operators import FIRST, LAST, LAYERS
from bpfast.export.protobuf import Node


def gemm(nodes: Nodes, node: Node, bias: tuple[str, Array] | None = None) -> Step:
    """Gemm and MatMul: x W + b. `bias` is that of an Add behind it."""
    source = nodes.step(node)
    kernel = nodes.needed(node, 1)
    demand(node, transA=0)
    if len(source.shape) != 1:
        raise error(node, f"needs vectors, got rows of shape {source.theirs}: Flatten them")
    if kernel.ndim != 2 or kernel.dtype.kind != "f":
        raise error(node, f"needs a matrix of floats, got {kernel.dtype} of shape {kernel.shape}")
    kernel = kernel.T if node.attributes.get("transB") else kernel
    if kernel.shape[0] != source.shape[0] or not kernel.size:
        raise error(node, f"has a kernel {kernel.shape}, got rows of shape {source.shape}")
    units = kernel.shape[1]
    names, given = nodes.bias(node, units, bias)
    alpha = number(node, "alpha", 1.0)
    kernel = kernel if alpha == 1.0 else kernel * np.asarray(alpha, kernel.dtype)
    layer = layer_of(node, ours.Dense, units, use_bias=given is not None)
    if source.order is not None:
        kernel = kernel[source.order]
    names.append(repr(node.attributes))
    return nodes.unary(
        node, source, layer, constants=names, arrays={"kernel": kernel, "bias": given}
    )


def batch_norm(nodes: Nodes, node: Node) -> Step:
    """BatchNormalization, with its statistics."""
    source = nodes.step(node)
    demand(node, training_mode=0, spatial=1)
    if len(source.shape) > 1 and source.layout != FIRST:
        raise error(node, f"needs channels first, got rows of shape {source.shape}, channels last")
    roles = LAYERS["batchnorm"].arrays
    arrays = {role: nodes.vector(node, i + 1, source) for i, role in enumerate(roles)}
    for role, array in arrays.items():
        if array is None:
            raise error(node, f"needs constants for scale, bias, mean and variance: no {role}")
    variance = arrays["running_variance"]
    if variance is not None and variance.min() < 0:
        raise error(node, f"must not have a negative variance, got {variance.min():g}")
    momentum = round(1.0 - number(node, "momentum", 0.9), 6)  # a float32 there
    layer = layer_of(
        node, ours.BatchNorm, momentum if 0 < momentum <= 1 else 0.1, number(node, "epsilon", 1e-5)
    )
    return nodes.unary(
        node,
        source,
        layer,
        order=source.order,
        constants=(node.op, *node.inputs[1:]),
        arrays=arrays,
    )


def layer_norm(nodes: Nodes, node: Node) -> Step:
    """LayerNormalization and RMSNormalization, over the channels."""
    source = nodes.step(node)
    rank = len(source.shape) + 1
    axis = number(node, "axis", -1) % rank
    if axis != rank - 1 or (rank > 2 and source.layout != LAST):
        raise error(node, f"must be over the channels alone, got axis={axis}")
    epsilon = number(node, "epsilon", 1e-5)
    gamma, beta = nodes.vector(node, 1, source), nodes.vector(node, 2, source)
    if node.op == "RMSNormalization":
        layer = layer_of(node, ours.RMSNorm, epsilon, scale=gamma is not None)
    else:
        layer = layer_of(node, ours.LayerNorm, epsilon, center=beta is not None)
    return nodes.unary(
        node,
        source,
        layer,
        order=source.order,
        constants=(node.op, *node.inputs[1:]),
        arrays={"gamma": gamma, "beta": beta},
    )
