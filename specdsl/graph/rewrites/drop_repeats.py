"""Functions that change nothing the second time: a ReLU of a ReLU, rounding what is whole."""

from __future__ import annotations

from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.rewrites.rewriting import Replacement
from specdsl.graph.rewrites.share_repeats import same


def drop_repeats(graph: Graph, node: NodeId) -> Replacement | None:
    """The operand itself, where its own op says that this one cannot change it."""
    op, operands = graph.op(node), graph.operands(node)
    if len(operands) != 1 or not _keeps(op, graph.op(operands[0])):
        return None
    return Replacement((), operands)


def _keeps(op: ops.Op, inner: ops.Op) -> bool:
    """Whether op(v) = v for every value v of `inner`."""
    match op:
        case ops.LeakyRelu() | ops.Abs():
            return op_is_not_negative(inner)
        case ops.Rounding():
            return isinstance(inner, ops.Step)
        case ops.Sign() | ops.Clip():
            return same(op, inner)
        case _:
            return False


def op_is_not_negative(op: ops.Op) -> bool:
    """Whether all values of the op are at least 0, whatever it is applied to."""
    match op:
        case ops.Relu() | ops.Abs() | ops.Square() | ops.Exp() | ops.Sigmoid():
            return True
        case ops.Threshold():
            return min(op.below, op.at, op.above) >= 0
        case ops.Clip():
            return op.minimum >= 0
        case _:
            return False
