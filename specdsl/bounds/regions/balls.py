"""Balls cut by boxes: least values of linear functions, exactly, by duality.

A ball is moved and scaled to the unit ball around 0; the box around it then has ends `low` and
`high`. Least values over both together are computed as values of the dual function: every
multiplier gives a lower bound, so how well the multiplier was found decides how tight the bound is,
never whether it is one.

Least values are differentiable, in balls and boxes too: the best multiplier and the minimiser count
as constants then (Danskin 1967, The Theory of Max-Min).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.query import sets

# Norms of some thousand entries err by fewer units than this (in float64 by less than 1e-12).
REACH_UNITS = 2.0**12
# Numbers of a ball are rounded to the nearest; its radius grows by more units than that moves it.
ROUNDED_UNITS = 5.0
# Rows are taken in parts of at most this many coefficients: their temporaries stay in the cache.
MAX_COEFFICIENTS = 2**17
# Newton's iteration on the multiplier ends exactly after some 3 to 6 steps where the center lies in
# the box; elsewhere it is safeguarded by bisection.
MULTIPLIER_STEPS = 64
# The dual value errs by about this many units of the multiplier, or less.
NEAR_UNITS = 2.0**12


@dataclass(frozen=True, slots=True, eq=False)
class Ball:
    """`norm(scale * (x[positions] - center)) <= radius`, in l1 or l2.

    Shapes: positions (entries,); center and scale (entries,), or (batch, entries) where each region
    of a batch has a ball of its own. `radius` is positive.
    """

    positions: Tensor
    center: Tensor
    scale: Tensor
    radius: float
    norm: Literal["l1", "l2"]

    @classmethod
    def containing(cls, ball: sets.Ball, like: Tensor) -> Ball:
        """The exact ball, its numbers rounded and its radius grown by more than that moves it."""
        center, scale = (
            np.array([float(v) for v in values], dtype=np.float64)
            for values in (ball.center, ball.scale)
        )
        sizes = float(np.abs(center * scale).sum()) + float(ball.radius)
        slack = ROUNDED_UNITS * torch.finfo(like.dtype).eps * sizes
        radius = max(float(ball.radius) + slack, least_radius(like.dtype))
        positions = torch.as_tensor(ball.positions, device=like.device)
        norm = "l1" if ball.norm == "l1" else "l2"
        return cls(positions, like.new_tensor(center), like.new_tensor(scale), radius, norm)

    def double(self) -> Ball:
        """The same in float64."""
        center, scale = self.center.double(), self.scale.double()
        return Ball(self.positions, center, scale, self.radius, self.norm)

    @property
    def unit(self) -> Tensor:
        """How far the ball reaches along each entry: (batch or 1, entries)."""
        unit = self.radius / self.scale
        return unit if unit.ndim == 2 else unit[None]

    def take(self, index: Tensor) -> Ball:
        """The balls of the regions at `index`; itself where all have the same."""
        if self.center.ndim == 1:
            return self
        center, scale = self.center[index], self.scale[index]
        return Ball(self.positions, center, scale, self.radius, self.norm)

    def size(self, offset: Tensor) -> Tensor:
        """Norm of scaled offsets: (..., entries) to (...)."""
        return torch.linalg.vector_norm(offset, ord=1 if self.norm == "l1" else 2, dim=-1)

    def pull(self, points: Tensor) -> Tensor:
        """The points of the ball nearest to `points` when distances are measured by `scale`.

        Shapes: (..., entries) to the same. Source for l1: Duchi et al. 2008, by sorting.
        """
        unit = self.radius / self.scale
        offset = (points - self.center) / unit
        into = _into_unit_l1 if self.norm == "l1" else _into_unit_l2
        return self.center + into(offset) * unit

    def within(self, box: Interval) -> CutBall:
        """The ball in each of a batch of boxes (batch, inputs)."""
        unit = self.scale / self.radius
        lower, upper = box.lower[:, self.positions], box.upper[:, self.positions]
        return CutBall(self, (lower - self.center) * unit, (upper - self.center) * unit)


def _into_unit_l2(offset: Tensor) -> Tensor:
    size = torch.linalg.vector_norm(offset, dim=-1, keepdim=True)
    return offset / size.clamp(min=1)


def _into_unit_l1(offset: Tensor) -> Tensor:
    magnitude = offset.abs()
    falling = magnitude.sort(dim=-1, descending=True).values
    excess = falling.cumsum(-1) - 1
    count = torch.arange(1, offset.shape[-1] + 1, dtype=offset.dtype, device=offset.device)
    kept = (falling * count > excess).sum(-1, keepdim=True).clamp(min=1)
    threshold = (excess.gather(-1, kept - 1) / kept).clamp(min=0)
    return offset.sign() * (magnitude - threshold).clamp(min=0)


def least_radius(dtype: torch.dtype) -> float:
    """A ball of radius 0 is divided by its radius like any other, and squares must not overflow."""
    return torch.finfo(dtype).tiny ** 0.5


def _units(count: float, like: Tensor) -> float:
    return count * torch.finfo(like.dtype).eps


@dataclass(frozen=True, eq=False)
class CutBall:
    """A ball in a batch of boxes, in coordinates that make it the unit ball around 0.

    Shapes: low, high: (batch, entries), the ends of the boxes.
    """

    ball: Ball
    low: Tensor
    high: Tensor

    @cached_property
    def nearest(self) -> Tensor:
        """The point of each box nearest to 0: (batch, entries)."""
        return torch.zeros_like(self.low).clamp(self.low, self.high)

    @cached_property
    def reached(self) -> Tensor:
        """Whether the ball meets each box, (batch,); distances within rounding count as met."""
        return self.ball.size(self.nearest) <= 1 + _units(REACH_UNITS, self.low)

    @cached_property
    def cutting(self) -> Tensor:
        """Whether something of each box lies outside the ball: (batch,)."""
        return self.ball.size(torch.maximum(self.low.abs(), self.high.abs())) > 1

    @cached_property
    def is_whole(self) -> bool:
        """Whether all boxes hold the whole ball, but for rounding."""
        part = _units(REACH_UNITS, self.low)
        return bool((torch.maximum(self.low, -self.high) <= part - 1).all())

    def minimum(self, coefficients: Tensor) -> Tensor:
        """A lower bound of `coefficients . x[positions]`: the least value where it is met.

        Where a box is not reached at all, the value at its point nearest to the center, so that
        bounds on nothing do not cross. Shapes: (batch or 1, rows, entries) to (batch, rows).
        """
        center = self.ball.center if self.ball.center.ndim == 2 else self.ball.center[None]
        slopes = coefficients * self.ball.unit[:, None]
        at_center = (coefficients @ center[:, :, None])[..., 0]
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        least = (slopes @ middle[:, :, None] - slopes.abs() @ half[:, :, None])[..., 0]
        if bool(self.cutting.any()):
            alone = -torch.linalg.vector_norm(
                slopes, ord=torch.inf if self.ball.norm == "l1" else 2, dim=-1
            )
            both = torch.maximum(least, alone)
            if not self.is_whole:
                both = torch.maximum(both, self._dual(slopes))
            least = least.where(~self.cutting[:, None], both)
            least = torch.minimum(least, (slopes @ self.nearest[:, :, None])[..., 0])
        return least + at_center

    def _dual(self, slopes: Tensor) -> Tensor:
        batch, entries = self.low.shape
        spread = slopes.expand(batch, -1, -1)
        step = max(1, MAX_COEFFICIENTS // (batch * entries))
        low, high = self.low[:, None], self.high[:, None]
        bound = l1_bound if self.ball.norm == "l1" else l2_bound
        return torch.cat([bound(part, low, high) for part in spread.split(step, dim=1)], dim=1)

    def minimiser(self, coefficients: Tensor) -> Tensor:
        """A point where `coefficients . x[positions]` is least, up to the multiplier's error.

        Shapes: (batch, rows, entries) to the same.
        """
        unit = self.ball.unit[:, None]
        center = self.ball.center if self.ball.center.ndim == 2 else self.ball.center[None]
        slopes = (coefficients * unit).expand(self.low.shape[0], -1, -1)
        low, high = self.low[:, None], self.high[:, None]
        corner = low.where(slopes > 0, high)
        point = _l1_point if self.ball.norm == "l1" else _l2_point
        moved = corner.where(~self.cutting[:, None, None], point(slopes, low, high))
        return center[:, None] + moved * unit


# --- l1: a fractional knapsack -------------------------------------------------------------------


def _l1_parts(slopes: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where all entries start (nearest to 0), how far each may move downhill, what is left of the
    radius for it. Moving downhill always moves away from 0.
    """
    start = torch.zeros_like(low).clamp(low, high)
    room = (low.where(slopes > 0, high) - start).abs()
    return start, room, (1 - start.abs().sum(-1)).clamp(min=0)


def _l1_multiplier(slopes: Tensor, room: Tensor, left: Tensor) -> Tensor:
    """The slope of the first entry, steepest first, that no longer has all its room: (..., 1)."""
    falling, order = slopes.abs().sort(dim=-1, descending=True)
    filled = room.gather(-1, order).cumsum(-1)
    count = (filled <= left[..., None]).sum(-1, keepdim=True)
    last = falling.shape[-1] - 1
    multiplier = falling.gather(-1, count.clamp(max=last))
    return multiplier.where(count <= last, torch.zeros_like(multiplier))


def l1_bound(slopes: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Least value of `slopes . y` over the box and `sum |y| <= 1`: (batch, rows).

    Source: Dantzig 1957, Discrete-variable extremum problems: the knapsack's linear relaxation.
    """
    start, room, left = _l1_parts(slopes, low, high)
    room = room.expand_as(slopes)
    multiplier = _l1_multiplier(slopes, room, left)
    gained = (room * (slopes.abs() - multiplier).clamp(min=0)).sum(-1)
    return (slopes * start).sum(-1) - gained - multiplier[..., 0] * left


def _l1_point(slopes: Tensor, low: Tensor, high: Tensor) -> Tensor:
    start, room, left = _l1_parts(slopes, low, high)
    room = room.expand_as(slopes)
    order = slopes.abs().argsort(dim=-1, descending=True)
    sorted_room = room.gather(-1, order)
    before = sorted_room.cumsum(-1) - sorted_room
    moved = (left[..., None] - before).clamp(min=0).minimum(sorted_room)
    return start - slopes.sign() * torch.zeros_like(room).scatter(-1, order, moved)


# --- l2: one multiplier --------------------------------------------------------------------------


def l2_bound(slopes: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Least value of `slopes . y` over the box and `sum y^2 <= 1`: (batch, rows).

    With a multiplier p >= 0, y minimises `slopes . y + p / 2 (sum y^2 - 1)` over the box: entry by
    entry it is `-slopes / p`, clipped.
    """
    with torch.no_grad():
        size = slopes.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(slopes.dtype).tiny)
        inverse = l2_inverse(slopes / size, low, high)
    slopes = slopes / size
    point = (-slopes.detach() * inverse).clamp(low, high)
    square = (point * point).sum(-1)
    price = 0.5 / inverse[..., 0]
    # Where a box hardly reaches the ball, the price is large and the square nearly 1.
    rounding = _units(slopes.shape[-1] + 8, slopes) * price * (square + 1)
    return ((slopes * point).sum(-1) + price * (square - 1) - rounding) * size[..., 0]


def _l2_point(slopes: Tensor, low: Tensor, high: Tensor) -> Tensor:
    size = slopes.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(slopes.dtype).tiny)
    slopes = slopes / size
    return (-slopes * l2_inverse(slopes, low, high)).clamp(low, high)


def l2_inverse(slopes: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """1 / multiplier, where the norm of the minimiser is 1 (or as large as can be): (..., 1).

    With the slopes at most 1 in size. The square of the minimiser's norm is piecewise linear in the
    square of the inverse.
    """
    least = torch.finfo(slopes.dtype).tiny ** 0.9
    # Where the corner that minimises over the box lies in the ball, the box alone has the answer.
    nearest = torch.zeros_like(low).clamp(low, high)
    corner = torch.where(slopes > 0, low, torch.where(slopes < 0, high, nearest))
    limits = corner * corner
    settled = limits.sum(-1, keepdim=True) <= 1
    squares = slopes * slopes
    if bool(((low <= 0) & (high >= 0)).all()):
        current = _rise(squares, limits, settled)
    else:
        current = _bracket(slopes, squares, low, high, settled)
    current = current.clamp(min=least).where(~settled, torch.full_like(current, 1 / least))
    return current.sqrt()


def _rise(squares: Tensor, limits: Tensor, settled: Tensor) -> Tensor:
    """The root of `sum min(squares t, limits) = 1`: with the center in the box the sum is concave,
    and Newton's iteration rises to the root in finitely many steps.
    """
    current = 1 / squares.sum(-1, keepdim=True).clamp(min=torch.finfo(squares.dtype).tiny)
    near = _units(NEAR_UNITS, squares)
    for _ in range(MULTIPLIER_STEPS):
        free = squares * current
        missing = 1 - torch.minimum(free, limits).sum(-1, keepdim=True)
        if bool(((missing <= near) | settled).all()):
            break
        rate = squares.where(free < limits, squares.new_zeros(())).sum(-1, keepdim=True)
        step = missing.clamp(min=0) / rate
        current = current + step.where(rate > 0, torch.zeros_like(step))
    return current


def _bracket(slopes: Tensor, squares: Tensor, low: Tensor, high: Tensor, settled: Tensor) -> Tensor:
    """The same root where the center lies beside the box: Newton's iteration inside a bracket."""
    ahead = slopes.new_full((), torch.inf)
    below = torch.zeros_like(slopes[..., :1])
    above = torch.full_like(below, torch.inf)
    near = _units(NEAR_UNITS, slopes)
    current = 1 / squares.sum(-1, keepdim=True).clamp(min=torch.finfo(slopes.dtype).tiny)
    for _ in range(MULTIPLIER_STEPS):
        free = -slopes * current.sqrt()
        point = free.clamp(low, high)
        square = (point * point).sum(-1, keepdim=True)
        if bool((((square - 1).abs() <= near) | settled).all()):
            break
        rate = (squares * (point == free)).sum(-1, keepdim=True)
        short = square <= 1
        below, above = below.maximum(current).where(short, below), above.where(short, current)
        newton = current + torch.where(rate > 0, (1 - square) / rate, ahead)
        middle = torch.where(above.isinf(), 4 * current, (below + above) / 2)
        inside = (newton > below) & (newton < above)
        current = newton.where(inside, middle)
    return current
