"""How much a graph computes."""

from __future__ import annotations

from math import prod

from specdsl.graph import ops
from specdsl.graph.graph import Graph


def work(graph: Graph) -> int:
    """About how many multiplications and additions one point takes, at least 1."""
    total = 1
    for node, op, operands in graph:
        each = 1
        if isinstance(op, ops.Dense):
            each = op.weight.shape[1]
        elif isinstance(op, ops.Conv):
            each = prod(op.weight.shape[1:])
        elif isinstance(op, ops.ConvTranspose):
            total += graph.size(operands[0]) * prod(op.weight.shape[1:])
        total += graph.size(node) * each
    return total
