"""A shift goes into the layer or scale before it, where that has none: nothing is rounded.

Exporters write `x @ weight + bias` as two ops. Unlike other merges of affine ops, this one keeps
every real value as it is, so that it may be made in any graph.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.rewrites.rewriting import Replacement, only_reader

Layer = ops.Dense | ops.Conv | ops.ConvTranspose


def absorb_shifts(graph: Graph, node: NodeId) -> Replacement | None:
    """`inner(x) + shift` as one op, for a linear `inner` that nothing else reads."""
    op, operands = graph.op(node), graph.operands(node)
    if not isinstance(op, ops.Scale) or not (op.scale == 1).all():
        return None
    (producer,) = operands
    inner, sources = graph.op(producer), graph.operands(producer)
    if not only_reader(graph, producer, node):
        return None
    if isinstance(inner, ops.Scale) and not inner.shift.any():
        return Replacement((ops.Scale(inner.scale, op.shift),), sources)
    if isinstance(inner, Layer) and not inner.bias.any():
        axis = -1 if isinstance(inner, ops.Dense) else 1
        bias = _along(op.shift, graph.shapes[node], axis)
        return None if bias is None else Replacement((replace(inner, bias=bias),), sources)
    return None


def _along(shift: ops.Array, shape: ops.Shape, axis: int) -> ops.Array | None:
    """The shift as a vector along one axis; None where it varies along another."""
    padded = shift.reshape((1,) * (len(shape) - shift.ndim) + shift.shape)
    if padded.size != padded.shape[axis]:
        return None
    return np.broadcast_to(padded.reshape(-1), shape[axis]).copy()
