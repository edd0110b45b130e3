"""Nonlinear ops, entry by entry: their ranges, and linear functions below and above them.

Every line is a slope and the extreme of `f(x) - slope x` over the interval, so any slope is sound.
Those taken are the best at the midpoint, among the chord and tangents; a certificate may name
others. Intervals are (lower, upper), both (batch, *shape).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from specdsl.proof.arithmetic import Arithmetic, Array
from specdsl.proof.curves import CURVES, Curve
from specdsl.proof.operators import Attributes, Shape
from specdsl.proof.refusal import NotCovered, Refused

# A line is computed by fewer roundings than this from what `size` measures.
FEW = 16


class Interval(NamedTuple):
    """Ends."""

    lower: Array
    upper: Array

    @property
    def size(self) -> Array:
        """The largest magnitude."""
        return np.maximum(np.abs(self.lower), np.abs(self.upper))


class Line(NamedTuple):
    """`sum_i slopes[i] x_i + constant`; the constant is rounded to the safe side."""

    slopes: tuple[Array, ...]
    constant: Array


class Lines(NamedTuple):
    """A line below and one above."""

    below: Line
    above: Line


class Nonlinear:
    """`roundings`: of float32, as a part of the result, that evaluating it there takes. `trusted`:
    what is believed of it.
    """

    roundings: int = 0
    trusted: tuple[str, ...] = ()

    def image(self, how: Arithmetic, operands: Sequence[Interval]) -> Interval:
        """The range."""
        raise NotImplementedError

    def is_open(self, operands: Sequence[Interval]) -> Array:
        """Where it is not linear, so that tighter operands tighten it."""
        raise NotImplementedError

    def lines(self, how: Arithmetic, operands: Sequence[Interval], slope: Array | None) -> Lines:
        """`slope`: of the line below, or None for the checker's own choice."""
        raise NotImplementedError


class Elementwise(Nonlinear):
    """Of one operand, by extremes of `f(x) - slope x`."""

    def value(self, x: Array) -> tuple[Array, Array]:
        """f(x), and the magnitudes that it is added up from, FEW roundings of which it is off."""
        raise NotImplementedError

    def slopes(self, how: Arithmetic, x: Interval) -> Sequence[Array]:
        """Candidates besides the chord."""
        raise NotImplementedError

    def extremes(self, how: Arithmetic, x: Interval, slope: Array) -> Interval:
        """The least and largest `f(x) - slope x`, rounded outward."""
        raise NotImplementedError

    def image(self, how: Arithmetic, operands: Sequence[Interval]) -> Interval:
        (x,) = operands
        return self.extremes(how, x, x.lower * 0)

    def lines(self, how: Arithmetic, operands: Sequence[Interval], slope: Array | None) -> Lines:
        (x,) = operands
        width = x.upper - x.lower
        rise = self.value(x.upper)[0] - self.value(x.lower)[0]
        chord = np.where(width > 0, rise, rise * 0) / np.where(width > 0, width, width * 0 + 1)
        candidates = [chord, *self.slopes(how, x)]
        found = [(s, self.extremes(how, x, s)) for s in candidates]
        middle = (x.lower + x.upper) / 2
        below = reduce(
            lambda a, b: _better(a, b, middle, 1), [Line((s,), e.lower) for s, e in found]
        )
        above = reduce(
            lambda a, b: _better(a, b, middle, -1), [Line((s,), e.upper) for s, e in found]
        )
        if slope is not None:
            below = Line((slope,), self.extremes(how, x, slope).lower)
        return Lines(below, above)


def _better(one: Line, other: Line, at: Array, sign: int) -> Line:
    """The line that is higher at a point, or lower where `sign` is -1; the first of equal ones."""
    gain = (other.slopes[0] - one.slopes[0]) * at + other.constant - one.constant
    better = gain * sign > 0
    return Line(
        (np.where(better, other.slopes[0], one.slopes[0]),),
        np.where(better, other.constant, one.constant),
    )


@dataclass(frozen=True, eq=False)
class Piecewise(Elementwise):
    """Continuous, of linear pieces: slope `steps[i]` left of `breakpoints[i]`, where the value is
    `values[i]`, and `steps[-1]` right of the last.
    """

    breakpoints: tuple[Any, ...]
    values: tuple[Any, ...]
    steps: tuple[Any, ...]
    roundings: int = 0

    def value(self, x: Array) -> tuple[Array, Array]:
        y = self.values[0] + self.steps[0] * (x - self.breakpoints[0])
        for p, v, s in zip(self.breakpoints, self.values, self.steps[1:], strict=True):
            y = np.where(x > p, v + s * (x - p), y)
        steepest = max(abs(s) for s in self.steps)
        shift = max(abs(v) for v in self.values) + steepest * max(abs(p) for p in self.breakpoints)
        return y, steepest * np.abs(x) + shift

    def slopes(self, how: Arithmetic, x: Interval) -> Sequence[Array]:
        at_lower, at_upper = x.lower * 0 + self.steps[0], x.lower * 0 + self.steps[0]
        for p, s in zip(self.breakpoints, self.steps[1:], strict=True):
            at_lower = np.where(x.lower >= p, s, at_lower)
            at_upper = np.where(x.upper > p, s, at_upper)
        return at_lower, at_upper

    def is_open(self, operands: Sequence[Interval]) -> Array:
        (x,) = operands
        crossed = [(x.lower < p) & (p < x.upper) for p in self.breakpoints]
        return reduce(np.logical_or, crossed)

    def extremes(self, how: Arithmetic, x: Interval, slope: Array) -> Interval:
        lows: list[Array] = []
        highs: list[Array] = []
        part = how.rounding(FEW)
        for point in (x.lower, x.upper, *self.breakpoints):
            at = np.minimum(np.maximum(x.lower * 0 + point, x.lower), x.upper)
            value, size = self.value(at)
            gap, error = value - slope * at, part * (size + np.abs(slope * at))
            lows.append(gap - error)
            highs.append(gap + error)
        return Interval(reduce(np.minimum, lows), reduce(np.maximum, highs))


@dataclass(frozen=True, eq=False)
class Smooth(Elementwise):
    """A curve of `curves.py`. Its numbers are floats in any arithmetic, by numpy's functions."""

    curve: Curve
    roundings: int = 0
    trusted: tuple[str, ...] = ()

    def value(self, x: Array) -> tuple[Array, Array]:
        y = self.curve.value(np.asarray(x, np.float64))
        return y, np.abs(y)

    def slopes(self, how: Arithmetic, x: Interval) -> Sequence[Array]:
        low, high = _floats(x)
        return [how.array(self.curve.slope(t)) for t in (low, (low + high) / 2, high)]

    def is_open(self, operands: Sequence[Interval]) -> Array:
        (x,) = operands
        return x.lower < x.upper

    def extremes(self, how: Arithmetic, x: Interval, slope: Array) -> Interval:
        low, high = self.curve.extremes(*_floats(x), np.asarray(slope, np.float64))
        if how.exact:
            # The slope was rounded to a float as well.
            off = np.abs(slope - how.array(np.asarray(slope, np.float64))) * x.size
            return Interval(how.array(low) - off, how.array(high) + off)
        return Interval(low, high)

    def lines(self, how: Arithmetic, operands: Sequence[Interval], slope: Array | None) -> Lines:
        if not how.exact:
            return Elementwise.lines(self, how, operands, slope)
        outward = Interval(*(how.array(end) for end in _floats(operands[0])))
        return Elementwise.lines(self, how, [outward], slope)


def _floats(x: Interval) -> tuple[Array, Array]:
    """Ends as floats, outward."""
    if x.lower.dtype != object:
        return x.lower, x.upper
    low, high = (np.asarray(end, np.float64) for end in x)
    return np.nextafter(low, -np.inf), np.nextafter(high, np.inf)


@dataclass(frozen=True)
class Maximum(Nonlinear):
    """The largest of its operands."""

    def image(self, how: Arithmetic, operands: Sequence[Interval]) -> Interval:
        return Interval(
            reduce(np.maximum, [x.lower for x in operands]),
            reduce(np.maximum, [x.upper for x in operands]),
        )

    def is_open(self, operands: Sequence[Interval]) -> Array:
        best, _ = _largest([x.lower for x in operands])
        others = [np.where(best == i, x.lower, x.upper) for i, x in enumerate(operands)]
        return reduce(np.maximum, others) > reduce(np.maximum, [x.lower for x in operands])

    def lines(self, how: Arithmetic, operands: Sequence[Interval], slope: Array | None) -> Lines:
        if slope is not None:
            raise NotCovered("slopes of a maximum")
        image = self.image(how, operands)
        best, zero = _largest([x.lower for x in operands]), image.lower * 0
        below = tuple(np.where(best[0] == i, zero + 1, zero) for i in range(len(operands)))
        single = ~self.is_open(operands)
        above = tuple(np.where(single, own, zero) for own in below)
        return Lines(Line(below, zero), Line(above, np.where(single, zero, image.upper)))


def _largest(values: Sequence[Array]) -> tuple[Array, Array]:
    """Which is the first of the largest, and that."""
    best, top = np.zeros(values[0].shape, np.int64), values[0]
    for i, value in enumerate(values[1:], 1):
        best, top = np.where(value > top, i, best), np.maximum(top, value)
    return best, top


@dataclass(frozen=True)
class Product(Nonlinear):
    """Of two operands, between McCormick's planes. Source: McCormick 1976."""

    roundings: int = 1

    def image(self, how: Arithmetic, operands: Sequence[Interval]) -> Interval:
        x, y = operands
        ends = [a * b for a in x for b in y]
        error = how.rounding(FEW) * (x.size * y.size)
        return Interval(reduce(np.minimum, ends) - error, reduce(np.maximum, ends) + error)

    def is_open(self, operands: Sequence[Interval]) -> Array:
        x, y = operands
        return (x.lower < x.upper) & (y.lower < y.upper)

    def lines(self, how: Arithmetic, operands: Sequence[Interval], slope: Array | None) -> Lines:
        if slope is not None:
            raise NotCovered("slopes of a product")
        x, y = operands
        error = how.rounding(FEW) * (x.size * y.size)
        at = [(e.lower + e.upper) / 2 for e in operands]

        def plane(a: Array, b: Array, sign: int) -> Line:
            # (x - a)(y - b) has this sign, so that b x + a y - a b lies below or above x y.
            return Line((b, a), -(a * b) - sign * error)

        below = _better_plane(plane(x.lower, y.lower, 1), plane(x.upper, y.upper, 1), at, 1)
        above = _better_plane(plane(x.lower, y.upper, -1), plane(x.upper, y.lower, -1), at, -1)
        return Lines(below, above)


def _better_plane(one: Line, other: Line, at: Sequence[Array], sign: int) -> Line:
    def value(line: Line) -> Array:
        return sum(s * a for s, a in zip(line.slopes, at, strict=True)) + line.constant

    better = (value(other) - value(one)) * sign > 0
    slopes = tuple(np.where(better, b, a) for a, b in zip(one.slopes, other.slopes, strict=True))
    return Line(slopes, np.where(better, other.constant, one.constant))


Build = Callable[[Arithmetic], Nonlinear]


def _piecewise(own: Attributes, shapes: Sequence[Shape], shape: Shape) -> Build:
    points, values, steps = (own.tensor(n) for n in ("breakpoints", "values", "slopes"))
    if shapes != [shape] or not points.size or len(steps) != len(points) + 1:
        raise Refused("a piecewise linear op has one operand, and a slope more than breakpoints")
    if len(values) != len(points) or any(a >= b for a, b in pairwise(points)):
        raise Refused("breakpoints rise, and each has a value")
    p, v, s = ([Fraction(x) for x in t.tolist()] for t in (points, values, steps))
    if any(v[i + 1] - v[i] != s[i + 1] * (p[i + 1] - p[i]) for i in range(len(p) - 1)):
        raise Refused("a piecewise linear op is not continuous")
    exact = {-1.0, 0.0, 1.0}.issuperset(steps.tolist())

    def build(how: Arithmetic) -> Nonlinear:
        numbers = [tuple(how.array(t).tolist()) for t in (points, values, steps)]
        return Piecewise(numbers[0], numbers[1], numbers[2], 0 if exact else 4)

    return build


def _smooth(own: Attributes, shapes: Sequence[Shape], shape: Shape) -> Build:
    curve = CURVES.get(own.word("curve"))
    if curve is None:
        raise NotCovered(f"the checker has no rule for `{own.word('curve')}`")
    if shapes != [shape]:
        raise Refused("a curve has one operand of its own shape")
    return lambda how: Smooth(curve, curve.single_units, curve.trusted)


def _maximum(own: Attributes, shapes: Sequence[Shape], shape: Shape) -> Build:
    if set(shapes) != {shape}:
        raise Refused("a maximum is of operands of its own shape")
    return lambda how: Maximum()


def _product(own: Attributes, shapes: Sequence[Shape], shape: Shape) -> Build:
    if shapes != [shape, shape]:
        raise Refused("a product is of two operands of its own shape")
    return lambda how: Product()


NONLINEAR = {
    "piecewise": _piecewise,
    "smooth": _smooth,
    "maximum": _maximum,
    "product": _product,
}
