"""Ops that change nothing go; those that only rename axes become reshapes."""

from __future__ import annotations

import numpy as np

from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.rewrites.rewriting import Replacement


def drop_identities(graph: Graph, node: NodeId) -> Replacement | None:
    """The operand itself, or a reshape of it, where the entries and their order stay."""
    op, operands = graph.op(node), graph.operands(node)
    if len(operands) != 1:
        return None
    (x,) = operands
    if not _keeps_entries(op, graph.shapes[x]):
        return None
    if graph.shapes[x] == graph.shapes[node]:
        return Replacement((), (x,))
    return (
        None
        if isinstance(op, ops.Reshape)
        else Replacement((ops.Reshape(graph.shapes[node]),), (x,))
    )


def _keeps_entries(op: ops.Op, shape: ops.Shape) -> bool:
    """Whether the result holds the operand's entries in the same row-major order."""
    match op:
        case ops.Reshape() | ops.Concat():
            return True
        case ops.Transpose():
            long = [a for a in op.axes if shape[a] != 1]
            return long == sorted(long)
        case ops.Select():
            flat = op.indices.reshape(-1)
            return flat.size == np.prod(shape) and bool((flat == np.arange(flat.size)).all())
        case ops.Scale():
            return bool((op.scale == 1).all() and (op.shift == 0).all())
        case ops.Sum():
            return op.coefficients == (1.0,)
        case ops.LeakyRelu():
            return op.slope == 1
        case _:
            return False
