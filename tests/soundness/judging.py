"""Asking a method, as users do, and what is wrong with its answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from specdsl.backend import Deadline, Unsupported
from specdsl.diagnostics import SpecError
from specdsl.proof import Refused, check, read_certificate
from specdsl.run.answering import answer_query
from specdsl.run.asked_backend import asked_backend
from specdsl.run.certifying import certified
from specdsl.verdict import Certificate, Falsified, Semantics, Unknown, Verified
from tests.soundness.networks import Array
from tests.soundness.questions import Question, Route, Word

# Exact arithmetic on more products than this takes seconds.
EXACT_PARAMETERS = 20_000
# What margins in float64 may be off by: networks so large have values of some hundreds at most.
ROUNDING = 1e-9

CERTIFIED: Mapping[str, Semantics] = MappingProxyType(
    {
        "check --semantics float32_any_order": "float32_any_order",
        "check --semantics real": "real",
    }
)
"""Verified counts only with a certificate, as for `specdsl check`: by the names of such methods."""

Said = Literal["verified", "falsified", "unknown", "unsupported", "refused"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was said. `by`: what decided, or the reason why nothing did; `objection`: why it is
    wrong, None where it is not; `seconds`: of the processor.
    """

    said: Said
    by: str
    seconds: float
    objection: str | None = None

    @property
    def crashed(self) -> bool:
        """Whether a solver raised what it should not: nothing wrong was said, nothing at all."""
        return self.said == "unknown" and self.by.startswith("solver crashed")


def ask(
    question: Question,
    method: str,
    *,
    expected: Word | None,
    route: Route = "graph",
    timeout: float | None = None,
    counterexample: Array | None = None,
) -> Outcome:
    """Ask `method`, as after `--using`, and judge what it says by `expected` (None: not known), its
    witness by the meaning of the layers, and its bound where it decides nothing by what they say at
    a `counterexample`.
    """
    start = time.process_time()
    semantics = CERTIFIED.get(method)
    backend = asked_backend("portfolio" if semantics else method).create(seed=0)
    try:
        query = question.by(route)
        answer = answer_query(query, backend, timeout)
        if semantics is not None:
            answer = certified(query, answer, semantics, Deadline.after(timeout))
    except Unsupported as error:
        return Outcome("unsupported", error.what, time.process_time() - start)
    except SpecError as error:
        return Outcome("refused", error.diagnostics[0].message, time.process_time() - start)
    seconds = time.process_time() - start
    match answer.verdict:
        case Verified(certificate):
            objection = "there is a counterexample" if expected == "falsified" else None
            if semantics is not None and objection is None:
                objection = _unproven(certificate, semantics)
            return Outcome("verified", answer.method, seconds, objection)
        case Falsified(witness):
            objection = refuted(question, witness.point, expected)
            return Outcome("falsified", answer.method, seconds, objection)
        case Unknown(reason, bound):
            return Outcome(
                "unknown", reason, seconds, _overclaimed(question, bound, counterexample)
            )


def _unproven(certificate: Certificate, semantics: Semantics) -> str | None:
    """Why a certificate proves nothing, by its file alone."""
    if not certificate.accepted or certificate.content is None:
        return "there is no certificate"
    try:
        found = check(read_certificate(certificate.content))
    except Refused as refusal:
        return f"its certificate is refused: {refusal}"
    return None if found.semantics == semantics else "its certificate is about something else"


def _overclaimed(question: Question, bound: float | None, point: Array | None) -> str | None:
    """Why a bound on the least margin is none, by the margin at a point."""
    if bound is None or point is None:
        return None
    margin = float(question.violation(point))
    if bound <= margin + ROUNDING * max(1.0, abs(margin)):
        return None
    return f"its bound is {bound:.6g}, and at a point the margin is {margin:.6g}"


def refuted(question: Question, point: Array, expected: Word | None) -> str | None:
    """Why a point is no counterexample, None where it is one. `point`: exact, flat."""
    if not question.contains(point):
        return "its witness lies outside the box"
    network = question.network
    if network.exact and network.parameters <= EXACT_PARAMETERS:
        if not question.violated(point):
            return "its witness violates nothing, exactly"
    else:
        margin = float(question.violation(point.astype(np.float64)))
        if margin > ROUNDING:
            return f"its witness violates nothing: the margin is {margin:.3g}"
    return "there is no counterexample" if expected == "verified" else None
