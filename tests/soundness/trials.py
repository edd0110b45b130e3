"""All that is asked, one trial at a time, by number: what the tests sample and the scoreboard runs.

A trial is a question whose answer is known, or two whose answers cannot differ, and one method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from types import MappingProxyType

import numpy as np

from tests.soundness.as_z3 import decide
from tests.soundness.float_attacks import FloatCase, all_cases
from tests.soundness.judging import CERTIFIED, Outcome, ask
from tests.soundness.laws import LAWS, base_question, cancelled
from tests.soundness.methods import METHODS, SMALL, methods_for, model, program, variant
from tests.soundness.networks import Array
from tests.soundness.questions import Question, Route, Word
from tests.soundness.tiny import COUNT as TINY
from tests.soundness.tiny import tiny_question
from tests.soundness.trapdoors.catalogue import EXPECTED, FAMILIES
from tests.soundness.trapdoors.traps import Kind

# Of a hundred twins, so many are asked about: they cost as much, and can show no wrong verdict.
TWIN_EVERY = 4
CANCELLED = 300
# Of the weights that cancel, as powers of two: to where float64 has no bits left for what is meant.
CANCELLED_POWERS = (16, 46)
LAW_QUESTIONS = 40
LAW_METHODS = (*(m for m in METHODS if m != "portfolio"), "portfolio(attack = false)")


@dataclass(frozen=True, slots=True)
class Trial:
    """`suite` and `family` are rows of the scoreboard; with `number` and `method` they name it."""

    suite: str
    family: str
    number: int
    method: str

    def run(self, timeout: float) -> Outcome:
        """Ask; `timeout`: seconds for each question."""
        return SUITES[self.suite].run(self, timeout)


@dataclass(frozen=True, slots=True)
class Suite:
    """`trials`: all of them, in order; `claim`: what they come to if nothing is wrong."""

    name: str
    claim: str
    trials: Callable[[], Iterator[Trial]]
    run: Callable[[Trial, float], Outcome]


def _route(number: int, question: Question) -> Route:
    """By turns; what VNN-LIB 1.0 cannot say goes one way only."""
    return "graph" if number % 2 or question.integers else "file"


# --- trapdoors ----------------------------------------------------------------------------------


def _trapdoors(kind: Kind, every: int = 1) -> Callable[[], Iterator[Trial]]:
    def trials() -> Iterator[Trial]:
        for family in FAMILIES.values():
            for number in range(0, family.count, every):
                question = family.trapdoor(number, kind).question
                for method in methods_for(question, number):
                    yield Trial(SUITE_OF[kind], family.name, number, method)

    return trials


def _run_trapdoor(kind: Kind) -> Callable[[Trial, float], Outcome]:
    def run(trial: Trial, timeout: float) -> Outcome:
        trapdoor = FAMILIES[trial.family].trapdoor(trial.number, kind)
        return ask(
            trapdoor.question,
            trial.method,
            expected=EXPECTED[kind],
            route=_route(trial.number, trapdoor.question),
            timeout=timeout,
            counterexample=trapdoor.hidden,
        )

    return run


def _attacks() -> Iterator[Trial]:
    for family in FAMILIES.values():
        yield from (Trial("attacked", family.name, n, "attack") for n in range(family.count))


SUITE_OF: Mapping[Kind, str] = MappingProxyType({"deep": "trapdoors", "shallow": "twins"})


# --- floats -------------------------------------------------------------------------------------


@cache
def float_cases() -> tuple[FloatCase, ...]:
    """Made once: those near a boundary are searched for."""
    return tuple(all_cases())


def _floats() -> Iterator[Trial]:
    for number, case in enumerate(float_cases()):
        for method in (*METHODS, *SMALL, variant(number), program(number), model(number)):
            yield Trial("floats", case.idea, number, method)


def _run_float(trial: Trial, timeout: float) -> Outcome:
    """Both ways; the worse of the two outcomes."""
    case = float_cases()[trial.number]
    found = [
        ask(case.question, trial.method, expected=case.real, route=route, timeout=timeout)
        for route in ("graph", "file")
    ]
    if CERTIFIED.get(trial.method) == "float32_any_order":
        found = [replace(o, objection=o.objection or _runs_otherwise(o)) for o in found]
    worst = next((o for o in found if o.objection), found[0])
    return replace(worst, seconds=sum(o.seconds for o in found))


def _runs_otherwise(outcome: Outcome) -> str | None:
    """Of a case, which never holds in every execution."""
    return "some float32 execution violates it" if outcome.said == "verified" else None


def cancelled_question(number: int) -> Question:
    """A tiny question with weights that cancel, whose answer is that of the tiny question."""
    question = tiny_question(number)
    random = np.random.default_rng([2**32, number])
    power = int(random.integers(*CANCELLED_POWERS))
    return replace(question, network=cancelled(random, question.network, power))


def _cancelled() -> Iterator[Trial]:
    for number in range(CANCELLED):
        for method in (*METHODS, "sdp", variant(number), program(number), model(number)):
            yield Trial("cancelled", "cancelled", number, method)


def _run_cancelled(trial: Trial, timeout: float) -> Outcome:
    """Of a graph: in a file, float32 has no room for such weights."""
    question, truth = cancelled_question(trial.number), tiny_truth(trial.number)
    return ask(question, trial.method, expected=truth, route="graph", timeout=timeout)


# --- tiny networks ------------------------------------------------------------------------------


@cache
def tiny_point(number: int) -> Array | None:
    """A counterexample, by Z3."""
    return decide(tiny_question(number))


def tiny_truth(number: int) -> Word:
    """By Z3."""
    return "verified" if tiny_point(number) is None else "falsified"


def _tiny() -> Iterator[Trial]:
    for number in range(TINY):
        for method in (*METHODS, *SMALL, variant(number), program(number), model(number)):
            yield Trial("tiny", "tiny", number, method)


def _run_tiny(trial: Trial, timeout: float) -> Outcome:
    question = tiny_question(trial.number)
    return ask(
        question,
        trial.method,
        expected=tiny_truth(trial.number),
        route=_route(trial.number, question),
        timeout=timeout,
        counterexample=tiny_point(trial.number),
    )


# --- laws ---------------------------------------------------------------------------------------


def _laws() -> Iterator[Trial]:
    for law in LAWS:
        for number in range(LAW_QUESTIONS):
            yield from (Trial("laws", law, number, method) for method in LAW_METHODS)


def _run_law(trial: Trial, timeout: float) -> Outcome:
    """The outcome after the change, with the objection that the one before contradicts it."""
    law, question = LAWS[trial.family], base_question(trial.number)
    changed = law.change(np.random.default_rng([8, trial.number]), question)
    before, after = (
        ask(q, trial.method, expected=None, route=_route(trial.number, q), timeout=timeout)
        for q in (question, changed)
    )
    objection = before.objection or after.objection
    if objection is None and law.broken(before.said, after.said):
        objection = f"before the change it was {before.said}"
    return replace(after, seconds=before.seconds + after.seconds, objection=objection)


SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        suite.name: suite
        for suite in (
            Suite(
                "trapdoors",
                "networks with one hidden counterexample: never verified",
                _trapdoors("deep"),
                _run_trapdoor("deep"),
            ),
            Suite(
                "attacked",
                "the same, attacked: next to none found",
                _attacks,
                _run_trapdoor("deep"),
            ),
            Suite(
                "twins",
                "the same with shallower pits: never falsified",
                _trapdoors("shallow", TWIN_EVERY),
                _run_trapdoor("shallow"),
            ),
            Suite("floats", "floats that differ from real numbers", _floats, _run_float),
            Suite("cancelled", "tiny networks, cancelling weights", _cancelled, _run_cancelled),
            Suite("tiny", "tiny networks that Z3 decides", _tiny, _run_tiny),
            Suite("laws", "changes that change no answer", _laws, _run_law),
        )
    }
)


def all_trials() -> Iterator[Trial]:
    """Of all suites."""
    return chain.from_iterable(suite.trials() for suite in SUITES.values())
