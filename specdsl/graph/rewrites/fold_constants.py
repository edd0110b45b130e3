"""What depends on no input is computed now; a sum with a constant is a shift."""

from __future__ import annotations

import numpy as np

from specdsl.graph import ops
from specdsl.graph.evaluate import Batch, apply
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.rewrites.rewriting import Replacement


def fold_constants(graph: Graph, node: NodeId) -> Replacement | None:
    """A node over constants becomes a constant, a two-term sum with one a `Scale`."""
    op, operands = graph.op(node), graph.operands(node)
    values = [_constant(graph, o) for o in operands]
    if operands and all(v is not None for v in values):
        batch = Batch(1, np.dtype(np.float64))
        result = apply(op, [v[np.newaxis] for v in values if v is not None], batch)[0]
        return Replacement((ops.Constant(result),), ())
    if isinstance(op, ops.Sum) and len(operands) == 2:
        return _shift(op, operands, values)
    return None


def _shift(
    op: ops.Sum, operands: tuple[NodeId, ...], values: list[ops.Array | None]
) -> Replacement | None:
    for constant, other in ((0, 1), (1, 0)):
        value = values[constant]
        if value is not None:
            scale = np.array(op.coefficients[other])
            shift = op.coefficients[constant] * ops.as_float(value)
            return Replacement((ops.Scale(scale, shift),), (operands[other],))
    return None


def _constant(graph: Graph, node: NodeId) -> ops.Array | None:
    op = graph.op(node)
    return ops.as_float(op.value) if isinstance(op, ops.Constant) else None
