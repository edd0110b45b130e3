"""Steps in torch: values, ranges, and lines below and above.

Where rounding may have decided on which side of a jump an argument lies, both sides count:
`slack` says by how much the computed argument may differ from the real one, as a number or a tensor
that broadcasts against it, and every rule holds for arguments up to `slack` outside the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.relaxation import LinearRelaxation
from specdsl.graph import ops

Slack = Tensor | float


def evaluate(op: ops.Step, z: Tensor) -> Tensor:
    """`f(z)`, entry by entry.

    The true gradient is 0 and would tell a descent nothing. Where `z` carries one, it is replaced
    by that of a softened step: a rounding passes it on as it is (straight through), a threshold
    bends over a distance typical of the batch's arguments, per entry. The value is exact all the
    same.
    Source: Bengio, Leonard and Courville 2013, arXiv:1308.3432.
    """
    value = _value(op, z)
    if not z.requires_grad:
        return value
    soft = z if isinstance(op, ops.Rounding) else _softened(op, z)
    # Where the softened step is not finite there is no direction to tell.
    return value + (soft - soft.detach()).nan_to_num(nan=0.0)


def _value(op: ops.Step, z: Tensor) -> Tensor:
    match op:
        case ops.Threshold():
            high = torch.where(z > 0, z.new_tensor(op.above), z.new_tensor(op.at))
            return torch.where(z < 0, z.new_tensor(op.below), high)
        case ops.Floor():
            return torch.floor(z.detach())
        case ops.Ceil():
            return torch.ceil(z.detach())
        case ops.Round():
            return torch.round(z.detach())  # half to even, as `rint`
        case ops.Truncate():
            return torch.trunc(z.detach())
        case _:
            raise TypeError(f"no rule for the step {type(op).__name__}")


def _softened(op: ops.Step, z: Tensor) -> Tensor:
    """`rise / 2 * s + peak * (1 - |s|)` with the softsign `s` of z in units of its typical size."""
    assert isinstance(op, ops.Threshold)
    unit = z.detach().abs().mean(0, keepdim=True)
    # What is 0 throughout the batch has no size of its own; a unit near 0 would be a slope near
    # infinity, and nothing but it would count in a descent.
    unit = torch.where(unit > 0, unit, 1.0)
    sign = z / (unit + z.abs())
    rise = op.above - op.below
    peak = op.at - (op.above + op.below) / 2
    # A rise bends at 0 already; only what stands out on both sides of it is a peak.
    peak = peak if abs(peak) > abs(rise) / 2 else 0.0
    return rise / 2 * sign + peak * (1 - sign.abs())


def image(op: ops.Step, z: Interval, slack: Slack = 0.0) -> Interval:
    """The exact range on the interval widened by `slack`, per entry."""
    z = widened(z, slack)
    if isinstance(op, ops.Rounding):
        return Interval(_value(op, z.lower), _value(op, z.upper))
    points = _threshold_points(op, z)
    values = torch.stack([value for _, value in points])
    return Interval(values.amin(0), values.amax(0))


def is_stable(op: ops.Step, z: Interval, slack: Slack = 0.0) -> Tensor:
    """Whether the step is constant on the interval widened by `slack`, per entry."""
    values = image(op, z, slack)
    return values.lower == values.upper


def widened(z: Interval, slack: Slack) -> Interval:
    """The interval with all that rounding may hide: by `slack`, and not lost to rounding itself."""
    slack = torch.as_tensor(slack, dtype=z.lower.dtype, device=z.lower.device)
    if not bool((slack > 0).any()):
        return z
    infinity = torch.full_like(z.lower, torch.inf)
    lower = torch.nextafter(z.lower - slack, -infinity)
    upper = torch.nextafter(z.upper + slack, infinity)
    return Interval(lower.where(slack > 0, z.lower), upper.where(slack > 0, z.upper))


@dataclass(frozen=True, slots=True, eq=False)
class _Corners:
    """Finitely many points that a line must lie below (or above) to do so everywhere."""

    below: list[tuple[Tensor, Tensor]]
    above: list[tuple[Tensor, Tensor]]


def relax(op: ops.Step, z: Interval, slack: Slack = 0.0) -> LinearRelaxation:
    """Lines below and above f on the interval widened by `slack`, per entry.

    They hold for the argument as computed as well: `f(z) <= slope z' + intercept` for every real
    `z` of the widened interval and every `z'` within `slack` of it, so a steep line adds nothing
    to what rounding may hide. Of a constant and the lines along two corners of the graph, the one
    nearest to f at the midpoint is taken; on an unbounded interval a rounding lies in its band, and
    a threshold between constants.
    """
    (middle,) = _lines(op, z, slack, [0.5])
    return middle


def lines_at_ends(op: ops.Step, z: Interval) -> list[LinearRelaxation]:
    """The lines nearest to f at the lower end of the interval and at the upper one, per entry."""
    return _lines(op, z, 0.0, [0.0, 1.0])


def _lines(
    op: ops.Step, z: Interval, slack: Slack, shares: Sequence[float]
) -> list[LinearRelaxation]:
    """For each share, the lines nearest to f so far along the interval."""
    slack = torch.as_tensor(slack, dtype=z.lower.dtype, device=z.lower.device)
    z = widened(z, slack)
    bounded = (z.lower > -LARGEST_COUNTED) & (z.upper < LARGEST_COUNTED)
    # An unbounded interval is replaced by [0, 0] here and by its own rule below.
    inner = Interval(
        z.lower.where(bounded, torch.zeros_like(z.lower)),
        z.upper.where(bounded, torch.zeros_like(z.upper)),
    )
    corners = _corners(op, inner)
    turned = [(at, -value) for at, value in corners.above]
    found: list[LinearRelaxation] = []
    for share in shares:
        at = inner.lower * (1 - share) + inner.upper * share
        below, above = (_nearest_below(side, at, slack) for side in (corners.below, turned))
        lines = (*below, -above[0], -above[1])
        found.append(_with_unbounded(op, z, slack, bounded, lines))
    return found


def _corners(op: ops.Step, z: Interval) -> _Corners:
    """f is constant between its jumps, so ends and both sides of jumps are all that matter."""
    if isinstance(op, ops.Rounding):
        ends = [(z.lower, _value(op, z.lower)), (z.upper, _value(op, z.upper))]
        jumps = _outer_jumps(op, z)
        before = [_beside(op, jump, z, -HALFWAY) for jump in jumps]
        after = [_beside(op, jump, z, HALFWAY) for jump in jumps]
        return _Corners(ends + before, ends + after)
    points = _threshold_points(op, z)
    return _Corners(points, points)


def _threshold_points(op: ops.Step, z: Interval) -> list[tuple[Tensor, Tensor]]:
    """The ends, and 0 with every value that f takes at or beside it; where 0 is outside, an end."""
    assert isinstance(op, ops.Threshold)
    ends = [(z.lower, _value(op, z.lower)), (z.upper, _value(op, z.upper))]
    at = torch.zeros_like(z.lower).clamp(z.lower, z.upper)
    here = (z.lower <= 0) & (z.upper >= 0)
    own = torch.where(here, z.lower.new_tensor(op.at), ends[0][1])
    left = torch.where(here & (z.lower < 0), z.lower.new_tensor(op.below), own)
    right = torch.where(here & (z.upper > 0), z.lower.new_tensor(op.above), own)
    return [*ends, (at, own), (at, left), (at, right)]


def _outer_jumps(op: ops.Rounding, z: Interval) -> list[Tensor]:
    """The first and the last two jumps in the interval, and those beside 0 where they change kind.

    Corners lie on a line from jump to jump (for a truncation: on one line either side of 0), so the
    jumps between two of these bind no line; of one at an end only one side counts. Some may lie
    outside of the interval.
    """
    offset = op.jump - round(op.jump)
    first, last = torch.ceil(z.lower - offset) + offset, torch.floor(z.upper - offset) + offset
    found = [first, last, first + 1, last - 1]
    if isinstance(op, ops.Truncate):
        found += [torch.full_like(first, -1.0), torch.full_like(first, 1.0)]
    return found


def _beside(op: ops.Rounding, jump: Tensor, z: Interval, side: float) -> tuple[Tensor, Tensor]:
    """A jump with the value on one side of it; where the interval does not reach there, a point."""
    at = jump.clamp(z.lower, z.upper)
    left, right = (jump > z.lower) & (jump <= z.upper), (jump >= z.lower) & (jump < z.upper)
    reaches = left if side < 0 else right
    return at, _value(op, jump + side).where(reaches, _value(op, at))


# Jumps lie 1 apart at least, so half that way to the next no other is met.
HALFWAY = 0.5
# Up to here the places of jumps and halfway between them are float64 numbers; beyond, an interval
# counts as unbounded.
LARGEST_COUNTED = 2.0**50


def _nearest_below(
    points: list[tuple[Tensor, Tensor]], at: Tensor, slack: Tensor
) -> tuple[Tensor, Tensor]:
    """Slope and intercept of the best line below all points: highest at `at`.

    `points` begin with both ends; each slope leads from one point to another.
    """
    slopes = [torch.zeros_like(at), *_slopes(points)]
    best: tuple[Tensor, Tensor, Tensor] | None = None
    for slope in slopes:
        heights = torch.stack([value - slope * point for point, value in points])
        intercept = heights.amin(0) - slope.abs() * slack
        height = slope * at + intercept
        if best is None:
            best = (slope, intercept, height)
            continue
        better = height > best[2]
        best = (
            slope.where(better, best[0]),
            intercept.where(better, best[1]),
            height.where(better, best[2]),
        )
    assert best is not None
    return best[0], best[1]


def _slopes(points: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Of the lines from both ends to every point; 0 where those coincide.

    The line along the corners of a rounding has slope 1, and all others that matter start at an
    end.
    """
    pairs = [(0, i) for i in range(1, len(points))] + [(i, 1) for i in range(2, len(points))]
    # Points turned over lie along slope -1; a slope that does not fit is not taken.
    found = [torch.full_like(points[0][0], slope) for slope in (1.0, -1.0)]
    for i, j in pairs:
        run = points[j][0] - points[i][0]
        # Divided by 1 where points coincide: the gradient must stay finite as well.
        none = run == 0
        slope = (points[j][1] - points[i][1]) / run.masked_fill(none, 1.0)
        found.append(slope.masked_fill(none | ~slope.isfinite(), 0.0))
    return found


def _with_unbounded(
    op: ops.Step,
    z: Interval,
    slack: Tensor,
    bounded: Tensor,
    lines: tuple[Tensor, Tensor, Tensor, Tensor],
) -> LinearRelaxation:
    """The given lines, and where the interval is unbounded those that always hold."""
    if not bool(bounded.all()):
        if isinstance(op, ops.Rounding):
            low, high = _BANDS[type(op)]
            slope = torch.ones_like(z.lower)
            everywhere = (slope, low - slack + 0 * slope, slope, high + slack + 0 * slope)
        else:
            range_, flat = image(op, z), torch.zeros_like(z.lower)
            everywhere = (flat, range_.lower, flat, range_.upper)
        lower_slope, lower, upper_slope, upper = (
            line.where(bounded, always) for line, always in zip(lines, everywhere, strict=True)
        )
        return LinearRelaxation(lower_slope, lower, upper_slope, upper)
    return LinearRelaxation(*lines)


# `x + low <= f(x) <= x + high` for all x.
_BANDS: dict[type[ops.Rounding], tuple[float, float]] = {
    ops.Floor: (-1.0, 0.0),
    ops.Ceil: (0.0, 1.0),
    ops.Round: (-0.5, 0.5),
    ops.Truncate: (-1.0, 1.0),
}
