"""Nonlinear ops, entry by entry: their ranges, and linear functions below and above them.

A line is slopes and the extreme of `f(x) - slopes . x` over the intervals, so any slopes are sound:
those that a certificate names, or the best at the midpoint among an op's candidates. Intervals are
(lower, upper), both (batch, *shape).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np

from specdsl.proof.arithmetic import LEAST, Arithmetic, Array
from specdsl.proof.curves import CURVES, Curve
from specdsl.proof.fields import Fields
from specdsl.proof.operators import Shape
from specdsl.proof.refusal import NotCovered, require

# An extreme is computed by fewer roundings than this.
FEW = 16
Slopes = tuple[Array, ...]
"""For each operand."""
Chosen = tuple[Slopes | None, Slopes | None]
"""Below and above; None for the best of the candidates."""


class Interval(NamedTuple):
    """Ends."""

    lower: Array
    upper: Array

    @property
    def size(self) -> Array:
        """The largest magnitude."""
        return np.maximum(np.abs(self.lower), np.abs(self.upper))

    @property
    def middle(self) -> Array:
        """Halfway."""
        return (self.lower + self.upper) / 2

    @property
    def half(self) -> Array:
        """Half of the width; in floats as much more as halves of the least numbers lose."""
        width = self.upper - self.lower
        if width.dtype == object:
            return width / 2
        return width / 2 + np.where(width > 0, LEAST, 0.0)

    def met(self, other: Interval) -> Interval:
        """What both say."""
        return Interval(np.fmax(self.lower, other.lower), np.fmin(self.upper, other.upper))


Intervals = Sequence[Interval]


class Line(NamedTuple):
    """`sum_i slopes[i] x_i + constant`; the constant is rounded to the safe side."""

    slopes: Slopes
    constant: Array


class Lines(NamedTuple):
    """A line below and one above."""

    below: Line
    above: Line


class Nonlinear:
    """`roundings`: of float32, as a part of the result, that evaluating it there takes; it gives no
    number between the ends of `fails` (None: -inf). `trusted`: what is believed of it.
    """

    roundings: int = 0
    trusted: tuple[str, ...] = ()
    fails: tuple[float | None, float] | None = None

    def is_open(self, x: Intervals) -> Array:
        """Where it is not linear, so that tighter operands tighten it."""
        raise NotImplementedError

    def candidates(self, how: Arithmetic, x: Intervals) -> list[Slopes]:
        """Slopes to choose from."""
        raise NotImplementedError

    def extremes(self, how: Arithmetic, x: Intervals, slopes: Slopes) -> Interval:
        """The least and largest `f(x) - slopes . x`, rounded outward."""
        raise NotImplementedError

    def size(self, how: Arithmetic, x: Intervals, image: Interval) -> Array:
        """Magnitudes that values are added up from."""
        return image.size

    def flushed(self, how: Arithmetic, x: Intervals) -> Array:
        """How much a value changes, at most, where an operand or a constant does, in float32 units
        of what is flushed to 0.
        """
        return reduce(np.add, [each.size for each in x])

    def image(self, how: Arithmetic, x: Intervals) -> Interval:
        """The range."""
        return self.extremes(how, x, tuple(each.lower * 0 for each in x))

    def lines(self, how: Arithmetic, x: Intervals, chosen: Chosen) -> Lines:
        """A line below and one above."""
        found: list[Line] = []
        tried = [(s, self.extremes(how, x, s)) for s in self.candidates(how, x)]
        for side, slopes in enumerate(chosen):
            own = tried if slopes is None else [(slopes, self.extremes(how, x, slopes))]
            found.append(_best([Line(s, e[side]) for s, e in own], x, 1 - 2 * side))
        return Lines(*found)


def _best(lines: Sequence[Line], x: Intervals, sign: int) -> Line:
    """The line that is highest in the middle, or lowest where `sign` is -1; the first of equals."""
    return reduce(lambda one, other: _better(one, other, x, sign), lines)


def _better(one: Line, other: Line, x: Intervals, sign: int) -> Line:
    rise = [(b - a) * e.middle for a, b, e in zip(one.slopes, other.slopes, x, strict=True)]
    better = (sum(rise) + other.constant - one.constant) * sign > 0
    slopes = [np.where(better, b, a) for a, b in zip(one.slopes, other.slopes, strict=True)]
    return Line(tuple(slopes), np.where(better, other.constant, one.constant))


def _chord(x: Interval, rise: Array) -> Array:
    width = x.upper - x.lower
    return np.where(width > 0, rise, rise * 0) / np.where(width > 0, width, width * 0 + 1)


@dataclass(frozen=True, eq=False)
class Piecewise(Nonlinear):
    """Continuous, of linear pieces: slope `steps[i]` left of `breakpoints[i]`, where the value is
    `values[i]`, and `steps[-1]` right of the last.
    """

    breakpoints: tuple[Any, ...]
    values: tuple[Any, ...]
    steps: tuple[Any, ...]
    roundings: int = 0

    def _value(self, x: Array) -> Array:
        y = self.values[0] + self.steps[0] * (x - self.breakpoints[0])
        for p, v, s in zip(self.breakpoints, self.values, self.steps[1:], strict=True):
            y = np.where(x > p, v + s * (x - p), y)
        return y

    def is_open(self, x: Intervals) -> Array:
        return reduce(
            np.logical_or, [(x[0].lower < p) & (p < x[0].upper) for p in self.breakpoints]
        )

    def candidates(self, how: Arithmetic, x: Intervals) -> list[Slopes]:
        at_lower = at_upper = x[0].lower * 0 + self.steps[0]
        for p, s in zip(self.breakpoints, self.steps[1:], strict=True):
            at_lower = np.where(x[0].lower >= p, s, at_lower)
            at_upper = np.where(x[0].upper > p, s, at_upper)
        rise = self._value(x[0].upper) - self._value(x[0].lower)
        return [(_chord(x[0], rise),), (at_lower,), (at_upper,)]

    def size(self, how: Arithmetic, x: Intervals, image: Interval | None = None) -> Array:
        steepest = max(abs(s) for s in self.steps)
        shift = max(abs(v) for v in self.values) + steepest * max(abs(p) for p in self.breakpoints)
        return steepest * x[0].size + shift

    def flushed(self, how: Arithmetic, x: Intervals) -> Array:
        return x[0].size + max(abs(s) for s in self.steps)

    def extremes(self, how: Arithmetic, x: Intervals, slopes: Slopes) -> Interval:
        (low, high), (slope,) = x[0], slopes
        error = how.rounding(FEW) * (self.size(how, x) + np.abs(slope) * x[0].size)
        ends = [
            low,
            high,
            *(np.minimum(np.maximum(low * 0 + p, low), high) for p in self.breakpoints),
        ]
        gaps = [self._value(t) - slope * t for t in ends]
        return Interval(reduce(np.minimum, gaps) - error, reduce(np.maximum, gaps) + error)


@dataclass(frozen=True, eq=False)
class Smooth(Nonlinear):
    """A curve of `curves.py`. Its numbers are floats in any arithmetic, by numpy's functions."""

    curve: Curve

    @property
    def roundings(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.curve.single_units

    @property
    def trusted(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.curve.trusted

    @property
    def fails(self) -> tuple[float | None, float] | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.curve.fails

    def size(self, how: Arithmetic, x: Intervals, image: Interval) -> Array:
        return image.size + how.number(self.curve.beside)

    def flushed(self, how: Arithmetic, x: Intervals) -> Array:
        return x[0].size * 0 + how.number(self.curve.steepest)

    def is_open(self, x: Intervals) -> Array:
        return x[0].lower < x[0].upper

    def candidates(self, how: Arithmetic, x: Intervals) -> list[Slopes]:
        own = _floats(x[0])
        rise = self.curve.value(own.upper) - self.curve.value(own.lower)
        tangents = [self.curve.slope(t) for t in (own.lower, own.middle, own.upper)]
        return [(how.array(s),) for s in (_chord(own, rise), *tangents)]

    def extremes(self, how: Arithmetic, x: Intervals, slopes: Slopes) -> Interval:
        slope = np.asarray(slopes[0], np.float64)
        found = self.curve.extremes(*_floats(x[0]), slope)
        if how.exact and not (np.isfinite(found[0]) & np.isfinite(found[1])).all():
            raise NotCovered("a function where it may have no value")
        # In rationals, the slope was rounded to a float.
        off = np.abs(slopes[0] - how.array(slope)) * x[0].size if how.exact else 0.0
        return Interval(how.array(found[0]) - off, how.array(found[1]) + off)


def _floats(x: Interval) -> Interval:
    """Ends as floats, outward."""
    if x.lower.dtype != object:
        return x
    low, high = (np.asarray(end, np.float64) for end in x)
    return Interval(np.nextafter(low, -np.inf), np.nextafter(high, np.inf))


class Product(Nonlinear):
    """Of two operands. The best lines are McCormick's (1976)."""

    roundings = 1

    def is_open(self, x: Intervals) -> Array:
        return (x[0].lower < x[0].upper) & (x[1].lower < x[1].upper)

    def candidates(self, how: Arithmetic, x: Intervals) -> list[Slopes]:
        return [(b, a) for a, b in product(*x)]

    def extremes(self, how: Arithmetic, x: Intervals, slopes: Slopes) -> Interval:
        # Less a linear function it is bilinear still, whose extremes are at corners.
        gaps = [a * b - slopes[0] * a - slopes[1] * b for a, b in product(*x)]
        size = sum(np.abs(s) * each.size for s, each in zip(slopes, x, strict=True))
        error = how.rounding(FEW) * (x[0].size * x[1].size + size)
        return Interval(reduce(np.minimum, gaps) - error, reduce(np.maximum, gaps) + error)


def _piecewise(own: Fields, shapes: Sequence[Shape], shape: Shape, how: Arithmetic) -> Nonlinear:
    points, values, steps = (own.tensor(n) for n in ("breakpoints", "values", "slopes"))
    fits = shapes == [shape] and points.ndim == 1 and points.size > 0
    fits = fits and len(values) == len(points) == len(steps) - 1
    require(fits, "a piecewise linear op has breakpoints with values, and a slope more")
    p, v, s = ([Fraction(x) for x in t.tolist()] for t in (points, values, steps))
    require(all(a < b for a, b in pairwise(p)), "breakpoints do not rise")
    met = (v[i] - v[i - 1] == s[i] * (p[i] - p[i - 1]) for i in range(1, len(p)))
    require(all(met), "a piecewise linear op is not continuous")
    knots, heights, rises = (tuple(how.array(t).tolist()) for t in (points, values, steps))
    # Numbers that are moved, negated, or taken in place of others, are not rounded.
    pieces = zip(s, (p[0], *p), (v[0], *v), strict=True)
    moved = all(a == 0 or (a in {-1, 1} and y == a * x) for a, x, y in pieces)
    moved = moved and all(float(np.float32(x)) == x for x in (*p, *v))
    return Piecewise(knots, heights, rises, 0 if moved else 4)


def _smooth(own: Fields, shapes: Sequence[Shape], shape: Shape, _how: Arithmetic) -> Nonlinear:
    require(shapes == [shape], "a curve has one operand of its own shape")
    if own.word("curve") not in CURVES:
        raise NotCovered(f"the checker has no rule for `{own.word('curve')}`")
    return Smooth(CURVES[own.word("curve")])


def _product(_own: Fields, shapes: Sequence[Shape], shape: Shape, _how: Arithmetic) -> Nonlinear:
    require(shapes == [shape, shape], "a product is of two operands of its own shape")
    return Product()


NONLINEAR = {
    "piecewise": _piecewise,
    "smooth": _smooth,
    "product": _product,
}
