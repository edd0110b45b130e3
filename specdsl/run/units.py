"""A piece of a run: one obligation or one query, decided on its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from specdsl.query.elaboration.elaborate import Obligation
from specdsl.run.asking import Ask
from specdsl.run.decide import Method, decide, undecided
from specdsl.run.query_result import QueryResult
from specdsl.run.result import Result
from specdsl.run.workers.limits import Lost

if TYPE_CHECKING:
    from specdsl.query.elaboration.questions.optimum import Site
    from specdsl.query.elaboration.values.resources import Resources


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """What is asked, and how it is decided."""

    asked: Obligation | Site
    method: Method

    @property
    def id(self) -> str:
        """The id of the obligation or query."""
        return self.asked.id

    def answer(self, resources: Resources, ask: Ask) -> Result | QueryResult:
        """The result; never raises for what a user or a solver did wrong."""
        method = replace(self.method, ask=ask)
        if isinstance(self.asked, Obligation):
            return decide(self.asked, resources, method)
        from specdsl.run.queries import answer_site, gap_of

        return answer_site(self.asked, resources, method, gap_of(self.asked.declaration))

    def lost(self, lost: Lost) -> Result | QueryResult:
        """The result where the process that worked on it has ended."""
        if isinstance(self.asked, Obligation):
            base = undecided(self.asked, self.method)
            return replace(base, reason=lost.reason, advice=lost.advice, seconds=lost.seconds)
        from specdsl.run.queries import open_result

        base = open_result(self.asked, self.method)
        return replace(base, reason=lost.reason, seconds=lost.seconds)
