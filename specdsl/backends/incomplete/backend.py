"""The `incomplete` backend: interval and CROWN bounds of every margin on the whole input set."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from specdsl.backend import Capabilities, Deadline
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.crown import propagate
from specdsl.bounds.margins import bound_margins, deciding_margins, interval_margins, margin_rows
from specdsl.bounds.region import input_region
from specdsl.graph.rewrites import simplify
from specdsl.query.groups import CaseGroup, group_cases
from specdsl.query.query import Query
from specdsl.verdict import Answer, Certificate, Unknown, Verdict, Verified


@dataclass(frozen=True, slots=True)
class Incomplete:
    """`method`: `interval`, `crown`, or `best` of both."""

    method: Literal["interval", "crown", "best"] = "best"
    timeout: float | None = None
    name: ClassVar[str] = "incomplete"
    capabilities: ClassVar[Capabilities] = Capabilities(
        verifies=True, falsifies=False, complete=False, norms=frozenset({"l1", "l2"})
    )

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        """Verified where bounds settle every case, else Unknown with the worst case's bound."""
        start = time.monotonic()
        self.capabilities.require(self.name, query)
        verdict = self._decide(query, deadline)
        return Answer(verdict, f"incomplete/{self.method}", time.monotonic() - start)

    def _decide(self, query: Query, deadline: Deadline) -> Verdict:
        worst = float("inf")
        compiled = compile_graph(simplify(query.graph))
        for group in group_cases(query):
            if deadline.passed:
                return Unknown(deadline.expiry, timeout=True)
            with torch.no_grad():
                worst = min(worst, float(self._bound(compiled, group).min()))
        if worst > 0:
            trusted = ("float64 rounding",)
            return Verified(Certificate(f"incomplete/{self.method}", worst, trusted))
        advice = "use `search` or `milp`, which split what bounds alone cannot settle"
        return Unknown(f"bounds alone do not settle it; best bound {worst:.4g}", worst, advice)

    def _bound(self, compiled: CompiledGraph, group: CaseGroup) -> torch.Tensor:
        """Best bound of each case of the group: (1, cases)."""
        region = input_region(group.inputs, compiled.like)
        propagated = propagate(compiled, region, tighten=self.method != "interval")
        proven = interval_margins(group, compiled, propagated)
        if self.method != "interval":
            rows = margin_rows(compiled, group)
            crown = bound_margins(compiled, rows, region, propagated).proven
            proven = crown if self.method == "crown" else torch.maximum(proven, crown)
        return deciding_margins(group, proven)
