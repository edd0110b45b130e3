"""Where descents start: the middle, the best of many points, and points that differ in what the
network says rather than in what it reads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.backends.attack.objective import Objective
from specdsl.backends.attack.precision import varying
from specdsl.bounds.passes.forward import node_values
from specdsl.bounds.regions.projection import Projector
from specdsl.graph.work import work

# Points drawn for each start that is kept, where the set has few varying inputs; among more, all
# random points look alike.
DRAWN, FEW_INPUTS = 16, 32
# Every so many draws are corners.
CORNER_EVERY = 4
# Multiplications and additions that this may take.
SIFTING_WORK = 2**30
# Steps that drive outputs apart, and the part of the set each goes: as Tashiro et al.
DIVERSE_STEPS, DIVERSE_PART = 2, 0.5


def middle(objective: Objective, cases: Tensor) -> Tensor:
    """The middle of the set of each case: (points,) to (points, inputs)."""
    ground = objective.ground(cases)
    return ground.approach(ground.region.box.center.expand(len(cases), -1))


def spread(
    objective: Objective, cases: Tensor, generator: torch.Generator, deadline: Deadline
) -> Tensor:
    """A start for each entry of `cases` (points,): (points, inputs). Raises OutOfTime."""
    ground = objective.ground(cases)
    most = int(varying(ground.region.box).sum(1).max())
    affordable = SIFTING_WORK // (work(objective.compiled.graph) * len(cases))
    if most <= FEW_INPUTS and affordable > 1:
        drawn = min(DRAWN, affordable)
        return _sifted(objective, cases, ground, drawn, generator, deadline)
    points = ground.sample(len(cases), generator)
    return _diverse(objective, points, ground, generator, deadline)


def _sifted(
    objective: Objective,
    cases: Tensor,
    ground: Projector,
    drawn: int,
    generator: torch.Generator,
    deadline: Deadline,
) -> Tensor:
    """The best of as many random points and corners for each start."""
    conditions = objective.conditions
    best = ground.sample(len(cases), generator)
    least = best.new_full((len(cases),), torch.inf)
    for i in range(drawn):
        points = ground.anywhere(len(cases), generator)
        if i % CORNER_EVERY == 1:
            points = corners(ground, len(cases), generator)
        points = conditions.project(points, cases, ground)
        found = objective.distance(ground.project(points), cases, deadline)
        own = objective.own(found, cases)
        best = points.where((own < least)[:, None], best)
        least = torch.minimum(least, own)
    return best


def corners(ground: Projector, count: int, generator: torch.Generator) -> Tensor:
    """Random corners of the boxes, moved into the sets: (count, inputs)."""
    low = ground.region.box.lower
    sides = torch.randint(2, (count, low.shape[1]), generator=generator)
    return ground.approach(low + sides.to(low) * ground.width)


def _diverse(
    objective: Objective,
    points: Tensor,
    ground: Projector,
    generator: torch.Generator,
    deadline: Deadline,
) -> Tensor:
    """Half of the points are moved where random weights of the last hidden layer are large.

    Source: Tashiro, Song and Ermon 2020, arXiv:2003.06878 (output diversified initialisation), on
    the layer before the output, since a query often has one margin only.
    """
    compiled = objective.compiled
    half = torch.arange(len(points), device=points.device)[1::2]
    if not len(half) or not compiled.pre_activations:
        return points
    node = compiled.pre_activations[-1]
    size = compiled.graph.size(node)
    weights = torch.rand(len(half), size, generator=generator, dtype=points.dtype)
    weights = (2 * weights - 1).to(points.device)
    for _ in range(DIVERSE_STEPS):
        parts = zip(half.split(objective.at_once), weights.split(objective.at_once), strict=True)
        gradient = torch.zeros_like(points)
        for part, weight in parts:
            deadline.check()
            asked = points[part].requires_grad_(True)
            value = (node_values(compiled, asked)[node].flatten(1) * weight).sum()
            gradient[part] = torch.autograd.grad(value, asked)[0]
        gradient = gradient.where(gradient.isfinite(), 0.0)
        points = ground.approach(points + DIVERSE_PART * ground.direction(gradient))
    return points
