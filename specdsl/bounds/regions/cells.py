"""Boxes cut by balls that share no entries, in coordinates in which all reach about as far.

Least values of linear functions, and nearest points: what a linear program over such a set needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.regions.balls import CutBall, l1_bound, l2_bound
from specdsl.bounds.regions.nearest import (
    Nearest,
    nearest_in_box,
    nearest_in_l1,
    nearest_in_l2,
)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A ball, the unit ball around 0 once its entries are taken `size` times: (batch, 1, 1)."""

    cut: CutBall
    size: Tensor

    @classmethod
    def of(cls, cut: CutBall) -> _Part:
        """Sized so that the box reaches as far as 1, if it does not reach further than the ball."""
        reach = torch.maximum(cut.low.abs(), cut.high.abs()).amax(-1)
        size = reach.where(reach > torch.finfo(reach.dtype).tiny ** 0.5, torch.ones_like(reach))
        return cls(cut, size.clamp(max=1)[:, None, None])

    @property
    def positions(self) -> Tensor:
        """The ball's entries."""
        return self.cut.ball.positions

    def nearest(self, points: Tensor) -> Nearest:
        """Of the ball's entries, in the cell's coordinates."""
        low, high = self.cut.low[:, None], self.cut.high[:, None]
        nearest = nearest_in_l1 if self.cut.ball.norm == "l1" else nearest_in_l2
        found = nearest(points * self.size, low, high)
        return Nearest(found.point / self.size, found.diagonal, found.normal)

    def least(self, slopes: Tensor) -> Tensor:
        """As `Cell.least`, of the ball's entries."""
        bound = l1_bound if self.cut.ball.norm == "l1" else l2_bound
        return bound(slopes / self.size, self.cut.low[:, None], self.cut.high[:, None])


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """The points `center + half * y`, y between `low` and `high` and in the balls' parts.

    Shapes: (batch, inputs).
    """

    center: Tensor
    half: Tensor
    low: Tensor
    high: Tensor
    parts: tuple[_Part, ...] = ()

    @classmethod
    def of(cls, box: Interval, cuts: Sequence[CutBall] = ()) -> Cell:
        """Of a batch of boxes, and balls within them that have no entry in common."""
        center, half = box.center, box.radius
        low, high = -torch.ones_like(half), torch.ones_like(half)
        parts = tuple(_Part.of(cut) for cut in cuts)
        for part in parts:
            at, size = part.positions, part.size[:, 0]
            center[:, at] = part.cut.ball.center.expand(len(center), -1)
            half[:, at] = part.cut.ball.unit * size
            low[:, at], high[:, at] = part.cut.low / size, part.cut.high / size
        return cls(center, half, low, high, parts)

    def nearest(self, points: Tensor) -> Nearest:
        """Shapes: (batch, rows, inputs) to the same, all in y."""
        found = nearest_in_box(points, self.low[:, None], self.high[:, None])
        for part in self.parts:
            at, inside = part.positions, part.nearest(points[..., part.positions])
            found.point[..., at] = inside.point
            found.diagonal[..., at] = inside.diagonal
            found.normal[..., at] = inside.normal
        return found

    def least(self, slopes: Tensor) -> Tensor:
        """A lower bound of `slopes . y`, the least value up to rounding: (batch, rows)."""
        low, high = self.low[:, None], self.high[:, None]
        terms = slopes * low.where(slopes > 0, high)
        for part in self.parts:
            terms[..., part.positions] = 0.0
        found = terms.sum(-1)
        for part in self.parts:
            found = found + part.least(slopes[..., part.positions])
        return found

    def curvature(self, nearest: Nearest, matrix: Tensor) -> Tensor:
        """`matrix J matrix^T`, J the derivative of nearest points.

        Shapes: matrix (batch, constraints, inputs) to (batch, rows, constraints, constraints).
        """
        spread = matrix[:, None]
        found = (spread * nearest.diagonal[:, :, None]) @ matrix.transpose(1, 2)[:, None]
        for part in self.parts:
            at = part.positions
            along = (spread[..., at] * nearest.normal[:, :, None, at]).sum(-1)
            found = found - along[..., None] * along[..., None, :]
        return found
