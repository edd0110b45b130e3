"""The `incomplete` backend: interval and CROWN bounds of every margin on the whole input set."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import ClassVar, Literal, get_args

import torch

from specdsl.backend import Capabilities, Deadline, OutOfTime
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.margins import bound_margins, deciding_margins, interval_margins, margin_rows
from specdsl.bounds.passes.affordable import count_coarse, crown_pass, describe_coarse
from specdsl.bounds.passes.crown import Propagated, propagate
from specdsl.bounds.regions.joint import MANY_STEPS, case_bounds
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.bounds.rounding import rounding_slack
from specdsl.encoding.integers import round_inward
from specdsl.graph.graph import NodeId
from specdsl.graph.rewrites import restate, simplify
from specdsl.query.groups import CaseGroup, group_cases
from specdsl.query.query import Query
from specdsl.query.sets import EmptySet
from specdsl.verdict import Answer, Certificate, Unknown, Verdict, Verified

Method = Literal["interval", "crown", "best"]


@dataclass(slots=True)
class _Progress:
    """`worst`: the least bound of all cases so far. `coarse`: the layers that kept looser bounds on
    some input set, and the most neurons each had unstable.
    """

    worst: float = float("inf")
    coarse: dict[NodeId, int] = field(default_factory=dict[NodeId, int])

    def note(self, bound: torch.Tensor, coarse: Mapping[NodeId, int]) -> None:
        # A bound that is not a number says nothing, and must never decide.
        found = float(bound.where(~bound.isnan(), -torch.inf).min())
        self.worst = min(self.worst, found)
        for node, count in coarse.items():
            self.coarse[node] = max(count, self.coarse.get(node, 0))


@dataclass(frozen=True, slots=True)
class Incomplete:
    """`method`: `interval`, `crown`, or `best` of both; ValueError for any other."""

    method: Method = "best"
    timeout: float | None = None
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
        start = time.monotonic()
        self.capabilities.require(self.name, query)
        progress = _Progress()
        try:
            verdict = self._decide(query, deadline, progress)
        except OutOfTime:
            verdict = Unknown(deadline.expiry, timeout=True)
        seconds, statistics = time.monotonic() - start, count_coarse(progress.coarse)
        return Answer(verdict, f"incomplete/{self.method}", seconds, statistics)

    def _decide(self, query: Query, deadline: Deadline, progress: _Progress) -> Verdict:
        margins = restate(query.graph).graph
        compiled = compile_graph(simplify(margins))
        for group in group_cases(query):
            if deadline.passed:
                return Unknown(deadline.expiry, timeout=True)
            try:
                inputs = round_inward(group.inputs, query.integers)
            except EmptySet:
                continue
            with torch.no_grad():
                region = input_region(inputs, compiled.like)
                slack = rounding_slack(margins, inputs, deadline)
                propagated = self._propagate(compiled, region, deadline)
                bound = self._bound(compiled, group, region, slack, propagated)
            progress.note(bound, propagated.coarse)
        worst = progress.worst
        if worst > 0:
            trusted = ("float64 rounding",)
            # Where no case has any input at all, there is no margin to speak of.
            margin = worst if isfinite(worst) else None
            return Verified(Certificate(f"incomplete/{self.method}", margin, trusted))
        advice = "use `search` or `milp`, which split what bounds alone cannot settle"
        reason = f"bounds alone do not settle it; best bound {worst:.4g}"
        if progress.coarse:
            reason += f"; {describe_coarse(progress.coarse)}"
        return Unknown(reason, worst, advice)

    def _propagate(
        self, compiled: CompiledGraph, region: InputRegion, deadline: Deadline
    ) -> Propagated:
        if self.method == "interval":
            return propagate(compiled, region, tighten=False)
        return crown_pass(compiled, region, deadline)

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
