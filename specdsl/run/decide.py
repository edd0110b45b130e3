"""One obligation to one `Result`: build the query, ask the backend, check the evidence."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from specdsl.backend import Backend, Unsupported
from specdsl.diagnostics import Diagnostic, SpecError, diagnostic
from specdsl.query.query import Query
from specdsl.run.asking import Answered, Ask, AskBackend
from specdsl.run.figures import holds_unperturbed
from specdsl.run.outcomes import ShownVariable, ShownWitness
from specdsl.run.result import Result
from specdsl.source import Span
from specdsl.verdict import Falsified, Unknown, Verified, Witness

if TYPE_CHECKING:
    from specdsl.query.elaboration.elaborate import Obligation
    from specdsl.query.elaboration.values.resources import Resources


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """How the obligations of one `check` are decided.

    `timeout`: seconds for each obligation. `with_samples`: also try each sample unperturbed.
    `judged_by_expect`: the check passes or fails by its `expect`s alone. `ask`: how the backend is
    come by.
    """

    backend: Backend
    timeout: float | None
    with_samples: bool = False
    judged_by_expect: bool = False
    ask: Ask = field(default_factory=AskBackend)


def decide(obligation: Obligation, resources: Resources, method: Method) -> Result:
    """The result of one obligation; never raises for what a user or a solver did wrong.

    A construct that the backend has no rule for, and errors that elaboration finds only now,
    become diagnostics of this result. A crash of the solver makes the verdict unknown.
    """
    start = time.monotonic()
    base = undecided(obligation, method)
    try:
        query = obligation.query(resources)
        answered = method.ask(query, method.backend, method.timeout, start)
    except SpecError as error:
        found = tuple(d.at(obligation.span) for d in error.diagnostics)
        return _refused(base, found, time.monotonic() - start)
    except Unsupported as error:
        return _refused(base, (unsupported(error, obligation),), time.monotonic() - start)
    holds = holds_unperturbed(query) if method.with_samples else None
    result = replace(base, sample_holds=holds, warnings=query.warnings)
    return _with_answer(result, query, answered)


def undecided(obligation: Obligation, method: Method) -> Result:
    """The result before anything is known."""
    return Result(
        id=obligation.id,
        property_name=obligation.property_name,
        check=obligation.check,
        verdict="unknown",
        method=method.backend.name,
        seconds=0.0,
        span=obligation.span,
        sample=obligation.sample,
    )


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


def _with_answer(base: Result, query: Query, answered: Answered) -> Result:
    # For an `exists` the roles change: the point that a query finds is what was claimed.
    claimed = query.kind == "exists"
    known: dict[str, Any]
    answer = answered.answer
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
        case Unknown(reason, bound, advice, estimate=estimate):
            known = {"verdict": "unknown", "reason": reason, "bound": bound, "advice": advice}
            known["estimate"] = estimate
    return replace(
        base,
        method=answer.method,
        statistics=answer.statistics,
        seconds=answered.seconds,
        cached=answered.cached,
        warnings=(*base.warnings, *answered.warnings),
        content=answered.file,
        **known,
    )


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
