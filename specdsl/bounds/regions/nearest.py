"""Nearest points of boxes, alone and cut by a unit ball around 0, and how they move.

Where `point` is the nearest point of a convex set, it moves with what it is nearest to by a matrix
that exists almost everywhere: what is held by the box does not move, and on the ball's surface only
what lies along the surface does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.bounds.regions.balls import l2_inverse


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """`point`, whose derivative is `diag(diagonal) - normal normal^T`. Shapes: (..., entries)."""

    point: Tensor
    diagonal: Tensor
    normal: Tensor


def nearest_in_box(points: Tensor, low: Tensor, high: Tensor) -> Nearest:
    """Entry by entry: what lies beside the box is held by it."""
    free = ((points > low) & (points < high)).to(points.dtype)
    return Nearest(points.clamp(low, high), free, torch.zeros_like(points))


def nearest_in_l2(points: Tensor, low: Tensor, high: Tensor) -> Nearest:
    """In the box and `sum y^2 <= 1`: the points are shrunk by one factor, then held by the box."""
    alone = nearest_in_box(points, low, high)
    cut = (alone.point * alone.point).sum(-1, keepdim=True) > 1
    tiny = torch.finfo(points.dtype).tiny
    size = points.abs().amax(-1, keepdim=True).clamp(min=tiny)
    shrink = (l2_inverse(-points / size, low, high) / size).clamp(max=1)
    shrunk = points * shrink
    free = ((shrunk > low) & (shrunk < high)).to(points.dtype)
    along = points / size * free
    along = along / torch.linalg.vector_norm(along, dim=-1, keepdim=True).clamp(min=tiny)
    return Nearest(
        shrunk.clamp(low, high).where(cut, alone.point),
        (shrink * free).where(cut, alone.diagonal),
        (shrink.sqrt() * along).where(cut, alone.normal),
    )


def nearest_in_l1(points: Tensor, low: Tensor, high: Tensor) -> Nearest:
    """In the box and `sum |y| <= 1`: all magnitudes are lowered by one number, then held.

    Source: Duchi et al. 2008, Efficient projections onto the l1-ball, for the ball alone.
    """
    alone = nearest_in_box(points, low, high)
    cut = alone.point.abs().sum(-1, keepdim=True) > 1
    size = points.abs()
    # A magnitude is held by the end on the point's own side and by the one nearest to 0.
    floor = torch.zeros_like(low).clamp(low, high).abs()
    cap = torch.maximum(high.where(points > 0, -low), floor)
    floor = floor.expand_as(cap)
    drop = _drop(size, floor, cap)
    lowered = size - drop
    free = (lowered > floor) & (lowered < cap)
    # Which entries are free is known: computed from them alone, the sum is 1 to the last digit.
    count = free.sum(-1, keepdim=True)
    held = floor.where(lowered <= floor, cap).masked_fill(free, 0.0).sum(-1, keepdim=True)
    exact = ((size * free).sum(-1, keepdim=True) + held - 1) / count.clamp(min=1)
    lowered = size - exact.where(count > 0, drop)
    # Beside a box that holds the other side, the magnitude is that of the end nearest to 0.
    toward = torch.where(low > 0, 1.0, torch.where(high < 0, -1.0, points.sign()))
    point = toward * torch.minimum(torch.maximum(lowered, floor), cap)
    moves = free.to(points.dtype)
    normal = toward * moves / count.clamp(min=1).sqrt()
    return Nearest(
        point.where(cut, alone.point),
        moves.where(cut, alone.diagonal),
        normal.where(cut, alone.normal),
    )


def _drop(size: Tensor, floor: Tensor, cap: Tensor) -> Tensor:
    """The root of `sum clip(size - drop, floor, cap) = 1`, about; (..., 1).

    The sum is piecewise linear and falls from the sum of caps to that of floors; it bends where an
    entry leaves its cap and where it meets its floor.
    """
    bends, order = torch.cat([size - cap, size - floor], dim=-1).sort(dim=-1)
    ones = torch.ones_like(size)
    falling = torch.cat([ones, -ones], dim=-1).gather(-1, order).cumsum(-1)
    steps = bends.diff(dim=-1) * falling[..., :-1]
    start = cap.sum(-1, keepdim=True)
    sums = torch.cat([start, start - steps.cumsum(-1)], dim=-1)
    # The last bend where the sum is not below 1, and on from it to where it is 1.
    last = ((sums >= 1).sum(-1, keepdim=True) - 1).clamp(min=0)
    rate = falling.gather(-1, last)
    over = (sums.gather(-1, last) - 1).clamp(min=0)
    return bends.gather(-1, last) + over / rate.clamp(min=1)
