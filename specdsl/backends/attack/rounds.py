"""Rounds of growing effort on one group of cases: most witnesses fall to the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.backends.attack.candidates import Candidate
from specdsl.backends.attack.descent import Descent, Walkers
from specdsl.backends.attack.local_search import block_corners, wander
from specdsl.backends.attack.objective import Objective
from specdsl.backends.attack.precision import has_steps
from specdsl.backends.attack.starts import middle, spread

# Points that move together; memory and time are bounded elsewhere.
MAX_POINTS = 1024
# The first round goes from the middle alone, so few steps.
FIRST_STEPS = 6
# Points that tell how much margins vary.
MEASURED = 16
# Each round has so many times the restarts of the one before, and twice the steps.
GROWTH = 4


@dataclass(frozen=True, slots=True)
class Round:
    """`restarts` points for every case, `steps` of descent each."""

    restarts: int
    steps: int

    def smaller(self) -> Round:
        """The round before this one."""
        steps = min(self.steps, max(FIRST_STEPS, self.steps // 2))
        return Round(max(1, self.restarts // GROWTH), steps)


def rounds(restarts: int, steps: int) -> tuple[Round, ...]:
    """Rounds up to the given effort, the smallest first."""
    if restarts == 1:
        return (Round(1, steps),)
    found = [Round(restarts, steps)]
    while found[0].restarts > 1:
        found.insert(0, found[0].smaller())
    return (Round(1, min(FIRST_STEPS, steps)), *found[1:])


@dataclass(slots=True)
class Hunt:
    """The attack on the cases of an objective, from round to round."""

    objective: Objective
    generator: torch.Generator
    has_steps: bool
    tried_corners: bool = False

    @classmethod
    def of(cls, objective: Objective, seed: int) -> Hunt:
        """Pseudo-random by `seed`."""
        generator = torch.Generator().manual_seed(seed)
        return cls(objective, generator, has_steps(objective.compiled.graph))

    def run(self, number: int, effort: Round, deadline: Deadline) -> Iterator[Candidate]:
        """Candidates as they are met. Raises OutOfTime."""
        if number == 1:
            self._measure()
        every = torch.arange(self.objective.count, device=self.objective.home.device)
        cases = every.repeat(effort.restarts)
        for part in cases.split(MAX_POINTS):
            points = (
                spread(self.objective, part, self.generator, deadline)
                if number
                else middle(self.objective, part)
            )
            yield from self._descend(points, part, effort.steps, deadline)

    def _measure(self) -> None:
        """Find how much each margin varies over some points of the sets."""
        count = self.objective.count
        cases = torch.randint(count, (MEASURED,), generator=self.generator)
        ground = self.objective.ground(cases.to(self.objective.home.device))
        points = ground.project(ground.sample(MEASURED, self.generator))
        self.objective = self.objective.scaled(points)

    def _descend(
        self, points: Tensor, cases: Tensor, steps: int, deadline: Deadline
    ) -> Iterator[Candidate]:
        objective = self.objective
        points = objective.conditions.project(points, cases, objective.ground(cases))
        descent = Descent(objective, Walkers.at(points, cases), self.generator)
        yield from descent.run(steps, deadline)
        if self.has_steps or descent.flat:
            if not self.tried_corners:
                self.tried_corners = True
                yield from block_corners(objective, deadline)
            yield from wander(objective, points, cases, steps, self.generator, deadline)
