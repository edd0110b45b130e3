"""Who is asked for an answer: the backend itself, or somebody in front of it who may know it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Protocol

from specdsl.backend import Backend, Deadline
from specdsl.diagnostics import Diagnostic, diagnostic
from specdsl.query.query import Query
from specdsl.run.answering import answer_query
from specdsl.run.certifying import certified, deadline_for
from specdsl.run.demand import Demand
from specdsl.verdict import Answer, Falsified


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """An answer whose evidence has been checked, and where it is from.

    `seconds`: what it took from `since` on when it was found; of a `cached` one that was earlier.
    `file`: the certificate of a witness, where one is wanted; `warnings`: why there is none.
    """

    answer: Answer
    seconds: float
    cached: bool = False
    file: bytes | None = None
    warnings: tuple[Diagnostic, ...] = ()


class Ask(Protocol):
    """Puts a query to a backend, now or some other time."""

    def __call__(
        self, query: Query, backend: Backend, timeout: float | None, since: float
    ) -> Answered:
        """The answer. `since`: when work on it began, by `time.monotonic`.

        Raises Unsupported and SpecError as the backend does.
        """
        ...


@dataclass(frozen=True, slots=True)
class AskBackend:
    """The backend is asked, here and now, and its proof is checked as `demand` says."""

    demand: Demand = field(default_factory=Demand)

    def __call__(
        self, query: Query, backend: Backend, timeout: float | None, since: float
    ) -> Answered:
        """As `Ask`."""
        deadline = Deadline.after(timeout)
        answer = answer_query(query, backend, timeout)
        if not self.demand.believes(answer):
            left = deadline_for(answer, deadline)
            answer = certified(query, answer, self.demand.semantics, left)
        return Answered(answer, time.monotonic() - since)


@dataclass(frozen=True, slots=True)
class AskForFiles:
    """As `ask` does; a witness comes with a certificate of its own."""

    ask: Ask

    def __call__(
        self, query: Query, backend: Backend, timeout: float | None, since: float
    ) -> Answered:
        """As `Ask`."""
        from specdsl.certificates.nodes import NotCertified
        from specdsl.certificates.witnesses import witness_certificate

        answered = self.ask(query, backend, timeout, since)
        if not isinstance(answered.answer.verdict, Falsified):
            return answered
        try:
            file = witness_certificate(query, answered.answer.verdict.witness)
        except NotCertified as error:
            problem = diagnostic("W0881", f"there is no certificate of the witness: {error}")
            return replace(answered, warnings=(problem,))
        return replace(answered, file=file)
