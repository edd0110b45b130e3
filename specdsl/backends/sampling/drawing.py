"""Random points: of an input set, and around one point. The same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.bounds.regions.balls import Ball
from specdsl.bounds.regions.projection import Projector


def generator_of(seed: int) -> torch.Generator:
    """On the host, so that a device draws what the host does."""
    return torch.Generator().manual_seed(seed)


def sizes(total: int, batch: int, deadline: Deadline) -> Iterator[int]:
    """How many to draw at a time. Raises OutOfTime between two batches."""
    for start in range(0, total, batch):
        deadline.check()
        yield min(batch, total - start)


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """Gaussian noise of one size around a point. center: (inputs,) float64."""

    center: Tensor
    sigma: float
    generator: torch.Generator

    def draw(self, count: int) -> Tensor:
        """(count, inputs)."""
        shape = (count, len(self.center))
        normal = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        return self.center + self.sigma * normal


@dataclass(frozen=True, slots=True, eq=False)
class Uniform:
    """Points of a set: uniform in its box, the entries of a ball uniform in that ball; what is then
    outside of the set is moved to a point of it nearby.
    """

    projector: Projector
    generator: torch.Generator

    def draw(self, count: int) -> Tensor:
        """(count, inputs)."""
        box = self.projector.region.box
        lower, upper = box.lower.clone(), box.upper.clone()
        # Half a step more at both ends: rounded, all whole numbers are as likely.
        lower[:, self.projector.integers] -= 0.5
        upper[:, self.projector.integers] += 0.5
        points = lower + self._uniform(count, lower.shape[1]) * (upper - lower)
        for ball in self.projector.balls:
            points[:, ball.positions] = self._in_ball(ball, count)
        return self.projector.project(points)

    def _in_ball(self, ball: Ball, count: int) -> Tensor:
        """In l2 a random direction, `U^(1/n)` of the radius far; in l1 the sizes are exponential
        ones over the sum of these and one more, with random signs.
        """
        entries = len(ball.positions)
        shape = (count, entries)
        if ball.norm == "l1":
            sizes = self._exponential(count, entries + 1)
            signs = self._uniform(*shape).sub(0.5).sign()
            unit = signs * sizes[:, :-1] / sizes.sum(1, keepdim=True)
        else:
            normal = torch.randn(shape, generator=self.generator, dtype=torch.float64)
            far = self._uniform(count, 1) ** (1 / entries)
            unit = normal / torch.linalg.vector_norm(normal, dim=1, keepdim=True) * far
        return ball.center + unit * ball.radius / ball.scale

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator, dtype=torch.float64)

    def _exponential(self, *shape: int) -> Tensor:
        empty = torch.empty(*shape, dtype=torch.float64)
        return empty.exponential_(generator=self.generator)
