"""One obligation to one `Result`: build the query, ask the backend, check the evidence."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from specdsl.backend import Backend, Deadline, Unsupported
from specdsl.diagnostics import Diagnostic, SpecError, diagnostic
from specdsl.query.query import Query
from specdsl.run.figures import claim_holds_at
from specdsl.run.outcomes import ShownVariable, ShownWitness
from specdsl.run.result import Result
from specdsl.source import Span
from specdsl.verdict import Answer, Certificate, Falsified, Unknown, Verified, Witness

if TYPE_CHECKING:
    from specdsl.graph.graph import Graph
    from specdsl.query.elaboration.elaborate import Obligation
    from specdsl.query.elaboration.values.resources import Resources

_LOG = logging.getLogger(__name__)

DEFAULT_TIMEOUT = 60.0
"""Seconds an obligation may take where neither the command line nor the spec says."""


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """How the obligations of one `check` are decided.

    `timeout`: seconds for each obligation. `with_samples`: also try each sample unperturbed.
    `judged_by_expect`: the check passes or fails by its `expect`s alone.
    """

    backend: Backend
    timeout: float | None
    with_samples: bool = False
    judged_by_expect: bool = False


def decide(obligation: Obligation, resources: Resources, method: Method) -> Result:
    """The result of one obligation; never raises for what a user or a solver did wrong.

    A construct that the backend has no rule for, and errors that elaboration finds only now,
    become diagnostics of this result. A crash of the solver makes the verdict unknown.
    """
    start = time.monotonic()
    base = Result(
        id=obligation.id,
        property_name=obligation.property_name,
        check=obligation.check,
        verdict="unknown",
        method=method.backend.name,
        seconds=0.0,
        span=obligation.span,
        sample=obligation.sample,
    )
    try:
        query = obligation.query(resources)
        sample = obligation.sample_point(resources) if method.with_samples else None
        answer = answer_query(query, method.backend, method.timeout)
    except SpecError as error:
        found = tuple(d.at(obligation.span) for d in error.diagnostics)
        return _refused(base, found, time.monotonic() - start)
    except Unsupported as error:
        return _refused(base, (unsupported(error, obligation),), time.monotonic() - start)
    holds = None if sample is None else claim_holds_at(query, sample)
    seconds = time.monotonic() - start
    result = replace(base, sample_holds=holds, seconds=seconds, warnings=query.warnings)
    return _with_answer(result, query, answer)


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
        reason = f"solver crashed: {type(error).__name__}: {_first_line(error)}"
        return Answer(Unknown(reason), backend.name, time.monotonic() - start)


def _above_rounding(query: Query, margins: Graph, answer: Answer) -> Answer:
    """Unknown where float64 rounding could account for the whole margin of a certificate.

    `margins`: the graph whose margins the backends bound, of the same signs as the query's.
    A certificate without a margin comes from exact arithmetic, or from a search that already
    counted margins above the slack only.
    """
    from specdsl.bounds.rounding import rounding_slack

    if not isinstance(answer.verdict, Verified) or answer.verdict.certificate.margin is None:
        return answer
    margin = answer.verdict.certificate.margin
    sets = {id(case.inputs): case.inputs for case in query.cases}
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


def unsupported(error: Unsupported, obligation: Obligation) -> Diagnostic:
    """What the method cannot do, as a diagnostic at the obligation."""
    return unsupported_at(error, obligation.span, obligation.id)


def unsupported_at(error: Unsupported, span: Span, id: str) -> Diagnostic:
    """What the method cannot do, where the spec says so, else where it was asked."""
    return diagnostic(
        "E0855",
        f"`{error.method}` does not support {error.what}",
        error.place or span,
        label="" if error.place else f"asked by `{id}`",
        secondary=error.chains,
        help=error.advice,
    )


def _refused(base: Result, found: tuple[Diagnostic, ...], seconds: float) -> Result:
    reason = "not asked: " + "; ".join(d.message for d in found)
    return replace(base, diagnostics=found, reason=reason, seconds=seconds)


def _with_answer(base: Result, query: Query, answer: Answer) -> Result:
    # For an `exists` the roles change: the point that a query finds is what was claimed.
    claimed = query.kind == "exists"
    known: dict[str, Any]
    match answer.verdict:
        case Verified(certificate):
            known = {
                "verdict": "falsified" if claimed else "verified",
                "certificate": certificate,
                "bound": certificate.margin,
            }
        case Falsified(witness):
            known = {
                "verdict": "verified" if claimed else "falsified",
                "witness": show_witness(query, witness),
            }
        case Unknown(reason, bound, advice):
            known = {"verdict": "unknown", "reason": reason, "bound": bound, "advice": advice}
    return replace(base, method=answer.method, statistics=answer.statistics, **known)


def show_witness(query: Query, witness: Witness) -> ShownWitness:
    """The witness cut into the user's variables."""
    variables: list[ShownVariable] = []
    for variable in query.variables:
        values = tuple(witness.point[variable.positions].tolist())
        variables.append(ShownVariable(variable.name, variable.shape, variable.unit, values))
    return ShownWitness(
        variables=tuple(variables),
        calls=witness.calls,
        exact_margin=witness.exact_margin,
        replayed_margin=witness.replayed_margin,
        replayed_with=witness.replayed_with,
        notes=witness.notes,
        error=witness.error,
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no message"
