"""Where a linear model only encloses an op, and by how much its point is off there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from specdsl.encoding.model.entries import Entries
from specdsl.encoding.model.linear_model import FloatArray
from specdsl.graph import ops
from specdsl.graph.graph import NodeId

# Models, solvers and points agree to about this part of a value's size; less is no gap.
AGREEMENT_PART = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class EnclosedNode:
    """A node whose value is only bounded by its rows: a curve or a product."""

    node: NodeId
    op: ops.Smooth | ops.Polynomial
    operands: tuple[Entries, ...]
    value: Entries

    def gap(self, point: FloatArray) -> float:
        """How far the value of a point of all columns is from what the op makes of its operands."""
        taken = [operand.values(point) for operand in self.operands]
        with np.errstate(all="ignore"):
            true = self.op.value(taken[0]) if isinstance(self.op, ops.Smooth) else _product(taken)
        found = self.value.values(point)
        apart = np.abs(found - true) - AGREEMENT_PART * np.abs(found)
        return float(np.nan_to_num(apart).max(initial=0.0))


def _product(factors: Sequence[FloatArray]) -> FloatArray:
    return factors[0] * factors[-1]


def widest_gap(enclosed: Sequence[EnclosedNode], point: FloatArray) -> str | None:
    """In words, the op that a point of the model strays from farthest; None if it keeps to all."""
    gaps = [(each.gap(point), each) for each in enclosed]
    if not gaps:
        return None
    gap, worst = max(gaps, key=lambda pair: pair[0])
    if gap <= AGREEMENT_PART:
        return None
    return f"`{type(worst.op).__name__}` at `{worst.node}` is only enclosed, and off by {gap:.2g}"
