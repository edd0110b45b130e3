"""The `incomplete` backend: interval and CROWN bounds of every margin on the whole input set."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, Literal

import torch

from specdsl.backend import Capabilities, Deadline, OutOfTime
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.margins import bound_margins, deciding_margins, interval_margins, margin_rows
from specdsl.bounds.passes.affordable import crown_pass
from specdsl.bounds.passes.crown import propagate
from specdsl.bounds.regions.joint import MANY_STEPS, case_bounds
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.bounds.rounding import rounding_slack
from specdsl.encoding.integers import round_inward
from specdsl.graph.rewrites import restate, simplify
from specdsl.query.groups import CaseGroup, group_cases
from specdsl.query.query import Query
from specdsl.query.sets import EmptySet
from specdsl.verdict import Answer, Certificate, Unknown, Verdict, Verified


@dataclass(frozen=True, slots=True)
class Incomplete:
    """`method`: `interval`, `crown`, or `best` of both."""

    method: Literal["interval", "crown", "best"] = "best"
    timeout: float | None = None
    name: ClassVar[str] = "incomplete"
    capabilities: ClassVar[Capabilities] = Capabilities(
        verifies=True,
        falsifies=False,
        complete=False,
        norms=frozenset({"l1", "l2"}),
        nonlinear=True,
    )

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        """Verified where bounds settle every case, else Unknown with the worst case's bound."""
        start = time.monotonic()
        self.capabilities.require(self.name, query)
        try:
            verdict = self._decide(query, deadline)
        except OutOfTime:
            verdict = Unknown(deadline.expiry, timeout=True)
        return Answer(verdict, f"incomplete/{self.method}", time.monotonic() - start)

    def _decide(self, query: Query, deadline: Deadline) -> Verdict:
        worst = float("inf")
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
                bound = self._bound(compiled, group, region, slack, deadline)
                # A bound that is not a number says nothing, and must never decide.
                worst = min(worst, float(bound.where(~bound.isnan(), -torch.inf).min()))
        if worst > 0:
            trusted = ("float64 rounding",)
            # Where no case has any input at all, there is no margin to speak of.
            margin = worst if isfinite(worst) else None
            return Verified(Certificate(f"incomplete/{self.method}", margin, trusted))
        advice = "use `search` or `milp`, which split what bounds alone cannot settle"
        return Unknown(f"bounds alone do not settle it; best bound {worst:.4g}", worst, advice)

    def _bound(
        self,
        compiled: CompiledGraph,
        group: CaseGroup,
        region: InputRegion,
        slack: float,
        deadline: Deadline,
    ) -> torch.Tensor:
        """Best bound of each case of the group, less the slack: (1, cases)."""
        if self.method == "interval":
            propagated = propagate(compiled, region, tighten=False)
        else:
            propagated = crown_pass(compiled, region, deadline)
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
