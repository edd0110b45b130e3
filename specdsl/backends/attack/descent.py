"""Projected gradient descent on the margins of one group of cases.

Source: Madry et al. 2018, arXiv:1706.06083; restarts per case, since a joint loss over several
cases follows the nearest one only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.backends.attack.candidates import Candidate, best_of_each
from specdsl.backends.attack.halfspaces import HalfSpaces
from specdsl.backends.attack.local_search import Task, wander
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.margins import deciding_margins
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.regions.projection import Projector
from specdsl.bounds.regions.region import input_region
from specdsl.graph import ops
from specdsl.query.groups import CaseGroup
from specdsl.query.sets import IndexArray


@dataclass(frozen=True, slots=True, eq=False)
class Effort:
    """`restarts` points are spent on every case, `steps` of descent on each."""

    steps: int
    restarts: int
    seed: int


def descend(
    compiled: CompiledGraph,
    group: CaseGroup,
    integers: IndexArray,
    effort: Effort,
    deadline: Deadline,
) -> Iterator[Candidate]:
    """Candidates as they are met, best of each step first; ends after `steps` or at the deadline.

    At most MAX_POINTS move at a time. Steps shrink from a quarter of the set to a five-hundredth.
    Whole-number inputs are rounded where margins are computed; what moves is the unrounded point.
    In a graph with steps as many moves without gradients follow, from where the descent ended.
    """
    region = input_region(group.inputs, compiled.like)
    if bool(region.is_empty.any()):
        return
    projector = Projector(region, torch.as_tensor(integers, device=compiled.like.device))
    generator = torch.Generator().manual_seed(effort.seed)
    cases = torch.arange(len(group.members)).repeat_interleave(effort.restarts)
    conditions = HalfSpaces.of(compiled, group, projector)
    scale: Tensor | None = None
    for part in cases.split(_at_once(compiled)):
        points = conditions.project(projector.sample(len(part), generator), part)
        if scale is None:
            scale = _scale(compiled, group, conditions.round(points, part))
        task = Task(compiled, group, conditions, part, scale)
        descent = _Descent(task, points, generator)
        yield from descent.run(effort.steps, deadline)
        if _has_steps(compiled):
            yield from wander(task, descent.points, effort.steps, generator, deadline)


@dataclass(slots=True)
class _Descent:
    """`points` (points, inputs) on their way; those without a value start anew somewhere else."""

    task: Task
    points: Tensor
    generator: torch.Generator

    def run(self, steps: int, deadline: Deadline) -> Iterator[Candidate]:
        """Move; ends early where no margin depends on the input."""
        task, conditions = self.task, self.task.conditions
        projector = conditions.projector
        for step in range(steps + 1):
            if deadline.passed:
                return
            rounded = conditions.round(self.points, task.cases).requires_grad_(True)
            margins = evaluate(task.compiled, rounded)[:, torch.as_tensor(task.group.rows)]
            # Where a function has no value there is no witness.
            margins = margins.where(margins.isfinite(), torch.inf)
            # In units of how much each margin varies: else the one with the largest numbers leads.
            distance = deciding_margins(task.group, margins / task.scale)
            yield from best_of_each(task.group, rounded.detach(), distance.detach())
            own = distance.gather(1, task.cases[:, None])[:, 0]
            if not own.requires_grad:  # no atom depends on the input
                return
            (gradient,) = torch.autograd.grad(own.sum(), rounded)
            gradient = gradient.where(gradient.isfinite(), 0.0)
            size = FIRST_STEP * (LAST_STEP / FIRST_STEP) ** (step / max(1, steps))
            moved = self.points - size * projector.direction(gradient)
            lost = ~own.detach().isfinite()[:, None]
            if bool(lost.any()):
                moved = projector.anywhere(len(moved), self.generator).where(lost, moved)
            self.points = conditions.project(projector.approach(moved), task.cases)


FIRST_STEP, LAST_STEP = 0.25, 0.002
MAX_POINTS = 256
# Of float64: 512 MiB of values on the way forward, which the way back needs.
MAX_VALUES = 2**26


def _at_once(compiled: CompiledGraph) -> int:
    """How many points move at a time: fewer where the graph is large."""
    values = sum(compiled.graph.size(node) for node in compiled.graph.order)
    return max(1, min(MAX_POINTS, MAX_VALUES // max(1, values)))


def _has_steps(compiled: CompiledGraph) -> bool:
    return any(isinstance(op, ops.Step) for _, op, _ in compiled.graph)


def _scale(compiled: CompiledGraph, group: CaseGroup, points: Tensor) -> Tensor:
    """Standard deviation of each margin over the first points: (margins,), positive."""
    with torch.no_grad():
        margins = evaluate(compiled, points)[:, torch.as_tensor(group.rows)]
    spread = (margins - margins.mean(0)).square().mean(0).sqrt()
    size = torch.finfo(spread.dtype).eps * (1 + margins.abs().amax(0))
    usable = (spread > size) & spread.isfinite()
    return spread.where(usable, torch.ones_like(spread))
