"""Projected ascent: the loop that all gradient attacks share."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from specdsl.bounds.regions.region import InputRegion
from specdsl.training.runtime.attacks.points import (
    Norm,
    Start,
    direction,
    parts_of_radius,
    project,
    start,
)

Value = Callable[[Tensor], Tensor]
"""What an attack makes large: of points (batch, inputs), one number each (batch,)."""


@dataclass(frozen=True, slots=True)
class Moves:
    """`count` steps of length `step`, in parts of the region's radius.

    `alpha`: the length in units of the inputs instead, in the norm of each region; then `step` does
    not count. `decay`: from step `k` on (counted from 0) lengths are multiplied by `factor`, for
    each pair `(k, factor)`; several multiply.
    """

    count: int
    step: float
    decay: tuple[tuple[int, float], ...] = ()
    norm: Norm | None = None
    start: Start = "random"
    alpha: float | None = None

    def length(self, index: int, region: InputRegion) -> float | Tensor:
        """The length of one step in parts of the radius: a number, or (batch, inputs)."""
        length = self.step if self.alpha is None else parts_of_radius(region, self.alpha)
        for first, factor in self.decay:
            if index >= first:
                length = length * factor
        return length


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Points of an attack (batch, inputs), and how many steps each took (batch,)."""

    points: Tensor
    steps: Tensor

    @property
    def mean_steps(self) -> float:
        """Steps of gradient ascent for an example, on average."""
        return float(self.steps.double().mean())


@contextmanager
def evaluated(module: nn.Module) -> Generator[None]:
    """The module in evaluation mode, every part back in its own mode afterwards.

    Statistics of batch normalisation must not come from perturbed inputs, and dropout would make
    an attack follow noise.
    """
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def gradient_of(value: Value, points: Tensor) -> Tensor:
    """The gradient of each value by its own point; 0 where there is none or it is not finite.

    Parameters get no gradient.
    """
    with torch.enable_grad():
        moved = points.detach().requires_grad_(True)
        total = value(moved).sum()
        if not total.requires_grad:
            return torch.zeros_like(points)
        (gradient,) = torch.autograd.grad(total, moved, allow_unused=True, materialize_grads=True)
    return gradient.nan_to_num(0.0, 0.0, 0.0)


def moved(value: Value, region: InputRegion, points: Tensor, moves: Moves, index: int) -> Tensor:
    """The points after one step."""
    along = direction(region, gradient_of(value, points), moves.norm)
    return project(region, points + moves.length(index, region) * along)


def ascend(
    value: Value, region: InputRegion, moves: Moves, restarts: int, generator: torch.Generator
) -> Found:
    """Projected gradient ascent: the last points, of the restart with the largest value each.

    Source: Madry et al. 2018, arXiv:1706.06083.
    """
    best: Tensor | None = None
    reached: Tensor | None = None
    for _ in range(restarts):
        points = start(region, moves.start, generator)
        for index in range(moves.count):
            points = moved(value, region, points, moves, index)
        if restarts == 1:
            best = points
            break
        with torch.no_grad():
            values = value(points)
        best, reached = better(best, reached, points, values)
    if best is None:
        raise ValueError(f"an attack with {restarts} restarts finds nothing")
    steps = torch.full((len(best),), moves.count * restarts, device=best.device)
    return Found(best, steps)


def better(
    best: Tensor | None, reached: Tensor | None, points: Tensor, values: Tensor
) -> tuple[Tensor, Tensor]:
    """For each example the point with the larger value, and that value; NaN counts as least."""
    values = values.nan_to_num(-torch.inf, torch.inf, -torch.inf)
    if best is None or reached is None:
        return points, values
    wins = values > reached
    return points.where(wins[:, None], best), values.where(wins, reached)
