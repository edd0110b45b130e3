"""Moving a candidate exactly into an input set, on float32 coordinates where there are any."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isfinite

import numpy as np
import numpy.typing as npt

from specdsl.query.sets import Box, ExactArray, InputSet, NormBall, exact

FloatArray = npt.NDArray[np.float64]

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


def place(point: FloatArray | ExactArray, inputs: InputSet) -> tuple[Placement, ...]:
    """The candidate moved into `inputs`; nothing where it is not finite or no way in is found.

    Every coordinate is clipped into its exact interval. In a ball the point is then pulled towards
    the point of the clip box nearest to the center. The first placement has every coordinate
    rounded to a float32 inside its interval (in a ball: towards the center, which never leaves
    it); where that moved the point, a second one keeps it unrounded, for a violation may be
    thinner than float32.
    """
    try:
        candidate = exact(point)
    except ValueError:
        return ()
    box = inputs.box
    candidate = np.minimum(np.maximum(candidate, box.lower), box.upper)
    if isinstance(inputs, Box):
        return _placements(candidate, box.lower, box.upper)
    anchor = np.minimum(np.maximum(inputs.center, box.lower), box.upper)
    pulled = _pull(candidate, anchor, inputs)
    if pulled is None:
        return ()
    return _placements(pulled, np.minimum(pulled, anchor), np.maximum(pulled, anchor))


def _placements(point: ExactArray, lower: ExactArray, upper: ExactArray) -> tuple[Placement, ...]:
    snapped = _snap(point, lower, upper)
    if bool((snapped.point == point).all()):
        return (snapped,)
    return (snapped, Placement(point, "at the nearest float32 coordinates nothing is violated"))


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


def _pull(point: ExactArray, anchor: ExactArray, ball: NormBall) -> ExactArray | None:
    """A point of the ball between `anchor` and `point`, as far out as floats can tell.

    The distance from the center is convex along the way and smallest at the anchor.
    """
    if point in ball:
        return point
    if anchor not in ball:
        return None
    offset, way = as_floats(anchor - ball.center), as_floats(point - anchor)
    radius, low, high = float(ball.radius), 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if _norm(offset + middle * way, ball.norm) <= radius:
            low = middle
        else:
            high = middle
    share, back = Fraction(low), FIRST_PULL
    while back < 1:
        pulled = anchor + (point - anchor) * (share * (1 - back))
        if pulled in ball:
            return pulled
        back *= 4
    return anchor


def _norm(offset: FloatArray, norm: str) -> float:
    return float(np.abs(offset).sum() if norm == "l1" else np.sqrt((offset * offset).sum()))


def as_floats(values: ExactArray) -> FloatArray:
    """Nearest float64 of exact numbers."""
    return np.array([float(v) for v in values], dtype=np.float64)
