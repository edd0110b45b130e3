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
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.forward import evaluate
from specdsl.bounds.margins import deciding_margins
from specdsl.bounds.projection import Projector
from specdsl.bounds.region import input_region
from specdsl.query.groups import CaseGroup


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A point that violates a case in float64. point: (inputs,); `case`: position in the query."""

    point: Tensor
    case: int
    margin: float


def descend(
    compiled: CompiledGraph,
    group: CaseGroup,
    *,
    steps: int,
    restarts: int,
    seed: int,
    deadline: Deadline,
) -> Iterator[Candidate]:
    """Candidates as they are met, best of each step first; ends after `steps` or at the deadline.

    `restarts` points are spent on every case; at most MAX_POINTS move at a time. Steps shrink from
    a quarter of the set to a five-hundredth.
    """
    projector = Projector(input_region(group.inputs, compiled.like))
    generator = torch.Generator().manual_seed(seed)
    rows = torch.as_tensor(group.rows, device=compiled.like.device)
    cases = torch.arange(len(group.members)).repeat_interleave(restarts)
    for part in cases.split(MAX_POINTS):
        points = projector.sample(len(part), generator)
        for step in range(steps + 1):
            if deadline.passed:
                return
            points.requires_grad_(True)
            margins = evaluate(compiled, points)[:, rows]
            distance = deciding_margins(group, margins)
            yield from _met(group, points, distance.detach())
            own = distance.gather(1, part[:, None])[:, 0]
            (gradient,) = torch.autograd.grad(own.sum(), points)
            size = FIRST_STEP * (LAST_STEP / FIRST_STEP) ** (step / max(1, steps))
            with torch.no_grad():
                points = projector.project(points - size * projector.direction(gradient))


MAX_POINTS = 256
FIRST_STEP, LAST_STEP = 0.25, 0.002


def _met(group: CaseGroup, points: Tensor, distance: Tensor) -> Iterator[Candidate]:
    """The point deepest inside each case that is met."""
    best = distance.min(0)
    for member, value, row in zip(
        group.members, best.values.tolist(), best.indices.tolist(), strict=True
    ):
        if value <= 0:
            yield Candidate(points[row].detach().clone(), member, value)
