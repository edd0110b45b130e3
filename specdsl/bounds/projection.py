"""Points of an input set, for descent: sampling, projection, step directions. Flat float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.bounds.region import Ball, InputRegion


@dataclass(frozen=True, slots=True, eq=False)
class Projector:
    """Keeps points in one region (a batch of one). Points: (points, inputs)."""

    region: InputRegion

    @property
    def width(self) -> Tensor:
        """(1, inputs): edge lengths of the box."""
        return self.region.box.upper - self.region.box.lower

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Starting points: the centre, random corners, and uniform points of the box, projected."""
        box = self.region.box
        unit = torch.rand(count, box.lower.shape[1], generator=generator, dtype=box.lower.dtype)
        corners = slice(1, 1 + count // 4)
        unit[corners] = unit[corners].round()
        unit[0] = 0.5
        return self.project(box.lower + unit.to(box.lower.device) * self.width)

    def project(self, points: Tensor) -> Tensor:
        """The nearest point of the box, then of the ball (which keeps box faces near the centre).

        The result may lie outside by rounding; witnesses are made exact elsewhere.
        """
        points = points.clamp(self.region.box.lower, self.region.box.upper)
        ball = self.region.ball
        if ball is None:
            return points
        offset = _into_ball(points - ball.center, ball)
        return (ball.center + offset).clamp(self.region.box.lower, self.region.box.upper)

    def direction(self, gradient: Tensor) -> Tensor:
        """Steepest ascent of a linear function with this gradient, in units of the set's size.

        Signs for boxes, the normalised gradient for l2, the largest entries for l1.
        """
        ball = self.region.ball
        if ball is None:
            return gradient.sign() * self.width
        if ball.norm == "l2":
            size = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
            return 2 * ball.radius * gradient / size.clamp(min=torch.finfo(size.dtype).tiny)
        count = max(1, gradient.shape[1] // L1_ENTRIES_PART)
        largest = gradient.abs().topk(count, dim=1).indices
        chosen = torch.zeros_like(gradient).scatter(1, largest, gradient.gather(1, largest).sign())
        return 2 * ball.radius * chosen / count


# An l1 step moves the 5 % of entries with the largest gradients: one entry a step is too slow.
L1_ENTRIES_PART = 20


def _into_ball(offset: Tensor, ball: Ball) -> Tensor:
    """Euclidean projection of offsets onto the centred ball.

    Source for l1: Duchi et al. 2008, projection by sorting.
    """
    if ball.norm == "l2":
        size = torch.linalg.vector_norm(offset, dim=1, keepdim=True)
        return offset * (ball.radius / size.clamp(min=torch.finfo(size.dtype).tiny)).clamp(max=1)
    magnitude = offset.abs()
    falling = magnitude.sort(dim=1, descending=True).values
    excess = falling.cumsum(1) - ball.radius
    count = torch.arange(1, offset.shape[1] + 1, dtype=offset.dtype, device=offset.device)
    kept = (falling * count > excess).sum(1, keepdim=True).clamp(min=1)
    threshold = (excess.gather(1, kept - 1) / kept).clamp(min=0)
    return offset.sign() * (magnitude - threshold).clamp(min=0)
