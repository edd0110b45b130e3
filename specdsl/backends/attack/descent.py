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
from specdsl.backends.attack.halfspaces import HalfSpaces
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.forward import evaluate
from specdsl.bounds.margins import deciding_margins
from specdsl.bounds.projection import Projector
from specdsl.bounds.region import input_region
from specdsl.query.groups import CaseGroup
from specdsl.query.sets import IndexArray


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A point that violates a case in float64. point: (inputs,); `case`: position in the query."""

    point: Tensor
    case: int


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
    """
    region = input_region(group.inputs, compiled.like)
    if bool(region.is_empty.any()):
        return
    projector = Projector(region, torch.as_tensor(integers, device=compiled.like.device))
    generator = torch.Generator().manual_seed(effort.seed)
    cases = torch.arange(len(group.members)).repeat_interleave(effort.restarts)
    conditions = HalfSpaces.of(compiled, group, projector)
    scale: Tensor | None = None
    for part in cases.split(MAX_POINTS):
        points = conditions.project(projector.sample(len(part), generator), part)
        for step in range(effort.steps + 1):
            if deadline.passed:
                return
            rounded = conditions.round(points, part).requires_grad_(True)
            margins = evaluate(compiled, rounded)[:, torch.as_tensor(group.rows)]
            if scale is None:
                scale = _scale(margins.detach())
            # In units of how much each margin varies: else the one with the largest numbers leads.
            distance = deciding_margins(group, margins / scale)
            yield from _met(group, rounded.detach(), distance.detach())
            own = distance.gather(1, part[:, None])[:, 0]
            if not own.requires_grad:  # no atom depends on the input
                return
            (gradient,) = torch.autograd.grad(own.sum(), rounded)
            size = FIRST_STEP * (LAST_STEP / FIRST_STEP) ** (step / max(1, effort.steps))
            moved = points - size * projector.direction(gradient)
            points = conditions.project(projector.approach(moved), part)


MAX_POINTS = 256
FIRST_STEP, LAST_STEP = 0.25, 0.002


def _met(group: CaseGroup, points: Tensor, distance: Tensor) -> Iterator[Candidate]:
    """The point deepest inside each case that is met."""
    best = distance.min(0)
    for member, value, row in zip(
        group.members, best.values.tolist(), best.indices.tolist(), strict=True
    ):
        if value <= 0:
            yield Candidate(points[row].clone(), member)


def _scale(margins: Tensor) -> Tensor:
    """Standard deviation of each margin over the first points: (margins,), positive."""
    spread = (margins - margins.mean(0)).square().mean(0).sqrt()
    size = torch.finfo(spread.dtype).eps * (1 + margins.abs().amax(0))
    return spread.where(spread > size, torch.ones_like(spread))
