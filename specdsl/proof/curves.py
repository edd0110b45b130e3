"""Elementwise curves: values, slopes, and where they bend.

numpy's elementary functions are trusted to be off by no more than a few units in the last place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan

import numpy as np

from specdsl.proof.arithmetic import SINGLE_TINY, UNDERFLOW, UNIT, Array

Function = Callable[[Array], Array]
# Values and slopes below are some five roundings and two elementary functions of 4 units each.
UNITS = 32
# Halvings that place a tangent point. Where it ends up only decides how tight a line is: what is
# lost falls with the square of the distance, to a part of 1e-14 of what the curve bends.
HALVINGS = 24


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """`bends`: -inf, where the curvature changes, inf. `convex`: of each piece between these.
    `least`: the domain reaches down to here; `pole`: a point that is not in it; `fails`:
    of what is between (None: -inf), float32 makes no number. `trusted`: the functions that are
    believed; `single_units`: units in the last place of float32, of the value and of `beside`, that
    a runtime's own may be off by; `steepest`: where an operand may be flushed to 0.
    """

    value: Function
    slope: Function
    bends: tuple[float, ...]
    convex: tuple[bool, ...]
    trusted: tuple[str, ...]
    single_units: int
    least: float = -inf
    pole: float = nan
    fails: tuple[float | None, float] | None = None
    beside: float = 0.0
    steepest: float = 2.0

    def extremes(self, low: Array, high: Array, slope: Array) -> tuple[Array, Array]:
        """The least and largest `f(x) - slope x` on [low, high], rounded outward.

        On a convex piece the largest is at an end; a tangent at any point lies below, and so does
        its least end. On a concave one it is the other way round.
        """
        slope = slope + low * 0
        least, most = np.full(slope.shape, inf), np.full(slope.shape, -inf)
        for start, end, convex in zip(self.bends, self.bends[1:], self.convex, strict=False):
            a, b = np.maximum(low, start), np.minimum(high, end)
            met = a <= b
            a, b = np.where(met, a, low), np.where(met, b, low)
            ends = [self._gap(t, slope) for t in (a, b)]
            tangent = self._tangent(a, b, slope, convex, start)
            if convex:
                small = tangent
                large = np.maximum(*(g + e for g, e in ends))
            else:
                small = np.minimum(*(g - e for g, e in ends))
                large = tangent
            least = np.where(met, np.minimum(least, small), least)
            most = np.where(met, np.maximum(most, large), most)
        outside = ~(low > self.least) | ~(high < inf) | ((low <= self.pole) & (self.pole <= high))
        return np.where(outside, np.nan, least), np.where(outside, np.nan, most)

    def _gap(self, t: Array, slope: Array) -> tuple[Array, Array]:
        """`f(t) - slope t`, and what it may be off by."""
        value = self.value(t)
        return value - slope * t, UNITS * UNIT * (np.abs(value) + np.abs(slope * t)) + UNDERFLOW

    def _tangent(self, a: Array, b: Array, slope: Array, convex: bool, start: float) -> Array:
        """Of a tangent of `f(x) - slope x` on [a, b], part of the piece from `start` on: its least
        end, or its largest.
        """
        left, right = a, b
        for _ in range(HALVINGS):
            middle = (left + right) / 2
            before = (self.slope(middle) < slope) == convex
            left, right = np.where(before, middle, left), np.where(before, right, middle)
        t = np.clip((left + right) / 2, a, b)
        # Where a root starts it is steeper than any slope.
        t = np.where((t == start) & (b > a), b, t)
        gap, error = self._gap(t, slope)
        steep = self.slope(t)
        tilt, off = steep - slope, UNITS * UNIT * (np.abs(steep) + np.abs(slope))
        ends = [tilt * (e - t) for e in (a, b)]
        error = error + (off + UNITS * UNIT * np.abs(tilt)) * (b - a)
        if convex:
            return gap + np.minimum(*ends) - error
        return gap + np.maximum(*ends) + error


def _expit(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def _root(x: Array) -> Array:
    """Of what is below 0, 0: sums of squares are that only where they were rounded."""
    return np.sqrt(np.maximum(x, 0.0))


def _steepness(x: Array) -> Array:
    return np.where(x > 0, 0.5 / np.sqrt(np.where(x > 0, x, 1.0)), 0.0)


def _s_shaped(value: Function, slope: Function, name: str) -> Curve:
    return Curve(value, slope, (-inf, 0.0, inf), (True, False), (name,), 8, beside=1.0)


CURVES = {
    "sigmoid": _s_shaped(_expit, lambda x: _expit(x) * _expit(-x), "exp"),
    "tanh": _s_shaped(np.tanh, lambda x: 4 * _expit(2 * x) * _expit(-2 * x), "tanh"),
    "exp": Curve(np.exp, np.exp, (-inf, inf), (True,), ("exp",), 8),
    "log": Curve(
        np.log,
        lambda x: 1 / x,
        (-inf, inf),
        (False,),
        ("log",),
        8,
        least=0.0,
        fails=(None, SINGLE_TINY),
    ),
    # Of what is flushed, 2**-126 at most, the root is 2**-63.
    "sqrt": Curve(
        _root,
        _steepness,
        (-inf, 0.0, inf),
        (True, False),
        (),
        2,
        fails=(None, 0.0),
        steepest=2.0**63,
    ),
    "reciprocal": Curve(
        lambda x: 1 / x,
        lambda x: -(1 / x) / x,
        (-inf, 0, inf),
        (False, True),
        (),
        2,
        pole=0.0,
        fails=(-SINGLE_TINY, SINGLE_TINY),
    ),
    "square": Curve(lambda x: x * x, lambda x: 2 * x, (-inf, inf), (True,), (), 2),
    "softplus": Curve(
        lambda x: np.logaddexp(x, 0.0),
        _expit,
        (-inf, inf),
        (True,),
        ("exp", "log"),
        8,
        beside=1.0,
    ),
}
