"""Cutting a box down to where its linear lower bounds still allow a violation.

If `a . x + c <= margin(x)` on a box, points with `margin(x) <= 0` satisfy `a . x + c <= 0`. The
smallest box around that half-space's part has a closed form per coordinate.
"""

from __future__ import annotations

import torch
from torch import Tensor

from specdsl.backends.search.domains import Domains
from specdsl.bounds.crown import LinearLower
from specdsl.bounds.margins import ROUNDING_PART
from specdsl.query.groups import CaseGroup

# A clipped face moves out again by this part of the box's edge, far above rounding.
OUTWARD_PART = 1e-6


def clip(domains: Domains, linear: LinearLower, group: CaseGroup, slack: float = 0.0) -> Domains:
    """The same domains with boxes shrunk; what is cut away holds no point of any open case.

    Within a case every atom must hold, so its half-spaces are intersected; over the open cases the
    hull is taken. `linear` holds the bounds of the group's margins: (domains, rows, inputs).
    """
    lower, upper = _halfspace_boxes(domains, linear, slack)
    hull_lower, hull_upper = domains.upper.clone(), domains.lower.clone()
    for position, atoms in enumerate(group.atoms):
        rows = [a.index for a in atoms]
        case_lower = lower[:, rows].amax(1) if rows else domains.lower
        case_upper = upper[:, rows].amin(1) if rows else domains.upper
        is_open = domains.open_cases[:, position, None]
        hull_lower = hull_lower.where(~is_open, hull_lower.minimum(case_lower))
        hull_upper = hull_upper.where(~is_open, hull_upper.maximum(case_upper))
    edge = OUTWARD_PART * (domains.upper - domains.lower)
    new_lower = (hull_lower - edge).clamp(domains.lower, domains.upper)
    new_upper = (hull_upper + edge).clamp(domains.lower, domains.upper)
    # Half-spaces that miss the box would cross the faces; such boxes are refuted elsewhere with
    # the rounding margin, and kept whole here.
    whole = (new_lower > new_upper).any(1, keepdim=True)
    return Domains(
        domains.lower.where(whole, new_lower),
        domains.upper.where(whole, new_upper),
        domains.bound,
        domains.open_cases,
    )


def _halfspace_boxes(domains: Domains, linear: LinearLower, slack: float) -> tuple[Tensor, Tensor]:
    """Per row: the smallest box around the part of the domain where the row's line is <= 0."""
    coefficients = linear.coefficients
    lower, upper = domains.lower[:, None], domains.upper[:, None]
    least = torch.minimum(coefficients * lower, coefficients * upper).sum(2) + linear.constant
    # The least value is lowered by what rounding may have added, which widens the kept part.
    size = linear.constant.abs() + (coefficients.abs() * lower.abs().maximum(upper.abs())).sum(2)
    room = (ROUNDING_PART * size + slack - least).clamp(min=0)[:, :, None]
    # A coefficient of 0 allows everything: the quotient is infinite, or NaN without room.
    reach = (room / coefficients.abs()).nan_to_num(nan=float("inf"))
    new_upper = upper.expand_as(reach).where(coefficients <= 0, upper.minimum(lower + reach))
    new_lower = lower.expand_as(reach).where(coefficients >= 0, lower.maximum(upper - reach))
    return new_lower, new_upper
