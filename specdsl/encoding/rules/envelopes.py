"""Piecewise-linear functions below and above smooth ops: what lp, milp and smt know of a curve.

On a convex piece, chords lie above and tangents below; the interval is cut at `touches`, where both
meet the function, and once between two of these, where their tangents cross. So both functions have
their corners at the same places, and between two of them both are straight. Further touches are
added where the two are farthest apart.

All of it is sound for the function itself, not only for its float64 values: what is computed is
moved outward by `ELEMENTARY_ERROR` of the magnitudes it was computed from, which is what is trusted
of elementary functions and far more than the few sums and products here round.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt

from specdsl.encoding.model.linear_model import BoolArray, FloatArray, IndexArray
from specdsl.graph import ops
from specdsl.graph.enclosure import ELEMENTARY_ERROR, TINY, smooth_range
from specdsl.graph.ops import as_float

# Touches are added until both functions are this part of their range apart at most, or until there
# are so many: a cut costs a binary of `milp` and a case of `smt`.
GAP_PART = 0.02
MOST_TOUCHES = 10
# Periodic functions on intervals with more changes of curvature than this, or beyond this place,
# are bounded by their range alone: further out, multiples of the period are not known well enough.
MOST_KNOTS = 6
LARGEST_PERIODIC = 1e6
# A gap of this part of what the values are added up from is not worth a cut: solvers allow as much.
LEAST_GAP_PART = 1e-9
# Corners keep this part of their interval away from its ends: no piece gets too short to tell.
CORNER_PART = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Envelopes:
    """`below <= f <= above` on the intervals of some neurons, straight between `places`.

    `neurons`: which of the given intervals, (n,). Shapes: places, below, above (n, corners), places
    rising from the lower to the upper end; `least`, `most` (n,): bounds of f. All finite.
    """

    neurons: IndexArray
    places: FloatArray
    below: FloatArray
    above: FloatArray
    least: FloatArray
    most: FloatArray


def has_values(op: ops.Smooth, lower: FloatArray, upper: FloatArray) -> BoolArray:
    """Whether f is sure to have a value that float64 holds on all of [lower, upper]."""
    least, most = smooth_range(op, lower, upper)
    return np.isfinite(least) & np.isfinite(most)


@dataclass(frozen=True, slots=True, eq=False)
class StraightLines:
    """`slopes x + offsets` for some of the given intervals, (n,) each."""

    neurons: IndexArray
    slopes: FloatArray
    offsets: FloatArray


def straight_lines(op: ops.Smooth, lower: FloatArray, upper: FloatArray) -> Iterator[StraightLines]:
    """Where f is a line on all of [lower, upper], and float64 computes it exactly at both ends."""
    if op.period is not None:
        return
    ends = (-np.inf, *op.knots, np.inf)
    for (start, end), curvature in zip(pairwise(ends), op.curvatures, strict=True):
        if curvature:
            continue
        inside = np.flatnonzero((start <= lower) & (upper <= end))
        low, high = lower[inside], upper[inside]
        # From the right, so at the piece's own end a step back.
        slopes = as_float(op.slope(np.where(low == end, np.nextafter(low, start), low)))
        offsets = op.value(low) - slopes * low
        fits = (slopes * low + offsets == op.value(low)) & (
            slopes * high + offsets == op.value(high)
        )
        yield StraightLines(inside[fits], slopes[fits], as_float(offsets)[fits])


def envelopes(op: ops.Smooth, lower: FloatArray, upper: FloatArray) -> Iterator[Envelopes]:
    """Envelopes on intervals (n,) of some width on which f has values, in groups with equally many
    corners.
    """
    with np.errstate(all="ignore"):  # Infinite slopes at the ends of domains are looked for.
        for group in _groups(op, lower, upper):
            yield from _refined(op, group)


# --- touches --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Touches:
    """Places (n, touches) of neurons (n,), and the curvature of f between them (n, touches - 1)."""

    neurons: IndexArray
    places: FloatArray
    curvatures: npt.NDArray[np.int8]

    def of(self, which: BoolArray) -> _Touches:
        """Those of some neurons."""
        return _Touches(self.neurons[which], self.places[which], self.curvatures[which])

    def split(self, interval: IndexArray, at: FloatArray) -> _Touches:
        """With one touch more for each neuron, in its `interval` (n,)."""
        rows = np.arange(self.neurons.size)
        places = np.concatenate([self.places, at[:, None]], axis=1)
        # The curvature of an interval stands at its left end; nothing is right of the last.
        beside = np.pad(self.curvatures, ((0, 0), (0, 1)))
        beside = np.concatenate([beside, self.curvatures[rows, interval][:, None]], axis=1)
        ranks = np.concatenate(
            [
                np.broadcast_to(np.arange(self.places.shape[1]), self.places.shape),
                interval[:, None],
            ],
            axis=1,
        )
        # Stable: the new touch comes right behind the left end of its interval.
        order = np.argsort(ranks, axis=1, kind="stable")
        return _Touches(
            self.neurons,
            np.take_along_axis(places, order, axis=1),
            np.take_along_axis(beside, order, axis=1)[:, :-1],
        )


def _groups(op: ops.Smooth, lower: FloatArray, upper: FloatArray) -> Iterator[_Touches]:
    """The ends and the knots between them, for neurons with the same curvatures."""
    found: dict[tuple[int, ...], tuple[list[int], list[list[float]]]] = {}
    for neuron, (low, high) in enumerate(zip(lower.tolist(), upper.tolist(), strict=True)):
        knots, curvatures = _inside(op, low, high)
        neurons, places = found.setdefault(curvatures, ([], []))
        neurons.append(neuron)
        places.append([low, *knots, high])
    for curvatures, (neurons, places) in found.items():
        shape = (len(neurons), len(curvatures))
        yield _Touches(
            np.array(neurons, dtype=np.int64),
            np.array(places, dtype=np.float64),
            np.broadcast_to(np.array(curvatures, dtype=np.int8), shape),
        )


# Stands for a curvature where f is only known to lie in its range.
_UNKNOWN = 2


def _inside(op: ops.Smooth, low: float, high: float) -> tuple[list[float], tuple[int, ...]]:
    """The knots strictly between, and the curvatures from `low` to `high`."""
    if op.period is None:
        knots = [k for k in op.knots if low < k < high]
        first = sum(k <= low for k in op.knots)
        return knots, tuple(op.curvatures[first : first + len(knots) + 1])
    many = (high - low) / op.period * len(op.knots) > MOST_KNOTS
    if many or max(abs(low), abs(high)) > LARGEST_PERIODIC:
        return [], (_UNKNOWN,)
    turns = range(int(low // op.period) - 2, int(high // op.period) + 3)
    repeated = sorted(
        (knot + turn * op.period, curvature)
        for turn, (knot, curvature) in product(turns, zip(op.knots, op.curvatures, strict=True))
    )
    before = [curvature for place, curvature in repeated if place <= low]
    between = [(place, curvature) for place, curvature in repeated if low < place < high]
    return [place for place, _ in between], (before[-1], *(c for _, c in between))


def _refined(op: ops.Smooth, touches: _Touches) -> Iterator[Envelopes]:
    """Split where the gap is widest, until it is narrow: neurons leave as they are done."""
    while touches.neurons.size:
        curve = _Curve.of(op, touches)
        gaps = curve.gaps()
        size = 1.0 + np.maximum(np.abs(curve.least), np.abs(curve.most))
        accepted = GAP_PART * (curve.most - curve.least) + LEAST_GAP_PART * size
        full = touches.places.shape[1] >= MOST_TOUCHES
        narrow = gaps.max(axis=1) <= accepted
        # A comparison with NaN fails: what cannot be compared is not worth a cut.
        done = np.full(narrow.shape, full) | narrow | ~np.isfinite(gaps).all(axis=1)
        if done.any():
            yield curve.envelopes(done)
        widest = gaps.argmax(axis=1)
        at = curve.corners[np.arange(widest.size), widest]
        touches = touches.split(widest, at).of(~done)


# --- tangents and chords --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """Bounds (n, intervals) of f or a line at the start, the corner and the end of an interval."""

    start: FloatArray
    corner: FloatArray
    end: FloatArray

    def where(self, condition: BoolArray, other: _Side) -> _Side:
        """This one where the condition holds, else the other."""
        return _Side(
            np.where(condition, self.start, other.start),
            np.where(condition, self.corner, other.corner),
            np.where(condition, self.end, other.end),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Curve:
    """f over the intervals between touches: `corners` (n, intervals) lie in these; `values`, of
    touches, and `low_slopes`, `high_slopes`, at the starts and ends of intervals, as computed.
    """

    op: ops.Smooth
    touches: _Touches
    values: FloatArray
    low_slopes: FloatArray
    high_slopes: FloatArray
    corners: FloatArray
    least: FloatArray
    most: FloatArray

    @classmethod
    def of(cls, op: ops.Smooth, touches: _Touches) -> _Curve:
        """Evaluate at touches, and cut the tangents of neighbours."""
        places = touches.places
        starts, ends = places[:, :-1], places[:, 1:]
        values, slopes = as_float(op.value(places)), as_float(op.slope(places))
        # `slope` is that from the right: at the end of an interval it may be its neighbour's.
        at_ends = as_float(op.slope(np.nextafter(ends, starts)))
        width = ends - starts
        rise = np.diff(values, axis=1)
        along = (rise - at_ends * width) / (slopes[:, :-1] - at_ends)
        along = np.where(np.isfinite(along), along, width / 2)
        corners = starts + np.clip(along, CORNER_PART * width, (1 - CORNER_PART) * width)
        least, most = smooth_range(op, places[:, 0], places[:, -1])
        return cls(op, touches, values, slopes[:, :-1], at_ends, corners, least, most)

    def envelopes(self, which: BoolArray) -> Envelopes:
        """Of some neurons, with the corners among the touches."""
        below, above = self._chain(1), self._chain(-1)
        places = _interleaved(self.touches.places, self.corners)
        return Envelopes(
            neurons=self.touches.neurons[which],
            places=places[which],
            below=below[which],
            above=-above[which],
            least=self.least[which],
            most=self.most[which],
        )

    def gaps(self) -> FloatArray:
        """How far apart both sides are at most: (n, intervals)."""
        below, above = self._side(1), self._side(-1)
        apart = (-below.start - above.start, -below.corner - above.corner, -below.end - above.end)
        return np.maximum.reduce(apart)

    def _chain(self, sign: int) -> FloatArray:
        """Lower bounds of `sign * f` at touches and corners: the weaker of both intervals."""
        side = self._side(sign)
        shared = np.minimum(side.start[:, 1:], side.end[:, :-1])
        at_touches = np.concatenate([side.start[:, :1], shared, side.end[:, -1:]], axis=1)
        return _interleaved(at_touches, side.corner)

    def _side(self, sign: int) -> _Side:
        """Lower bounds of `sign * f`, straight from start to corner and from there to the end.

        Where `sign * f` is concave or straight its values do, where it is convex tangents do.
        """
        bent = sign * self.touches.curvatures
        unknown = self.touches.curvatures == _UNKNOWN
        floor = np.broadcast_to((self.least if sign > 0 else -self.most)[:, None], bent.shape)
        flat = _Side(floor, floor, floor)
        lines = self._tangents(sign).where(bent > 0, self._values(sign))
        known = np.isfinite(lines.start) & np.isfinite(lines.corner) & np.isfinite(lines.end)
        return lines.where(known & ~unknown, flat)

    def _values(self, sign: int) -> _Side:
        at = sign * self.values
        at = at - ELEMENTARY_ERROR * np.abs(at) - TINY
        corner = sign * self.op.value(self.corners)
        corner = corner - ELEMENTARY_ERROR * np.abs(corner) - TINY
        return _Side(at[:, :-1], corner, at[:, 1:])

    def _tangents(self, sign: int) -> _Side:
        """From the start to the corner that at the start, from there that at the end.

        Only the other one where a slope is infinite.
        """
        starts, ends = self.touches.places[:, :-1], self.touches.places[:, 1:]
        first, last = self.values[:, :-1], self.values[:, 1:]
        from_start = _Line(self.op, sign, starts, first, self.low_slopes)
        from_end = _Line(self.op, sign, ends, last, self.high_slopes)
        both = _Side(
            from_start.at(starts),
            np.minimum(from_start.at(self.corners), from_end.at(self.corners)),
            from_end.at(ends),
        )
        only_start, only_end = (
            _Side(line.at(starts), line.at(self.corners), line.at(ends))
            for line in (from_start, from_end)
        )
        one = only_start.where(np.isfinite(self.low_slopes), only_end)
        finite = np.isfinite(self.low_slopes) & np.isfinite(self.high_slopes)
        return both.where(finite, one)


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """The tangent of `sign * f` at `touch`, as computed from the value and slope of f."""

    op: ops.Smooth
    sign: int
    touch: FloatArray
    value: FloatArray
    slope: FloatArray

    def at(self, x: FloatArray) -> FloatArray:
        """A lower bound of the true tangent's value.

        Slopes that are sums cancel where they are small: they are right in proportion to the
        steepest.
        """
        run = x - self.touch
        noise = self.op.steepest if np.isfinite(self.op.steepest) else 0.0
        size = np.abs(self.value) + (np.abs(self.slope) + noise) * np.abs(run)
        # At the touch itself, an infinite slope is none.
        rise = np.where(run == 0, 0.0, self.slope * run)
        size = np.where(run == 0, np.abs(self.value), size)
        return self.sign * (self.value + rise) - ELEMENTARY_ERROR * size - TINY


def _interleaved(touches: FloatArray, corners: FloatArray) -> FloatArray:
    """(n, t) and (n, t - 1) to (n, 2 t - 1), in turns."""
    result = np.empty((touches.shape[0], touches.shape[1] + corners.shape[1]))
    result[:, ::2], result[:, 1::2] = touches, corners
    return result
