"""VNN-LIB 2.0: what files mean, against the `vnnlib` package, and what is wrong with them."""

from __future__ import annotations

import time
from contextlib import suppress
from fractions import Fraction
from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specdsl.diagnostics import SpecError, render
from specdsl.graph.ops import Dense
from specdsl.query.vnnlib.v2 import read_specification
from specdsl.query.vnnlib.v2_query import BoundQuery, bind
from specdsl.query.vnnlib.v2_tree import Comparison, Expression, Number, Operation, Reference
from tests.query.vnnlib2_scenes import HEAD, File, files, judge, networks, quarters, unsafe

SINGLE = """(vnnlib-version <2.0>)
(declare-network f (declare-input X real [1,2]) (declare-output Y real [1,2]))
"""
BOUNDED = (
    SINGLE + "(assert (and (>= X[0,0] 0.0) (<= X[0,0] 1.0) (>= X[0,1] 0.0) (<= X[0,1] 1.0)))\n"
)


def bound(text: str) -> BoundQuery:
    wanted = {n.name for n in read_specification(text, "q").networks if n.relation != "equal-to"}
    given = {name: network for name, network in networks().items() if name in wanted}
    return bind(read_specification(text, "q.vnnlib"), given)


def flat_point(found: BoundQuery, values: dict[str, list[Fraction]]) -> list[Fraction]:
    point = [Fraction(0)] * found.query.graph.size(found.query.graph.input)
    for name, places in found.places.items():
        for value, place in zip(values[name], places.tolist(), strict=True):
            if place >= 0:
                point[place] = value
    return point


def consistent(found: BoundQuery, values: dict[str, list[Fraction]]) -> bool:
    """Whether the inputs are what the query takes them to be defined as."""
    return all(
        values[name][position] == value_of(expression, values)
        for (name, position), expression in found.ties.definitions.items()
    )


def value_of(expression: Expression, values: dict[str, list[Fraction]]) -> Fraction:
    match expression:
        case Number(value):
            return value
        case Reference(name, position):
            return values[name][position]
        case Operation("*", operands):
            return prod((value_of(o, values) for o in operands), start=Fraction(1))
        case Operation(operator, (first, *rest)):
            others = sum((value_of(o, values) for o in rest), Fraction(0))
            start = value_of(first, values)
            return start + others if operator == "+" else start - others if rest else -start


@given(files(), st.lists(st.lists(quarters, min_size=6, max_size=6), min_size=6, max_size=6))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_query_has_a_point_exactly_where_the_other_reader_says_so(
    file: File, drawn: list[list[Fraction]]
) -> None:
    found, holds = bound(file.text), judge(file.text)
    for numbers in drawn:
        values = file.point(numbers)
        # Random equalities may define inputs too; a point that breaks one is no point of the query.
        wanted = consistent(found, values) and unsafe(found.query, flat_point(found, values))
        assert wanted == holds(values)


def test_a_definition_leaves_one_variable_and_the_network_shares_its_weights() -> None:
    text = HEAD + "".join(
        f"(assert (and (>= {x} -1.0) (<= {x} 1.0)))" for x in ("X[0,0]", "X[0,1]", "V[0]", "V[1]")
    )
    text += "(assert (and (== X[0,0] A[0,1]) (== A[0,0] X[0,1]) (> Y[0,0] B[0,0])))"
    found = bound(text)
    assert [v.name for v in found.query.variables] == ["X", "V"]
    assert found.places["A"].tolist() == [-1, -1]
    layers = [op for _, op, _ in found.query.graph if isinstance(op, Dense)]
    shared = [op for op in layers if layers.count(op) == 2]
    assert len(shared) == 4, "both layers of `f` twice, as the same op"
    assert [call.name for call in found.query.calls] == ["f", "f"]
    assert len({call.model for call in found.query.calls}) == 1


def test_circles_of_definitions_stay_constraints() -> None:
    text = HEAD + "".join(
        f"(assert (and (>= {x} -1.0) (<= {x} 1.0)))"
        for x in ("X[0,0]", "X[0,1]", "A[0,0]", "A[0,1]", "V[0]", "V[1]")
    )
    text += "(assert (and (== A[0,0] Y[0,0]) (== X[0,0] B[0,0]) (== X[0,1] Y[0,1])))"
    found = bound(text)
    assert set(found.ties.definitions) == {("A", 0)}


def test_sums_of_squares_are_balls() -> None:
    text = BOUNDED + "(assert (<= (+ (* X[0,0] X[0,0]) (* X[0,1] X[0,1])) 0.25))"
    (case,) = bound(text).query.cases
    (ball,) = case.inputs.balls
    assert (ball.norm, ball.radius) == ("l2", Fraction(1, 2))


def test_products_are_noted_with_their_text() -> None:
    text = BOUNDED + "(assert (<= (* X[0,0] Y[0,1]) 0.25))"
    (place,) = bound(text).query.nonlinear
    assert place.text == "(* X[0,0] Y[0,1])"


def test_unequal_is_two_strict_cases_and_equal_is_two_atoms() -> None:
    query = bound(BOUNDED + "(assert (!= Y[0,0] 0.5))").query
    assert [[a.strict for a in case.atoms] for case in query.cases] == [[True], [True]]
    query = bound(BOUNDED + "(assert (== Y[0,0] 0.5))").query
    assert [[a.strict for a in case.atoms] for case in query.cases] == [[False, False]]


def test_spaces_comments_capital_types_and_exponents_are_read() -> None:
    text = "; hello\n" + SINGLE.replace("real", "Real") + "(assert (<= X [ 0 , 1 ] -1.5e-3)) ; end"
    (formula,) = read_specification(text, "q").assertions
    assert isinstance(formula, Comparison)
    assert isinstance(formula.left, Reference)
    assert isinstance(formula.right, Number)
    assert (formula.left.position, formula.right.value) == (1, Fraction(-15, 10000))


def error(text: str) -> tuple[str, str]:
    with pytest.raises(SpecError) as caught:
        bound(text)
    (found,) = caught.value.diagnostics
    assert found.primary is not None, "errors in the file have a place"
    render(found)
    return found.code, found.primary.span.text


DECLARE = "(vnnlib-version <2.0>) (declare-network f "


@pytest.mark.parametrize(
    ("text", "code", "at"),
    [
        (SINGLE + "(assert (<= X[0,0] 1.0)", "E1000", "("),
        (SINGLE + ")", "E1000", ")"),
        (SINGLE + "(assert (<= X[0,0 1.0))", "E1000", "[0,0"),
        (SINGLE + "(assert " + "(and " * 60_000, "E1001", "("),
        (SINGLE + "(assert " + "(" * 500 + ")" * 500 + ")", "E1001", "("),
        (SINGLE + "(assume (<= X[0,0] 1.0))", "E1002", "("),
        (SINGLE + "(assert (not (<= X[0,0] 1.0)))", "E1002", "("),
        (SINGLE + "(assert (<= (/ X[0,0] 2.0) 1.0))", "E1002", "("),
        (SINGLE + "(assert (<= X[0,0] 1.0 2.0))", "E1002", "("),
        (SINGLE + "(assert (and))", "E1002", "("),
        (SINGLE + "(assert (<= (+ X[0,0]) 1.0))", "E1002", "("),
        ("(vnnlib-version <1.0>)", "E1002", "("),
        ("(declare-network f)", "E1002", "("),
        (SINGLE + "(assert (<= X[0,0] 1e999))", "E1003", "1e999"),
        (SINGLE + "(assert (<= X[0,0] " + "9" * 5000 + "))", "E1003", "9" * 400),
        (SINGLE + "(assert (<= Z[0,0] 1.0))", "E1004", "Z[0,0]"),
        (DECLARE + "(declare-input X real [1]))", "E1005", "("),
        (DECLARE + "(declare-output Y real [1]) (declare-input X real [1]))", "E1005", "("),
        (DECLARE + "(declare-input X real [0]) (declare-output Y real [1]))", "E1005", "real"),
        (DECLARE + "(declare-input X reel [1]) (declare-output Y real [1]))", "E1005", "reel"),
        (DECLARE + "(declare-input X real [1]) (declare-output X real [1]))", "E1005", "X"),
        (DECLARE + "(declare-input X real) (declare-output Y real [1]))", "E1005", "real"),
        (DECLARE + "(equal-to g) (declare-input X real [1]))", "E1005", "("),
        (SINGLE + "(assert (<= X[0,2] 1.0))", "E1010", "X[0,2]"),
        (SINGLE + "(assert (<= X[0] 1.0))", "E1010", "X[0]"),
        (SINGLE + "(assert (<= X 1.0))", "E1010", "X"),
        (SINGLE.replace("Y real", "Y float64") + "(assert (<= X[0,0] 1.0))", "E1011", "("),
        (
            SINGLE.replace("X real", "X int64") + "(assert (<= X[0,0] Y[0,0]))",
            "E1011",
            "(",
        ),
        (SINGLE + "(assert (<= X[0,0] 1.0))", "E1006", "("),
        (SINGLE.replace("[1,2]) (d", "[1,3]) (d"), "E1009", "("),
        (BOUNDED + "(assert (or (<= X[0,0] 0.25) (>= X[0,0] 0.5)))" * 60, "E1007", "("),
        (HEAD.replace('"act"', '"nothing"'), "E1009", "("),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, code: str, at: str) -> None:
    assert error(text) == (code, at)


def test_networks_are_given_by_name() -> None:
    specification = read_specification(BOUNDED, "q.vnnlib")
    with pytest.raises(SpecError, match="no file is given for the network `f`"):
        bind(specification, {})
    with pytest.raises(SpecError, match="declares no network `h`"):
        bind(specification, networks())


@pytest.mark.parametrize(
    "text",
    [
        SINGLE + "(assert (and " + "(<= X[0,1] 1.5) " * 600_000 + "))",
        SINGLE + "x" * 10_000_000,
        SINGLE + "(assert (<= X[0,0" + " " * 10_000_000,
        SINGLE + "(assert (<= X[0,0] " + "[0," * 3_000_000,
    ],
    ids=["comparisons", "one word", "unclosed bracket", "brackets"],
)
def test_ten_megabytes_are_read_or_refused_in_seconds(text: str) -> None:
    start = time.process_time()
    with suppress(SpecError):
        read_specification(text, "q.vnnlib")
    # 1.5 s for the slowest of them on the machine it was measured on.
    assert time.process_time() - start < 15


def test_what_is_not_text_is_refused() -> None:
    with pytest.raises(SpecError, match="not UTF-8"):
        read_specification(bytes(np.random.default_rng(1).integers(128, 256, 99, np.uint8)), "q")
