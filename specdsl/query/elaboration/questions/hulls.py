"""Boxes around sets whose bounds depend on other variables."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

import numpy as np

from specdsl.query.elaboration.values.regions import BoundArray, Region
from specdsl.query.elaboration.values.scene import Scene
from specdsl.query.elaboration.values.symbolic import INPUT, Linear


def fixed_hull(region: Region, scene: Scene) -> Region:
    """The region with constant bounds and centers that contain it; `conditions_on` says the rest.

    A bound that depends on computed values gives no constant bound.
    """
    lower = [_end(bound, scene, lowest=True) for bound in region.lower]
    upper = [_end(bound, scene, lowest=False) for bound in region.upper]
    for ball in region.balls:
        if ball.fixed:
            continue
        reach = ball.radius / ball.scale
        for position, center, distance in zip(ball.positions, ball.center, reach, strict=True):
            low, high = (_end(center, scene, lowest=side) for side in (True, False))
            if low is not None:
                lower[position] = _larger(lower[position], low - distance)
            if high is not None:
                upper[position] = _smaller(upper[position], high + distance)
    fixed = tuple(ball for ball in region.balls if ball.fixed)
    return replace(region, lower=_array(lower), upper=_array(upper), balls=fixed, conditions=())


def is_empty(region: Region) -> bool:
    """Whether no point lies within the constant bounds and in each ball; open sides hold points."""
    whole = set(region.whole.tolist())
    for position, (low, high) in enumerate(zip(region.lower, region.upper, strict=True)):
        if low is None or high is None:
            continue
        if low > high or (position in whole and ceil(low) > floor(high)):
            return True
    return any(_misses(ball.positions, region, i) for i, ball in enumerate(region.balls))


def has_point(region: Region) -> bool:
    """Whether the obvious candidate, centers clipped to the box, lies in the region.

    False says nothing: balls may meet elsewhere.
    """
    point = np.array(
        [_within(low, high) for low, high in zip(region.lower, region.upper, strict=True)], object
    )
    for ball in region.balls:
        point[ball.positions] = ball.center
    for position, value in enumerate(point):
        low, high = region.lower[position], region.upper[position]
        raised = value if low is None else max(value, low)
        point[position] = raised if high is None else min(raised, high)
    point[region.whole] = [Fraction(round(v)) for v in point[region.whole]]
    return all(ball.holds(point) for ball in region.balls) and all(
        (low is None or low <= v) and (high is None or v <= high)
        for v, low, high in zip(point, region.lower, region.upper, strict=True)
    )


def _within(low: Fraction | None, high: Fraction | None) -> Fraction:
    if low is not None and high is not None:
        return (low + high) / 2
    return low if low is not None else (high if high is not None else Fraction(0))


def _misses(positions: np.ndarray, region: Region, number: int) -> bool:
    """Whether the point of the box nearest to a ball's center lies outside the ball."""
    ball = region.balls[number]
    distances: list[Fraction] = []
    lower, upper = (side[positions].tolist() for side in (region.lower, region.upper))
    entries = zip(lower, upper, ball.center, ball.scale, strict=True)
    for low, high, center, scale in entries:
        raised = center if low is None else max(center, low)
        nearest = raised if high is None else min(raised, high)
        distances.append(abs(scale * (nearest - center)))
    if ball.norm == "l1":
        return sum(distances, Fraction(0)) > ball.radius
    return sum((d * d for d in distances), Fraction(0)) > ball.radius**2


def _end(bound: Fraction | Linear | None, scene: Scene, *, lowest: bool) -> Fraction | None:
    """The least (or greatest) value of a bound over the variables that it depends on."""
    if not isinstance(bound, Linear):
        return bound
    total = bound.constant
    for (source, position), coefficient in bound.terms:
        if source != INPUT:
            return None
        variable = next(v for v in reversed(scene.variables) if v.start <= position)
        side = variable.region.lower if (coefficient > 0) == lowest else variable.region.upper
        end = side[position - variable.start]
        if end is None:
            return None
        total += coefficient * end
    return total


def _larger(first: Fraction | None, second: Fraction | None) -> Fraction | None:
    if first is None or second is None:
        return second if first is None else first
    return max(first, second)


def _smaller(first: Fraction | None, second: Fraction | None) -> Fraction | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)


def _array(values: list[Fraction | None]) -> BoundArray:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result
