"""The largest of several entries: max-pooling, reductions."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from specdsl.graph.ops.base import Op, Shape, ShapeMismatch


@dataclass(frozen=True, slots=True, eq=False)
class GroupMax(Op):
    """`y[i] = max over k of x.flat[groups[i, k]]`.

    groups: (*result, k), row-major positions in the operand; a group with fewer than k members
    names one of them several times. Entries may be in several groups.
    """

    groups: npt.NDArray[np.int64]

    def shape(self, *operands: Shape) -> Shape:
        """All but the last axis of `groups`."""
        (x,) = operands
        low, high = int(self.groups.min(initial=0)), int(self.groups.max(initial=0))
        if not self.groups.size or not 0 <= low <= high < prod(x):
            raise ShapeMismatch(f"groups of positions from {low} to {high} in {x}")
        return self.groups.shape[:-1]
