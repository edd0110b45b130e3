"""Sums of sums become one: factors multiply, equal operands add up, what cancels goes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.rewrites.rewriting import Replacement, only_reader

Term = tuple[float, NodeId]


def merge_sums(graph: Graph, node: NodeId) -> Replacement | None:
    """A sum over the operands of the sums and plain factors that feed it, each operand once."""
    op, operands = graph.op(node), graph.operands(node)
    if not isinstance(op, ops.Sum):
        return None
    total: dict[NodeId, float] = {}
    for coefficient, operand in zip(op.coefficients, operands, strict=True):
        for factor, source in _terms(graph, operand, node):
            total[source] = total.get(source, 0.0) + coefficient * factor
    kept = {source: factor for source, factor in total.items() if factor != 0}
    if tuple(kept) == operands and tuple(kept.values()) == op.coefficients and len(kept) > 1:
        return None
    if not kept:
        return Replacement((ops.Constant(np.zeros(graph.shapes[node])),), ())
    if len(kept) == 1:
        ((source, factor),) = kept.items()
        scale = ops.Scale(np.array(factor), np.zeros(()))
        return Replacement(() if factor == 1 else (scale,), (source,))
    return Replacement((ops.Sum(tuple(kept.values())),), tuple(kept))


def _terms(graph: Graph, operand: NodeId, reader: NodeId) -> Iterator[Term]:
    """The operand as a sum of others, or itself."""
    op, sources = graph.op(operand), graph.operands(operand)
    match op:
        case ops.Sum() if only_reader(graph, operand, reader):
            yield from zip(op.coefficients, sources, strict=True)
        case ops.Scale() if is_plain_factor(op):
            yield float(op.scale.reshape(-1)[0]), sources[0]
        case _:
            yield 1.0, operand


def is_plain_factor(op: ops.Scale) -> bool:
    """Whether the op multiplies every entry by one number that is a float, and adds nothing."""
    (factor, *rest) = op.scale.reshape(-1).tolist()
    return not rest and factor == float(factor) and not ops.as_float(op.shift).any()
