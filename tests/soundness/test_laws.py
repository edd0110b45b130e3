"""Questions changed in ways that change no answer have no answer that contradicts the first one."""

from __future__ import annotations

import pytest

from tests.soundness.laws import LAWS, base_question
from tests.soundness.trials import LAW_METHODS, SUITES, Trial

SHORT, AMPLE = 0.3, 2.0
FAST = 4


def check(trial: Trial, timeout: float) -> None:
    outcome = trial.run(timeout)
    assert outcome.objection is None, trial
    assert not outcome.crashed, (trial, outcome.by)


@pytest.mark.parametrize("law", LAWS)
def test_no_change_contradicts(law: str) -> None:
    first = list(LAWS).index(law)
    for number in range(FAST):
        method = LAW_METHODS[(first + number) % len(LAW_METHODS)]
        check(Trial("laws", law, number, method), SHORT)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("law", LAWS)
def test_no_change_contradicts_on_any(law: str) -> None:
    for trial in SUITES["laws"].trials():
        if trial.family == law:
            check(trial, AMPLE)


def test_contradictions_are_noticed() -> None:
    same, wider = LAWS["permute neurons"], LAWS["widen the box"]
    assert same.broken("verified", "falsified")
    assert same.broken("falsified", "verified")
    assert not same.broken("verified", "unknown")
    assert wider.broken("falsified", "verified")
    assert not wider.broken("verified", "falsified")


def test_questions_have_both_answers() -> None:
    said = [
        Trial("laws", "reorder atoms", number, "search(split = input)").run(SHORT).said
        for number in range(8)
    ]
    assert {"verified", "falsified"} <= set(said)
    assert base_question(0).network.parameters > 40
