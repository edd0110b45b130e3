"""Branch and bound over input boxes: bound a batch, drop what is refuted, clip, halve, repeat."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.backends.search.confirming import Confirmer, only_point
from specdsl.backends.search.inputs.bounding import Bounder
from specdsl.backends.search.inputs.clipping import clip
from specdsl.backends.search.inputs.domains import Domains, Lattice, has_point
from specdsl.backends.search.inputs.jumps import crossings, has_steps
from specdsl.backends.search.inputs.plateaus import MAX_JUDGED, TIE_PART, Plateaus
from specdsl.backends.search.inputs.splitting import bisect, sensitivity, splittable
from specdsl.backends.search.problem import Problem, Progress, Searching
from specdsl.bounds.interval import Interval
from specdsl.bounds.margins import bound_margins, deciding_margins, margin_rows
from specdsl.bounds.outward import magnitude
from specdsl.bounds.passes.crown import LinearLower, Propagated, propagate
from specdsl.bounds.regions.joint import Mixtures, case_bounds
from specdsl.bounds.regions.projection import Projector
from specdsl.bounds.regions.region import Balls, InputRegion, input_region


def search_inputs(
    problem: Problem, batch: int, confirmer: Confirmer, deadline: Deadline, progress: Progress
) -> Searching:
    """Search one group; a step is a batch of so many boxes."""
    return _Search(problem, batch, confirmer, progress).run(deadline)


@dataclass(frozen=True, slots=True, eq=False)
class _Bounded:
    """A batch after bounding: what is open, its linear bounds and those of conjunctions."""

    domains: Domains
    linear: LinearLower
    mixtures: tuple[Mixtures, ...]

    def take(self, kept: Tensor) -> _Bounded:
        """What is left of it at a mask of domains."""
        linear = self.linear
        return _Bounded(
            self.domains.take(kept),
            LinearLower(linear.coefficients[kept], linear.constant[kept], linear.lower[kept]),
            tuple(part.take(kept) for part in self.mixtures),
        )


@dataclass(slots=True)
class _Search:
    """`stuck`: open domains that cannot be cut. Those that are one point each leave the others to
    be searched; `stopped`: one is more than that, and its like are too many to go on.

    `bounder`: what bounds batches. `plateaus`: what settles ties, where steps are all that matters.
    `jumps`: whether there are any to walk to; `batches`: how many were bounded; `domains_left`: how
    many more domains are bounded in the hope of a witness, once bounds have turned out never to
    tell at a jump.
    """

    problem: Problem
    batch: int
    confirmer: Confirmer
    progress: Progress
    root: InputRegion = field(init=False)
    lattice: Lattice = field(init=False)
    projector: Projector = field(init=False)
    sensitivities: Tensor = field(init=False)
    stuck: Domains = field(init=False)
    plateaus: Plateaus | None = field(init=False)
    jumps: bool = field(init=False)
    bounder: Bounder = field(init=False)
    stopped: bool = False
    batches: int = 0
    domains_left: float = float("inf")

    def __post_init__(self) -> None:
        compiled, group = self.problem.compiled, self.problem.group
        self.root = input_region(group.inputs, compiled.like)
        self.bounder = Bounder(self.problem, self.root, self.batch)
        self.batch = self.bounder.batch
        integers = torch.as_tensor(self.problem.query.integers, device=compiled.like.device)
        self.lattice = Lattice.of(integers, group.inputs.size)
        self.projector = Projector(self.root, integers)
        self.sensitivities = sensitivity(compiled, group, self.root)
        self.plateaus = Plateaus.of(compiled.graph)
        # Between whole numbers there is nothing to walk on, and they come to an end.
        self.jumps = has_steps(compiled.graph) and not len(integers)
        self.stuck = self._whole().take(slice(0))

    def run(self, deadline: Deadline) -> Searching:
        stack = self._whole()
        while len(stack):
            yield
            self._note_open(stack, self.stuck)
            if deadline.passed:
                return "timeout"
            chosen, stack = stack.pop_worst(self.batch)
            chosen = self._meeting(chosen)
            if not len(chosen):
                continue
            bounded = self._bound(chosen, deadline)
            if not len(bounded.domains):
                continue
            if self._falsified(bounded) or self._met_at_a_jump(bounded.domains):
                return "falsified"
            if self.domains_left <= 0:
                self._note_open(stack, bounded.domains, self.stuck)
                return "jump"
            bounded = self._cuttable(bounded)
            if self.confirmer.witness is not None:
                return "falsified"
            if self.stopped:
                self._note_open(stack, bounded.domains, self.stuck)
                return "exhausted"
            if not len(bounded.domains):
                continue
            clipped = self._clip(bounded)
            levels = _levels(len(clipped.domains), len(stack), self.bounder.ahead)
            parts = bisect(
                clipped.domains, clipped.linear, self.sensitivities, self.lattice, levels
            )
            stack = stack.join(parts)
        if len(self.stuck):
            self._note_open(self.stuck)
            return "exhausted"
        return "verified"

    def _note_open(self, *open_parts: Domains) -> None:
        """What is left to do."""
        bounds = torch.cat([part.bound for part in open_parts])
        self.progress.note_open(len(bounds), float(bounds.min()))

    def _whole(self) -> Domains:
        box, cases = self.root.box, len(self.problem.group.members)
        bound = box.lower.new_full((1,), -float("inf"))
        is_open = bound.new_ones(1, cases, dtype=torch.bool)
        return Domains(box.lower, box.upper, bound, is_open, self.bounder.no_codes(1))

    def _region(self, domains: Domains) -> InputRegion:
        balls: Balls | None = self.root.balls
        return InputRegion(Interval(domains.lower, domains.upper), balls)

    def _meeting(self, domains: Domains) -> Domains:
        """The domains that the balls reach: the others are empty."""
        if self.root.balls is None:
            return domains
        empty = self._region(domains).is_empty
        self.progress.refute(int(empty.sum()))
        return domains.take(~empty)

    def _bound(self, domains: Domains, deadline: Deadline) -> _Bounded:
        """Bounds of a batch, and what is left open by them."""
        group, slack, progress = self.problem.group, self.problem.slack, self.progress
        region = self._region(domains)
        bounds = self.bounder.bound(region, domains.codes, deadline)
        with torch.no_grad():
            found = case_bounds(group, bounds.margins, region, slack)
        cases = found.least
        if bounds.by_intervals is not None:
            cases = torch.fmax(cases, deciding_margins(group, bounds.by_intervals - slack))
        # A bound that is not a number says nothing, and must never close a case.
        cases = cases.where(~cases.isnan(), -torch.inf)
        is_open = domains.open_cases & (cases <= 0)
        closed_now = domains.open_cases & ~is_open
        if bool(closed_now.any()):
            progress.bound = min(progress.bound, float(cases[closed_now].min()))
        self._settle_ties(cases, is_open, bounds.propagated)
        kept = is_open.any(1)
        progress.domains += len(domains)
        progress.refute(int((~kept).sum()), bounded=False)
        worst = cases.where(is_open, torch.full_like(cases, float("inf"))).amin(1)
        remaining = Domains(domains.lower, domains.upper, worst, is_open, bounds.codes)
        return _Bounded(remaining, bounds.margins.linear, found.mixtures).take(kept)

    def _settle_ties(self, cases: Tensor, is_open: Tensor, propagated: Propagated | None) -> None:
        """Close cases (domains, cases) open by what may be a tie, where steps have few values."""
        if self.plateaus is None or propagated is None:
            return
        size = magnitude(propagated.bounds[self.problem.compiled.graph.output]).flatten(1)
        near = is_open & (cases >= -TIE_PART * (1 + size.amax(1, keepdim=True)))
        for at in near.any(1).nonzero()[:MAX_JUDGED, 0].tolist():
            refuted = self.plateaus.refuted(self.problem.group, propagated.bounds, at)
            is_open[at] &= ~refuted.to(is_open.device)
            self.progress.unmeasured |= bool(refuted.any())

    def _falsified(self, bounded: _Bounded) -> bool:
        """Try the centre of every domain, the corner where its deciding line is least, and where
        lines of several atoms are least together.
        """
        domains, linear, group = bounded.domains, bounded.linear, self.problem.group
        points = (domains.lower + domains.upper) / 2
        if len(group.rows):
            row = linear.lower.argmin(1)
            slope = linear.coefficients[torch.arange(len(domains), device=row.device), row]
            corner = domains.lower.where(slope >= 0, domains.upper)
            points = torch.cat([points, corner, *(part.points for part in bounded.mixtures)])
        return self._confirmed(self.projector.project(points))

    def _confirmed(self, points: Tensor) -> bool:
        """Whether the best of some points for any case is a witness of it."""
        problem = self.problem
        return self.confirmer.confirm_best(problem.compiled, problem.group, points)

    def _met_at_a_jump(self, domains: Domains) -> bool:
        """Whether a witness was met at a jump; now and then one is looked for."""
        if not self.jumps:
            return False
        self.batches += 1
        self.domains_left -= len(domains)
        if self.batches not in JUMPS_SOUGHT or self.domains_left < float("inf"):
            return False
        ways = crossings(self.problem.compiled, domains, self.projector)
        if not len(ways.left):
            return False
        if self._confirmed(self.projector.project(ways.nearby())):
            return True
        if self._never_told(torch.cat([ways.left, ways.right])):
            self.domains_left = max(PATIENCE, self.progress.domains)
        return False

    def _never_told(self, points: Tensor) -> bool:
        """Whether bounds leave a case open even at one of the points alone."""
        compiled, group = self.problem.compiled, self.problem.group
        region = InputRegion(Interval(points, points))
        with torch.no_grad():
            propagated = propagate(compiled, region, tighten=False, checked=True)
            margins = bound_margins(compiled, margin_rows(compiled, group), region, propagated)
            least = case_bounds(group, margins, region, self.problem.slack).least
        return bool((~(least > 0)).any())

    def _cuttable(self, bounded: _Bounded) -> _Bounded:
        """What can be cut; the rest is judged exactly where it is one point, or stuck."""
        cut = splittable(bounded.domains, self.lattice)
        if not bool(cut.all()):
            left = bounded.domains.take(~cut)
            still = cut.new_tensor([self._is_open(left, i) for i in range(len(left))])
            self.progress.refute(int((~still).sum()), bounded=False)
            self.progress.unmeasured |= not bool(still.all())
            self.stuck = self.stuck.join(left.take(still))
        return bounded.take(cut)

    def _is_open(self, domains: Domains, index: int) -> bool:
        """Whether some open case of a domain is not refuted at the only point the domain holds."""
        group, query = self.problem.group, self.problem.query
        for position, member in enumerate(group.members):
            if not bool(domains.open_cases[index, position]):
                continue
            inputs = query.cases[member].inputs
            point = only_point(domains.lower[index], domains.upper[index], inputs)
            self.stopped |= point is None
            if point is None or self.confirmer.decide(point, member) != "refuted":
                return True
        return False

    def _clip(self, bounded: _Bounded) -> _Bounded:
        """Boxes cut down to where their bounds still allow a violation."""
        domains = bounded.domains
        group, slack = self.problem.group, self.problem.slack
        kept = clip(domains, bounded.linear, group, slack, bounded.mixtures)
        changed = (kept.lower > domains.lower).any() | (kept.upper < domains.upper).any()
        self.progress.unmeasured |= bool(changed)
        inward = self.lattice.inward(kept)
        left = has_point(inward)
        self.progress.refute(int((~left).sum()), bounded=False)
        return _Bounded(inward, bounded.linear, bounded.mixtures).take(left)


def _levels(open_now: int, waiting: int, batch: int) -> int:
    """How often to halve so that the next batch is full but no fuller: fewer batches early on."""
    levels = 1
    while levels < MAX_LEVELS and (open_now << (levels + 1)) + waiting <= batch:
        levels += 1
    return levels


MAX_LEVELS = 4
# Batches after which jumps are walked to: rarely, and in time for boxes that shrink onto one.
JUMPS_SOUGHT = frozenset(4**i for i in range(1, 12))
# Where no bound can tell, a witness may yet be met elsewhere: hoped for over as many domains
# as there were so far, and over these at least.
PATIENCE = 2000
