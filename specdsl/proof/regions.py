"""Where inputs range: a batch of boxes, cut by balls that they share."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from specdsl.proof.arithmetic import FLOAT, Arithmetic, Array
from specdsl.proof.question import BallSet
from specdsl.proof.relaxations import Interval

# Roundings of a distance to a ball, or of a norm, beside those of its sum.
FEW = 16
# More than what squares may lose by underflow.
LEAST_SQUARE = 2.0**-900


@dataclass(frozen=True, eq=False)
class Region:
    """`box`: (batch, inputs) ends."""

    how: Arithmetic
    box: Interval
    balls: tuple[BallSet, ...] = ()

    @property
    def count(self) -> int:
        """How many boxes."""
        return len(self.box.lower)

    @property
    def empty(self) -> Array:
        """Where nothing is left of a box, or of what a ball leaves of it: (batch,)."""
        low, high = self.box
        found, zero = np.any(np.asarray(low > high, bool), axis=1), self.how.zeros(1)
        least = self.how.number(LEAST_SQUARE)
        for ball in self._floats:
            at = ball.positions
            gap = np.maximum(low[:, at] - ball.center, ball.center - high[:, at])
            gap = np.maximum(gap, zero) * ball.scale
            nearest, radius = gap.sum(1), ball.radius
            if ball.norm == "l2":
                nearest, radius = (gap * gap).sum(1), radius * radius
            off = self.how.rounding(len(at) + FEW) * nearest
            found = found | np.asarray(nearest - off > radius + least, bool)
        return found

    def within(self, box: Interval) -> Region:
        """Other boxes, cut by the same balls."""
        return Region(self.how, box, self.balls)

    def minimum(self, linear: Any, part: Any) -> Array:
        """The least value of linear functions on each region, rounded down: (batch, rows). `part`:
        what part of its magnitudes any sum may be off by.

        The entries of a ball may be taken over the ball instead of the box, where that is more.
        """
        rows, low, high = linear.coefficients, self.box.lower, self.box.upper
        zero = self.how.zeros(1)
        positive, negative = np.maximum(rows, zero), np.minimum(rows, zero)
        least = (positive @ low[:, :, None] + negative @ high[:, :, None])[..., 0]
        size = (np.abs(rows) @ self.box.size[:, :, None])[..., 0] + np.abs(linear.constant)
        for ball in self._floats:
            own, at = rows[..., ball.positions], ball.positions
            by_box = positive[..., at] @ low[:, at, None] + negative[..., at] @ high[:, at, None]
            by_ball = (own @ ball.center - self._reach(own, ball))[..., None]
            more = np.maximum(by_ball - by_box, zero)[..., 0]
            # Balls that share entries are not added up: the best of them counts.
            least = least + more if ball.apart else np.maximum(least, least + more)
            size = size + np.abs(own) @ ball.farthest
        slack = linear.slack + part * (linear.slack + size)
        return least + linear.constant - slack

    def _reach(self, rows: Array, ball: _Ball) -> Array:
        """How much a linear function may fall from the center on, rounded up: by duality of norms,
        the norm, dual to the ball's, of its coefficients times how far the ball reaches in each.
        """
        falls = np.abs(rows * ball.reach)
        most = falls.max(-1)
        if ball.norm == "l1":
            return most
        # Parts of the largest: their squares neither vanish nor overflow.
        parts = falls / np.where(most > 0, most, most * 0 + 1)[..., None]
        squares = np.asarray((parts * parts).sum(-1), np.float64)
        root = np.sqrt(squares) * (1 + FLOAT.rounding(rows.shape[-1] + FEW))
        return most * (self.how.array(root) if self.how.exact else root)

    @cached_property
    def _floats(self) -> tuple[_Ball, ...]:
        """The balls in this arithmetic, what overlaps others last."""
        found: list[_Ball] = []
        taken: set[int] = set()
        for ball in self.balls:
            own = set(ball.positions.tolist())
            found.append(_Ball.of(ball, self.how, apart=not own & taken))
            taken |= own
        return tuple(b for b in found if b.apart)


@dataclass(frozen=True, slots=True, eq=False)
class _Ball:
    """A ball whose numbers were rounded so that it holds the exact one. `reach`: of each of its
    entries from its center, `farthest` from 0. `apart`: whether no ball before it has any of these.
    """

    positions: Array
    center: Array
    scale: Array
    radius: Any
    norm: str
    reach: Array
    farthest: Array
    apart: bool

    @classmethod
    def of(cls, ball: BallSet, how: Arithmetic, *, apart: bool) -> _Ball:
        center, scale = (how.array(np.array(v, object)) for v in (ball.center, ball.scale))
        radius = ball.radius
        if not how.exact:
            # A moved center and other weights change the norm by less than this much of it all.
            sizes = (abs(c * s) for c, s in zip(ball.center, ball.scale, strict=True))
            radius += (radius + sum(sizes, Fraction(0))) * Fraction(1, 2**47)
        radius = how.bounds([radius], [radius])[1][0]
        reach = radius / scale + how.underflow
        farthest = np.abs(center) + reach
        return cls(ball.positions, center, scale, radius, ball.norm, reach, farthest, apart)
