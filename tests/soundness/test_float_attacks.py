"""Where floats and real numbers part, nothing is verified that does not hold, nor falsified that
does.
"""

from __future__ import annotations

import pytest

from tests.soundness.as_z3 import decide
from tests.soundness.float32 import EXECUTIONS, Execution
from tests.soundness.methods import some
from tests.soundness.networks import as_exact
from tests.soundness.trials import (
    CANCELLED,
    SUITES,
    Trial,
    cancelled_question,
    float_cases,
    tiny_truth,
)

SHORT, AMPLE = 0.3, 2.0
CASES = [pytest.param(i, id=case.name) for i, case in enumerate(float_cases())]
# Numbers of cancelled questions that `lp` and `milp` once verified, though Z3 finds a point:
# rounded bounds left their linear programs without points.
ONCE_WRONG = (22, 40)


def test_there_are_enough_of_all_ideas() -> None:
    cases = float_cases()
    assert len(cases) >= 20
    assert len({case.name for case in cases}) == len(cases)
    for idea in {case.idea for case in cases}:
        assert sum(case.idea == idea for case in cases) >= 5
    assert {case.real for case in cases} == {"verified", "falsified"}


@pytest.mark.parametrize("number", CASES)
def test_the_real_truth_is_as_stated(number: int) -> None:
    case = float_cases()[number]
    point = decide(case.question)
    assert case.real == ("verified" if point is None else "falsified")


@pytest.mark.parametrize("number", CASES)
def test_some_float32_execution_says_otherwise(number: int) -> None:
    case = float_cases()[number]
    assert case.question.contains(as_exact(case.point))
    violating = [execution.violates(case.question, case.point) for execution in EXECUTIONS]
    if case.real == "verified":
        assert any(violating)
    else:
        assert not all(violating)


def test_executions_round_as_they_say() -> None:
    by_name = {case.name: case for case in float_cases()}
    order = by_name["order-26"]
    assert not Execution().violates(order.question, order.point)
    assert Execution(falling=True).violates(order.question, order.point)
    fused = by_name["fused"]
    assert Execution(start=True).violates(fused.question, fused.point)
    assert not Execution(start=True, fused=True).violates(fused.question, fused.point)
    flushed = by_name["flushed"]
    assert not Execution().violates(flushed.question, flushed.point)
    assert Execution(flush=True).violates(flushed.question, flushed.point)


@pytest.mark.parametrize("number", CASES)
def test_no_method_is_wrong_in_real_numbers(number: int) -> None:
    case = float_cases()[number]
    for method in (*some(number), "smt"):
        outcome = Trial("floats", case.idea, number, method).run(SHORT)
        assert outcome.objection is None, method


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("suite", ["floats", "cancelled"])
def test_no_method_is_wrong_on_any(suite: str) -> None:
    for trial in SUITES[suite].trials():
        assert trial.run(AMPLE).objection is None, trial


@pytest.mark.parametrize("number", [*ONCE_WRONG, *range(0, CANCELLED, 60)])
def test_weights_that_cancel_change_no_answer(number: int) -> None:
    point = decide(cancelled_question(number))
    assert tiny_truth(number) == ("verified" if point is None else "falsified")
    for method in ("lp", "milp", *some(number)):
        outcome = Trial("cancelled", "cancelled", number, method).run(SHORT)
        assert outcome.objection is None, method


def test_exact_answers_are_had_where_floats_fail() -> None:
    for case in float_cases():
        if case.real == "verified" and case.idea != "Jia and Rinard":
            number = float_cases().index(case)
            assert Trial("floats", case.idea, number, "smt").run(AMPLE).said == "verified"


@pytest.mark.parametrize("number", CASES)
def test_nothing_here_is_proven_for_float32_in_any_order(number: int) -> None:
    case = float_cases()[number]
    assert (
        Trial("floats", case.idea, number, "check --semantics float32_any_order").run(SHORT).said
        != "verified"
    )
