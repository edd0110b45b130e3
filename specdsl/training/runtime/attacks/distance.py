"""Inputs near given ones that a classifier takes for another class, and is sure of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


@dataclass(frozen=True, slots=True, eq=False)
class Convinced:
    """`points` (batch, *shape), the `confidence` in the goal (batch,) and the `distance` in l2."""

    points: Tensor
    confidence: Tensor
    distance: Tensor


@dataclass(frozen=True, slots=True)
class DistancePenalty:
    """Descent on `cross_entropy(goal) + weight * |x' - x|_2`, every step clamped to the inputs.

    For each example the nearest point on the way is kept that has at least this `confidence`; where
    there is none, the one with the most. Examples without one after `steps` go on with a weight
    that is `RELAXED` times as large, `rounds` times in all. `rate`: the step of Adam, in units of
    the inputs; `low` and `high`: what inputs are clamped to.
    """

    weight: float = 0.1
    confidence: float = 0.95
    steps: int = 200
    rate: float = 0.02
    rounds: int = 4
    low: float = 0.0
    high: float = 1.0

    def __call__(self, classify: Callable[[Tensor], Tensor], x: Tensor, goal: Tensor) -> Convinced:
        """Inputs (batch, *shape) and the classes they shall be taken for, (batch,)."""
        weight = torch.full((len(x),), self.weight, dtype=x.dtype, device=x.device)
        points = x.detach().clamp(self.low, self.high).requires_grad_(True)
        best: Convinced | None = None
        for _ in range(self.rounds):
            optimiser = torch.optim.Adam([points], lr=self.rate)
            for _ in range(self.steps):
                found, gradient = self._at(classify, points, x, goal, weight)
                best = found if best is None else self._nearer(best, found)
                points.grad = gradient
                optimiser.step()
                with torch.no_grad():
                    points.clamp_(self.low, self.high)
            if best is None:
                break
            short = best.confidence < self.confidence
            if not bool(short.any()):
                break
            weight = torch.where(short, weight * RELAXED, weight)
        if best is None:
            raise ValueError("an attack has at least one round and one step")
        return best

    def _at(
        self,
        classify: Callable[[Tensor], Tensor],
        points: Tensor,
        x: Tensor,
        goal: Tensor,
        weight: Tensor,
    ) -> tuple[Convinced, Tensor]:
        with torch.enable_grad():
            scores = classify(points)
            distance = torch.linalg.vector_norm((points - x).flatten(1), dim=1)
            total = cross_entropy(scores, goal, reduction="none") + weight * distance
            (gradient,) = torch.autograd.grad(total.sum(), points)
        sure = scores.detach().softmax(1).gather(1, goal[:, None])[:, 0]
        found = Convinced(points.detach().clone(), sure, distance.detach())
        return found, gradient.nan_to_num(0.0, 0.0, 0.0)

    def _nearer(self, best: Convinced, found: Convinced) -> Convinced:
        enough, was_enough = found.confidence >= self.confidence, best.confidence >= self.confidence
        nearer = enough & was_enough & (found.distance < best.distance)
        surer = ~was_enough & (found.confidence > best.confidence)
        wins = nearer | surer
        shaped = wins.reshape(-1, *[1] * (best.points.ndim - 1))
        return Convinced(
            found.points.where(shaped, best.points),
            found.confidence.where(wins, best.confidence),
            found.distance.where(wins, best.distance),
        )


# What the weight of the distance is multiplied by where the goal was not reached.
RELAXED = 0.1
