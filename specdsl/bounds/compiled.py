"""A graph made ready for torch: kernels once, then any number of batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds.affine import AffineKernel, affine_kernel
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder, NodeId


@dataclass(frozen=True, slots=True, eq=False)
class CompiledGraph:
    """`kernels` of affine nodes, `constants` (1, *shape) of constant nodes.

    `graph` is the given one with the same nodes; a product of a node with itself is a square.
    `pre_activations`: the nodes whose value some nonlinear op reads, in topological order.
    `like`: an empty tensor that carries dtype and device.
    """

    graph: Graph
    kernels: Mapping[NodeId, AffineKernel]
    constants: Mapping[NodeId, Tensor]
    pre_activations: tuple[NodeId, ...]
    like: Tensor


def compile_graph(graph: Graph, like: Tensor | None = None) -> CompiledGraph:
    """Kernels for every node, in the dtype and on the device of `like` (float64 on the CPU).

    Raises Unsupported where an op has no rule, before anything is computed.
    """
    like = torch.empty(0, dtype=torch.float64) if like is None else like
    graph = _with_squares(graph)
    kernels: dict[NodeId, AffineKernel] = {}
    constants: dict[NodeId, Tensor] = {}
    read_nonlinearly: set[NodeId] = set()
    for node, op, operands in graph:
        if isinstance(op, ops.Affine):
            kernels[node] = affine_kernel(op, tuple(graph.shapes[o] for o in operands), like)
        elif isinstance(op, ops.Constant):
            value = torch.as_tensor(ops.as_float(op.value), dtype=like.dtype, device=like.device)
            constants[node] = value[None]
        elif isinstance(op, ops.PiecewiseLinear | ops.Multiply | ops.Square):
            read_nonlinearly.update(operands)
        elif not isinstance(op, ops.Input):
            raise Unsupported("bound propagation", f"the op {type(op).__name__}")
    pre_activations = tuple(n for n in graph.order if n in read_nonlinearly)
    return CompiledGraph(graph, kernels, constants, pre_activations, like)


def _with_squares(graph: Graph) -> Graph:
    """The same graph under the same names, with `Square(x)` for `Multiply(x, x)`."""
    twice = {n for n, op, o in graph if isinstance(op, ops.Multiply) and o[0] == o[1]}
    if not twice:
        return graph
    builder = GraphBuilder()
    for node, op, operands in graph:
        if node in twice:
            builder.add(ops.Square(), operands[0], name=node)
        else:
            builder.add(op, *operands, name=node)
    return builder.build(*graph.outputs)
