"""Where a question perturbs nothing: every variable at the center of its set."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from specdsl.language.spec import ExactArray
from specdsl.query.elaboration.questions.layout import Layout
from specdsl.query.elaboration.values.regions import Center, Region
from specdsl.query.elaboration.values.scene import Scene
from specdsl.query.elaboration.values.symbolic import INPUT, Entry, Linear


def unperturbed(scene: Scene, layout: Layout, sample: ExactArray) -> ExactArray | None:
    """The flat input where every variable is what its set perturbs; None where some set perturbs
    nothing that is plain, or does not hold its own center.

    The center of a ball is plain. The middle of a box is where it is the `sample` (flat), as in
    `box(x - eps, x + eps)`, or 0, as in `forall d in box(-eps, eps, shape = x): ... x + d ...`.
    """
    values: dict[Entry, Fraction] = {}
    found: dict[int, Fraction] = {}
    for variable in scene.variables:
        center = _center(variable.region, sample, values)
        if center is None or not _holds(variable.region, center):
            return None
        for position, place in enumerate(layout.places[variable.positions].tolist()):
            value = center[position]
            if found.setdefault(place, value) != value:
                return None
            values[INPUT, variable.start + position] = value
    # Without any variable there is one entry all the same, which nothing reads.
    return np.array([found.get(place, Fraction(0)) for place in range(layout.size)], dtype=object)


def _center(
    region: Region, sample: ExactArray, values: dict[Entry, Fraction]
) -> tuple[Fraction, ...] | None:
    """The only one of the plainest kind, where centers of earlier variables have these values."""
    found = [(center.meant, _valued(center, values)) for center in region.centers]
    kinds = (
        {point for meant, point in found if meant},
        {point for _, point in found if point == tuple(sample)},
        {point for _, point in found if point is not None and not any(point)},
    )
    plainest = next((points for points in kinds if points), {None})
    return next(iter(plainest)) if len(plainest) == 1 else None


def _valued(center: Center, values: dict[Entry, Fraction]) -> tuple[Fraction, ...] | None:
    found: list[Fraction] = []
    for entry in center.point:
        if isinstance(entry, Linear):
            if any(term not in values for term, _ in entry.terms):
                return None
            found.append(entry.at(values))
        else:
            found.append(entry)
    return tuple(found)


def _holds(region: Region, point: tuple[Fraction, ...]) -> bool:
    """Whether a point lies in what is constant of a region."""
    ends = zip(point, region.lower, region.upper, strict=True)
    inside = all((low is None or low <= v) and (high is None or v <= high) for v, low, high in ends)
    whole = all(point[p].denominator == 1 for p in region.whole.tolist())
    return (
        inside
        and whole
        and all(ball.holds(np.array(point, dtype=object)) for ball in region.balls if ball.fixed)
    )
