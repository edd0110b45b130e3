"""Chains of ops that only move entries become one, and reshapes drift towards the input.

A reshape behind an op that works entry by entry, or along a last axis that the reshape keeps, may
as well stand before it. There it meets other reshapes, and the ops behind it become neighbours that
can merge.
"""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.rewrites.rewriting import Replacement, only_reader

Positions = npt.NDArray[np.int64]


def merge_rearrangements(graph: Graph, node: NodeId) -> Replacement | None:
    """Two rearrangements in a row become one; a reshape goes before the op that feeds it."""
    op, operands = graph.op(node), graph.operands(node)
    if not isinstance(op, ops.Rearrange) or len(operands) != 1 or isinstance(op, ops.Concat):
        return None
    (producer,) = operands
    inner, sources = graph.op(producer), graph.operands(producer)
    if isinstance(op, ops.Reshape) and only_reader(graph, producer, node):
        moved = _before(op, inner, graph.shapes[producer], sources)
        if moved is not None:
            return moved
    if not isinstance(inner, ops.Rearrange) or isinstance(inner, ops.Concat):
        return None
    if isinstance(op, ops.Reshape) and isinstance(inner, ops.Reshape):
        return Replacement((op,), sources)
    if isinstance(op, ops.Transpose) and isinstance(inner, ops.Transpose):
        return Replacement((ops.Transpose(tuple(inner.axes[a] for a in op.axes)),), sources)
    if isinstance(op, ops.Select) or isinstance(inner, ops.Select):
        first = _positions(inner, graph.shapes[sources[0]])
        return Replacement((ops.Select(_moved(op, first)),), sources)
    return None


def _positions(op: ops.Op, shape: ops.Shape) -> Positions:
    return _moved(op, np.arange(prod(shape), dtype=np.int64).reshape(shape))


def _moved(op: ops.Op, positions: Positions) -> Positions:
    match op:
        case ops.Reshape():
            return positions.reshape(op.target)
        case ops.Transpose():
            return positions.transpose(op.axes)
        case ops.Select():
            return positions.reshape(-1)[op.indices]
        case _:
            raise TypeError(f"{type(op).__name__} does not move entries of one operand")


def _before(
    reshape: ops.Reshape, inner: ops.Op, shape: ops.Shape, sources: tuple[NodeId, ...]
) -> Replacement | None:
    """`reshape(inner(x))` as `inner'(reshape'(x))`, where there is such an op."""
    target = reshape.target
    match inner:
        case ops.PiecewiseLinear():
            return Replacement((reshape, inner), sources)
        case ops.Scale():
            factor = _reshaped(inner.scale, shape, target)
            shift = _reshaped(inner.shift, shape, target)
            return Replacement((reshape, ops.Scale(factor, shift)), sources)
        case ops.Dense() if target and target[-1] == shape[-1]:
            before = ops.Reshape((*target[:-1], inner.weight.shape[1]))
            return Replacement((before, inner), sources)
        case _:
            return None


def _reshaped(parameter: ops.Array, shape: ops.Shape, target: ops.Shape) -> ops.Array:
    if parameter.size == 1:
        return parameter.reshape(())
    # A copy: what broadcasting gives cannot be written to, and torch asks for arrays that can.
    return np.array(np.broadcast_to(parameter, shape).reshape(target))
