"""Looking for witnesses without gradients, for graphs with steps and on plateaus: there gradients
are zero or guesses.

Every point of a population tries moves of three sizes and keeps one that is no worse: a step of
some coordinates nearby, some coordinates anew, some to the ends of their intervals. No worse, not
better: on a plateau a point wanders until it finds the edge.

Source: Matyas 1965, random optimisation, with coordinate moves.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.backends.attack.candidates import Candidate, best_of_each
from specdsl.backends.attack.objective import Objective
from specdsl.bounds.regions.projection import Projector

# The part of its interval that a coordinate steps: from the first to the last, geometrically.
FIRST_PART, LAST_PART = 0.3, 1e-4
# Of the moves: nearby, and anywhere; the others go to the ends, so many of them all to one.
NEAR_SHARE, ANYWHERE_SHARE, TOGETHER_SHARE = 0.6, 0.2, 0.5


def wander(
    objective: Objective,
    points: Tensor,
    cases: Tensor,
    steps: int,
    generator: torch.Generator,
    deadline: Deadline,
) -> Iterator[Candidate]:
    """Candidates as they are met, from points (points, inputs) on, each towards its case (points,);
    ends after `steps`. Raises OutOfTime.
    """
    conditions, ground = objective.conditions, objective.ground(cases)
    best = points.new_full((len(points),), torch.inf)
    moved = points
    for step in range(steps + 1):
        at = conditions.round(moved, cases, ground)
        found = objective.distance(at, cases, deadline)
        yield from best_of_each(objective, at, cases, found)
        own = objective.own(found, cases)
        kept = own <= best
        points, best = moved.where(kept[:, None], points), own.where(kept, best)
        part = FIRST_PART * (LAST_PART / FIRST_PART) ** (step / max(1, steps))
        move = _moved(ground, points, part, generator)
        moved = conditions.project(move, cases, ground)


def block_corners(objective: Objective, deadline: Deadline) -> Iterator[Candidate]:
    """Candidates among the corners where blocks of neighbouring inputs are at the same end: all of
    them, halves, quarters and so on, by turns low and high or high and low. Raises OutOfTime.

    What neighbours mean is often alike: pixels, or readings of one sensor. On a plateau that
    reaches into the corners, these are the ones that random search does not meet.
    """
    for case in range(objective.count):
        at = objective.home.new_tensor([case])
        box = objective.ground(at).region.box
        inputs = box.lower.shape[1]
        place = torch.arange(inputs, device=box.lower.device)
        blocks = [2**k for k in range((inputs - 1).bit_length() + 1)]
        sides = torch.stack([place * block // inputs % 2 for block in blocks])
        sides = torch.cat([sides, 1 - sides]).to(box.lower)
        cases = at.expand(len(sides))
        ground = objective.ground(cases)
        points = ground.approach(box.lower + sides * (box.upper - box.lower))
        points = objective.conditions.project(points, cases, ground)
        points = objective.conditions.round(points, cases, ground)
        found = objective.distance(points, cases, deadline)
        yield from best_of_each(objective, points, cases, found)


def _moved(ground: Projector, points: Tensor, part: float, generator: torch.Generator) -> Tensor:
    """One move of every point, each of a kind drawn at random, within its set."""
    count, inputs = points.shape

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=points.dtype).to(points.device)

    low, width = ground.region.box.lower, ground.width
    near = points + part * (2 * draw(count, inputs) - 1) * width
    anywhere = low + draw(count, inputs) * width
    # Together to one side, or each to its own.
    together = draw(count, 1).round().expand(count, inputs)
    side = together.where(draw(count, 1) < TOGETHER_SHARE, draw(count, inputs).round())
    end = low + side * width
    kind = draw(count, 1)
    target = near.where(kind < NEAR_SHARE, anywhere.where(kind < NEAR_SHARE + ANYWHERE_SHARE, end))
    # Mostly few coordinates at once, of each point at least one.
    share = draw(count, 1) ** 3
    chosen = draw(count, inputs) < share
    one = (draw(count, 1) * inputs).long().clamp(max=inputs - 1)
    chosen = chosen.scatter(1, one, torch.ones_like(one, dtype=torch.bool))
    return ground.approach(target.where(chosen, points))
