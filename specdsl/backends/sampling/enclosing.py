"""An l2 ball around an input set: a smoothed classifier is certain on balls."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import inf, nextafter, sqrt

import numpy as np

from specdsl.query.sets import Ball, ExactArray, FloatArray, InputSet


@dataclass(frozen=True, slots=True, eq=False)
class Around:
    """All points up to `radius` from `center` in l2. center: flat float64, taken as it is."""

    center: FloatArray
    radius: float


def enclosing(inputs: InputSet) -> Around:
    """A ball that holds the set: the set itself where it is a l2 ball, the corners of a box on its
    surface; a ball in l1 lies in the one of the same radius in l2.

    The center is rounded to float64; the radius is about the rounded one, and rounded up.
    """
    middle = (inputs.box.lower + inputs.box.upper) / 2
    for ball in inputs.balls[:1]:
        middle[ball.positions] = ball.center
    center = middle.astype(np.float64)
    exact = np.array([Fraction(value) for value in center.tolist()], dtype=object)
    reach = np.maximum(abs(inputs.box.lower - exact), abs(inputs.box.upper - exact))
    squares = reach * reach
    found = [sqrt_up(_total(squares))]
    found += [_within(ball, exact, squares) for ball in inputs.balls]
    return Around(center, min(found))


def _within(ball: Ball, center: ExactArray, squares: ExactArray) -> float:
    """How far the points of a ball are from a center; `squares`: of how far entries can be."""
    outside = np.ones(squares.size, dtype=bool)
    outside[ball.positions] = False
    away = center[ball.positions] - ball.center
    reach = Fraction(sqrt_up(_total(away * away))) + ball.radius / min(ball.scale)
    return sqrt_up(reach * reach + _total(squares[outside]))


def _total(values: ExactArray) -> Fraction:
    return sum(values.tolist(), Fraction(0))


def sqrt_up(square: Fraction) -> float:
    """The square root, rounded up where it is no float64."""
    found = sqrt(float(square))
    while Fraction(found) ** 2 < square:
        found = nextafter(found, inf)
    return found
