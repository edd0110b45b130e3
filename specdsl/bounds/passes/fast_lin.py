"""Fast-Lin: one slope below and above a piecewise-linear op, that of its chord.

Parallel lines make one linear network of the whole, the same for every row: all that a relaxation
leaves open is an offset between 0 and a constant at each unstable neuron. Lines that adapt to the
interval (CROWN) are often tighter, not always.

Source: Weng et al. 2018, arXiv:1804.09699; the dual of Wong and Kolter 2018, arXiv:1711.00851,
gives the same bounds (`bounds.passes.wong_kolter`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds import piecewise
from specdsl.bounds.kinds.nonlinear import PiecewiseLinearRule
from specdsl.bounds.kinds.relaxation import LinearRelaxation
from specdsl.graph import ops


@dataclass(frozen=True, slots=True, eq=False)
class ParallelLinesRule(PiecewiseLinearRule):
    """A piecewise-linear op, relaxed between two parallel lines."""

    def relax(self, operands: list[Interval]) -> LinearRelaxation:
        """As NonlinearRule says."""
        return parallel_lines(self.op, operands[0])


def with_parallel_lines(compiled: CompiledGraph) -> CompiledGraph:
    """The same graph, whose piecewise-linear ops are relaxed as in Fast-Lin wherever it is bounded.

    Other ops keep their lines.
    """
    rules = {
        node: ParallelLinesRule(rule.op) if isinstance(rule, PiecewiseLinearRule) else rule
        for node, rule in compiled.rules.items()
    }
    return replace(compiled, rules=rules)


def parallel_lines(op: ops.PiecewiseLinear, z: Interval) -> LinearRelaxation:
    """The lines along the chord that touch f from below and from above, per entry."""
    width = z.upper - z.lower
    rise = piecewise.evaluate(op, z.upper) - piecewise.evaluate(op, z.lower)
    # Rounding may tilt the chord of a narrow interval beyond all pieces.
    chord = (rise / width.where(width > 0, 1.0)).clamp(min(op.slopes), max(op.slopes))
    # Nothing but a point: the constant there, whatever the slope.
    slope = chord.where(width > 0, 0.0)
    heights = [piecewise.evaluate(op, end) - slope * end for end in (z.lower, z.upper)]
    for point in op.breakpoints:
        # A breakpoint outside the interval counts as its nearest end.
        at = z.lower.new_tensor(point).clamp(z.lower, z.upper)
        heights.append(piecewise.evaluate(op, at) - slope * at)
    touching = torch.stack(heights)
    return LinearRelaxation(slope, touching.amin(0), slope, touching.amax(0))
