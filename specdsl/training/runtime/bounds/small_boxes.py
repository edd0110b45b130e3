"""Small boxes around adversarial points: what SABR certifies instead of the whole region.

Bounds over these say nothing of the rest of the region: to train with, never to prove.

Source: Mueller et al. 2023, arXiv:2210.04871.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds.interval import Interval
from specdsl.bounds.regions.region import InputRegion
from specdsl.training.runtime.claims.claim import Application, Claim, unchanged


def small_box(region: InputRegion, points: Tensor, share: float) -> InputRegion:
    """Boxes that are `share` as wide as the region in every dimension and hold the points.

    Half-widths, not widths, are multiplied, each dimension's own. The centre is the point itself,
    moved inward as far as the box needs to stay inside the region's. Balls and linear constraints
    of the region cut the small box too, so that it never reaches outside; at share 1 it is the
    region.
    Shapes: points (batch, n), inside the region. Raises ValueError for a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share lies between 0 and 1, not {share}")
    box, points = region.box, points.detach()
    reach = share * box.radius
    center = points.maximum(box.lower + reach).minimum(box.upper - reach)
    # The last two guard against rounding: the small box is never larger than the region's.
    lower = (center - reach).maximum(box.lower).minimum(box.upper)
    upper = (center + reach).minimum(box.upper).maximum(lower)
    return replace(region, box=Interval(lower, upper))


def small_claim(claim: Claim, points: Tensor, share: float) -> Claim:
    """The claim over small boxes of its variables around points: what SABR trains for.

    Raises Unsupported where the network is applied to something else than the variables, whose
    region over a small box is not known. Shapes: points (batch, n).
    """
    region = small_box(claim.region, points, share)
    for application in claim.applications:
        if application.point is not unchanged:
            what = "a network that is applied to something else than the quantified variables"
            raise Unsupported("training on small boxes", what, "certify the whole region")
    return replace(
        claim,
        region=region,
        applications=tuple(Application(unchanged, region) for _ in claim.applications),
    )
