"""Branch and bound over input boxes: bound a batch, drop what is refuted, clip, halve, repeat."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.backends.search.confirming import Confirmer, only_point
from specdsl.backends.search.inputs.bounding import Bounder
from specdsl.backends.search.inputs.clipping import clip, recorded
from specdsl.backends.search.inputs.domains import Domains, Lattice, Pool, has_point
from specdsl.backends.search.inputs.jumps import crossings, has_steps
from specdsl.backends.search.inputs.plateaus import MAX_JUDGED, TIE_PART, Plateaus
from specdsl.backends.search.inputs.probing import Trials
from specdsl.backends.search.inputs.splitting import bisect, sensitivity, splittable, steepness
from specdsl.backends.search.problem import Problem, Progress, Searching
from specdsl.bounds.interval import Interval
from specdsl.bounds.margins import bound_margins, deciding_margins, margin_rows
from specdsl.bounds.outward import magnitude
from specdsl.bounds.passes.crown import LinearLower, Propagated, propagate
from specdsl.bounds.regions.joint import Mixtures, case_bounds
from specdsl.bounds.regions.projection import Projector
from specdsl.bounds.regions.region import Balls, InputRegion, input_region
from specdsl.query.groups import CaseGroup


def search_inputs(
    problem: Problem, confirmer: Confirmer, deadline: Deadline, progress: Progress
) -> Searching:
    """Search one group; a step is a batch of boxes."""
    return _Search(problem, confirmer, progress).run(deadline)


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
    batch: int = field(init=False)
    stopped: bool = False
    batches: int = 0
    domains_left: float = float("inf")
    trials: Trials = field(default_factory=Trials)

    def __post_init__(self) -> None:
        compiled, group = self.problem.compiled, self.problem.group
        self.root = input_region(group.inputs, compiled.like)
        self.bounder = Bounder(self.problem, self.root)
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
        waiting = Pool(self._whole())
        while len(waiting):
            yield
            self._note_open(waiting.domains, self.stuck)
            if deadline.passed:
                return "timeout"
            chosen = self._meeting(waiting.take_some(self.batch))
            if not len(chosen):
                continue
            bounded = self._bound(chosen, deadline)
            if not len(bounded.domains):
                continue
            if self._falsified(bounded) or self._met_at_a_jump(bounded.domains):
                return "falsified"
            if self.domains_left <= 0:
                self._note_open(waiting.domains, bounded.domains, self.stuck)
                return "jump"
            bounded = self._cuttable(bounded)
            if self.confirmer.witness is not None:
                return "falsified"
            if self.stopped:
                self._note_open(waiting.domains, bounded.domains, self.stuck)
                return "exhausted"
            if not len(bounded.domains):
                continue
            clipped = self._clip(bounded)
            levels = _levels(len(clipped.domains), len(waiting), self.bounder.ahead)
            slopes = self._slopes(clipped, deadline)
            waiting.put(bisect(clipped.domains, slopes, self.lattice, levels, self.problem.record))
        if len(self.stuck):
            self._note_open(self.stuck)
            return "exhausted"
        return "verified"

    def _note_open(self, *open_parts: Domains) -> None:
        """What is left to do."""
        known = [float(part.bound.min()) for part in open_parts if len(part)]
        self.progress.note_open(sum(map(len, open_parts)), min(known, default=float("inf")))

    def _whole(self) -> Domains:
        box, cases = self.root.box, len(self.problem.group.members)
        bound = box.lower.new_full((1,), -float("inf"))
        is_open = bound.new_ones(1, cases, dtype=torch.bool)
        numbers = torch.zeros(1, dtype=torch.long, device=bound.device)
        return Domains(box.lower, box.upper, bound, is_open, self.bounder.no_codes(1), numbers)

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
        remaining = Domains(
            domains.lower, domains.upper, worst, is_open, bounds.codes, domains.numbers
        )
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
        if not self.problem.options.points:
            return False
        domains, linear, group = bounded.domains, bounded.linear, self.problem.group
        points = (domains.lower + domains.upper) / 2
        if len(group.rows):
            row = _deciding_rows(group, linear.lower, domains.open_cases)
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

    def _slopes(self, bounded: _Bounded, deadline: Deadline) -> Tensor:
        """What splitting goes by: how steep margins are, times what inputs turned out to be worth.

        Now and then inputs are tried for that: (domains, inputs).
        """
        domains, progress = bounded.domains, self.progress
        slopes = steepness(bounded.linear, self.sensitivities)
        learns = self.problem.options.learn and len(domains)
        if learns and self.trials.are_due(progress.domains):
            progress.domains += self.trials.run(
                domains, slopes, self.lattice, lambda halves: self._least(halves, deadline)
            )
        return slopes if self.trials.worth is None else slopes * self.trials.worth

    def _least(self, domains: Domains, deadline: Deadline) -> Tensor:
        """The worst bound of any open case of each domain, infinite where all are refuted."""
        group, slack = self.problem.group, self.problem.slack
        found: list[Tensor] = []
        for part in torch.arange(len(domains), device=domains.lower.device).split(self.batch):
            some = domains.take(part)
            region = self._region(some)
            margins = self.bounder.bound(region, some.codes, deadline).margins
            with torch.no_grad():
                cases = case_bounds(group, margins, region, slack).least
            is_open = some.open_cases & ~(cases > 0)
            found.append(cases.where(is_open, torch.full_like(cases, torch.inf)).amin(1))
        return torch.cat(found)

    def _clip(self, bounded: _Bounded) -> _Bounded:
        """Boxes cut down to where their bounds still allow a violation."""
        if not self.problem.options.clip:
            return bounded
        domains = bounded.domains
        group, slack = self.problem.group, self.problem.slack
        kept = clip(domains, bounded.linear, group, slack, bounded.mixtures)
        kept = recorded(domains, kept, self.problem.record)
        changed = (kept.lower > domains.lower).any() | (kept.upper < domains.upper).any()
        self.progress.unmeasured |= bool(changed)
        inward = self.lattice.inward(kept)
        left = has_point(inward)
        self.progress.refute(int((~left).sum()), bounded=False)
        return _Bounded(inward, bounded.linear, bounded.mixtures).take(left)


def _deciding_rows(group: CaseGroup, lower: Tensor, open_cases: Tensor) -> Tensor:
    """Of each domain the row that decides its worst open case: (domains,). lower (domains, rows),
    open_cases (domains, cases).
    """
    rows, bounds = (
        torch.zeros_like(open_cases, dtype=torch.long),
        torch.full_like(open_cases, torch.inf, dtype=lower.dtype),
    )
    for case, atoms in enumerate(group.atoms):
        own = rows.new_tensor([a.index for a in atoms])
        if atoms:
            best = lower[:, own].max(1)
            rows[:, case], bounds[:, case] = own[best.indices], best.values
    worst = bounds.where(open_cases, torch.inf).argmin(1, keepdim=True)
    return rows.gather(1, worst)[:, 0]


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
