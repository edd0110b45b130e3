"""A point in several balls and a box at once, where their centers alone do not give one."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from specdsl.query.sets import Ball, CutBox, ExactArray, exact

FloatArray = npt.NDArray[np.float64]

# Smaller balls first: a point common to them lies inside the real ones, safe from rounding.
SHRINKING = (0.5, 0.9, 0.99, 1 - 1e-4, 1 - 1e-8)
# Projecting on one set after the other comes near enough by then, or there is hardly a point.
ROUNDS = 200


def common_points(inputs: CutBox) -> Iterator[ExactArray]:
    """Candidates, deepest first; each is still to be tested exactly.

    Source: Bregman 1965, cyclic projections onto convex sets.
    """
    lower, upper = inputs.box.float_bounds()
    start = (lower + upper) / 2
    for ball in inputs.balls:
        start[ball.positions] = ball.center.astype(np.float64)
    for part in SHRINKING:
        point = np.clip(start, lower, upper)
        balls = [_FloatBall(ball, part) for ball in inputs.balls]
        for _ in range(ROUNDS):
            moved = point
            for ball in balls:
                moved = np.clip(ball.pull(moved), lower, upper)
            if bool((moved == point).all()):
                break
            point = moved
        # The float box may be wider than the exact one by rounding.
        yield np.minimum(np.maximum(exact(point), inputs.box.lower), inputs.box.upper)


class _FloatBall:
    """A ball with a part of its radius, in float64."""

    def __init__(self, ball: Ball, part: float) -> None:
        self.positions = ball.positions
        self.center = ball.center.astype(np.float64)
        radius = max(float(ball.radius * Fraction(part)), np.finfo(np.float64).tiny)
        self.unit = radius / ball.scale.astype(np.float64)
        self.norm = ball.norm

    def pull(self, point: FloatArray) -> FloatArray:
        """The point of the ball nearest to the given one, distances measured by its weights."""
        offset = (point[self.positions] - self.center) / self.unit
        moved = point.copy()
        moved[self.positions] = self.center + self._into(offset) * self.unit
        return moved

    def _into(self, offset: FloatArray) -> FloatArray:
        if self.norm == "l2":
            return offset / max(1.0, float(np.sqrt((offset * offset).sum())))
        magnitude = np.abs(offset)
        falling = np.sort(magnitude)[::-1]
        excess = np.cumsum(falling) - 1
        count = np.arange(1, offset.size + 1)
        kept = max(1, int((falling * count > excess).sum()))
        threshold = max(0.0, float(excess[kept - 1]) / kept)
        return np.sign(offset) * np.maximum(magnitude - threshold, 0.0)
