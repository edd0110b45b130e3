"""Free adversarial training: one gradient moves the weights and the perturbation.

    for batch in batches:
        claim = robust(batch.x, batch.y, r=eps)
        for _ in range(replays):
            points = free.points(claim)
            step({"adversarial": robust_cross_entropy(margins_at(net, claim, points))}, ...)
            free.advance()

Source: Shafahi et al. 2019, arXiv:1904.12843.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from specdsl.bounds.regions.region import InputRegion
from specdsl.training.runtime.attacks.points import (
    Norm,
    direction,
    extents,
    parts_of_radius,
    project,
)
from specdsl.training.runtime.claims.claim import Claim


class Free:
    """A perturbation for each place in a batch, kept between replays and from batch to batch.

    It is kept in parts of the region's extents, since the samples of the next batch have regions of
    their own. `step`: in parts of the radius.
    """

    def __init__(self, step: float = 1.0, norm: Norm | None = None) -> None:
        self.step = step
        self.norm: Norm | None = norm
        self.kept: Tensor | None = None
        self._last: tuple[InputRegion, Tensor, float | Tensor] | None = None

    def points(self, claim: Claim, *, alpha: float | None = None) -> Tensor:
        """Points of the regions, which note their gradient when a loss of them is propagated.

        `alpha`: the length of the step that follows, in units of the inputs instead of radii.
        """
        region = claim.region
        center = region.anchor
        kept = torch.zeros_like(center)
        if self.kept is not None:
            count = min(len(kept), len(self.kept))
            kept[:count] = self.kept[:count].to(center)
        points = project(region, center + kept * extents(region)).requires_grad_(True)
        length = self.step if alpha is None else parts_of_radius(region, alpha)
        self._last = region, points, length
        return points

    @torch.no_grad()
    def advance(self) -> None:
        """Go up the gradient that the points asked for last have got; nothing without such points.

        Raises ValueError where they have none. The last batch of an epoch may be short: the places
        it does not have stay as they are.
        """
        if self._last is None:
            return
        region, points, length = self._last
        if points.grad is None:
            raise ValueError("the points have no gradient: propagate a loss of them first")
        self._last = None
        gradient = points.grad.nan_to_num(0.0, 0.0, 0.0)
        ahead = project(region, points + length * direction(region, gradient, self.norm))
        reach = extents(region)
        offset = torch.where(reach > 0, (ahead - region.anchor) / reach, torch.zeros_like(ahead))
        kept = torch.empty(0) if self.kept is None else self.kept[len(offset) :]
        self.kept = offset if not len(kept) else torch.cat([offset, kept.to(offset)])

    def state_dict(self) -> dict[str, Any]:
        """What a run that resumes has to know."""
        return {"kept": self.kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.kept = state["kept"]
