"""Branch and bound over input boxes: bound a batch, drop what is refuted, clip, halve, repeat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.backends.search.clipping import clip
from specdsl.backends.search.domains import Domains
from specdsl.backends.search.splitting import bisect, sensitivity, splittable
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.crown import LinearLower, propagate
from specdsl.bounds.forward import evaluate
from specdsl.bounds.interval import Interval
from specdsl.bounds.margins import bound_margins, deciding_margins, margin_rows
from specdsl.bounds.projection import Projector
from specdsl.bounds.region import Ball, InputRegion, input_region
from specdsl.query.groups import CaseGroup

Confirm = Callable[[Tensor, int], bool]
"""Given a flat point and a case of the query: whether it is a confirmed witness."""


Outcome = Literal["verified", "falsified", "timeout", "exhausted"]


@dataclass(slots=True)
class Progress:
    """What a search knows at any time; updated after every batch.

    `bound`: the smallest margin bound of a refuted domain so far; `clipped`: whether parts of boxes
    were cut away, of which nothing but a positive margin is known;
    `open_bound`: the worst bound of a domain still open, `open_domains` their number; `domains` and
    `leaves`: boxes bounded and boxes refuted.
    """

    domains: int = 0
    leaves: int = 0
    bound: float = float("inf")
    clipped: bool = False
    open_bound: float = -float("inf")
    open_domains: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """One group of cases over a compiled graph.

    A margin counts as positive above `slack` only (from `bounds.rounding.rounding_slack`).
    """

    compiled: CompiledGraph
    group: CaseGroup
    slack: float


def search_group(
    problem: Problem, batch: int, confirm: Confirm, deadline: Deadline, progress: Progress
) -> Outcome:
    """Search one group until it is settled, the time is over or a box cannot be cut any further.

    `verified`: every box was refuted for every case; `falsified`: `confirm` accepted a point.
    """
    compiled, group = problem.compiled, problem.group
    root = input_region(group.inputs, compiled.like)
    projector = Projector(root)
    sensitivities = sensitivity(compiled, group, root)
    stack = _root_domains(root, len(group.members))
    while len(stack):
        _note_open(progress, stack)
        if deadline.passed:
            return "timeout"
        chosen, stack = stack.pop_worst(batch)
        chosen = _meeting(chosen, root.ball, progress)
        if not len(chosen):
            continue
        linear, chosen = _bound(problem, root.ball, chosen, progress)
        if not len(chosen):
            continue
        if _falsified(compiled, group, chosen, linear, projector, confirm):
            return "falsified"
        if not bool(splittable(chosen).all()):
            _note_open(progress, stack.join(chosen))
            return "exhausted"
        kept = clip(chosen, linear, group, problem.slack)
        progress.clipped |= bool(
            (kept.lower > chosen.lower).any() | (kept.upper < chosen.upper).any()
        )
        chosen = kept
        levels = _levels(len(chosen), len(stack), batch)
        stack = stack.join(bisect(chosen, linear, sensitivities, levels))
    return "verified"


def _root_domains(root: InputRegion, cases: int) -> Domains:
    box = root.box
    return Domains(
        box.lower,
        box.upper,
        box.lower.new_full((1,), -float("inf")),
        torch.ones(1, cases, dtype=torch.bool),
    )


def _levels(open_now: int, waiting: int, batch: int) -> int:
    """How often to halve so that the next batch is full but no fuller: fewer batches early on."""
    levels = 1
    while levels < MAX_LEVELS and (open_now << (levels + 1)) + waiting <= batch:
        levels += 1
    return levels


MAX_LEVELS = 4


def _meeting(domains: Domains, ball: Ball | None, progress: Progress) -> Domains:
    """The domains that the ball reaches: the others are empty, and bounds on nothing may cross."""
    if ball is None:
        return domains
    met = ball.reaches(Interval(domains.lower, domains.upper))
    progress.domains += int((~met).sum())
    progress.leaves += int((~met).sum())
    return domains.take(met)


def _bound(
    problem: Problem, ball: Ball | None, domains: Domains, progress: Progress
) -> tuple[LinearLower, Domains]:
    """Bounds of a batch: the linear bounds and domains of those not refuted."""
    compiled, group = problem.compiled, problem.group
    rows = margin_rows(compiled, group)
    with torch.no_grad():
        region = InputRegion(Interval(domains.lower, domains.upper), ball)
        margins = bound_margins(compiled, rows, region, propagate(compiled, region))
        cases = deciding_margins(group, margins.proven - problem.slack)
    is_open = domains.open_cases & (cases <= 0)
    closed_now = domains.open_cases & ~is_open
    if bool(closed_now.any()):
        progress.bound = min(progress.bound, float(cases[closed_now].min()))
    kept = is_open.any(1)
    progress.domains += len(domains)
    progress.leaves += int((~kept).sum())
    worst = cases.where(is_open, torch.full_like(cases, float("inf"))).amin(1)
    remaining = Domains(domains.lower, domains.upper, worst, is_open).take(kept)
    linear = LinearLower(
        margins.linear.coefficients[kept], margins.linear.constant[kept], margins.linear.lower[kept]
    )
    return linear, remaining


def _falsified(
    compiled: CompiledGraph,
    group: CaseGroup,
    domains: Domains,
    linear: LinearLower,
    projector: Projector,
    confirm: Confirm,
) -> bool:
    """Try the centre of every domain and the corner where its deciding line is least."""
    points = (domains.lower + domains.upper) / 2
    if len(group.rows):
        row = linear.lower.argmin(1)
        slope = linear.coefficients[torch.arange(len(domains)), row]
        points = torch.cat([points, domains.lower.where(slope >= 0, domains.upper)])
    points = projector.project(points)
    with torch.no_grad():
        margins = evaluate(compiled, points)[:, torch.as_tensor(group.rows)]
    distance = deciding_margins(group, margins)
    best = distance.min(0)
    for member, value, position in zip(
        group.members, best.values.tolist(), best.indices.tolist(), strict=True
    ):
        if value <= 0 and confirm(points[position], member):
            return True
    return False


def _note_open(progress: Progress, stack: Domains) -> None:
    progress.open_domains = len(stack)
    progress.open_bound = float(stack.bound.min())
