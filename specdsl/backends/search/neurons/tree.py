"""A tree of parts: split a neuron where its relaxation costs most, worst parts first.

Bounds inside are those of the whole set; on a part, the intervals of split entries are narrower,
and beta-CROWN's multipliers carry that to the margins.

Source: Wang et al. 2021, arXiv:2103.06624.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace
from itertools import count

import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.backends.search.confirming import Confirmer
from specdsl.backends.search.neurons.bounding import Bounder, Proven, region_of
from specdsl.backends.search.neurons.branching import (
    RULES,
    Chooser,
    Halves,
    RuleName,
    candidates,
    gained,
    halves,
)
from specdsl.backends.search.neurons.leaves import settle_leaf
from specdsl.backends.search.neurons.parts import Batch, Part, gathered
from specdsl.backends.search.problem import Progress
from specdsl.bounds.parts.gaps import Gaps
from specdsl.bounds.regions.projection import Projector
from specdsl.certificates.part_records import Otherwise, PartRecord, Refuted

# Steps of ascent on the whole set. On a part there are `steps` of the options: with 3 multipliers
# hardly move, and the instance of docs/performance.md that 10 decide in 9 s is open after 40.
ROOT_STEPS = 20
# A step of ascent, backward and forward, and a proof in float64, in passes of a row in float32.
STEP_PASSES, PROOF_PASSES = 3, 2


@dataclass(slots=True, eq=False)
class Tree:
    """`waiting`: a heap of open parts, the worst first; `stuck`: bounds of open parts in which
    nothing is left to split; `gaps`: of the parts that were planted, as of Proven;
    `planted`: the first of these, if it is open. `bounded`: how many parts were.
    """

    bounder: Bounder
    confirmer: Confirmer
    deadline: Deadline
    progress: Progress
    chooser: Chooser
    projector: Projector = field(init=False)
    waiting: list[tuple[float, int, Part]] = field(default_factory=list[tuple[float, int, Part]])
    stuck: list[float] = field(default_factory=list[float])
    gaps: Gaps | None = None
    planted: Part | None = None
    bounded: int = 0
    order: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        device = self.bounder.known.compiled.like.device
        integers = torch.as_tensor(self.bounder.problem.query.integers, device=device)
        self.projector = Projector(self.bounder.known.region, integers)

    @property
    def open_parts(self) -> int:
        """How many are left, those with nothing left to split included."""
        return len(self.waiting) + len(self.stuck)

    @property
    def worst(self) -> float:
        """The least bound of an open part; infinite where there is none."""
        return min([self.waiting[0][0] if self.waiting else float("inf"), *self.stuck])

    @property
    def open_cases(self) -> list[int]:
        """Of parts that can be split: positions in the group, rising."""
        return sorted({part.case for _, _, part in self.waiting})

    def begun_with(self, bounder: Bounder) -> Tree:
        """An empty one by other bounds, for the same search."""
        return Tree(bounder, self.confirmer, self.deadline, self.progress, self.chooser)

    def of_case(self, bounder: Bounder, position: int) -> Tree:
        """A tree of the parts of one case that are left to split, for a bounder of that case."""
        own = self.begun_with(bounder)
        own.waiting = [(b, n, replace(p, case=0)) for b, n, p in self.waiting if p.case == position]
        heapq.heapify(own.waiting)
        own.planted = own.waiting[0][2] if own.waiting else None
        if self.gaps is not None:
            own.gaps = Gaps(*(g[position : position + 1] for g in (self.gaps.off, self.gaps.spans)))
        own.order = count(max((n for _, n, _ in own.waiting), default=0) + 1)
        return own

    def refute_all(self) -> None:
        """Nothing can be a witness."""
        self.progress.refute(self.open_parts, bounded=False)
        self.progress.unmeasured = True
        self.waiting.clear()
        self.stuck.clear()

    def plant(self, batch: Batch, records: list[PartRecord]) -> bool:
        """Bound the parts from which the tree grows; whether a witness was met."""
        climbing = torch.ones_like(batch.cases, dtype=torch.bool)
        found, _ = self._bound(batch, records, ROOT_STEPS, climbing)
        self.planted = self.waiting[0][2] if self.waiting else None
        return found

    @torch.no_grad()
    def split(self) -> bool:
        """Split a batch of parts and bound the halves; whether a witness was met."""
        bounder = self.bounder
        size = int(min(len(self.waiting), bounder.batch_size // 2, self.chooser.most))
        chosen = [heapq.heappop(self.waiting)[2] for _ in range(size)]
        batch = gathered(chosen, bounder.known.entries.pick(bounder.known.bounds))
        rule = self.chooser.current
        cut = halves(bounder, batch, chosen, RULES[rule])
        records = [
            record
            for part, (number, point) in zip(chosen, cut.cuts, strict=True)
            for record in part.record.cut(number, point)
        ]
        return self._bound_halves(cut, records, rule)

    def _bound_halves(self, cut: Halves, records: list[PartRecord], rule: RuleName) -> bool:
        """Bound halves that a rule has found; whether a witness was met.

        Where a glance says that a part is refuted already, no steps are taken.
        """
        climbing = ~(cut.glance > self.bounder.problem.slack)
        before = cut.batch.bounds[::2]
        steps = self.bounder.problem.options.steps
        met, least = self._bound(cut.batch, records, steps, climbing)
        climbed = STEP_PASSES * steps * int(climbing.sum())
        work = cut.passes + climbed + PROOF_PASSES * len(climbing)
        self.chooser.note(rule, len(before), gained(before, least), work)
        return met

    @torch.no_grad()
    def _bound(
        self, batch: Batch, records: list[PartRecord], steps: int, climbing: Tensor
    ) -> tuple[bool, Tensor]:
        """Bound parts, by ascent where `climbing` says so, and keep those that stay open; whether a
        witness was met, and the bounds.
        """
        bounder, progress = self.bounder, self.progress
        batch = bounder.raised(batch, climbing, steps)
        found = bounder.proven(batch)
        if self.gaps is None:
            self.gaps = found.gaps
        # A bound that is not a number says nothing; what held on a larger part still does.
        least = torch.fmax(found.least, batch.bounds)
        least = least.where(~least.isnan(), -torch.inf)
        is_open = ~(least > 0)
        progress.domains += len(batch)
        self.bounded += len(batch)
        if not bool(is_open.all()):
            progress.refute(int((~is_open).sum()), bounded=False)
            progress.bound = min(progress.bound, float(least[~is_open].min()))
            for i in (~is_open).nonzero()[:, 0].tolist():
                records[i].below = self._refuted(batch, i, found)
        if not bool(is_open.any()):
            return False, least
        slopes = found.linear.coefficients[is_open][:, None]
        points = region_of(bounder, len(slopes)).minimiser(slopes)[:, 0]
        met = self._confirmed(points) or self._keep(batch, records, found, least, is_open)
        return met, least

    def _refuted(self, batch: Batch, index: int, found: Proven) -> Refuted | Otherwise:
        """How one part of a batch was."""
        if not float(found.alone[index]) > 0:
            return Otherwise("several conditions together")
        atom = int(found.atoms[index])
        row = batch.row_record(index, atom, self.bounder.known, found.places)
        return Refuted(atom, row)

    def _keep(
        self,
        batch: Batch,
        records: list[PartRecord],
        found: Proven,
        least: Tensor,
        is_open: Tensor,
    ) -> bool:
        """Store what can be split further, and settle the rest; whether a witness was met."""
        entries = candidates(found.gaps)
        for i in is_open.nonzero()[:, 0].tolist():
            bound = float(least[i])
            alone = batch.cases.new_tensor([i])
            own = entries[i]
            if not len(own[0]) and self.bounder.is_sharpened:
                undecided = self.bounder.undecided(batch.take(alone).compact().parts)
                own = tuple(undecided for _ in own)
            if len(own[0]):
                part = batch.stored(i, bound, own, records[i])
                heapq.heappush(self.waiting, (bound, next(self.order), part))
            elif self._settled(batch.take(alone).compact(), records[i], bound):
                return True
        return False

    def _settled(self, batch: Batch, record: PartRecord, bound: float) -> bool:
        """Whether the one part of a batch, with nothing left to split, has a witness."""
        programs = self.bounder.problem.options.programs
        leaf = settle_leaf(self.bounder, batch, self.deadline) if programs else None
        if leaf is not None and leaf.point is not None and self._confirmed(leaf.point[None]):
            return True
        if leaf is not None and leaf.bound > 0:
            record.below = Otherwise("a linear program")
            self.progress.leaves += 1
            self.progress.bound = min(self.progress.bound, leaf.bound)
        else:
            self.stuck.append(bound)
        return False

    def _confirmed(self, points: Tensor) -> bool:
        """Whether the best of some points for any case is a witness of it."""
        problem = self.bounder.problem
        points = self.projector.project(points)
        return self.confirmer.confirm_best(problem.compiled, problem.group, points)
