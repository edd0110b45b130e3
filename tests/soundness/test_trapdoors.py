"""No method verifies a network with a hidden counterexample; attacks do not find it; twins without
one are verified by somebody.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from specdsl.graph.runtime import Runtime
from tests.soundness.judging import EXACT_PARAMETERS, ask
from tests.soundness.methods import some, variant
from tests.soundness.networks import as_exact
from tests.soundness.questions import Question
from tests.soundness.trapdoors.catalogue import FAMILIES
from tests.soundness.trapdoors.traps import FLOOR, GRID, orthogonal
from tests.soundness.trials import SUITES, Trial

# Seconds for a question, of which most small ones take a tenth.
SHORT, AMPLE = 0.3, 2.0
CHUNK = 10
# Of all hidden points, so many at most may be found by attacks, or they are not hidden.
FOUND_PART = 0.03
# Pits are known to within float64, those of curves to within a thousandth of a margin.
KNOWN = GRID / 2

CHUNKS = [
    pytest.param(name, start, id=f"{name}-{start}")
    for name, family in FAMILIES.items()
    for start in range(0, family.count, CHUNK)
]


def numbers(family: str, start: int) -> range:
    return range(start, min(start + CHUNK, FAMILIES[family].count))


def check_hidden_point(family: str, number: int) -> None:
    trapdoor = FAMILIES[family].trapdoor(number)
    question, hidden = trapdoor.question, trapdoor.hidden
    assert hidden is not None
    exact = as_exact(hidden)
    assert question.contains(exact)
    network = question.network
    if network.exact and network.parameters <= EXACT_PARAMETERS:
        assert question.violation(exact) <= -Fraction(KNOWN)
    assert question.violation(hidden) <= -KNOWN
    # float32 sees it as well: a witness can be confirmed.
    said = Runtime(question.model(), family).run(hidden.reshape(network.shape).astype(np.float32))
    outputs = said.reshape(-1).astype(np.float64)
    margins = [
        max(atom.coefficients @ outputs + atom.offset for atom in case) for case in question.cases
    ]
    assert min(margins) <= 0


def least_sampled(question: Question, count: int) -> float:
    random = np.random.default_rng(1)
    points = random.uniform(question.lower, question.upper, (count, question.lower.size))
    return min(float(question.violation(point)) for point in points)


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_points_are_counterexamples(family: str) -> None:
    for number in range(0, FAMILIES[family].count, 20):
        check_hidden_point(family, number)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "start"), CHUNKS)
def test_all_hidden_points_are_counterexamples(family: str, start: int) -> None:
    for number in numbers(family, start):
        check_hidden_point(family, number)


def test_there_are_enough_of_all_kinds() -> None:
    assert sum(family.count for family in FAMILIES.values()) >= 500
    ends = [("dense", 0), ("residual", 0), ("curved", 0), ("wide", 1), ("conv", 19)]
    sizes = [FAMILIES[name].trapdoor(number).question.lower.size for name, number in ends]
    assert sizes == [5, 5, 5, 784, 784]


@pytest.mark.parametrize("family", FAMILIES)
def test_margins_are_positive_at_random_points(family: str) -> None:
    for kind in ("deep", "shallow"):
        question = FAMILIES[family].trapdoor(1, kind).question
        # Pits of curves never end: far away a ten-thousandth of their depth is left.
        assert least_sampled(question, 50) >= FLOOR * 0.99


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_points_of_twins_are_none(family: str) -> None:
    trapdoor = FAMILIES[family].trapdoor(0, "shallow")
    assert trapdoor.hidden is None
    assert least_sampled(trapdoor.question, 50) > 0


def test_turns_are_orthogonal_exactly() -> None:
    for size in (1, 3, 4, 5, 16, 30):
        turn = orthogonal(np.random.default_rng(size), size)
        assert (turn @ turn.T == np.eye(size)).all()


def test_attacks_find_next_to_none() -> None:
    trials = [
        Trial("attacked", name, number, "attack")
        for name, family in FAMILIES.items()
        for number in range(0, family.count, family.count // 2)
        if name != "wide"
    ]
    found = [trial for trial in trials if trial.run(SHORT).said == "falsified"]
    assert len(found) <= 1


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_attacks_find_next_to_none_of_all() -> None:
    trials = list(SUITES["attacked"].trials())
    outcomes = [trial.run(AMPLE) for trial in trials]
    assert not any(outcome.objection for outcome in outcomes)
    found = sum(outcome.said == "falsified" for outcome in outcomes)
    assert found <= FOUND_PART * len(trials)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_method_verifies_a_trapdoor(family: str) -> None:
    number = FAMILIES[family].count - 2
    position = list(FAMILIES).index(family)
    for method in (*some(position), variant(position)):
        outcome = Trial("trapdoors", family, number, method).run(SHORT)
        assert outcome.objection is None, method
        assert not outcome.crashed, outcome.by


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("suite", ["trapdoors", "twins"])
@pytest.mark.parametrize("family", FAMILIES)
def test_no_method_is_wrong_on_any(family: str, suite: str) -> None:
    for trial in SUITES[suite].trials():
        if trial.family == family:
            outcome = trial.run(AMPLE)
            assert outcome.objection is None, trial
            assert not outcome.crashed, outcome.by


@pytest.mark.parametrize(
    ("family", "number"), [("dense", 5), ("residual", 0), ("conv", 10), ("sigmoid-host", 3)]
)
def test_small_twins_are_verified_by_somebody(family: str, number: int) -> None:
    question = FAMILIES[family].trapdoor(number, "shallow").question
    assert ask(question, "search(split = input)", expected="verified").said == "verified"
    # Bounds alone see both pits at once.
    assert ask(question, "incomplete", expected="verified").said == "unknown"


def test_entries_that_are_open_on_parts_alone_crash_no_search() -> None:
    """Of this one the search sees a neuron open on a part that is closed on the whole set."""
    outcome = Trial("trapdoors", "dense", 11, "search(split = neuron)").run(AMPLE)
    assert "crashed" not in outcome.by
