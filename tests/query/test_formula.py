"""Negation is exact, and the disjunctive normal form says the same as the formula."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdsl.query.elaboration.values.formula import (
    FALSE,
    TRUE,
    Below,
    Formula,
    Stated,
    TooManyClauses,
    clauses,
    compare,
    compare_extremes,
    conjunction,
    count_clauses,
    disjunction,
    holds,
    negate,
    predicts,
    same_prediction,
)
from specdsl.query.elaboration.values.symbolic import (
    Entry,
    Extreme,
    Linear,
    Prediction,
    absolute,
    entries,
    linear,
)

ENTRIES: list[Entry] = [(0, 0), (0, 1), (1, 0)]
SMALL = st.integers(-2, 2).map(Fraction)
VALUES = st.fixed_dictionaries({entry: SMALL for entry in ENTRIES})
EXPRESSIONS = st.builds(linear, st.dictionaries(st.sampled_from(ENTRIES), SMALL), SMALL)
ATOMS = st.builds(
    compare, st.sampled_from(["<=", "<", ">=", ">", "==", "!="]), EXPRESSIONS, EXPRESSIONS
)
FORMULAS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(conjunction),
        st.lists(inner, max_size=3).map(disjunction),
        inner.map(negate),
        inner.map(lambda f: Stated(f, negate(f))),
    ),
    max_leaves=6,
)
Values = dict[Entry, Fraction]


@given(FORMULAS, VALUES)
def test_negation_is_the_opposite(formula: Formula, values: Values) -> None:
    assert holds(negate(formula), values) != holds(formula, values)


@given(FORMULAS, VALUES)
def test_normal_form_means_the_same(formula: Formula, values: Values) -> None:
    found = clauses(formula, limit=10_000)
    assert any(all(holds(a, values) for a in clause) for clause in found) == holds(formula, values)


@given(FORMULAS)
def test_clauses_are_never_more_than_counted(formula: Formula) -> None:
    assert len(clauses(formula, limit=10_000)) <= count_clauses(formula)


def test_too_many_clauses_are_counted_before_they_are_made() -> None:
    either = disjunction(Below(Linear.entry(0, i), strict=False) for i in range(10))
    with pytest.raises(TooManyClauses) as caught:
        clauses(conjunction(Stated(either, FALSE) for _ in range(30)), limit=100)
    assert caught.value.count == 10**30


def test_true_and_false() -> None:
    assert clauses(TRUE, 1) == ((),)
    assert clauses(FALSE, 1) == ()


def scores(source: int, count: int) -> Prediction:
    values = entries((Linear.entry(source, i) for i in range(count)), (count,))
    return Prediction("argmax", values)


@given(st.lists(SMALL, min_size=3, max_size=3), st.integers(0, 2))
def test_argmax_is_a_strict_maximum(values: list[Fraction], label: int) -> None:
    known = {(1, i): v for i, v in enumerate(values)}
    strict = all(values[label] > v for i, v in enumerate(values) if i != label)
    assert holds(predicts(scores(1, 3), label), known) == strict


@given(st.lists(SMALL, min_size=3, max_size=3), st.lists(SMALL, min_size=3, max_size=3))
def test_equal_predictions_need_a_strict_winner_of_both(
    first: list[Fraction], second: list[Fraction]
) -> None:
    known = {(s, i): v for s, values in ((1, first), (2, second)) for i, v in enumerate(values)}
    same = same_prediction(scores(1, 3), scores(2, 3))
    winners = [
        values.index(max(values)) if values.count(max(values)) == 1 else None
        for values in (first, second)
    ]
    assert holds(same, known) == (winners[0] is not None and winners[0] == winners[1])
    assert holds(negate(same), known) != holds(same, known)


@given(
    st.lists(SMALL, min_size=1, max_size=3), SMALL, st.sampled_from(["<=", "<", ">=", ">", "=="])
)
def test_absolute_values_compare_by_cases(
    values: list[Fraction], bound: Fraction, operator: str
) -> None:
    known = {(1, i): v for i, v in enumerate(values)}
    largest = absolute([Linear.entry(1, i) for i in range(len(values))])
    found = holds(compare_extremes(operator, largest, Extreme("max", (bound,))), known)
    size = max(map(abs, values))
    direct = {"<=": size <= bound, "<": size < bound, ">=": size >= bound, ">": size > bound}
    assert found == direct.get(operator, size == bound)


EXTREMES = st.builds(
    lambda kind, options: Extreme(kind, tuple(options)),
    st.sampled_from(["max", "min"]),
    st.lists(EXPRESSIONS, min_size=1, max_size=3),
)


@given(st.sampled_from(["<=", "<", ">=", ">", "==", "!="]), EXTREMES, EXTREMES, VALUES)
def test_extremes_compare_as_their_values_do(
    operator: str, left: Extreme, right: Extreme, values: Values
) -> None:
    def at(extreme: Extreme) -> Fraction:
        known = [o.at(values) if isinstance(o, Linear) else o for o in extreme.options]
        return max(known) if extreme.kind == "max" else min(known)

    a, b = at(left), at(right)
    direct = {"<=": a <= b, "<": a < b, ">=": a >= b, ">": a > b, "==": a == b, "!=": a != b}
    assert holds(compare_extremes(operator, left, right), values) == direct[operator]


@given(EXPRESSIONS, EXPRESSIONS, SMALL, VALUES)
def test_arithmetic_of_expressions_is_exact(
    a: Fraction | Linear, b: Fraction | Linear, factor: Fraction, values: Values
) -> None:
    def at(expression: Fraction | Linear) -> Fraction:
        return expression.at(values) if isinstance(expression, Linear) else expression

    assert at(a + b) == at(a) + at(b)
    assert at(a - b) == at(a) - at(b)
    assert at(factor * a) == factor * at(a)
    assert np.array_equal(np.array([a], object) - np.array([a], object), [Fraction(0)])
