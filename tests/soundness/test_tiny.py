"""Thousands of tiny networks, decided by Z3 over their layers and by every method."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.soundness.methods import METHODS, SMALL, model, program, some, variant
from tests.soundness.tiny import COUNT, tiny_question
from tests.soundness.trials import SUITES, Trial, tiny_truth

SHORT, AMPLE = 0.1, 1.0
FAST, FAST_CHUNK = 150, 15
CHUNK = 50


def check(number: int, methods: Iterable[str], timeout: float) -> None:
    for method in methods:
        outcome = Trial("tiny", "tiny", number, method).run(timeout)
        assert outcome.objection is None, (number, method)
        assert not outcome.crashed, (number, method, outcome.by)


@pytest.mark.parametrize("start", range(0, FAST, FAST_CHUNK))
def test_no_method_contradicts_z3(start: int) -> None:
    for number in range(start, start + FAST_CHUNK):
        check(number, (*some(number), "smt" if number % 2 else variant(number)), SHORT)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("start", range(0, COUNT, CHUNK))
def test_no_method_contradicts_z3_on_any(start: int) -> None:
    for number in range(start, start + CHUNK):
        check(number, (*METHODS, *SMALL, variant(number), program(number), model(number)), AMPLE)


def test_both_answers_are_common() -> None:
    truths = [tiny_truth(number) for number in range(FAST)]
    assert min(truths.count("verified"), truths.count("falsified")) >= FAST // 4


def test_all_that_is_promised_occurs() -> None:
    assert COUNT >= 2_000
    questions = [tiny_question(number) for number in range(FAST)]
    kinds = {getattr(x, "kind", type(x).__name__) for q in questions for x in q.network.layers}
    assert kinds >= {"relu", "leaky_relu", "abs", "clip", "MaxOf", "Residual"}
    atoms = [atom for q in questions for case in q.cases for atom in case]
    assert {atom.strict for atom in atoms} == {True, False}
    assert {len(q.cases) for q in questions} == {1, 2, 3}
    assert any(q.integers for q in questions)
    assert any((q.lower == q.upper).any() for q in questions)


def test_exact_methods_decide_nearly_all() -> None:
    said = [Trial("tiny", "tiny", number, "smt").run(AMPLE).said for number in range(30)]
    # The others are ties that float32 decides the other way.
    assert said.count("unknown") <= 2
    assert len(list(SUITES["tiny"].trials())) == COUNT * (len(METHODS) + len(SMALL) + 3)
