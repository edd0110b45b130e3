"""Norm balls in linear models: l1 exactly, l2 from outside by tangents.

All rows hold at every exact point of the ball: what rounding the center and the weights to float64
costs is computed in rationals and given back on the right-hand side.

An l2 ball is written with a column for each entry's share: with `u_i = scale_i (x_i - center_i) /
radius` it is `share_i >= u_i^2`, `sum of share_i <= 1`, and each square is bounded below by
tangents where a solution asked for one. Tangents to every square by itself need far fewer rows
than tangents to the ball as a whole.

Source: Vielma, Dunning, Huchette, Lubin 2017, doi:10.1007/s12532-016-0113-y.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from specdsl.encoding.model.entries import Entries
from specdsl.encoding.model.linear_model import (
    FloatArray,
    IndexArray,
    LinearModel,
    ModelBuilder,
    SparseTerms,
)
from specdsl.encoding.model.quadratics import Forms
from specdsl.query.sets import Ball, ExactArray, exact, round_down, round_up

# Tangents are added until the solution's norm is within this part of the radius.
BALL_GAP = 1e-6
# An entry's tangent is worth a row where the share lies below the square by more than this part of
# what all entries together may be off.
# First tangents touch each square at +-1 / sqrt(entries), where all shares are equal, and at this
# factor below and above, as far as the ball goes: from there on, the norm is known to 15 %.
GRID = 3.0
WORTH_PART = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class OuterBall:
    """An l2 ball as far as tangents describe it.

    `units[i]`: columns `slope_i x_i - shift_i`, which is `u_i` up to float64 rounding of the slope
    and the shift; `shares[i]`: columns at least `u_i^2`. `slopes`, `shifts`: those float64 numbers,
    exactly, and `columns` those of x; `scale`: `scale_i / radius`.
    """

    units: IndexArray
    shares: IndexArray
    columns: IndexArray
    slopes: ExactArray
    shifts: ExactArray
    center: ExactArray
    scale: ExactArray

    def excess(self, point: FloatArray) -> float:
        """By which part of the radius a point of all columns lies outside; negative inside."""
        return float(np.sqrt((point[self.units] ** 2).sum())) - 1.0

    @property
    def forms(self) -> Forms:
        """All `u_i` as forms of x."""
        entries = Entries(self.columns, _nearest(self.slopes), -_nearest(self.shifts))
        return Forms.of([(entries, 1.0)])

    def worthwhile(self, point: FloatArray) -> IndexArray:
        """The entries whose shares lie far below their squares."""
        missing = point[self.units] ** 2 - point[self.shares]
        return np.flatnonzero(missing > WORTH_PART * BALL_GAP / max(1, missing.size))

    def tangents(self, entries: IndexArray, at: FloatArray) -> Tangents:
        """`steepness * unit - share <= side` for `entries`; `at`: where the tangents touch.

        Any steepness a gives a valid row when its side is the largest value of
        `a (slope x - shift) - (scale (x - center))^2` over all x, which is
        `a (slope center - shift) + (a slope / (2 scale))^2`.
        """
        steepness = 2 * at
        a, slopes, scale = exact(steepness), self.slopes[entries], self.scale[entries]
        reach = a * slopes / (2 * scale)
        sides = a * (slopes * self.center[entries] - self.shifts[entries]) + reach * reach
        rows = np.arange(entries.size)
        terms = SparseTerms.of(
            np.tile(rows, 2),
            np.concatenate([self.units[entries], self.shares[entries]]),
            np.concatenate([steepness, -np.ones(entries.size)]),
        )
        return Tangents(entries, terms, round_up(sides))


@dataclass(frozen=True, slots=True, eq=False)
class Tangents:
    """Rows `terms <= upper`, one for each entry `indices` of the ball; `add_rows` takes them."""

    indices: IndexArray
    terms: SparseTerms
    upper: FloatArray


def encode_balls(
    balls: Sequence[Ball], columns: IndexArray, builder: ModelBuilder
) -> tuple[OuterBall, ...]:
    """Rows of all balls over the input's columns; the l2 ones come back to be cut further.

    A ball of radius 0 is a point, which the columns' bounds say already.
    """
    outer: list[OuterBall] = []
    for ball in balls:
        if ball.radius == 0:
            continue
        if ball.norm == "l1":
            _encode_l1(ball, columns[ball.positions], builder)
        else:
            outer.append(_encode_l2(ball, columns[ball.positions], builder))
    return tuple(outer)


def excess(balls: Sequence[OuterBall], point: FloatArray) -> float:
    """The largest of all balls; 0 where the point is inside all of them."""
    return max((ball.excess(point) for ball in balls), default=0.0)


def tangents_at(balls: Sequence[OuterBall], point: FloatArray) -> list[Tangents]:
    """Tangents that cut a point of all columns off; none where it lies within `BALL_GAP`."""
    found: list[Tangents] = []
    for ball in balls:
        entries = ball.worthwhile(point)
        if ball.excess(point) > BALL_GAP and entries.size:
            found.append(ball.tangents(entries, point[ball.units[entries]]))
    return found


def cut_off(
    model: LinearModel, balls: Sequence[OuterBall], point: FloatArray
) -> LinearModel | None:
    """The model with such tangents; None where there are none."""
    found = tangents_at(balls, point)
    for rows in found:
        model = model.with_rows("tangent", rows.indices, rows.terms, -np.inf, rows.upper)
    return model if found else None


def _encode_l1(ball: Ball, columns: IndexArray, builder: ModelBuilder) -> None:
    """`sum_i distance_i <= radius`, `distance_i >= |scale_i (x_i - center_i)|`.

    With rounded weights and center, a point of the ball has distances of at most `(largest quotient
    of rounded and true weights) * radius + sum of rounded weights times moves of the center`.
    """
    center, scale = _nearest(ball.center), _nearest(ball.scale)
    weights = exact(scale)
    moved = (weights * np.abs(ball.center - exact(center))).sum()
    radius = round_up(exact([(weights / ball.scale).max() * ball.radius + moved]))
    indices = np.arange(columns.size, dtype=np.int64)
    zeros = np.zeros(columns.size)
    distance = builder.add_columns("distance", indices, zeros, zeros + radius, whole=False)
    for name, sign in (("right_of_center", 1.0), ("left_of_center", -1.0)):
        terms = SparseTerms.of(
            np.tile(indices, 2),
            np.concatenate([distance, columns]),
            np.concatenate([zeros + 1.0, -sign * scale]),
        )
        sides = round_down(-exact(sign * scale) * exact(center))
        builder.add_rows(name, indices, terms, sides, np.inf)
    _add_total("radius", distance, float(radius[0]), builder)


def _encode_l2(ball: Ball, columns: IndexArray, builder: ModelBuilder) -> OuterBall:
    """Columns and rows of the ball with its first tangents."""
    scale = ball.scale / ball.radius
    slopes = _nearest(scale)
    shifts = _nearest(exact(slopes) * ball.center)
    lower, upper = builder.bounds()
    indices = np.arange(columns.size, dtype=np.int64)
    units = builder.add_columns(
        "unit",
        indices,
        round_down(exact(slopes) * exact(lower[columns]) - exact(shifts)),
        round_up(exact(slopes) * exact(upper[columns]) - exact(shifts)),
        whole=False,
    )
    ones = np.ones(columns.size)
    shares = builder.add_columns("share", indices, 0 * ones, ones, whole=False)
    terms = SparseTerms.of(
        np.tile(indices, 2),
        np.concatenate([units, columns]),
        np.concatenate([ones, -slopes]),
    )
    builder.add_rows("unit", indices, terms, -shifts, -shifts)
    _add_total("share", shares, 1.0, builder)
    outer = OuterBall(units, shares, columns, exact(slopes), exact(shifts), ball.center, scale)
    _add_first_tangents(outer, builder)
    return outer


def _add_first_tangents(ball: OuterBall, builder: ModelBuilder) -> None:
    lower, upper = (ends[ball.units] for ends in builder.bounds())
    places = [lower, upper]
    at = 1 / np.sqrt(ball.units.size) / GRID
    while at < 1:
        places += [np.full(lower.size, at), np.full(lower.size, -at)]
        at *= GRID
    for place in places:
        inside = np.flatnonzero((lower <= place) & (place <= upper))
        rows = ball.tangents(inside, place[inside])
        builder.add_rows("tangent", rows.indices, rows.terms, -np.inf, rows.upper)


def _add_total(name: str, columns: IndexArray, upper: float, builder: ModelBuilder) -> None:
    """The row `sum of columns <= upper`."""
    row = np.zeros(columns.size, dtype=np.int64)
    terms = SparseTerms.of(row, columns, np.ones(columns.size))
    builder.add_rows(name, row[:1], terms, -np.inf, upper)


def _nearest(values: ExactArray) -> FloatArray:
    return np.array([float(Fraction(v)) for v in values], dtype=np.float64)
