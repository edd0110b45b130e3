"""What depends on no input is computed now; sums and products with constants are scales."""

from __future__ import annotations

from math import isinf

import numpy as np

from specdsl.graph import exact, ops
from specdsl.graph.evaluate import Batch, apply
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.rational import Exact, times
from specdsl.graph.rewrites.rewriting import Replacement


def fold_constants(graph: Graph, node: NodeId) -> Replacement | None:
    """A node over constants becomes a constant, a sum or product of one with a value a `Scale`."""
    op, operands = graph.op(node), graph.operands(node)
    values = [_constant(graph, o) for o in operands]
    known = [v for v in values if v is not None]
    if operands and len(known) == len(operands):
        result = _computed(graph, node, known)
        return None if result is None else Replacement((ops.Constant(result),), ())
    if len(operands) == 2 and known and isinstance(op, ops.Sum | ops.Multiply):
        return _scale(graph, node, op, values)
    return None


def magnifies(graph: Graph) -> bool:
    """Whether some op can make any error large: a jump, or a slope without limit.

    Bounds of such a graph are rounded outward at every node, and count on its parameters: a weight
    that a rewrite has rounded would be an error that nobody knows of.
    """
    return any(
        isinstance(op, ops.Step) or (isinstance(op, ops.Smooth) and isinf(op.steepest))
        for _, op, _ in graph
    )


def _computed(graph: Graph, node: NodeId, values: list[ops.Array]) -> ops.Array | None:
    """The node's value: exact where errors may be magnified, and none where it is irrational."""
    op = graph.op(node)
    if not magnifies(graph):
        batch = Batch(1, np.dtype(np.float64))
        return apply(op, [ops.as_float(v)[np.newaxis] for v in values], batch)[0]
    if isinstance(op, ops.Smooth):
        return None
    return exact.apply(op, [Exact.of(v) for v in values]).fractions()


def _scale(
    graph: Graph, node: NodeId, op: ops.Sum | ops.Multiply, values: list[ops.Array | None]
) -> Replacement | None:
    operands = graph.operands(node)
    constant = 0 if values[0] is not None else 1
    value, other = values[constant], operands[1 - constant]
    if value is None:
        return None
    if isinstance(op, ops.Multiply):
        return Replacement((ops.Scale(value, np.zeros(())),), (other,))
    factor = op.coefficients[constant]
    shift = value if factor == 1 else _times(graph, factor, value)
    return Replacement((ops.Scale(np.array(op.coefficients[1 - constant]), shift),), (other,))


def _times(graph: Graph, factor: float, value: ops.Array) -> ops.Array:
    """Their product, rounded where that does no harm."""
    if not magnifies(graph):
        return factor * ops.as_float(value)
    return times(Exact.of(np.array(factor)), Exact.of(value)).fractions()


def _constant(graph: Graph, node: NodeId) -> ops.Array | None:
    op = graph.op(node)
    return op.value if isinstance(op, ops.Constant) else None
