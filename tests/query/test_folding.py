"""Folding keeps the points: a claim that multiplies out has few cases and says the same."""

from __future__ import annotations

import itertools
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.query.elaboration.questions.folding import MOST_PRODUCTS
from specdsl.query.query import Query
from tests.query.specs import network_f, only_query, unsafe

THINGS = ["f(x).L", "f(x).R", "x.b", "f(x).L - x.b", "f(x).R + normalized(x)[0]"]
SPREAD = f"max({', '.join(THINGS)}) - min({', '.join(THINGS)})"
SIZE = f"max({', '.join(f'abs({thing})' for thing in THINGS)})"
PAIRS = [
    f"({first} {operator} {n}/7 or {second} < {n}/5)"
    for operator in ("<=", "<", ">")
    for n, (first, second) in enumerate(itertools.pairwise(THINGS))
]
QUARTERS = st.integers(0, 12).map(lambda n: Fraction(n, 4))


def things(a: Fraction, b: Fraction) -> list[Fraction]:
    left, right = network_f(a, b)
    return [left, right, b, left - b, right + (a - Fraction(1, 3)) / 3]


@cache
def query(claim: str) -> Query:
    return only_query(f"property p = exists x in Point: {claim}\ncheck p using smt")


@pytest.mark.parametrize("operator", ["==", "!=", "<=", ">"])
@settings(deadline=None)
@given(a=QUARTERS.map(lambda v: v - 1), b=QUARTERS.map(lambda v: v - 2))
def test_extremes_on_both_sides(operator: str, a: Fraction, b: Fraction) -> None:
    asked = query(f"{SPREAD} {operator} {SIZE}")
    assert len(asked.cases) <= MOST_PRODUCTS
    values = things(a, b)
    spread, size = max(values) - min(values), max(map(abs, values))
    holds = {"==": spread == size, "!=": spread != size, "<=": spread <= size, ">": spread > size}
    assert unsafe(asked, [a, b]) == holds[operator]


@settings(deadline=None)
@given(a=QUARTERS.map(lambda v: v - 1), b=QUARTERS.map(lambda v: v - 2))
def test_many_alternatives_of_mixed_strictness(a: Fraction, b: Fraction) -> None:
    asked = query(" and ".join(PAIRS))
    assert len(asked.cases) <= MOST_PRODUCTS
    values = things(a, b)
    expected = all(
        (first <= Fraction(n, 7), first < Fraction(n, 7), first > Fraction(n, 7))[kind]
        or second < Fraction(n, 5)
        for kind in range(3)
        for n, (first, second) in enumerate(itertools.pairwise(values))
    )
    assert unsafe(asked, [a, b]) == expected
