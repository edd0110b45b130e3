"""Piecewise-linear ops in torch: evaluation and linear relaxation, from the facts on the op."""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.choice import Choice, SlopeChoice, around
from specdsl.bounds.kinds.relaxation import LinearRelaxation
from specdsl.graph import ops


def evaluate(op: ops.PiecewiseLinear, z: Tensor) -> Tensor:
    """`f(z)`, entry by entry; differentiable wherever f is."""
    if isinstance(op, ops.LeakyRelu):
        return torch.relu(z) if op.slope == 0 else torch.where(z >= 0, z, op.slope * z)
    if isinstance(op, ops.Abs):
        return z.abs()
    if isinstance(op, ops.Clip):
        return z.clamp(op.minimum, op.maximum)
    points, slopes = op.breakpoints, op.slopes
    value = op.anchor + slopes[0] * (z - points[0]).clamp(max=0)
    for i, start in enumerate(points):
        end = points[i + 1] - start if i + 1 < len(points) else None
        value = value + slopes[i + 1] * (z - start).clamp(min=0, max=end)
    return value


def is_stable(op: ops.PiecewiseLinear, z: Interval) -> Tensor:
    """Whether one linear piece covers the interval, per entry: no breakpoint strictly inside."""
    stable = torch.ones_like(z.lower, dtype=torch.bool)
    for point in op.breakpoints:
        stable &= ~((z.lower < point) & (point < z.upper))
    return stable


def image(op: ops.PiecewiseLinear, z: Interval) -> Interval:
    """The exact range of f on the interval, per entry: extremes lie at ends and breakpoints."""
    values = [evaluate(op, end) for end in (z.lower, z.upper)]
    lower, upper = torch.minimum(*values), torch.maximum(*values)
    if min(op.slopes) >= 0:
        return Interval(lower, upper)
    for point in op.breakpoints:
        value = evaluate(op, z.lower.new_tensor(point))
        inside = (z.lower < point) & (point < z.upper)
        lower = torch.where(inside, torch.minimum(lower, value), lower)
        upper = torch.where(inside, torch.maximum(upper, value), upper)
    return Interval(lower, upper)


@singledispatch
def relax(op: ops.Op, z: Interval) -> LinearRelaxation:
    """Linear functions below and above f on the interval, per entry.

    Of the slopes of the chord and of the two end pieces, the one whose line lies nearest to f at
    the midpoint is taken (for ReLU: CROWN's adaptive choice); the intercept makes it touch f.
    Sound for any slope, since f minus a line has its extremes at ends and breakpoints.

    Raises TypeError for an op that is not piecewise linear.
    Source: Zhang et al. 2018, arXiv:1811.00866, generalised from ReLU to any breakpoints.
    """
    raise TypeError(f"no linear relaxation of {type(op).__name__}")


@relax.register
def _(op: ops.PiecewiseLinear, z: Interval) -> LinearRelaxation:
    return _best_lines(_slopes(op, z), _corners(op, z), z.center)


def choice(op: ops.PiecewiseLinear, z: Interval, relaxation: LinearRelaxation) -> Choice:
    """Slopes from one end piece to the other where these meet in 0 and all lines lie below f; else
    the outermost edges of the hull, which are nearest to f at the ends of the interval.
    """
    left, right = op.slopes[0], op.slopes[-1]
    if isinstance(op, ops.LeakyRelu | ops.Abs) and left < right:
        one, other = (torch.full_like(z.lower, slope) for slope in (left, right))
        return SlopeChoice(relaxation, one.where(z.lower < 0, other), other.where(z.upper > 0, one))
    points = _corners(op, z)
    slopes = [*_slopes(op, z), *_from_ends(points)]
    ends = [_best_lines(slopes, points, end) for end in (z.lower, z.upper)]
    return around(relaxation, ends)


_Points = list[tuple[Tensor, Tensor]]


def _corners(op: ops.PiecewiseLinear, z: Interval) -> _Points:
    """Both ends of the interval and the breakpoints inside, with values."""
    points = [(z.lower, evaluate(op, z.lower)), (z.upper, evaluate(op, z.upper))]
    for point in op.breakpoints:
        # A breakpoint outside the interval is moved to its nearest end, which is a point already.
        p = z.lower.new_tensor(point).expand_as(z.lower).clamp(z.lower, z.upper)
        points.append((p, evaluate(op, p)))
    return points


def _slopes(op: ops.PiecewiseLinear, z: Interval) -> list[Tensor]:
    """Of the chord and of the two end pieces."""
    width = z.upper - z.lower
    rise = evaluate(op, z.upper) - evaluate(op, z.lower)
    return [
        torch.where(width > 0, rise / _nonzero(width), _slope(op, z.lower)),
        _slope(op, z.lower, right=True),
        _slope(op, z.upper, right=False),
    ]


def _from_ends(points: _Points) -> list[Tensor]:
    """Of the lines from either end to the breakpoints inside, which points begin with."""
    found: list[Tensor] = []
    for end, value in points[:2]:
        for at, other in points[2:]:
            # Divided by 1 where the quotient is not used: its gradient must stay finite as well.
            run = (at - end).masked_fill(at == end, 1.0)
            found.append(((other - value) / run).masked_fill(at == end, 0.0))
    return found


def _best_lines(slopes: list[Tensor], points: _Points, at: Tensor) -> LinearRelaxation:
    """Of the lines with these slopes that touch f, those nearest to it at `at`."""
    lower = _best_line(slopes, points, at, upper=False)
    upper = _best_line(slopes, points, at, upper=True)
    return LinearRelaxation(lower[0], lower[1], upper[0], upper[1])


def _nonzero(width: Tensor) -> Tensor:
    """A width to divide by; where it is 0 the quotient is not used or is multiplied by 0."""
    return width.clamp(min=torch.finfo(width.dtype).tiny)


def _slope(op: ops.PiecewiseLinear, z: Tensor, right: bool = True) -> Tensor:
    """Slope of the piece at z, the right or the left one at a breakpoint."""
    points = z.new_tensor(op.breakpoints)
    piece = torch.searchsorted(points, z.contiguous(), right=right)
    return z.new_tensor(op.slopes)[piece]


def _best_line(
    slopes: list[Tensor], points: _Points, center: Tensor, upper: bool
) -> tuple[Tensor, Tensor]:
    sign = -1.0 if upper else 1.0
    candidates: list[tuple[Tensor, Tensor, Tensor]] = []
    for slope in slopes:
        intercept = sign * torch.stack([sign * (f - slope * p) for p, f in points]).amin(0)
        candidates.append((slope, intercept, sign * (slope * center + intercept)))
    best_slope, best_intercept, best_height = candidates[0]
    for slope, intercept, height in candidates[1:]:
        better = height > best_height
        best_slope = torch.where(better, slope, best_slope)
        best_intercept = torch.where(better, intercept, best_intercept)
        best_height = torch.where(better, height, best_height)
    return best_slope, best_intercept


@relax.register
def _(op: ops.Relu, z: Interval) -> LinearRelaxation:
    """As the general rule, in fewer passes: this is the inner loop of every search."""
    positive, negative = z.upper.clamp(min=0), z.lower.clamp(max=0)
    # Width 0 happens only at z = [0, 0], where slope 0 with intercept 0 is exact.
    upper_slope = positive / _nonzero(positive - negative)
    lower_slope = (positive > -negative).to(z.lower.dtype)
    return LinearRelaxation(lower_slope, None, upper_slope, -upper_slope * negative)
