"""Looking for witnesses without gradients, for graphs with steps: there they are zero or guesses.

Every point of a population tries moves of three sizes and keeps one that is no worse: a step of
some coordinates nearby, some coordinates anew, some to the ends of their intervals. No worse, not
better: on a plateau a point wanders until it finds the edge.

Source: Matyas 1965, random optimisation, with coordinate moves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.backends.attack.candidates import Candidate, best_of_each
from specdsl.backends.attack.halfspaces import HalfSpaces
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.margins import deciding_margins
from specdsl.bounds.passes.forward import evaluate
from specdsl.query.groups import CaseGroup

# The part of its interval that a coordinate steps: from the first to the last, geometrically.
FIRST_PART, LAST_PART = 0.3, 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Points to bring into cases of a group: `cases` (points,) counts in the group, `scale`
    (margins,) is how much each margin varies.
    """

    compiled: CompiledGraph
    group: CaseGroup
    conditions: HalfSpaces
    cases: Tensor
    scale: Tensor


def wander(
    task: Task, points: Tensor, steps: int, generator: torch.Generator, deadline: Deadline
) -> Iterator[Candidate]:
    """Candidates as they are met, from points (points, inputs) on; ends after `steps`."""
    at, found = _judged(task, points)
    yield from best_of_each(task.group, at, found)
    best = _own(task, found)
    for step in range(steps):
        if deadline.passed:
            return
        part = FIRST_PART * (LAST_PART / FIRST_PART) ** (step / max(1, steps))
        moved = _moved(task, points, part, generator)
        at, found = _judged(task, moved)
        yield from best_of_each(task.group, at, found)
        own = _own(task, found)
        kept = own <= best
        points = moved.where(kept[:, None], points)
        best = own.where(kept, best)


def _judged(task: Task, points: Tensor) -> tuple[Tensor, Tensor]:
    """The points of the set that they stand for, and distances to all cases: (points, cases)."""
    rounded = task.conditions.round(points, task.cases)
    with torch.no_grad():
        margins = evaluate(task.compiled, rounded)[:, torch.as_tensor(task.group.rows)]
    margins = margins.where(margins.isfinite(), torch.inf)
    return rounded, deciding_margins(task.group, margins / task.scale)


def _own(task: Task, distance: Tensor) -> Tensor:
    return distance.gather(1, task.cases[:, None])[:, 0]


def _moved(task: Task, points: Tensor, part: float, generator: torch.Generator) -> Tensor:
    """One move of every point, each of a kind drawn at random, within the set."""
    projector = task.conditions.projector
    count, inputs = points.shape

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=points.dtype).to(points.device)

    low, width = projector.region.box.lower, projector.width
    near = points + part * (2 * draw(count, inputs) - 1) * width
    anywhere = low + draw(count, inputs) * width
    end = low + draw(count, inputs).round() * width
    kind = draw(count, 1)
    target = near.where(kind < NEAR_SHARE, anywhere.where(kind < NEAR_SHARE + ANYWHERE_SHARE, end))
    # Mostly few coordinates at once, of each point at least one.
    share = draw(count, 1) ** 3
    chosen = draw(count, inputs) < share
    one = (draw(count, 1) * inputs).long().clamp(max=inputs - 1)
    chosen = chosen.scatter(1, one, torch.ones_like(one, dtype=torch.bool))
    return task.conditions.project(projector.approach(target.where(chosen, points)), task.cases)


NEAR_SHARE, ANYWHERE_SHARE = 0.6, 0.2
