"""Largest entries of groups in torch: values, exact ranges, and linear bounds.

Members are gathered and coefficients scattered by position, so groups may overlap, name a member
twice and lie anywhere in the operand; nothing grows with the size of the operand but the operand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.relaxation import Passed, by_sign
from specdsl.bounds.rows.rows import DenseRows, Rows
from specdsl.bounds.rows.windows import WindowRows, Windows
from specdsl.graph import ops
from specdsl.graph.ops import Shape

# Groups are taken in chunks so that gathered members stay below this many entries (64 MiB of
# float64); a relaxation looks at some ten such tensors at once.
MAX_MEMBERS = 2**23


def evaluate(op: ops.GroupMax, x: Tensor) -> Tensor:
    """The largest member of each group: (n, *operand) to (n, *result); differentiable."""
    members = torch.as_tensor(op.groups, device=x.device)
    return x.flatten(1)[:, members].amax(-1)


def image(op: ops.GroupMax, x: Interval) -> Interval:
    """The exact range over intervals: the largest lower and the largest upper bound."""
    return Interval(_largest(op, x.lower), _largest(op, x.upper))


def _largest(op: ops.GroupMax, x: Tensor) -> Tensor:
    flat = x.flatten(1)
    parts = [flat[:, members].amax(-1) for members in _chunks(op, x)]
    return torch.cat(parts, 1).reshape(x.shape[0], *op.groups.shape[:-1])


def _chunks(op: ops.GroupMax, x: Tensor) -> Iterator[Tensor]:
    """The groups in row-major order, some at a time: (groups, members) each."""
    groups = torch.as_tensor(op.groups, device=x.device).flatten(0, -2)
    return iter(groups.split(max(1, MAX_MEMBERS // (x.shape[0] * groups.shape[1]))))


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """Group i along an axis has no members before `strides * i + firsts`, and none `sizes` or more
    places after that; all of them in its own channel. One number for each axis.
    """

    strides: tuple[int, ...]
    firsts: tuple[int, ...]
    sizes: tuple[int, ...]


def reach(groups: npt.NDArray[np.int64], operand: Shape) -> Reach | None:
    """How far groups reach in a value of this shape, (1, channels, *extents); None where they are
    no pooling windows.
    """
    result = groups.shape[:-1]
    if len(operand) <= 2 or len(result) != len(operand) or operand[:2] != result[:2]:
        return None
    _, channels, *places = np.unravel_index(groups, operand)
    own = np.arange(operand[1]).reshape(-1, *(1 for _ in places), 1)
    if operand[0] != 1 or not (channels == own).all():
        return None
    strides, firsts, sizes = [], [], []
    for axis, at in enumerate(places, 2):
        others = tuple(i for i in range(groups.ndim) if i != axis)
        low, high = at.min(others), at.max(others)
        stride = max(1, round((low[-1] - low[0]) / max(1, len(low) - 1)))
        start = stride * np.arange(len(low))
        strides.append(stride)
        firsts.append(int((low - start).min()))
        sizes.append(int((high - start).max()) - firsts[-1] + 1)
    return Reach(tuple(strides), tuple(firsts), tuple(sizes))


@dataclass(frozen=True, eq=False)
class GroupRelaxation:
    """`x[below] <= max <= first_slope x[first] + second_slope x[second] + intercept`.

    Shapes: (batch, groups) each; `below`, `first`, `second` are positions in the operand.
    `operand`: its shape; `groups`: as of the op.
    """

    below: Tensor
    first: Tensor
    second: Tensor
    first_slope: Tensor
    second_slope: Tensor
    intercept: Tensor
    operand: Shape
    groups: npt.NDArray[np.int64]

    @cached_property
    def reach(self) -> Reach | None:
        """How far the groups reach."""
        return reach(self.groups, self.operand)

    @property
    def is_exact(self) -> Tensor:
        """Where one member is sure to be the largest: (batch, groups)."""
        return (self.below == self.first) & (self.first_slope == 1) & (self.intercept == 0)

    def through(self, rows: Rows) -> Passed:
        """As Relaxation says: positive coefficients take the member below, negative ones the plane
        above.
        """
        result = self.groups.shape[:-1]
        if isinstance(rows, WindowRows) and rows.windows.fits(result) and self.reach is not None:
            return self._through_windows(rows, self.reach)
        dense = DenseRows(rows.dense().coefficients.flatten(2))
        below, above = by_sign(dense)
        positive, negative = below.coefficients, above.coefficients
        batch = max(positive.shape[0], self.below.shape[0])
        spread = positive.new_zeros(batch, positive.shape[1], prod(self.operand))
        _scatter(spread, self.below, positive)
        _scatter(spread, self.first, negative * self.first_slope[:, None])
        _scatter(spread, self.second, negative * self.second_slope[:, None])
        return Passed((DenseRows(spread.unflatten(2, self.operand)),), above.at(self.intercept))

    def _through_windows(self, rows: WindowRows, reach: Reach) -> Passed:
        old = rows.windows
        sizes = tuple(
            (n - 1) * s + k for n, s, k in zip(old.sizes, reach.strides, reach.sizes, strict=True)
        )
        origins = old.origins * old.origins.new_tensor(reach.strides)
        origins = origins + origins.new_tensor(reach.firsts)
        windows = Windows(origins, old.patch_of, sizes, self.operand)
        below, above = by_sign(rows)
        positive, negative = below.coefficients, above.coefficients
        batch, count, channels = max(len(positive), len(self.below)), rows.count, self.operand[1]
        spread = positive.new_zeros(batch, count, channels, prod(sizes))
        for at, coefficients in (
            (self.below, positive),
            (self.first, negative * rows.read(self.first_slope)),
            (self.second, negative * rows.read(self.second_slope)),
        ):
            places = windows.places(rows.read(at)).flatten(3)
            shape = (batch, *coefficients.shape[1:3], places.shape[3])
            spread.scatter_add_(3, places.expand(shape), coefficients.flatten(3).expand(shape))
        passed = WindowRows(spread.unflatten(3, sizes), windows)
        return Passed((passed,), above.at(self.intercept))

    def size(self, *operands: Tensor) -> Tensor:
        """As Relaxation says."""
        below, first, second = (
            _entries(operands[0], at) for at in (self.below, self.first, self.second)
        )
        above = self.first_slope * first + self.second_slope * second + self.intercept.abs()
        return below.maximum(above).reshape(-1, *self.groups.shape[:-1])

    def flattened(self, image: Interval, drift: tuple[Tensor, ...]) -> GroupRelaxation:
        """As Relaxation says. Slopes up to 1 carry a drift on as the maximum itself does: only a
        plane that is not finite tells nothing.
        """
        lost = ~self.intercept.isfinite()
        return replace(
            self,
            first_slope=self.first_slope.masked_fill(lost, 0.0),
            second_slope=self.second_slope.masked_fill(lost, 0.0),
            intercept=image.upper.flatten(1).where(lost, self.intercept),
        )


def _entries(x: Tensor, positions: Tensor) -> Tensor:
    """Entries of x (batch or 1, *operand) at positions (batch or 1, groups)."""
    flat = x.flatten(1)
    count = max(flat.shape[0], positions.shape[0])
    return flat.expand(count, -1).gather(1, positions.expand(count, -1))


def _scatter(spread: Tensor, positions: Tensor, coefficients: Tensor) -> None:
    """Add coefficients (batch or 1, rows, groups) at positions (batch or 1, groups)."""
    shape = (*spread.shape[:2], positions.shape[1])
    spread.scatter_add_(2, positions[:, None].expand(shape), coefficients.expand(shape))


def relax(op: ops.GroupMax, x: Interval) -> GroupRelaxation:
    """One member below and a plane over at most two members above, per group.

    Below: the member with the largest midpoint, the tangent plane of the maximum there.
    Above, with `t` at least every lower bound:
    `max_i x_i <= t + sum_i relu(x_i - t) <= t + sum_i (u_i - t) / (u_i - l_i) (x_i - l_i)` over the
    members with `u_i > t`. At the midpoint that is least for every `t` between the third and the
    second largest upper bound, and no plane above the maximum is lower there. Of these, `t` is the
    one whose two slopes add up to 1 or come nearest: for two members, the chord of
    `b + relu(a - b)`. A member that no other can exceed is the maximum itself.
    Slopes are not negative and add up to 1 at most: rounding grows by no more than in a mean.
    """
    parts = [_relax_groups(members, x) for members in _chunks(op, x.lower)]
    if len(parts) == 1:
        return replace(parts[0], groups=op.groups)
    return GroupRelaxation(
        torch.cat([part.below for part in parts], 1),
        torch.cat([part.first for part in parts], 1),
        torch.cat([part.second for part in parts], 1),
        torch.cat([part.first_slope for part in parts], 1),
        torch.cat([part.second_slope for part in parts], 1),
        torch.cat([part.intercept for part in parts], 1),
        parts[0].operand,
        op.groups,
    )


def members_after(op: ops.GroupMax, x: Interval, first: Tensor) -> list[Tensor]:
    """Of each group the members with the two largest upper bounds besides `first`: positions in the
    operand, (batch, groups). Groups with fewer members name some member again.
    """
    found: list[tuple[Tensor, Tensor]] = []
    start = 0
    for members in _chunks(op, x.upper):
        taken = first[:, start : start + members.shape[0], None]
        start += members.shape[0]
        rest = x.upper.flatten(1)[:, members].masked_fill(members == taken, -torch.inf)
        second = _position_of_largest(members, rest)
        rest = rest.masked_fill(members == second[..., None], -torch.inf)
        found.append((second, _position_of_largest(members, rest)))
    return [torch.cat(positions, 1) for positions in zip(*found, strict=True)]


def _relax_groups(members: Tensor, x: Interval) -> GroupRelaxation:
    """The relaxation of groups (groups, members)."""
    lower, upper = x.lower.flatten(1), x.upper.flatten(1)
    below = _position_of_largest(members, _midpoints(lower, upper)[:, members])
    floor = lower[:, members].amax(-1)
    highest = upper[:, members]
    first = _position_of_largest(members, highest)
    # A position named twice is one member: all its places are masked at once.
    highest = highest.masked_fill(members == first[..., None], -torch.inf)
    second = _position_of_largest(members, highest)
    highest = highest.masked_fill(members == second[..., None], -torch.inf)
    one = Interval(lower.gather(1, first), upper.gather(1, first))
    two = Interval(lower.gather(1, second), upper.gather(1, second))
    plane = _plane_above(one, two, torch.maximum(floor, highest.amax(-1)))
    # What none exceeds is the maximum; the only member of a group has no second.
    exact = (one.lower >= two.upper) | (first == second)
    return GroupRelaxation(
        below,
        first,
        second,
        plane.first.masked_fill(exact, 1.0),
        plane.second.masked_fill(exact, 0.0),
        plane.intercept.masked_fill(exact, 0.0),
        tuple(x.lower.shape[1:]),
        members.numpy(force=True),
    )


def _midpoints(lower: Tensor, upper: Tensor) -> Tensor:
    middle = (lower + upper) / 2
    # Unbounded on both sides there is no midpoint: any other member is better.
    return middle.masked_fill(middle.isnan(), -torch.inf)


def _position_of_largest(members: Tensor, values: Tensor) -> Tensor:
    """Where in the operand the largest of each group lies: (batch, groups).

    Shapes: members (groups, members), values (batch, groups, members).
    """
    place = values.argmax(-1, keepdim=True)
    return members.expand(values.shape).gather(-1, place)[..., 0]


@dataclass(frozen=True, slots=True, eq=False)
class _Plane:
    """Slopes of two members, and the intercept."""

    first: Tensor
    second: Tensor
    intercept: Tensor


def _plane_above(one: Interval, two: Interval, least: Tensor) -> _Plane:
    """The plane over two members that `relax` speaks of; `least`: for `t`.

    An infinite end leaves slope 1 where that holds, and an infinite intercept where no plane does.
    """
    width, other_width = one.upper - one.lower, two.upper - two.lower
    # Where a quotient is not used it is one by 1: its gradient must stay finite as well.
    both = width + other_width
    none = both == 0
    chord = one.upper * other_width + two.upper * width - width * other_width
    chord = (chord / both.masked_fill(none, 1.0)).masked_fill(none, torch.inf)
    highest = two.upper.where(two.upper.isfinite(), least)
    t = chord.where(chord.isfinite(), highest).maximum(least).minimum(two.upper)
    first, second = _share(one.upper, t, width), _share(two.upper, t, other_width)
    offset = (first * one.lower).masked_fill(first == 0, 0.0)
    offset = offset + (second * two.lower).masked_fill(second == 0, 0.0)
    intercept = t - offset
    lost = ~intercept.isfinite()
    return _Plane(
        first.masked_fill(lost, 0.0),
        second.masked_fill(lost, 0.0),
        intercept.masked_fill(lost, torch.inf),
    )


def _share(upper: Tensor, t: Tensor, width: Tensor) -> Tensor:
    """`(upper - t) / width`: the slope of the chord of `relu(x - t)`, 1 in the limit."""
    excess = (upper - t).clamp(min=0)
    none = width < torch.finfo(width.dtype).tiny
    share = (excess / width.masked_fill(none, 1.0)).clamp(max=1)
    share = share.where(~none, (excess > 0).to(share.dtype))
    return share.masked_fill(share.isnan(), 1.0)


def contested(op: ops.GroupMax, x: Interval) -> Tensor:
    """Which entries of the operand a better bound could matter for: (batch, *operand).

    Those that may be the largest of a group in which no member is sure to be.
    """
    lower, upper = x.lower.flatten(1), x.upper.flatten(1)
    found = torch.zeros_like(lower)
    for members in _chunks(op, x.lower):
        relaxation = _relax_groups(members, x)
        floor = lower[:, members].amax(-1, keepdim=True)
        open_ = ~relaxation.is_exact[..., None] & (upper[:, members] > floor)
        places = members.expand(open_.shape).flatten(1)
        found.scatter_add_(1, places, open_.flatten(1).to(found.dtype))
    return (found > 0).reshape(x.lower.shape)
