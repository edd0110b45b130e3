"""Points of an input set, for descent: sampling, projection, step directions. Flat float64."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from specdsl.bounds.regions.balls import Ball
from specdsl.bounds.regions.region import InputRegion

# Rounds of projections on box and balls in turn. One is enough for a ball whose center lies in the
# box; the others come close, and witnesses are made exact elsewhere.
ROUNDS = 50
# Of the radius.
NEAR_PART = 1e-9
# An l1 step moves the 5 % of entries with the largest gradients: one entry a step is too slow.
L1_ENTRIES_PART = 20


def _no_entries() -> Tensor:
    return torch.zeros(0, dtype=torch.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Projector:
    """Keeps points in one region (a batch of one). Points: (points, inputs).

    `integers`: the entries that are whole numbers; their ends are whole as well.
    """

    region: InputRegion
    integers: Tensor = field(default_factory=_no_entries)

    @property
    def width(self) -> Tensor:
        """(1, inputs): edge lengths of the box."""
        return self.region.box.upper - self.region.box.lower

    @property
    def balls(self) -> tuple[Ball, ...]:
        """The balls that cut the box."""
        return self.region.balls.all if self.region.balls else ()

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Starting points: the centre, random corners, and uniform points of the box, projected."""
        unit = self._unit(count, generator)
        corners = slice(1, 1 + count // 4)
        unit[corners] = unit[corners].round()
        unit[0] = 0.5
        return self._at(unit)

    def anywhere(self, count: int, generator: torch.Generator) -> Tensor:
        """Uniform points of the box, projected."""
        return self._at(self._unit(count, generator))

    def _unit(self, count: int, generator: torch.Generator) -> Tensor:
        like = self.region.box.lower
        return torch.rand(count, like.shape[1], generator=generator, dtype=like.dtype)

    def _at(self, unit: Tensor) -> Tensor:
        low = self.region.box.lower
        return self.approach(low + unit.to(low.device) * self.width)

    def project(self, points: Tensor) -> Tensor:
        """Points of the set near the given ones, with whole numbers where they must be.

        The result may lie outside by rounding, and in rare cases by more: where balls leave little
        of the box, or hardly a whole number; witnesses are made exact elsewhere.
        """
        points = self.approach(points)
        if not self.integers.numel():
            return points
        near = self._with_whole(points, points[:, self.integers].round())
        if not self.balls:
            return near
        # Towards the anchor no ball is left that the nearest whole numbers may lie outside of.
        at, anchor = points[:, self.integers], self.region.anchor[:, self.integers]
        inward = self._with_whole(points, torch.where(at > anchor, at.floor(), at.ceil()))
        return near.where(self._held(near)[:, None], inward)

    def approach(self, points: Tensor) -> Tensor:
        """As `project`, but without rounding to whole numbers."""
        return self._into(points, self.region.box.lower, self.region.box.upper)

    def _with_whole(self, points: Tensor, values: Tensor) -> Tensor:
        lower, upper = (
            end.expand_as(points).clone() for end in (self.region.box.lower, self.region.box.upper)
        )
        values = values.clamp(lower[:, self.integers], upper[:, self.integers])
        lower[:, self.integers] = upper[:, self.integers] = values
        return self._into(points, lower, upper)

    def _into(self, points: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        points = points.clamp(lower, upper)
        for _ in range(ROUNDS):
            if bool(self._held(points).all()):
                break
            for ball in self.balls:
                moved = points.clone()
                moved[:, ball.positions] = ball.pull(points[:, ball.positions])
                points = moved.clamp(lower, upper)
            points = self._within_halfspaces(points).clamp(lower, upper)
        return points

    def _within_halfspaces(self, points: Tensor) -> Tensor:
        """Projected on one half-space after the other."""
        if self.region.halfspaces is None:
            return points
        limits = self.region.halfspaces.limits[0]
        for row, limit in zip(self.region.halfspaces.matrix[0], limits, strict=True):
            square = (row * row).sum().clamp(min=torch.finfo(row.dtype).tiny)
            points = points - ((points @ row - limit).clamp(min=0) / square)[:, None] * row
        return points

    def _held(self, points: Tensor) -> Tensor:
        held = torch.ones(len(points), dtype=torch.bool, device=points.device)
        for ball in self.balls:
            offset = (points[:, ball.positions] - ball.center) * ball.scale
            held = held & (ball.size(offset) <= ball.radius * (1 + NEAR_PART))
        if self.region.halfspaces is not None:
            excess = self.region.halfspaces.excess(points[None])[0]
            sizes = self.region.halfspaces.limits[0].abs() + 1
            held = held & (excess <= NEAR_PART * sizes).all(1)
        return held

    def direction(self, gradient: Tensor) -> Tensor:
        """Steepest ascent of a linear function with this gradient, in units of the set's size.

        Signs for boxes, the normalised gradient for l2, the largest entries for l1.
        """
        step = gradient.sign() * self.width
        for ball in self.balls:
            unit = ball.radius / ball.scale
            slopes = gradient[:, ball.positions] * unit
            steepest = _steepest_l1 if ball.norm == "l1" else _steepest_l2
            step[:, ball.positions] = 2 * steepest(slopes) * unit
        return step


def _steepest_l2(gradient: Tensor) -> Tensor:
    size = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
    return gradient / size.clamp(min=torch.finfo(size.dtype).tiny)


def _steepest_l1(gradient: Tensor) -> Tensor:
    count = max(1, gradient.shape[1] // L1_ENTRIES_PART)
    largest = gradient.abs().topk(count, dim=1).indices
    chosen = torch.zeros_like(gradient)
    return chosen.scatter(1, largest, gradient.gather(1, largest).sign()) / count
