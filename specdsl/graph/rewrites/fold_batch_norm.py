"""Batch normalisation at inference is a scale: fold it into the layer before, or make it one."""

from __future__ import annotations

from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.rewrites.rewriting import Replacement


def fold_batch_norm(graph: Graph, node: NodeId) -> Replacement | None:
    """A `BatchNorm` becomes a `Scale` with one entry a channel; merging takes it from there."""
    op = graph.op(node)
    if not isinstance(op, ops.BatchNorm):
        return None
    (x,) = graph.operands(node)
    extent = (-1, *(1 for _ in graph.shapes[x][2:]))
    scale = ops.Scale(op.factor.reshape(extent), op.offset.reshape(extent))
    return Replacement((scale,), (x,))
