"""Cutting a box down to where its linear lower bounds still allow a violation.

If `a . x + c <= margin(x)` on a box, points with `margin(x) <= 0` satisfy `a . x + c <= 0`. The
smallest box around that half-space's part has a closed form per coordinate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.backends.search.inputs.domains import Domains
from specdsl.bounds.passes.crown import LinearLower
from specdsl.bounds.regions.joint import Mixtures
from specdsl.bounds.regions.region import ROUNDING_PART
from specdsl.certificates.recording import TreeRecord
from specdsl.query.groups import CaseGroup

# A clipped face moves out again by this part of the box's edge, far above rounding.
OUTWARD_PART = 1e-6


def clip(
    domains: Domains,
    linear: LinearLower,
    group: CaseGroup,
    slack: float = 0.0,
    mixtures: tuple[Mixtures, ...] = (),
) -> Domains:
    """The same domains with boxes shrunk; what is cut away holds no point of any open case.

    Within a case every atom must hold, so its half-spaces are intersected, that of the atoms'
    weighted sum as well; over the open cases the hull is taken. `linear` holds the bounds of the
    group's margins: (domains, rows, inputs); `mixtures` are counted by domain and case.
    """
    boxes = _halfspace_boxes(domains, _HalfSpaces.of(linear, domains, slack))
    cuts = [_MixedBoxes.of(domains, part, slack) for part in mixtures]
    hull_lower, hull_upper = domains.upper.clone(), domains.lower.clone()
    for position, atoms in enumerate(group.atoms):
        rows = boxes.lower.new_tensor([a.index for a in atoms], dtype=torch.long)
        case_lower = boxes.lower[:, rows].amax(1) if atoms else domains.lower
        case_upper = boxes.upper[:, rows].amin(1) if atoms else domains.upper
        for cut in cuts:
            case_lower, case_upper = cut.shrink(position, case_lower, case_upper)
        is_open = domains.open_cases[:, position, None]
        hull_lower = hull_lower.where(~is_open, hull_lower.minimum(case_lower))
        hull_upper = hull_upper.where(~is_open, hull_upper.maximum(case_upper))
    edge = OUTWARD_PART * (domains.upper - domains.lower)
    new_lower = (hull_lower - edge).clamp(domains.lower, domains.upper)
    new_upper = (hull_upper + edge).clamp(domains.lower, domains.upper)
    # Half-spaces that miss the box would cross the faces; such boxes are refuted elsewhere with
    # the rounding margin, and kept whole here.
    whole = (new_lower > new_upper).any(1, keepdim=True)
    return domains.within(
        domains.lower.where(whole, new_lower), domains.upper.where(whole, new_upper)
    )


# A face that moves by less than this part of its edge stays: each is one leaf more to check.
LEAST_MOVE = 0.1


def recorded(domains: Domains, kept: Domains, record: TreeRecord | None) -> Domains:
    """What is kept of domains, each cut from its own by faces that move far, one after another."""
    least = LEAST_MOVE * (domains.upper - domains.lower)
    rises, falls = kept.lower - domains.lower > least, domains.upper - kept.upper > least
    lower = kept.lower.where(rises, domains.lower)
    upper = kept.upper.where(falls, domains.upper)
    numbers = domains.numbers
    if record is not None:
        for moves, ends, is_upper in ((rises, lower, 0), (falls, upper, 1)):
            for i in moves.any(0).nonzero()[:, 0].tolist():
                at = moves[:, i].nonzero()[:, 0]
                inputs = torch.full_like(at, i)
                cut = (t.cpu().numpy() for t in (numbers[at], inputs, ends[at, i]))
                lower_parts = torch.as_tensor(record.cut(*cut), device=at.device)
                numbers = numbers.index_put((at,), lower_parts + (1 - is_upper))
    return domains.within(lower, upper).numbered(numbers)


@dataclass(frozen=True, slots=True, eq=False)
class _HalfSpaces:
    """`coefficients . x + constant <= room`: (domains, rows, inputs) and twice (domains, rows)."""

    coefficients: Tensor
    constant: Tensor
    room: Tensor

    @classmethod
    def of(cls, linear: LinearLower, domains: Domains, slack: float) -> _HalfSpaces:
        """Where the lines may be <= 0, for all that rounding may have added to them."""
        farthest = domains.lower.abs().maximum(domains.upper.abs())[:, None]
        size = linear.constant.abs() + (linear.coefficients.abs() * farthest).sum(2)
        return cls(linear.coefficients, linear.constant, ROUNDING_PART * size + slack)


@dataclass(frozen=True, slots=True, eq=False)
class _Boxes:
    """Ends of boxes."""

    lower: Tensor
    upper: Tensor


def _halfspace_boxes(domains: Domains, cut: _HalfSpaces) -> _Boxes:
    """Per row: the smallest box around the part of the domain in the row's half-space."""
    coefficients = cut.coefficients
    lower, upper = domains.lower[:, None], domains.upper[:, None]
    least = torch.minimum(coefficients * lower, coefficients * upper).sum(2) + cut.constant
    room = (cut.room - least).clamp(min=0)[:, :, None]
    # A coefficient of 0 allows everything: the quotient is infinite, or NaN without room.
    reach = (room / coefficients.abs()).nan_to_num(nan=float("inf"))
    return _Boxes(
        lower.expand_as(reach).where(coefficients >= 0, lower.maximum(upper - reach)),
        upper.expand_as(reach).where(coefficients <= 0, upper.minimum(lower + reach)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _MixedBoxes:
    """What the half-spaces of weighted sums leave of their domains: (pairs, inputs)."""

    mixtures: Mixtures
    boxes: _Boxes

    @classmethod
    def of(cls, domains: Domains, mixtures: Mixtures, slack: float) -> _MixedBoxes:
        cut = _HalfSpaces(
            mixtures.coefficients[:, None],
            mixtures.constant[:, None],
            mixtures.rounding[:, None] + slack,
        )
        boxes = _halfspace_boxes(domains.take(mixtures.regions), cut)
        return cls(mixtures, _Boxes(boxes.lower[:, 0], boxes.upper[:, 0]))

    def shrink(self, case: int, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The boxes (domains, inputs) of a case, cut by its weighted sums."""
        own = self.mixtures.cases == case
        if not bool(own.any()):
            return lower, upper
        at = self.mixtures.regions[own]
        lower, upper = lower.clone(), upper.clone()
        lower[at] = torch.maximum(lower[at], self.boxes.lower[own])
        upper[at] = torch.minimum(upper[at], self.boxes.upper[own])
        return lower, upper
