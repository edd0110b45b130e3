"""Branch and bound over inner values: split a neuron where its relaxation costs most.

Bounds inside are those of the whole set (alpha-CROWN); on a part, only the intervals of split
entries are narrower, and beta-CROWN's multipliers carry that to the margins. Worst parts first.

Source: Wang et al. 2021, arXiv:2103.06624.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count

import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.backends.search.confirming import Confirmer
from specdsl.backends.search.neurons.bounding import Bounder, Proven, region_of
from specdsl.backends.search.neurons.branching import candidates, halves
from specdsl.backends.search.neurons.leaves import settle_leaf
from specdsl.backends.search.neurons.parts import Batch, Part, gathered, whole
from specdsl.backends.search.problem import Problem, Progress, Searching
from specdsl.bounds.margins import deciding_margins
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.regions.projection import Projector

# Steps of ascent on the whole set, and on a part. With 3 on a part multipliers hardly move: the
# instance of docs/performance.md that 10 decide in 9 s is then open after 40.
ROOT_STEPS, STEPS = 20, 10


def search_neurons(
    problem: Problem, confirmer: Confirmer, deadline: Deadline, progress: Progress
) -> Searching:
    """Search one group; a step is a batch of parts.

    Raises OutOfTime where bounding the whole set takes longer.
    """
    progress.note_open(len(problem.group.members), -float("inf"))
    with torch.no_grad():
        bounder = Bounder.of(problem, deadline, progress)
    yield
    return (yield from _Search(bounder, confirmer, deadline, progress).run())


@dataclass(slots=True, eq=False)
class _Search:
    """`waiting`: a heap of open parts, the worst first; `stuck`: bounds of open parts in which
    nothing is left to split.
    """

    bounder: Bounder
    confirmer: Confirmer
    deadline: Deadline
    progress: Progress
    projector: Projector = field(init=False)
    waiting: list[tuple[float, int, Part]] = field(default_factory=list[tuple[float, int, Part]])
    stuck: list[float] = field(default_factory=list[float])
    order: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        integers = torch.as_tensor(self.bounder.problem.query.integers)
        self.projector = Projector(self.bounder.known.region, integers)

    def run(self) -> Searching:
        """Bound the whole set for every case, then split until nothing is open."""
        cases, atoms = self.bounder.rows.shape[:2]
        falsified = self._bound(whole(cases, atoms, self.bounder.known.compiled.like), ROOT_STEPS)
        while self.waiting and not falsified:
            self._note()
            yield
            if self.deadline.passed:
                return "timeout"
            falsified = self._split()
        if falsified:
            return "falsified"
        if self.stuck:
            self._note()
            return "exhausted"
        return "verified"

    def _note(self) -> None:
        worst = [self.waiting[0][0]] if self.waiting else []
        self.progress.note_open(len(self.waiting) + len(self.stuck), min([*worst, *self.stuck]))

    @torch.no_grad()
    def _split(self) -> bool:
        """Split a batch of parts and bound the halves; whether a witness was met."""
        bounder = self.bounder
        size = min(len(self.waiting), bounder.batch_size // 2)
        chosen = [heapq.heappop(self.waiting)[2] for _ in range(size)]
        batch = gathered(chosen, bounder.known.entries.pick(bounder.known.bounds))
        found = halves(bounder, batch, chosen)
        return self._bound(found.batch, STEPS, found.glance)

    @torch.no_grad()
    def _bound(self, batch: Batch, steps: int, glance: Tensor | None = None) -> bool:
        """Bound parts and keep those that stay open; whether a witness was met.

        Where a `glance` says that a part is refuted already, no steps are taken.
        """
        bounder, progress = self.bounder, self.progress
        climbing = torch.ones(len(batch), dtype=torch.bool)
        if glance is not None:
            climbing = ~(glance > bounder.problem.slack)
        batch = bounder.raised(batch, climbing, steps)
        found = bounder.proven(batch)
        # A bound that is not a number says nothing; what held on a larger part still does.
        least = torch.fmax(found.least, batch.bounds)
        least = least.where(~least.isnan(), -torch.inf)
        is_open = ~(least > 0)
        progress.domains += len(batch)
        if not bool(is_open.all()):
            progress.refute(int((~is_open).sum()), bounded=False)
            progress.bound = min(progress.bound, float(least[~is_open].min()))
        if not bool(is_open.any()):
            return False
        slopes = found.linear.coefficients[is_open][:, None]
        points = region_of(bounder, len(slopes)).minimiser(slopes)[:, 0]
        return self._confirmed(points) or self._keep(batch, found, least, is_open)

    def _keep(self, batch: Batch, found: Proven, least: Tensor, is_open: Tensor) -> bool:
        """Store what can be split further, and settle the rest; whether a witness was met."""
        entries = candidates(found.gaps)
        for i in is_open.nonzero()[:, 0].tolist():
            bound = float(least[i])
            if len(entries[i]):
                part = batch.stored(i, bound, entries[i])
                heapq.heappush(self.waiting, (bound, next(self.order), part))
            elif self._settled(batch.take(torch.tensor([i])).compact(), bound):
                return True
        return False

    def _settled(self, batch: Batch, bound: float) -> bool:
        """Whether the one part of a batch, with nothing left to split, has a witness."""
        leaf = settle_leaf(self.bounder, batch, self.deadline)
        if leaf is not None and leaf.point is not None and self._confirmed(leaf.point[None]):
            return True
        if leaf is not None and leaf.bound > 0:
            self.progress.leaves += 1
            self.progress.bound = min(self.progress.bound, leaf.bound)
        else:
            self.stuck.append(bound)
        return False

    def _confirmed(self, points: Tensor) -> bool:
        """Whether the best of some points for any case is a witness of it."""
        problem = self.bounder.problem
        points = self.projector.project(points)
        group = problem.group
        margins = evaluate(problem.compiled, points)[:, torch.as_tensor(group.rows)]
        # Where a function has no value there is no witness.
        best = deciding_margins(group, margins.where(margins.isfinite(), torch.inf)).min(0)
        for member, value, position in zip(
            group.members, best.values.tolist(), best.indices.tolist(), strict=True
        ):
            if value <= 0 and self.confirmer.confirm(points[position], member):
                return True
        return False
