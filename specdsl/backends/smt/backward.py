"""Exact bounds by substitution: every variable between two lines of earlier ones, back to inputs.

This is CROWN's backward pass in rationals. Slopes may be any numbers, so they are rounded to short
ones; intercepts are what the rounded slopes ask for, exactly.

Source: Zhang et al. 2018 (CROWN), arXiv:1811.00866; Singh et al. 2019 (DeepPoly), for forms over
variables rather than layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from specdsl.backends.smt.forms import ExactRange, Line, LinearForm, form_range

# Slopes are multiples of this: the numbers of a pass stay short, whatever the ranges.
SLOPE_STEP = Fraction(1, 2**20)
# Products of rationals that all passes over one network may take, some seconds of time.
MOST_PRODUCTS = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Between:
    """`below <= variable <= above`, forms over variables with smaller numbers."""

    below: LinearForm
    above: LinearForm


def lines_around(
    lines: Sequence[Line], points: Sequence[Fraction], values: Sequence[Fraction]
) -> tuple[Line, Line]:
    """A line below and one above a continuous piecewise-linear function, each of least area.

    `points`, `values`: the ends of the range and where `lines` meet, with the function's values.
    The slopes to choose from are those of the lines and of the chord.
    """
    chord = (values[-1] - values[0]) / (points[-1] - points[0])
    slopes = {*(line.slope for line in lines), round(chord / SLOPE_STEP) * SLOPE_STEP}
    middle = (points[0] + points[-1]) / 2
    # A line's mean over the range is its value in the middle; extremes of what is left of the
    # function after a slope was taken off are at its corners.
    corners = list(zip(points, values, strict=True))
    below = [Line(s, min(value - s * point for point, value in corners)) for s in sorted(slopes)]
    above = [Line(s, max(value - s * point for point, value in corners)) for s in sorted(slopes)]
    return (
        max(below, key=lambda line: line.at(middle)),
        min(above, key=lambda line: line.at(middle)),
    )


class Backward:
    """What is known of variables by their numbers, and the work that is left."""

    def __init__(self) -> None:
        self._between: dict[int, Between] = {}
        self._left = MOST_PRODUCTS

    def know(self, variable: int, between: Between) -> None:
        """Variables come in the order of their numbers."""
        self._between[variable] = between

    def range_of(self, form: LinearForm, ranges: Sequence[ExactRange]) -> ExactRange | None:
        """Exact bounds of a form on the ranges of the inputs; None where all work was spent."""
        lower = self._lower(form, ranges)
        below = self._lower(form.scaled(Fraction(-1), Fraction(0)), ranges)
        return None if lower is None or below is None else ExactRange(lower, -below)

    def _lower(self, form: LinearForm, ranges: Sequence[ExactRange]) -> Fraction | None:
        terms, constant = dict(form.terms), form.constant
        for variable in reversed(self._between):
            coefficient = terms.pop(variable, None)
            if not coefficient:
                continue
            between = self._between[variable]
            bound = between.below if coefficient > 0 else between.above
            self._left -= 1 + len(bound.terms)
            if self._left < 0:
                return None
            constant += coefficient * bound.constant
            for inner, factor in bound.terms.items():
                terms[inner] = terms.get(inner, Fraction(0)) + coefficient * factor
        left = LinearForm({v: c for v, c in terms.items() if c}, constant)
        return form_range(left, ranges).lower
