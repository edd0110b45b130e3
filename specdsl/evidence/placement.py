"""Moving a candidate exactly into an input set, on float32 coordinates where there are any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, isfinite

import numpy as np
import numpy.typing as npt

from specdsl.evidence.common_point import common_points
from specdsl.query.sets import Ball, Box, CutBox, ExactArray, IndexArray, InputSet, exact

FloatArray = npt.NDArray[np.float64]

NO_ENTRIES: IndexArray = np.zeros(0, dtype=np.int64)

# Bisection on a float64 in [0, 1] settles its last bit in this many steps.
BISECTIONS = 53
# How far a point is pulled inside the ball beyond what floats say is enough; grows by powers of 4
# until the exact test agrees.
FIRST_PULL = Fraction(1, 2**40)


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """An exact point of a set. `note`: what a reader of a witness there must know."""

    point: ExactArray
    note: str | None = None


def place(
    point: FloatArray | ExactArray, inputs: InputSet, integers: IndexArray = NO_ENTRIES
) -> tuple[Placement, ...]:
    """The candidate moved into `inputs`; nothing where it is not finite or no way in is found.

    Every coordinate is clipped into its exact interval, and to the nearest whole number in it where
    `integers` says so. In balls the point is then pulled towards a point of the box in all of them.
    The first placement has every coordinate rounded to a float32 inside its interval; where that
    moved the point, a second one keeps it unrounded, for a violation may be thinner than float32.
    """
    try:
        candidate = exact(point)
    except ValueError:
        return ()
    box = inputs.box
    candidate = np.minimum(np.maximum(candidate, box.lower), box.upper)
    for rounded in _whole(candidate, inputs, integers):
        if isinstance(inputs, Box):
            return _placements(rounded, box.lower, box.upper, inputs, integers)
        anchor = _anchor(rounded, inputs, integers)
        if anchor is not None:
            pulled = _pull(rounded, anchor, inputs)
            ends = np.minimum(pulled, anchor), np.maximum(pulled, anchor)
            return _placements(pulled, *ends, inputs, integers)
    return ()


def _whole(point: ExactArray, inputs: InputSet, integers: IndexArray) -> Iterator[ExactArray]:
    """The point with whole numbers where they must be, the nearest ones first.

    In balls also the ones next to it on the side of the centers: there the nearest may leave no
    room. Nothing where an interval holds no whole number.
    """
    if not integers.size:
        yield point
        return
    lower = np.array([ceil(v) for v in inputs.box.lower[integers]], dtype=object)
    upper = np.array([floor(v) for v in inputs.box.upper[integers]], dtype=object)
    if bool((lower > upper).any()):
        return
    directions = [np.array([round(v) for v in point[integers]], dtype=object)]
    if inputs.balls:
        middle = near_centers(inputs)
        inward = [
            floor(v) if v > m else ceil(v)
            for v, m in zip(point[integers], middle[integers], strict=True)
        ]
        directions.append(np.array(inward, dtype=object))
    for values in directions:
        rounded = point.copy()
        clipped = np.minimum(np.maximum(values, lower), upper)
        rounded[integers] = [Fraction(v) for v in clipped]
        yield rounded


def _placements(
    point: ExactArray,
    lower: ExactArray,
    upper: ExactArray,
    inputs: InputSet,
    integers: IndexArray,
) -> tuple[Placement, ...]:
    low, high = lower.copy(), upper.copy()
    low[integers] = high[integers] = point[integers]
    snapped = _snap(point, low, high)
    if bool((snapped.point == point).all()):
        return (snapped,)
    unrounded = Placement(point, "at the nearest float32 coordinates nothing is violated")
    # Towards the center no ball is left, but balls that share entries have several centers.
    return (snapped, unrounded) if snapped.point in inputs else (unrounded,)


def _snap(point: ExactArray, lower: ExactArray, upper: ExactArray) -> Placement:
    """Each coordinate at the float32 nearest to it inside [lower, upper], or left as it is."""
    with np.errstate(over="ignore"):
        nearest = as_floats(point).astype(np.float32)
        down = np.nextafter(nearest, np.float32(-np.inf))
        up = np.nextafter(nearest, np.float32(np.inf))
    result = point.copy()
    coarse = 0
    for i, choices in enumerate(zip(nearest.tolist(), down.tolist(), up.tolist(), strict=True)):
        # The nearest one first: the others are wanted only where it lies outside.
        inside = (
            value
            for value in map(Fraction, filter(isfinite, choices))
            if lower[i] <= value <= upper[i]
        )
        found = next(inside, None)
        if found is None:
            coarse += 1
        else:
            result[i] = found
    if not coarse:
        return Placement(result)
    coordinates = "1 coordinate" if coarse == 1 else f"{coarse} coordinates"
    return Placement(result, f"{coordinates}: no float32 number in the interval, kept exact")


def near_centers(inputs: InputSet) -> ExactArray:
    """The centers of the balls, clipped to the box; the middle of the box elsewhere.

    Of one ball, in l1 and l2, that is the nearest point of the box to its center.
    """
    point = (inputs.box.lower + inputs.box.upper) / 2
    for ball in inputs.balls:
        point[ball.positions] = ball.center
    return np.minimum(np.maximum(point, inputs.box.lower), inputs.box.upper)


def _anchor(point: ExactArray, inputs: CutBox, integers: IndexArray) -> ExactArray | None:
    """A point of the set that has the whole numbers of `point`, as deep inside as is easy."""
    lower, upper = inputs.box.lower.copy(), inputs.box.upper.copy()
    lower[integers] = upper[integers] = point[integers]
    fixed = CutBox(Box(lower, upper), inputs.balls)
    anchor = near_centers(fixed)
    if anchor in inputs:
        return anchor
    if len(inputs.balls) == 1:
        return None
    return next((p for p in common_points(fixed) if p in inputs), None)


def _pull(point: ExactArray, anchor: ExactArray, inputs: CutBox) -> ExactArray:
    """A point of the balls between `anchor` (in all of them) and `point`, as far out as floats can
    tell: balls are convex.
    """
    if point in inputs:
        return point
    share = min(_share(point, anchor, ball) for ball in inputs.balls)
    back = FIRST_PULL
    while back < 1:
        pulled = anchor + (point - anchor) * (share * (1 - back))
        if pulled in inputs:
            return pulled
        back *= 4
    return anchor


def _share(point: ExactArray, anchor: ExactArray, ball: Ball) -> Fraction:
    """How far the way from `anchor` to `point` stays in the ball, by bisection in floats."""
    scale = as_floats(ball.scale)
    offset = scale * as_floats(anchor[ball.positions] - ball.center)
    way = scale * as_floats((point - anchor)[ball.positions])
    radius, low, high = float(ball.radius), 0.0, 1.0
    if _norm(offset + way, ball.norm) <= radius:
        return Fraction(1)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if _norm(offset + middle * way, ball.norm) <= radius:
            low = middle
        else:
            high = middle
    return Fraction(low)


def _norm(offset: FloatArray, norm: str) -> float:
    return float(np.abs(offset).sum() if norm == "l1" else np.sqrt((offset * offset).sum()))


def as_floats(values: ExactArray) -> FloatArray:
    """Nearest float64 of exact numbers."""
    return np.array([float(v) for v in values], dtype=np.float64)
