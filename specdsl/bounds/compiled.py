"""A graph made ready for torch: kernels once, then any number of batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from specdsl.bounds.affine import AffineKernel, affine_kernel
from specdsl.bounds.kinds.nonlinear import NonlinearRule, nonlinear_rule
from specdsl.bounds.outward import Outward
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder, NodeId


@dataclass(frozen=True, slots=True, eq=False)
class CompiledGraph:
    """`kernels` of affine nodes, `constants` (1, *shape) of constant nodes, `rules` of the others.

    `graph` is the given one with the same nodes; a product of a node with itself is a square.
    `pre_activations`: the nodes whose value some nonlinear op reads, in topological order.
    `sources`: where their entries come from: these nodes, or those they only pick entries of.
    `boxes`: nodes whose entries are the input's, each once at most, moved or scaled: over a box of
    inputs they fill a box. `outward`: how every node is rounded, None where rounding is accounted
    for once at the end. `like`: an empty tensor that carries dtype and device.
    """

    graph: Graph
    kernels: Mapping[NodeId, AffineKernel]
    constants: Mapping[NodeId, Tensor]
    rules: Mapping[NodeId, NonlinearRule]
    pre_activations: tuple[NodeId, ...]
    sources: frozenset[NodeId]
    boxes: frozenset[NodeId]
    outward: Outward | None
    like: Tensor


def compile_graph(graph: Graph, like: Tensor | None = None) -> CompiledGraph:
    """Kernels for every node, in the dtype and on the device of `like` (float64 on the CPU).

    Raises Unsupported where an op has no rule, before anything is computed.
    """
    like = torch.empty(0, dtype=torch.float64) if like is None else like
    graph = _with_squares(graph)
    kernels: dict[NodeId, AffineKernel] = {}
    constants: dict[NodeId, Tensor] = {}
    rules: dict[NodeId, NonlinearRule] = {}
    read_nonlinearly: set[NodeId] = set()
    for node, op, operands in graph:
        if isinstance(op, ops.Affine):
            kernels[node] = affine_kernel(op, tuple(graph.shapes[o] for o in operands), like)
        elif isinstance(op, ops.Constant):
            value = torch.as_tensor(ops.as_float(op.value), dtype=like.dtype, device=like.device)
            constants[node] = value[None]
        elif not isinstance(op, ops.Input):
            rules[node] = nonlinear_rule(op)
            read_nonlinearly.update(operands)
    pre_activations = tuple(n for n in graph.order if n in read_nonlinearly)
    outward = Outward.of(graph) if any(r.is_delicate for r in rules.values()) else None
    sources = frozenset(_source(graph, node) for node in pre_activations)
    boxes = _boxes(graph)
    return CompiledGraph(
        graph, kernels, constants, rules, pre_activations, sources, boxes, outward, like
    )


def picks_entries(op: ops.Op) -> bool:
    """Whether an op only picks entries of one operand, once or several times."""
    return isinstance(op, ops.Reshape | ops.Transpose | ops.Select)


def _boxes(graph: Graph) -> frozenset[NodeId]:
    found: set[NodeId] = set()
    for node, op, operands in graph:
        if isinstance(op, ops.Input) or (found.issuperset(operands) and _keeps_apart(op)):
            found.add(node)
    return frozenset(found)


def _keeps_apart(op: ops.Op) -> bool:
    """Whether every entry depends on an entry of the only operand, and no two on the same."""
    if isinstance(op, ops.Select):
        return len(np.unique(op.indices)) == op.indices.size
    return isinstance(op, ops.Reshape | ops.Transpose | ops.Scale | ops.BatchNorm)


def _source(graph: Graph, node: NodeId) -> NodeId:
    """The node whose entries this one has: bounded once, however often they are picked."""
    while picks_entries(graph.op(node)):
        (node,) = graph.operands(node)
    return node


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
