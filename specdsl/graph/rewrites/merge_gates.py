"""A product of x with a step of x has two linear pieces: `x sign(x)` is |x|, `x [x > 0]` a ReLU.

Exporters write absolute values and activations without an op of their own like that. At 0 the
product is 0 whatever the step is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.rewrites.rewriting import Replacement


def merge_gates(graph: Graph, node: NodeId) -> Replacement | None:
    """`(c x) (s t(x) + d)` with a threshold t and numbers c, s, d; also `x x` as a square."""
    if not isinstance(graph.op(node), ops.Multiply):
        return None
    operands = graph.operands(node)
    if operands[0] == operands[1]:
        return Replacement((ops.Square(),), operands[:1])
    for first, second in (operands, operands[::-1]):
        factor, gate = _line_of(graph, first), _line_of(graph, second)
        step = graph.op(gate.source)
        if not isinstance(step, ops.Threshold) or factor.shift:
            continue
        (x,) = graph.operands(gate.source)
        if x == factor.source:
            left = factor.slope * (gate.slope * Fraction(step.below) + gate.shift)
            right = factor.slope * (gate.slope * Fraction(step.above) + gate.shift)
            steps = _two_pieces(left, right)
            return None if steps is None else Replacement(steps, (x,))
    return None


@dataclass(frozen=True, slots=True)
class _Line:
    """`slope * source + shift`, entry by entry, with one slope and shift for all."""

    source: NodeId
    slope: Fraction
    shift: Fraction


def _line_of(graph: Graph, node: NodeId) -> _Line:
    """The node as a line over the operand of a `Scale`, else over itself."""
    op = graph.op(node)
    if isinstance(op, ops.Scale) and op.scale.size == op.shift.size == 1:
        (slope,), (shift,) = op.scale.reshape(-1).tolist(), op.shift.reshape(-1).tolist()
        return _Line(graph.operands(node)[0], Fraction(slope), Fraction(shift))
    return _Line(node, Fraction(1), Fraction(0))


def _two_pieces(left: Fraction, right: Fraction) -> tuple[ops.Op, ...] | None:
    """`left * x` below 0 and `right * x` above it; None where floats cannot say it exactly."""
    if right == 0:
        return (_times(-1), ops.Relu(), _times(-left))
    slope = left / right
    if not 0 <= slope <= 1 and slope != -1:
        return None
    if slope == 0:
        return (ops.Relu(), _times(right))
    if slope == -1:
        return (ops.Abs(), _times(right))
    if slope == 1:
        return (_times(right),)
    held = float(slope)
    return (ops.LeakyRelu(held), _times(right)) if Fraction(held) == slope else None


def _times(factor: Fraction | int) -> ops.Scale:
    value = np.empty((), dtype=object)
    value[()] = Fraction(factor)
    return ops.Scale(value, np.zeros(()))
