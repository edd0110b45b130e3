"""Projected gradient descent of many points at once, each towards a case of its own.

Points differ in how they move: the first step's size, whether the step is the sign of the gradient
(Madry et al. 2018, arXiv:1706.06083) or Adam's (Kingma and Ba 2015, arXiv:1412.6980), and whether
the worst margin of the case or all its positive ones are lowered. No choice is best everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.backends.attack.candidates import Candidate, best_of_each
from specdsl.backends.attack.objective import Objective
from specdsl.bounds.regions.projection import Projector

# Parts of the set's size: from the middle the first reaches the corner. Steps shrink geometrically
# down to the last.
FIRST_STEPS = (0.5, 0.25, 0.1)
LAST_STEP = 0.002
# Adam's usual means, with a shorter memory of squares: descents are tens of steps.
MEAN, MEAN_SQUARE = 0.9, 0.99
# After so many steps a point is given up that would not arrive at OPTIMISM times its pace.
PATIENCE = 4
OPTIMISM = 2.0
# Of the starts.
MOSTLY = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Walkers:
    """Points on their way; every field has one row a point.

    Shapes: points, mean, mean_square (points, inputs); case, first_step, every, adam, best and
    checked (points,). `best`: the least distance so far; `checked`: what it was when pace was
    looked at last.
    """

    points: Tensor
    case: Tensor
    first_step: Tensor
    every: Tensor
    adam: Tensor
    mean: Tensor
    mean_square: Tensor
    best: Tensor
    checked: Tensor

    @classmethod
    def at(cls, points: Tensor, case: Tensor) -> Walkers:
        """All ways of moving by turns. Shapes: points (points, inputs), case (points,)."""
        count = torch.arange(len(points), device=points.device)
        nothing = torch.zeros_like(points)
        far = points.new_full((len(points),), torch.inf)
        steps = points.new_tensor(FIRST_STEPS)[count % len(FIRST_STEPS)]
        every, adam = count % 2 == 1, count % 4 == 2
        return cls(points, case, steps, every, adam, nothing, nothing, far, far)

    def take(self, kept: Tensor) -> Walkers:
        """Those at `kept`, a mask."""
        return Walkers(*(getattr(self, field.name)[kept] for field in fields(self)))


@dataclass(slots=True)
class Descent:
    """`walkers` on their way down; those without a value start anew somewhere else.

    `flat`: whether no step could be told from the gradient at most of the starts.
    """

    objective: Objective
    walkers: Walkers
    generator: torch.Generator
    flat: bool = False

    def run(self, steps: int, deadline: Deadline) -> Iterator[Candidate]:
        """Candidates as they are met; ends after `steps`, or where no point has a prospect.

        Whole-number inputs are rounded where margins are computed; what moves is the unrounded
        point. Raises OutOfTime.
        """
        objective, conditions = self.objective, self.objective.conditions
        ground = objective.ground(self.walkers.case)
        start: list[Candidate] = []
        for step in range(steps + 1):
            walkers = self.walkers
            rounded = conditions.round(walkers.points, walkers.case, ground)
            slope = objective.slope(rounded, walkers.case, walkers.every, deadline)
            met = best_of_each(objective, rounded, walkers.case, slope.distance)
            if step == 0 < steps:
                # One step on, a witness is plainer than where a start was moved to a boundary.
                start = list(met)
            else:
                yield from met
                yield from start
                start = []
            if step == 0:
                self.flat = bool((slope.gradient == 0).all(1).double().mean() > MOSTLY)
            walkers = replace(walkers, best=torch.minimum(walkers.best, slope.own))
            walkers, move = _moved(walkers, slope.gradient, ground, step, steps)
            moved = walkers.points - move
            lost = ~slope.own.isfinite()[:, None]
            if bool(lost.any()):
                moved = ground.anywhere(len(moved), self.generator).where(lost, moved)
            points = conditions.project(ground.approach(moved), walkers.case, ground)
            self.walkers = replace(walkers, points=points)
            if step % PATIENCE == 0:
                self.walkers = with_prospects(self.walkers, steps - step)
                if not len(self.walkers.case):
                    return
                if len(self.walkers.case) < len(walkers.case):
                    ground = objective.ground(self.walkers.case)


def _moved(
    walkers: Walkers, gradient: Tensor, ground: Projector, step: int, steps: int
) -> tuple[Walkers, Tensor]:
    """The steps of all points, (points, inputs), and what Adam remembers."""
    size = walkers.first_step * (LAST_STEP / walkers.first_step) ** (step / max(1, steps))
    direction = ground.direction(gradient)
    if not ground.balls:
        slope = gradient * ground.width
        mean = MEAN * walkers.mean + (1 - MEAN) * slope
        square = MEAN_SQUARE * walkers.mean_square + (1 - MEAN_SQUARE) * slope * slope
        walkers = replace(walkers, mean=mean, mean_square=square)
        late = (1 - MEAN ** (step + 1), 1 - MEAN_SQUARE ** (step + 1))
        root = (square / late[1]).sqrt().clamp(min=torch.finfo(square.dtype).tiny)
        by_adam = mean / late[0] / root * ground.width
        direction = by_adam.where(walkers.adam[:, None], direction)
    return walkers, size[:, None] * direction


def with_prospects(walkers: Walkers, left: int) -> Walkers:
    """Those that would arrive in `left` steps at OPTIMISM times their pace since the last look."""
    gain = (walkers.checked - walkers.best) / PATIENCE
    hopeless = walkers.best > OPTIMISM * gain * left
    kept = ~(hopeless & walkers.best.isfinite())
    return replace(walkers, checked=walkers.best).take(kept)
