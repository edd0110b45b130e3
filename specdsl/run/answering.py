"""One query to one answer: ask the backend, check its evidence. No spec, no language."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from specdsl.backend import Backend, Deadline, OutOfTime, Unsupported
from specdsl.diagnostics import SpecError
from specdsl.query.query import Query
from specdsl.run.memory import more_memory, out_of_memory, ran_out
from specdsl.verdict import Answer, CaseProof, Certificate, Falsified, Unknown, Verified

if TYPE_CHECKING:
    from specdsl.certificates.certify import Certified
    from specdsl.certificates.question import Semantics
    from specdsl.graph.graph import Graph

_LOG = logging.getLogger(__name__)

LEAST_SECONDS = 5.0
"""For the checker of certificates, however little of the time a method has left."""

ROOM = (4.0, 32.0, 256.0)
"""Multiples of what the checker's arithmetic may take off a margin, that a proof leaves for it."""

DEFAULT_TIMEOUT = 60.0
"""Seconds an obligation may take where neither the command line nor the spec says."""


def answer_query(query: Query, backend: Backend, timeout: float | None) -> Answer:
    """The backend's answer with its evidence checked; Unknown where the solver crashed.

    Raises Unsupported and SpecError as the backend does.
    """
    from specdsl.evidence import settle
    from specdsl.graph.rewrites import restate

    start = time.monotonic()
    if not query.cases:
        # The property holds for no better reason than that nothing satisfies its conditions.
        nothing = Certificate("no cases", margin=None, trusted=(), leaves=0)
        return Answer(Verified(nothing), "no cases", 0.0)
    try:
        answer = settle(query, backend.answer(query, Deadline.after(timeout)))
        restated = restate(query.graph)
        answer = _above_rounding(query, restated.graph, answer)
        return answer if restated.keeps_values else _without_bounds(answer)
    except (Unsupported, SpecError):
        raise
    # The one boundary where anything is caught: solvers are foreign code, and a crash must cost
    # its own obligation only. Nothing is concluded from it.
    except Exception as error:  # noqa: BLE001
        _LOG.debug("solver crashed on %s", query.name, exc_info=True)
        return Answer(_crash(error), backend.name, time.monotonic() - start)


def _crash(error: Exception) -> Unknown:
    if ran_out(error):
        return Unknown(out_of_memory(), advice=more_memory(), crashed=True)
    reason = f"solver crashed: {type(error).__name__}: {_first_line(error)}"
    return Unknown(reason, crashed=True)


def certified(
    query: Query, answer: Answer, semantics: Semantics, deadline: Deadline
) -> tuple[Answer, Certified | None]:
    """A verified answer with the certificate that the checker accepted, or Unknown with the reason
    why there is none; every other answer as it is.
    """
    from specdsl.certificates.certify import certify
    from specdsl.certificates.nodes import NotCertified

    if not isinstance(answer.verdict, Verified):
        return answer, None
    known = answer.verdict.certificate
    left = Deadline.after(max(LEAST_SECONDS, deadline.remaining))
    reason = "there was no time for it"
    try:
        for proofs in _proofs(query, known, semantics, left):
            try:
                found = certify(query, proofs, semantics, left)
            except NotCertified as error:
                reason = str(error)
            else:
                accepted = replace(known, trusted=found.trusted, leaves=found.leaves)
                if proofs is not known.proofs:
                    # Never silently another method: the answer says who proved it in the end.
                    accepted = replace(accepted, method=f"{known.method}, proven by search")
                return replace(answer, verdict=Verified(accepted)), found
    except (NotCertified, Unsupported, OutOfTime) as error:
        reason = f"{reason}; {error}"
    reason = f"{answer.method} verifies it, but there is no certificate: {reason}"
    return replace(answer, verdict=Unknown(reason, known.margin)), None


def _proofs(
    query: Query, known: Certificate, semantics: Semantics, deadline: Deadline
) -> Iterator[Sequence[CaseProof]]:
    """What a method knows, and then what searches find that leave more room for rounding, or go
    only where certificates do. Raises NotCertified.
    """
    yield known.proofs
    from specdsl.backends.search import Search
    from specdsl.certificates.certify import rounding_of

    rounding = rounding_of(query, semantics)
    # In real numbers there is only what the checker itself rounds.
    for room in ROOM[:1] if semantics == "real" else ROOM:
        search = Search(programs=False, above=room * rounding)
        verdict = search.answer(query, deadline).verdict
        if isinstance(verdict, Verified):
            yield verdict.certificate.proofs


def _above_rounding(query: Query, margins: Graph, answer: Answer) -> Answer:
    """Unknown where float64 rounding could account for the whole margin of a certificate.

    `margins`: the graph whose margins the backends bound, of the same signs as the query's.
    A certificate without a margin comes from exact arithmetic, or from a search; methods that take
    the slack off their margins as they go are not asked for it twice.
    """
    if not isinstance(answer.verdict, Verified):
        return answer
    certificate = answer.verdict.certificate
    if certificate.margin is None or certificate.above_rounding:
        return answer
    from specdsl.bounds.rounding import common_slack, rounding_slack

    margin = certificate.margin
    sets = {id(case.inputs): case.inputs for case in query.cases}
    if margin > common_slack(margins, tuple(sets.values())):
        return answer
    slack = max(rounding_slack(margins, inputs) for inputs in sets.values())
    if margin > slack:
        return answer
    reason = f"the margin {margin:.3g} is within what float64 rounding can hide, {slack:.3g}"
    return replace(answer, verdict=Unknown(reason, advice="use `smt`, which is exact"))


def _without_bounds(answer: Answer) -> Answer:
    """Bounds of margins that only have the signs of the user's are none of the user's margins."""
    match answer.verdict:
        case Verified(certificate):
            return replace(answer, verdict=Verified(replace(certificate, margin=None)))
        case Unknown():
            return replace(answer, verdict=replace(answer.verdict, bound=None))
        case Falsified():
            return answer


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no message"
