"""Where inputs range, for kernels: a batch of boxes, perhaps cut by balls and half-spaces."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.regions.balls import Ball, CutBall
from specdsl.bounds.regions.cells import Cell
from specdsl.bounds.regions.halfspaces import (
    HalfSpaces,
    Oracle,
    Solution,
    least_over,
    least_over_cells,
)
from specdsl.graph.ops import Shape
from specdsl.query.sets import FloatArray, InputSet

# Of what is added up for a value, this part at most is taken to be rounding: float64 rounds at
# 1e-16, times some 1e3 terms a row, times a cancellation of up to 1e4 on the way.
ROUNDING_PART = 1e-9


def rounding_part(dtype: torch.dtype) -> float:
    """`ROUNDING_PART` for a dtype: as many units of it."""
    return ROUNDING_PART * torch.finfo(dtype).eps / torch.finfo(torch.float64).eps


# Rounds of projections on balls that share entries. A point that is still outside only costs
# tightness.
PROJECTIONS = 50


@dataclass(frozen=True, slots=True, eq=False)
class BallGroup:
    """Balls that share entries, directly or through others; most groups have one ball.

    `shares`: ways of dealing out the coefficients. Each gives every ball a part of the coefficient
    at each of its entries, and the parts at one entry add up to 1.
    """

    balls: tuple[Ball, ...]
    shares: tuple[tuple[Tensor, ...], ...]

    @classmethod
    def of(cls, balls: tuple[Ball, ...], inputs: int) -> BallGroup:
        """With one share for each ball that takes all it can, its followers the rest."""
        shares: list[tuple[Tensor, ...]] = []
        for first in range(len(balls)):
            left = balls[0].center.new_ones(inputs)
            parts: dict[int, Tensor] = {}
            for i in (*range(first, len(balls)), *range(first)):
                parts[i] = left[balls[i].positions]
                left[balls[i].positions] = 0.0
            shares.append(tuple(parts[i] for i in range(len(balls))))
        return cls(balls, tuple(shares))


@dataclass(frozen=True, slots=True, eq=False)
class Balls:
    """All balls of an input set. `rest`: the entries that no ball speaks about."""

    groups: tuple[BallGroup, ...]
    rest: Tensor

    @classmethod
    def of(cls, balls: tuple[Ball, ...], inputs: int) -> Balls:
        """The balls in groups that have no entry in common."""
        groups: list[list[Ball]] = []
        for ball in balls:
            places = set(ball.positions.tolist())
            met = [g for g in groups if any(places & set(b.positions.tolist()) for b in g)]
            groups = [g for g in groups if g not in met]
            groups.append([*(b for g in met for b in g), ball])
        free = torch.ones(inputs, dtype=torch.bool, device=balls[0].center.device)
        for ball in balls:
            free[ball.positions] = False
        made = tuple(BallGroup.of(tuple(group), inputs) for group in groups)
        return cls(made, free.nonzero()[:, 0])

    def double(self) -> Balls:
        """The same in float64."""
        groups = tuple(
            BallGroup(
                tuple(ball.double() for ball in group.balls),
                tuple(tuple(part.double() for part in parts) for parts in group.shares),
            )
            for group in self.groups
        )
        return Balls(groups, self.rest)

    @property
    def all(self) -> tuple[Ball, ...]:
        """The balls, group by group."""
        return tuple(ball for group in self.groups for ball in group.balls)

    def take(self, index: Tensor) -> Balls:
        """Those of the regions at `index`; itself where all regions have the same."""
        if all(ball.center.ndim == 1 for ball in self.all):
            return self
        groups = tuple(
            BallGroup(tuple(ball.take(index) for ball in group.balls), group.shares)
            for group in self.groups
        )
        return Balls(groups, self.rest)


@dataclass(frozen=True, eq=False)
class InputRegion:
    """A batch of boxes (batch, inputs), perhaps cut by balls and by linear constraints."""

    box: Interval
    balls: Balls | None = None
    halfspaces: HalfSpaces | None = None

    @property
    def is_box(self) -> bool:
        """Whether nothing cuts the boxes, so that intervals say all of single entries."""
        return self.balls is None and self.halfspaces is None

    @property
    def batch(self) -> int:
        """Number of boxes."""
        return self.box.lower.shape[0]

    def take(self, index: Tensor) -> InputRegion:
        """The regions at `index` (positions, which may repeat, or a mask)."""
        box = Interval(self.box.lower[index], self.box.upper[index])
        balls = self.balls.take(index) if self.balls else None
        return InputRegion(box, balls, self.halfspaces.take(index) if self.halfspaces else None)

    @cached_property
    def _in_float64(self) -> InputRegion:
        """Constrained regions are worked on in float64: the best multipliers may be large, and what
        they are multiplied with nearly cancels.
        """
        if self.box.lower.dtype == torch.float64:
            return self
        box = Interval(self.box.lower.double(), self.box.upper.double())
        halfspaces = self.halfspaces.double() if self.halfspaces else None
        return InputRegion(box, self.balls.double() if self.balls else None, halfspaces)

    @cached_property
    def farthest(self) -> Tensor:
        """The largest numbers that values at each entry are computed from: (batch, inputs)."""
        size = torch.maximum(self.box.lower.abs(), self.box.upper.abs())
        if self.balls is None:
            return size
        for ball in self.balls.all:
            size[:, ball.positions] += 2 * ball.center.abs()
        return size

    def interval(self, shape: Shape) -> Interval:
        """The boxes in the shape of the graph's input: (batch, *shape)."""
        n = self.batch
        return Interval(self.box.lower.reshape(n, *shape), self.box.upper.reshape(n, *shape))

    @cached_property
    def cut(self) -> tuple[tuple[CutBall, ...], ...]:
        """The balls of each group in the boxes."""
        groups = self.balls.groups if self.balls else ()
        return tuple(tuple(ball.within(self.box) for ball in group.balls) for group in groups)

    @cached_property
    def anchor(self) -> Tensor:
        """A point of each region, or about as near to all that cut it as can be: (batch, inputs).

        Found by projecting on one ball after the other; exact where balls share no entries.
        """
        if self.halfspaces is None:
            return self._anchor
        nothing = torch.zeros_like(self.box.lower[:, None])
        return self._constrained(nothing).points[:, 0].to(nothing.dtype)

    @property
    def _anchor(self) -> Tensor:
        point = self.box.center
        for balls in self.cut:
            for ball in balls:
                point[:, ball.ball.positions] = ball.ball.center.expand(self.batch, -1)
        point = point.clamp(self.box.lower, self.box.upper)
        shared = [ball.ball for balls in self.cut if len(balls) > 1 for ball in balls]
        for _ in range(PROJECTIONS if shared else 0):
            if bool(self._held(point, shared).all()):
                break
            for ball in shared:
                point[:, ball.positions] = ball.pull(point[:, ball.positions])
                point = point.clamp(self.box.lower, self.box.upper)
        return point

    def _held(self, point: Tensor, balls: list[Ball]) -> Tensor:
        held = torch.ones(self.batch, dtype=torch.bool, device=point.device)
        for ball in balls:
            offset = (point[:, ball.positions] - ball.center) * ball.scale
            held = held & (ball.size(offset) <= ball.radius)
        return held

    @cached_property
    def is_empty(self) -> Tensor:
        """Whether each box is proven to have no point in all balls at once: (batch,).

        Every ball must reach the box, and two balls that share entries one another: where a plane
        separates them, nothing is left.
        """
        empty = torch.zeros(self.batch, dtype=torch.bool, device=self.box.lower.device)
        for balls in self.cut:
            for i, ball in enumerate(balls):
                empty = empty | ~ball.reached
                for other in balls[:i]:
                    empty = empty | self._separated(ball, other)
        return empty if self.halfspaces is None else empty | self._shut_out(self.halfspaces)

    def _shut_out(self, halfspaces: HalfSpaces) -> Tensor:
        """Whether some weighted sum of the constraints is broken everywhere: (batch,)."""
        precise, part = self._in_float64, rounding_part(self.box.lower.dtype)
        nothing = torch.zeros_like(precise.box.lower[:, None])
        multipliers = precise._constrained(nothing).multipliers
        mixed, paid = halfspaces.double().lagrangian(nothing, multipliers)
        size = (mixed.abs() * precise.farthest[:, None]).sum(-1) + paid.abs()
        return (precise._unconstrained(mixed) - paid > part * size)[:, 0]

    def _separated(self, ball: CutBall, other: CutBall) -> Tensor:
        """Whether the plane between the two balls' points nearest to the anchor parts them."""
        one, two = ball.ball, other.ball
        difference = torch.zeros_like(self.anchor)
        difference[:, one.positions] = one.pull(self.anchor[:, one.positions])
        difference[:, two.positions] -= two.pull(self.anchor[:, two.positions])
        common = torch.zeros_like(difference[0])
        common[one.positions[torch.isin(one.positions, two.positions)]] = 1.0
        plane = (difference * common)[:, None]
        lower = ball.minimum(plane[..., one.positions])[:, 0]
        upper = -other.minimum(-plane[..., two.positions])[:, 0]
        # Where the balls do meet, the difference is rounding, and so are both values.
        size = (plane[:, 0].abs() * self.farthest).sum(1)
        return lower - upper > ROUNDING_PART * size

    def minimum(self, coefficients: Tensor) -> Tensor:
        """A lower bound of `coefficients . x` over each region.

        Exact up to rounding where no two balls share entries, else the best of what each ball says
        together with what the others say of the remaining entries. With linear constraints as exact
        where no two balls share entries, and near elsewhere. The gradient is the minimiser.
        Shapes: (batch or 1, rows, inputs) to (batch, rows).
        """
        if self.halfspaces is None:
            return self._unconstrained(coefficients)
        dtype = coefficients.dtype
        with torch.no_grad():
            solution = self._constrained(coefficients)
            least = self._in_float64._at(coefficients.double(), solution.multipliers).to(dtype)
        if not coefficients.requires_grad:
            return least
        points = solution.points.to(dtype)
        return least + ((coefficients - coefficients.detach()) * points).sum(-1)

    def _at(self, coefficients: Tensor, multipliers: Tensor) -> Tensor:
        """The bound by given multipliers, or by none where that is better."""
        assert self.halfspaces is not None
        mixed, paid = self.halfspaces.lagrangian(coefficients, multipliers)
        least = torch.maximum(self._unconstrained(mixed) - paid, self._unconstrained(coefficients))
        # Bounds on nothing must not cross: all of them hold at the anchor as well.
        return torch.minimum(least, (coefficients @ self.anchor[:, :, None])[..., 0])

    def _constrained(self, coefficients: Tensor) -> Solution:
        """Multipliers of the linear constraints for each row, in float64."""
        if self._in_float64 is not self:
            return self._in_float64._constrained(coefficients.double())
        assert self.halfspaces is not None
        if all(len(balls) == 1 for balls in self.cut):
            cell = Cell.of(self.box, [ball for (ball,) in self.cut])
            return least_over_cells(self.halfspaces, cell, coefficients)
        first = least_over_cells(self.halfspaces, Cell.of(self.box), coefficients)
        oracle = Oracle(self._unconstrained, self._free_minimiser)
        return least_over(self.halfspaces, first, coefficients, oracle)

    def _unconstrained(self, coefficients: Tensor) -> Tensor:
        if self.balls is None:
            return _box_minimum(coefficients, self.box.center, self.box.radius)
        rest = self.balls.rest
        center, radius = self.box.center[:, rest], self.box.radius[:, rest]
        least = _box_minimum(coefficients[..., rest], center, radius)
        for group, balls in zip(self.balls.groups, self.cut, strict=True):
            part = _group_minimum(group, balls, coefficients)
            if len(balls) > 1:
                # Bounds on nothing must not cross: all of them hold at the anchor as well.
                at = self._entries(balls)
                at_anchor = (coefficients[..., at] @ self._anchor[:, at, None])[..., 0]
                part = torch.minimum(part, at_anchor)
            least = least + part
        return least

    def _entries(self, balls: tuple[CutBall, ...]) -> Tensor:
        """The entries of a group, each once."""
        return torch.unique(torch.cat([ball.ball.positions for ball in balls]))

    def minimiser(self, coefficients: Tensor) -> Tensor:
        """Points where `coefficients . x` is about least; outside some ball where balls share
        entries, and outside linear constraints by as much as the search for them was off.
        Shapes: (batch, rows, inputs) to the same.
        """
        if self.halfspaces is not None:
            return self._constrained(coefficients).points.to(coefficients.dtype)
        return self._free_minimiser(coefficients)

    def _free_minimiser(self, coefficients: Tensor) -> Tensor:
        lower, upper = self.box.lower[:, None], self.box.upper[:, None]
        point = lower.where(coefficients > 0, upper)
        for balls in self.cut:
            for ball in balls:
                at = ball.ball.positions
                point[..., at] = ball.minimiser(coefficients[..., at])
        return point.clamp(lower, upper)


def _box_minimum(coefficients: Tensor, center: Tensor, radius: Tensor) -> Tensor:
    return (coefficients @ center[:, :, None] - coefficients.abs() @ radius[:, :, None])[..., 0]


def _group_minimum(group: BallGroup, balls: tuple[CutBall, ...], coefficients: Tensor) -> Tensor:
    best: Tensor | None = None
    for shares in group.shares:
        parts = (
            cut.minimum(coefficients[..., cut.ball.positions] * share)
            for cut, share in zip(balls, shares, strict=True)
        )
        total = sum(parts, start=coefficients.new_zeros(()))
        best = total if best is None else torch.maximum(best, total)
    assert best is not None
    return best


def input_region(inputs: InputSet, like: Tensor) -> InputRegion:
    """A batch of one that contains the exact set: bounds are rounded outward to the dtype."""
    lower, upper = inputs.box.float_bounds()
    box = outward_box(lower[None], upper[None], like)
    if not inputs.balls:
        return InputRegion(box)
    balls = tuple(Ball.containing(ball, like) for ball in inputs.balls)
    return InputRegion(box, Balls.of(balls, inputs.size))


def outward_box(lower: FloatArray, upper: FloatArray, like: Tensor) -> Interval:
    """Boxes (batch, inputs) as tensors that contain them, of the dtype and device of `like`."""
    return Interval(_below(lower, like), -_below(-upper, like))


def _below(values: FloatArray, like: Tensor) -> Tensor:
    exact = torch.as_tensor(values, dtype=torch.float64)
    near = exact.to(like.dtype)
    down = torch.nextafter(near, torch.full_like(near, -torch.inf))
    return down.where(near.double() > exact, near).to(like.device)
