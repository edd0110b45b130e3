"""Which claims about a smoothed classifier become queries, and what those say."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from specdsl.certificates.nodes import NotCertified
from specdsl.certificates.question import state
from specdsl.diagnostics import SpecError
from specdsl.evidence import settle
from specdsl.query.digest import digest
from specdsl.query.dump import dump
from specdsl.query.query import Query, Smoothing
from specdsl.verdict import Answer, Certificate, Unknown, Verified
from tests.query.specs import load, obligations

HEAD = """spec 1.0
network f: real[2] -> real[3] {
  layer dense(weight = [[1, 0], [0, 1], [-1, -1]], bias = [0, 0, 0])
}
network two: real[2] -> real[2] { layer dense(weight = [[1, 0], [0, 1]], bias = [0, 0]) }
let g = smooth(f, 1/4)
let d = smooth(two, 1/4)
region near = norm_ball([1, 0], 1/10, l2)
"""


def asked(claim: str) -> Query:
    (obligation,), resources = obligations(f"{HEAD}check {claim}\n")
    return obligation.query(resources)


PLAIN = "forall x in near: argmax(g(x)) == 0"


@pytest.mark.parametrize(
    "claim",
    [
        PLAIN,
        "forall x in near: 0 == argmax(g(x))",
        "not (exists x in near: argmax(g(x)) != 0)",
        "forall x in near & box(0, 2): argmax(g(x)) == 0",
        "forall x in near where x[0] <= 1 and x[1] >= 0: argmax(g(x)) == 0",
        # Conditions that are bounds of entries make the set smaller, and nothing else.
        "forall x in near: x[0] >= 1 => argmax(g(x)) == 0",
        "forall x in near: argmax(g(x)) == 0 or x[0] > 19/20",
        "forall d in norm_ball([0, 0], 1/10, l2): argmax(g([1, 0] + d)) == 0",
        "forall x in norm_ball([1, 0], 1/10, linf): argmax(g(x)) == 0",
        "forall x in norm_ball([1, 0], 1/10, l1): argmax(g(x)) == 0",
        "forall x in near: argmax(smooth(two >> f, 1/4)(x)) == 0",
    ],
)
def test_one_class_on_one_set_is_a_question(claim: str) -> None:
    query = asked(claim)
    assert query.smoothing == Smoothing(Fraction(1, 4))
    assert len(query.cases) == 2
    assert len({id(case.inputs) for case in query.cases}) == 1


@pytest.mark.parametrize(
    "claim",
    [
        # More votes for two classes than for the third make none of them the first.
        "forall x in near: argmax(g(x)) == 0 or argmax(g(x)) == 1",
        "forall x in near: argmax(g(x)) != 2",
        "forall x in near: argmax(d(x)) != 1",
        "forall x in near: not (argmax(g(x)) == 0)",
        "forall x in near: argmax(g(x)) == 0 and argmax(g(x)) == 1",
        "forall x in near: argmax(g(x)) == 0 and x[0] > 19/20",
        "forall x in near: x[0] > 1 => argmax(g(x)) == 0",
        "forall x in near where x[0] + x[1] <= 1: argmax(g(x)) == 0",
        "forall x in near where x[0] < 1: argmax(g(x)) == 0",
        "forall x in near where argmax(f(x)) == 0: argmax(g(x)) == 0",
        "forall x in near: argmax(g(x)) == argmax(f(x))",
        "forall x in near: argmax(g(x)) == argmax(smooth(f, 1/2)(x))",
        "forall x in near: argmax(g(x)) == 0 and argmax(smooth(f, 1/2)(x)) == 0",
        "forall x in near, z in near: argmax(g(x)) == 0",
        "forall x in near, z in near: argmax(g(x)) == argmax(g(z))",
        "forall x in near where x[0] == x[1] + 1: argmax(g(x)) == 0",
        "forall x in norm_ball([1, 1], 1, l2) where x[0] == x[1]: argmax(g(x)) == 0",
        "forall x in near: argmax(g(2 * x)) == 0",
        "forall x in near: argmax(g([x[0], 0])) == 0",
        "forall x in near: argmax(g([x[0], x[0]])) == 0",
        "forall x in near: argmax(g(two(x))) == 0",
        "exists x in near: argmax(g(x)) == 0",
        "exists x in near: argmax(d(x)) != 0",
        "argmax(g([1, 0])) == 0",
        "forall x in near: argmax(g([1, 0])) == 0",
        "forall x in near: argmax(g(x)) == argmax(g([1, 0]))",
        "forall t in [0, 1]: argmax(g([t, 0])) == 0",
        "forall x in { [t, 0] for t in [0, 1] }: argmax(g(x)) == 0",
    ],
)
def test_everything_else_is_refused(claim: str) -> None:
    with pytest.raises(SpecError) as caught:
        asked(claim)
    (found,) = caught.value.diagnostics
    assert found.code == "E0755"
    assert found.help is not None
    assert "argmax(g(x)) == c" in found.help


def test_what_does_not_depend_on_it_is_asked_of_the_network_itself() -> None:
    query = asked("forall x in near: x[0] >= 0 or (1 > 2 and argmax(g(x)) == 0)")
    assert query.smoothing is None


def test_the_noise_is_part_of_what_is_asked() -> None:
    query = asked(PLAIN)
    plain = replace(query, smoothing=None)
    other = replace(query, smoothing=Smoothing(Fraction(1, 2)))
    assert len({digest(query), digest(plain), digest(other)}) == 3
    assert "smoothed by Gaussian noise of standard deviation 0.25" in dump(query)
    assert "smoothed" not in dump(plain)


def test_nothing_decides_such_a_question() -> None:
    query = asked(PLAIN)
    said = settle(query, Answer(Verified(Certificate("search", 1.0, ())), "search", 0.0))
    assert isinstance(said.verdict, Unknown)
    assert "smoothed" in said.verdict.reason
    with pytest.raises(NotCertified, match="smoothed"):
        state(query, "real")


def test_a_vacuous_claim_stays_one() -> None:
    query = asked("forall x in near where x[0] >= 5: argmax(g(x)) == 0")
    assert not query.cases
    assert [w.code for w in query.warnings] == ["W0750"]


def test_a_smoothed_classifier_may_be_an_argument_of_a_property() -> None:
    text = "property robust(h, r) = forall x in norm_ball([1, 0], r, l2): argmax(h(x)) == 0\n"
    spec = load(f"{HEAD}{text}check robust(g, 1/10), robust(f, 1/10)\n")
    assert len(spec.checks[0].properties) == 2
    query = asked_in(f"{HEAD}{text}check robust(g, 1/10)\n")
    assert query.smoothing is not None


def asked_in(text: str) -> Query:
    (obligation,), resources = obligations(text)
    return obligation.query(resources)
