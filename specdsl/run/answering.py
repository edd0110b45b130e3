"""One query to one answer: ask the backend, check its evidence. No spec, no language."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from specdsl.backend import Backend, Deadline, Unsupported, require_plain
from specdsl.diagnostics import SpecError
from specdsl.query.query import Query
from specdsl.run.memory import more_memory, out_of_memory, ran_out
from specdsl.verdict import Answer, Certificate, Falsified, Unknown, Verified

if TYPE_CHECKING:
    from specdsl.graph.graph import Graph

_LOG = logging.getLogger(__name__)

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
    if not backend.capabilities.smoothed:
        require_plain(backend.name, query)
    try:
        answer = settle(query, backend.answer(query, Deadline.after(timeout)))
        if query.smoothing is not None:
            return answer
        restated = restate(query.graph)
        answer = _above_rounding(query, restated.graph, answer)
        return answer if restated.keeps_values else _without_bounds(answer)
    except (Unsupported, SpecError):
        raise
    # The one boundary where anything is caught: solvers are foreign code, and a crash must cost
    # its own obligation only. Nothing is concluded from it.
    except Exception as error:  # noqa: BLE001
        _LOG.debug("solver crashed on %s", query.name, exc_info=True)
        return Answer(crash("solver", error), backend.name, time.monotonic() - start)


def crash(who: str, error: Exception) -> Unknown:
    """Nothing is concluded from a breakdown."""
    if ran_out(error):
        return Unknown(out_of_memory(), advice=more_memory(), crashed=True)
    reason = f"{who} crashed: {type(error).__name__}: {_first_line(error)}"
    return Unknown(reason, crashed=True)


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
