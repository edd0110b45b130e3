"""Smooth ops in torch: values, ranges, and lines below and above, from the facts on the op.

Nothing here knows a function but by its formula: where it turns, ranges have their extremes; where
its curvature changes, it falls into pieces that a line is compared with one by one. Bounds hold for
the function itself, not only for its float64 values: everything computed is moved outward by what
the formulas may be off (`elementary.UNITS`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

import torch
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.choice import SHARES_AROUND
from specdsl.bounds.kinds.elementary import UNITS, Formula, formula
from specdsl.bounds.kinds.relaxation import LinearRelaxation
from specdsl.graph import ops

# Halvings of a piece in search of the point whose tangent leads through an end. The secant after
# them leaves some 1e-7 of the piece; an error costs tightness, never soundness.
TANGENT_STEPS = 11
# Halvings of a convex piece in search of the point with a given slope: 2**-30 of its width.
SLOPE_STEPS = 30
# On intervals narrower than this part of their ends, a quotient of differences is mostly rounding.
NARROW_PART = 1e-7
# Multiples of a period are known to within some units in the last place of the argument; up to
# here that is too little to matter for where the curvature changes.
LARGEST_PERIODIC = 1e6


def evaluate(op: ops.Smooth, z: Tensor) -> Tensor:
    """`f(z)`, entry by entry; differentiable."""
    return formula(op).value(z)


def is_straight(op: ops.Smooth, z: Interval) -> Tensor:
    """Whether f is known to be a line on the interval, per entry."""
    straight = z.lower == z.upper
    if op.period is not None:
        return straight
    ends = (-torch.inf, *op.knots, torch.inf)
    for (start, end), curvature in zip(pairwise(ends), op.curvatures, strict=True):
        if curvature == 0:
            straight = straight | ((start <= z.lower) & (z.upper <= end))
    return straight


# --- where a function has values -----------------------------------------------------------------


def outside(op: ops.Smooth, z: Interval) -> Tensor:
    """Whether the interval may meet a pole or leave the domain, per entry."""
    low, high = op.domain
    met = torch.zeros_like(z.lower, dtype=torch.bool)
    if isfinite(low):
        met = met | (z.lower < low if _is_closed(op, z, low) else z.lower <= low)
    if isfinite(high):
        met = met | (z.upper > high if _is_closed(op, z, high) else z.upper >= high)
    for pole in op.poles:
        met = met | _contains(op, pole, z)
    return met


def _is_closed(op: ops.Smooth, z: Interval, end: float) -> bool:
    """Whether the end of the domain belongs to it, as it does where the value is finite."""
    return bool(formula(op).value(z.lower.new_tensor(end)).isfinite())


def require_inside(op: ops.Smooth, z: Interval) -> None:
    """Raise Unsupported, naming the op and what is known of its argument, where f may not exist."""
    met = outside(op, z)
    if not bool(met.any()):
        return
    position = int(met.flatten().to(torch.uint8).argmax())
    low, high = (float(end.expand_as(met).flatten()[position]) for end in (z.lower, z.upper))
    known = f"it is known to lie in [{low:.6g}, {high:.6g}]"
    what = f"the `{type(op).__name__}` of a value that may {_forbidden(op, z)} ({known})"
    advice = "make the input set smaller, or keep the value away from there"
    raise Unsupported("bound propagation", what, advice)


def _forbidden(op: ops.Smooth, z: Interval) -> str:
    if op.period is not None:
        return "be at a pole"
    if op.poles:
        return " or ".join(f"be {pole:g}" for pole in op.poles)
    low, high = op.domain
    if isfinite(low):
        return f"be less than {low:g}" if _is_closed(op, z, low) else f"be {low:g} or less"
    return f"be more than {high:g}" if _is_closed(op, z, high) else f"be {high:g} or more"


def _contains(op: ops.Smooth, point: float, z: Interval) -> Tensor:
    """Whether the interval contains the point, or with a period any repetition of it.

    Where rounding leaves that open, it does.
    """
    if op.period is None:
        return (z.lower <= point) & (point <= z.upper)
    unsure = UNITS * _epsilon(z.lower) * (z.lower.abs().maximum(z.upper.abs()) + op.period)
    lower, upper = z.lower - unsure, z.upper + unsure
    next_one = point + torch.ceil((lower - point) / op.period) * op.period
    return ~(next_one > upper)


# --- ranges --------------------------------------------------------------------------------------


def image(op: ops.Smooth, z: Interval) -> Interval:
    """The range of f on the interval, per entry: extremes lie at ends and turns.

    Exact up to rounding, outward. Unbounded where the interval meets a pole or leaves the domain.
    """
    form = formula(op)
    low, high = (_finite(end) for end in (z.lower, z.upper))
    ends = [_Value.of(form, low), _Value.of(form, high)]
    lower = torch.minimum(*(v.least for v in ends))
    upper = torch.maximum(*(v.most for v in ends))
    for turn in op.turns:
        value = _Value.of(form, z.lower.new_tensor(turn))
        inside = _contains(op, turn, z)
        lower = lower.minimum(value.least).where(inside, lower)
        upper = upper.maximum(value.most).where(inside, upper)
    # A comparison with NaN fails: what is not known is not bounded.
    nowhere = outside(op, z) | ~(lower <= upper)
    # What overflows is larger than this, and all that is known of it.
    largest = torch.finfo(lower.dtype).max / 2
    lower = lower.clamp(form.low, min(form.high, largest)).masked_fill(nowhere, -torch.inf)
    upper = upper.clamp(max(form.low, -largest), form.high).masked_fill(nowhere, torch.inf)
    return Interval(lower, upper)


def _finite(end: Tensor) -> Tensor:
    largest = torch.finfo(end.dtype).max
    return end.clamp(-largest, largest)


def _epsilon(like: Tensor) -> float:
    return torch.finfo(like.dtype).eps


@dataclass(frozen=True, slots=True, eq=False)
class _Value:
    """What float64 says of f at points, and how far that may be off."""

    value: Tensor
    error: Tensor

    @classmethod
    def of(cls, form: Formula, x: Tensor) -> _Value:
        value = form.value(x)
        size = value.abs()
        if form.conditioned:
            size = size + (x * form.slope(x)).abs()
        limits = torch.finfo(x.dtype)
        # What overflows stays infinite: its error must not be.
        return cls(value, UNITS * limits.eps * size.clamp(max=limits.max) + limits.tiny)

    @property
    def least(self) -> Tensor:
        """A lower bound of f."""
        return self.value - self.error

    @property
    def most(self) -> Tensor:
        """An upper bound of f."""
        return self.value + self.error


# --- lines ---------------------------------------------------------------------------------------


def relax(op: ops.Smooth, z: Interval) -> LinearRelaxation:
    """Lines below and above f on the interval, per entry.

    Of the chord, the tangents at the midpoint and those that lead through an end, and a constant,
    the line nearest to f at the midpoint is taken. Sound for any slope `s`, since the intercept is
    the least of `f(x) - s x`: on a concave piece that lies at its ends; a convex piece is replaced
    by one of its tangents, which lies below it wherever it touches.

    Source: the choice of tangents is that of Zhang et al. 2018, arXiv:1811.00866, for S-shapes.
    """
    (middle,) = _lines(op, z, [0.5])
    return middle


def lines_along(op: ops.Smooth, z: Interval) -> list[LinearRelaxation]:
    """The lines nearest to f at places on both sides of the midpoint, per entry."""
    return _lines(op, z, SHARES_AROUND)


def _lines(op: ops.Smooth, z: Interval, shares: Sequence[float]) -> list[LinearRelaxation]:
    """For each share, the lines nearest to f so far along the interval."""
    span = image(op, z)
    z = Interval(_finite(z.lower), _finite(z.upper))
    pieces, known = _pieces(op, z)
    known = known & ~outside(op, z)
    form = formula(op)
    sides = [_Side(op, form, z, pieces, sign) for sign in (1.0, -1.0)]
    through = [side.through_ends() for side in sides]
    found: list[LinearRelaxation] = []
    for share in shares:
        at = z.lower * (1 - share) + z.upper * share
        below = sides[0].best_line(span.lower, known, [at, *through[0]])
        above = sides[1].best_line(-span.upper, known, [at, *through[1]])
        lines = (below.slope, below.intercept, -above.slope, -above.intercept)
        found.append(LinearRelaxation(*lines))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Lowest:
    """`value` is a lower bound of what is least, `point` where that about is."""

    value: Tensor
    point: Tensor


def lowest_beside_line(op: ops.Smooth, z: Interval, slopes: Tensor, sign: float) -> Lowest:
    """The least of `sign * f(x) - slope x` on the interval, for every slope.

    The value is -inf where nothing is known. Shapes: z (batch, *shape); slopes and results
    (rows, batch, *shape).
    """
    z = Interval(_finite(z.lower), _finite(z.upper))
    pieces, known = _pieces(op, z)
    side = _Side(op, formula(op), z, pieces, sign)
    found = [side.lowest_on(piece, slopes) for piece in pieces]
    values = torch.stack([f.value for f in found])
    value, best = values.min(0, keepdim=True)
    point = torch.stack([f.point for f in found]).gather(0, best)[0]
    sure = known & ~outside(op, z) & value[0].isfinite()
    return Lowest(value[0].masked_fill(~sure, -torch.inf), point)


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """A part of the interval on which f has one curvature: a number, or one for each entry."""

    start: Tensor
    end: Tensor
    curvature: Tensor | int

    @property
    def last(self) -> Tensor:
        """The last point at which the slope from the right is that of the piece."""
        return torch.nextafter(self.end, self.start)


def _pieces(op: ops.Smooth, z: Interval) -> tuple[list[_Piece], Tensor]:
    """The pieces from left to right, and where they are known. Of no width: a point of z."""
    if op.period is not None:
        return _periodic_pieces(op, op.period, z)
    cuts = [z.lower, *(z.lower.new_tensor(k).clamp(z.lower, z.upper) for k in op.knots), z.upper]
    pieces = [
        _Piece(start, end, curvature)
        for (start, end), curvature in zip(pairwise(cuts), op.curvatures, strict=True)
    ]
    return pieces, torch.ones_like(z.lower, dtype=torch.bool)


def _periodic_pieces(op: ops.Smooth, period: float, z: Interval) -> tuple[list[_Piece], Tensor]:
    """On less than a period, where every knot occurs once at most."""
    far = z.lower.abs().maximum(z.upper.abs())
    known = (z.upper - z.lower < period) & (far <= LARGEST_PERIODIC)
    knots = z.lower.new_tensor(op.knots).reshape(-1, *(1 for _ in z.lower.shape))
    curvatures = z.lower.new_tensor(op.curvatures)
    found = knots + torch.ceil((z.lower - knots) / period) * period
    found, order = found.sort(dim=0)
    count = len(op.knots)
    cuts = [z.lower, *(f.clamp(z.lower, z.upper) for f in found), z.upper]
    # Left of the first knot found lies the piece that begins at the knot before it in the cycle.
    kinds = [curvatures[(order[0] - 1) % count], *(curvatures[o] for o in order)]
    pieces = [_Piece(*ends, kind) for ends, kind in zip(pairwise(cuts), kinds, strict=True)]
    return pieces, known


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    slope: Tensor
    intercept: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Touch:
    """Points with what the function of a side is at least there, and its slope."""

    at: Tensor
    least: Tensor
    slope: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """Lines below `sign * f`. Candidates are stacked on axis 0, in front of the batch."""

    op: ops.Smooth
    form: Formula
    z: Interval
    pieces: Sequence[_Piece]
    sign: float

    def best_line(self, lowest: Tensor, known: Tensor, touches: list[Tensor]) -> _Line:
        """The highest at the first of these points, of the chord and of the tangents at them;
        constant at `lowest` where nothing else is known.
        """
        at = touches[0]
        slopes = torch.stack([self._chord(), *(self._slope(p) for p in touches)])
        points = torch.stack([at, *touches])
        intercepts = self._intercepts(slopes, points)
        heights = slopes * at + intercepts
        sure = known & slopes.isfinite() & intercepts.isfinite() & heights.isfinite()
        heights = heights.masked_fill(~sure, -torch.inf)
        height, best = heights.max(0, keepdim=True)
        slope, intercept = (t.gather(0, best)[0] for t in (slopes, intercepts))
        better = height[0].isfinite() & (height[0] >= lowest)
        return _Line(slope.masked_fill(~better, 0.0), intercept.where(better, lowest))

    def _value(self, x: Tensor) -> Tensor:
        return self.sign * self.form.value(x)

    def _slope(self, x: Tensor) -> Tensor:
        return self.sign * self.form.slope(x)

    def _touch(self, x: Tensor) -> _Touch:
        value = _Value.of(self.form, x)
        return _Touch(x, self.sign * value.value - value.error, self._slope(x))

    def _chord(self) -> Tensor:
        low, high = self.z.lower, self.z.upper
        width = high - low
        narrow = width <= NARROW_PART * (low.abs() + high.abs())
        # Divided by 1 where the quotient is not used: its gradient must stay finite as well.
        steep = (self._value(high) - self._value(low)) / width.masked_fill(narrow, 1.0)
        slope = self._slope(low / 2 + high / 2).where(narrow, steep)
        return slope.clamp(-self.op.steepest, self.op.steepest)

    def _is_convex(self, piece: _Piece) -> Tensor | bool:
        return self.sign * piece.curvature > 0

    def through_ends(self) -> list[Tensor]:
        """Points of convex pieces whose tangents lead through an end of the interval."""
        tasks: list[tuple[Tensor, Tensor, Tensor]] = []
        ways: list[float] = []
        for i, piece in enumerate(self.pieces):
            if self._is_convex(piece) is False:
                continue
            if i > 0:
                tasks.append((piece.start, piece.last, self.z.lower))
                ways.append(-1.0)
            if i + 1 < len(self.pieces):
                tasks.append((piece.start, piece.last, self.z.upper))
                ways.append(1.0)
        if not tasks:
            return []
        starts, ends, through = (torch.stack(column) for column in zip(*tasks, strict=True))
        way = starts.new_tensor(ways).reshape(-1, *(1 for _ in self.z.lower.shape))
        return list(self._tangent_points(starts, ends, through, way))

    def _tangent_points(self, start: Tensor, end: Tensor, through: Tensor, way: Tensor) -> Tensor:
        """By bisection, and a secant between what is left."""
        for _ in range(TANGENT_STEPS):
            middle = start / 2 + end / 2
            # Tangents rise at `through` as their point comes nearer to it.
            right = (self._overshoot(middle, through) > 0) ^ (way > 0)
            start, end = middle.where(right, start), end.where(right, middle)
        first, last = (self._overshoot(p, through) for p in (start, end))
        drop = first - last
        nothing = ~(drop.abs() > torch.finfo(drop.dtype).tiny)  # Also where it is not a number.
        share = first.masked_fill(nothing, 0.0) / drop.masked_fill(nothing, 1.0)
        return start + share.clamp(0, 1) * (end - start)

    def _overshoot(self, at: Tensor, through: Tensor) -> Tensor:
        """How far a tangent passes above the function at another point."""
        return self._value(at) + self._slope(at) * (through - at) - self._value(through)

    def lowest_on(self, piece: _Piece, slopes: Tensor) -> Lowest:
        """The least of `f(x) - slope x` on one piece, for every slope."""
        ends = (piece.start.expand_as(slopes), piece.end.expand_as(slopes))
        left, right = (self._value(x) - slopes * x for x in ends)
        found = Lowest(
            _at_ends(slopes, self._touch(piece.start), self._touch(piece.end)),
            ends[0].where(left <= right, ends[1]),
        )
        convex = self._is_convex(piece)
        if convex is False:
            return found
        low, high = ends[0], piece.last.expand_as(slopes)
        for _ in range(SLOPE_STEPS):
            middle = low / 2 + high / 2
            rising = self._slope(middle) > slopes
            low, high = low.where(rising, middle), middle.where(rising, high)
        touches = (low, high, piece.start, piece.last)
        tangents = [self._below_tangent(slopes, self._touch(p), piece) for p in touches]
        chosen = torch.as_tensor(convex, device=slopes.device)
        value = torch.stack(tangents).amax(0).where(chosen, found.value)
        return Lowest(value, low.where(chosen, found.point))

    def _intercepts(self, slopes: Tensor, points: Tensor) -> Tensor:
        """The least of `f(x) - slope x` over all pieces, for every candidate."""
        least = torch.full_like(slopes, torch.inf)
        for piece in self.pieces:
            convex = self._is_convex(piece)
            found = _at_ends(slopes, self._touch(piece.start), self._touch(piece.end))
            if convex is not False:
                last = piece.last
                touches = (points.clamp(piece.start, last), piece.start, last)
                bounds = [self._below_tangent(slopes, self._touch(p), piece) for p in touches]
                tangent = torch.stack(bounds).amax(0)
                found = tangent.where(torch.as_tensor(convex, device=slopes.device), found)
            least = least.minimum(found)
        return least

    def _below_tangent(self, slopes: Tensor, touch: _Touch, piece: _Piece) -> Tensor:
        """What a tangent leaves of `f(x) - slope x` on a convex piece; -inf where there is none."""
        unit = UNITS * _epsilon(slopes)
        ends: list[Tensor] = []
        for x in (piece.start, piece.end):
            run = x - touch.at
            error = unit * ((touch.slope.abs() + self.form.noise) * run.abs() + (slopes * x).abs())
            ends.append(touch.least + touch.slope * run - slopes * x - error)
        return torch.minimum(*ends).nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)


def _at_ends(slopes: Tensor, start: _Touch, end: _Touch) -> Tensor:
    """What the ends leave of `f(x) - slope x` on a concave or straight piece."""
    unit = UNITS * _epsilon(slopes)
    along = [
        touch.least - slopes * touch.at - unit * (slopes * touch.at).abs() for touch in (start, end)
    ]
    return torch.minimum(*along)
