"""The `incomplete` backend: interval and CROWN bounds of every margin on the whole input set."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite, isnan
from typing import ClassVar, Literal, get_args

import torch

from specdsl.backend import Capabilities, Deadline, OutOfTime
from specdsl.backends.prepared import Prepared
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.many_boxes import MANY_SETS, ManyBoxes, batches
from specdsl.bounds.margins import bound_margins, deciding_margins, interval_margins, margin_rows
from specdsl.bounds.passes.affordable import count_coarse, describe_coarse
from specdsl.bounds.passes.crown import Propagated, propagate
from specdsl.bounds.regions.joint import MANY_STEPS, case_bounds
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.graph.graph import NodeId
from specdsl.query.groups import CaseGroup
from specdsl.query.query import Query
from specdsl.verdict import Answer, Certificate, OpenCases, Unknown, Verdict, Verified

Method = Literal["interval", "crown", "best"]


@dataclass(slots=True)
class _Progress:
    """`closed`: the cases, positions in the query, that have no point, `closed_bound` their least
    bound. `worst`: the least bound of all cases that were bounded. `coarse`: the layers that kept
    looser bounds on some input set, and the most neurons each had unstable.
    """

    closed: set[int] = field(default_factory=set[int])
    closed_bound: float = inf
    worst: float = inf
    coarse: dict[NodeId, int] = field(default_factory=dict[NodeId, int])

    def note(self, group: CaseGroup, least: torch.Tensor) -> None:
        """Proven bounds of the cases of a group, (cases,) or more: what follows is no case's."""
        for member, found in zip(group.members, least.tolist(), strict=False):
            # A bound that is not a number says nothing, and must never decide.
            bound = -inf if isnan(found) else found
            self.worst = min(self.worst, bound)
            if bound > 0:
                self.closed.add(member)
                self.closed_bound = min(self.closed_bound, bound)

    def note_coarse(self, coarse: Mapping[NodeId, int]) -> None:
        """Layers of one more input set."""
        for node, count in coarse.items():
            self.coarse[node] = max(count, self.coarse.get(node, 0))

    def left(self, query: Query) -> OpenCases:
        """The cases that may have a point."""
        cases = tuple(i for i in range(len(query.cases)) if i not in self.closed)
        return OpenCases(cases, self.closed_bound)


@dataclass(frozen=True, slots=True)
class Incomplete:
    """`method`: `interval`, `crown`, or `best` of both; ValueError for any other. `device`: of
    `bounds.devices`.
    """

    method: Method = "best"
    timeout: float | None = None
    device: str = "cpu"
    name: ClassVar[str] = "incomplete"
    capabilities: ClassVar[Capabilities] = Capabilities(
        verifies=True,
        falsifies=False,
        complete=False,
        norms=frozenset({"l1", "l2"}),
        nonlinear=True,
    )

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            listed = ", ".join(get_args(Method))
            raise ValueError(f"`{self.method}` is no method of `incomplete`; there are {listed}")

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        """Verified where bounds settle every case, else Unknown with the worst case's bound."""
        return self.decide(Prepared(query, self.device), deadline)

    def decide(self, prepared: Prepared, deadline: Deadline) -> Answer:
        """The same with what others have worked out already."""
        start = time.monotonic()
        self.capabilities.require(self.name, prepared.query)
        progress = _Progress()
        try:
            self._bound_all(prepared, deadline, progress)
            verdict = self._verdict(prepared.query, progress)
        except OutOfTime:
            verdict = Unknown(deadline.expiry, timeout=True, left=progress.left(prepared.query))
        seconds, statistics = time.monotonic() - start, count_coarse(progress.coarse)
        return Answer(verdict, f"incomplete/{self.method}", seconds, statistics)

    def _verdict(self, query: Query, progress: _Progress) -> Verdict:
        left, worst = progress.left(query), progress.worst
        if not left.cases:
            trusted = ("float64 rounding",)
            # Where no case has any input at all, there is no margin to speak of.
            margin = worst if isfinite(worst) else None
            method = f"incomplete/{self.method}"
            return Verified(Certificate(method, margin, trusted, above_rounding=True))
        advice = "use `search` or `milp`, which split what bounds alone cannot settle"
        reason = f"bounds alone do not settle it; best bound {worst:.4g}"
        if len(left.cases) < len(query.cases):
            reason += f"; {len(left.cases):,} of {len(query.cases):,} cases open"
        if progress.coarse:
            reason += f"; {describe_coarse(progress.coarse)}"
        return Unknown(reason, worst, advice, left=left)

    def _bound_all(self, prepared: Prepared, deadline: Deadline, progress: _Progress) -> None:
        """Bound every case. Raises OutOfTime."""
        groups = prepared.groups
        progress.closed.update(prepared.empty_cases)
        known: dict[CaseGroup, torch.Tensor] = {}
        if self.method != "interval" and len(groups) >= MANY_SETS:
            known = _together(prepared, deadline, progress)
        left = [group for group in groups if not progress.closed.issuperset(group.members)]
        # The group that is least likely to be closed goes first: one that stays open is enough.
        left.sort(key=lambda group: float(known[group].min()) if group in known else inf)
        gone_open = False
        for group in left:
            deadline.check()
            if group in known and gone_open:
                progress.note(group, known[group])
                continue
            least = self._bound_one(prepared, group, deadline, progress)
            if group in known:
                least = torch.fmax(least, known[group][: len(least)])
            progress.note(group, least)
            gone_open |= not progress.closed.issuperset(group.members)

    def _bound_one(
        self, prepared: Prepared, group: CaseGroup, deadline: Deadline, progress: _Progress
    ) -> torch.Tensor:
        """Proven bounds of the cases of one group: (cases,)."""
        with torch.no_grad():
            compiled = prepared.compiled
            region = input_region(group.inputs, compiled.like)
            slack = prepared.slack(group, deadline)
            if self.method == "interval":
                propagated = propagate(compiled, region, tighten=False)
            else:
                propagated = prepared.crown(group, deadline)
            progress.note_coarse(propagated.coarse)
            return self._bound(compiled, group, region, slack, propagated)[0]

    def _bound(
        self,
        compiled: CompiledGraph,
        group: CaseGroup,
        region: InputRegion,
        slack: float,
        propagated: Propagated,
    ) -> torch.Tensor:
        """Best bound of each case of the group, less the slack: (1, cases)."""
        rows = margin_rows(compiled, group)
        by_intervals = interval_margins(group, compiled, propagated) - slack
        if self.method == "interval":
            least = deciding_margins(group, by_intervals)
            return least.where(~region.is_empty[:, None], torch.full_like(least, torch.inf))
        crown = bound_margins(compiled, rows, region, propagated)
        least = case_bounds(group, crown, region, slack, MANY_STEPS).least
        if self.method == "crown":
            return least
        # `fmax` leaves out what is not a number: the other bound still holds.
        return torch.fmax(least, deciding_margins(group, by_intervals))


def _together(
    prepared: Prepared, deadline: Deadline, progress: _Progress
) -> dict[CaseGroup, torch.Tensor]:
    """Forward bounds of groups with few varying inputs, many at a time: closed ones are noted, the
    bounds of the others are the result. Raises OutOfTime.
    """
    margins = prepared.margins
    open_ones: dict[CaseGroup, torch.Tensor] = {}
    for batch in batches(margins, prepared.groups, prepared.like):
        boxes = ManyBoxes.of(margins, batch.groups, batch.box, deadline)
        for part in torch.arange(len(batch.groups)).split(boxes.at_once):
            deadline.check()
            box = Interval(batch.box.lower[part], batch.box.upper[part])
            for at, least in zip(part.tolist(), boxes.least(box, part), strict=True):
                group = batch.groups[at]
                if bool((least > 0).all()):
                    progress.note(group, least)
                else:
                    open_ones[group] = least
    return open_ones
