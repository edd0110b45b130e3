"""Asking a method, as users do, and what is wrong with its answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from specdsl.backend import Unsupported
from specdsl.diagnostics import SpecError
from specdsl.run.answering import answer_query
from specdsl.run.asked_backend import asked_backend
from specdsl.verdict import Falsified, Unknown, Verified
from tests.soundness.networks import Array
from tests.soundness.questions import Question, Route, Word

# Exact arithmetic on more products than this takes seconds.
EXACT_PARAMETERS = 20_000
# What margins in float64 may be off by: networks so large have values of some hundreds at most.
ROUNDING = 1e-9

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
    backend = asked_backend(method).create(seed=0)
    try:
        answer = answer_query(question.by(route), backend, timeout)
    except Unsupported as error:
        return Outcome("unsupported", error.what, time.process_time() - start)
    except SpecError as error:
        return Outcome("refused", error.diagnostics[0].message, time.process_time() - start)
    seconds = time.process_time() - start
    match answer.verdict:
        case Verified():
            objection = "there is a counterexample" if expected == "falsified" else None
            return Outcome("verified", answer.method, seconds, objection)
        case Falsified(witness):
            objection = refuted(question, witness.point, expected)
            return Outcome("falsified", answer.method, seconds, objection)
        case Unknown(reason, bound):
            return Outcome(
                "unknown", reason, seconds, _overclaimed(question, bound, counterexample)
            )


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
