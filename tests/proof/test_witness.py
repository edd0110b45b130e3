"""Certificates of witnesses: a point that lies in its set, and at which all atoms hold."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings

from specdsl.backend import FOREVER
from specdsl.backends.search import Search
from specdsl.certificates.question import state
from specdsl.certificates.witnesses import witness_certificate
from specdsl.graph import ops
from specdsl.graph.exact import evaluate_exact
from specdsl.graph.graph import GraphBuilder
from specdsl.proof import EXACT, Refused, check, read_certificate
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Ball, Box, InputSet, cut, exact
from specdsl.verdict import Falsified, Verified
from tests.strategies import queries, sample


@settings(deadline=None, max_examples=60)
@given(queries())
def test_only_points_that_answer_are_accepted(query: Query) -> None:
    graph = query.graph
    for number, case in enumerate(query.cases):
        for point in sample(case.inputs.box, 4):
            inputs = {graph.input: exact(point).reshape(graph.shapes[graph.input])}
            values = evaluate_exact(graph, inputs, nodes=[graph.output])[graph.output].reshape(-1)
            answers = all(
                values[a.index] < 0 if a.strict else values[a.index] <= 0 for a in case.atoms
            )
            assert accepted(query, number, *exact(point).tolist()) == answers


@settings(deadline=None, max_examples=40)
@given(queries())
def test_what_a_search_falsifies_has_one(query: Query) -> None:
    verdict = Search().answer(query, FOREVER).verdict
    if isinstance(verdict, Falsified):
        found = check(read_certificate(witness_certificate(query, verdict.witness)))
        assert found.leaves is None
    else:
        assert isinstance(verdict, Verified)


def accepted(query: Query, case: int, *point: Fraction) -> bool:
    return is_accepted(state(query, "real").answer(case, "\n".join(map(str, point)).encode()))


def is_accepted(content: bytes) -> bool:
    try:
        found = check(read_certificate(content))
    except Refused:
        with pytest.raises(Refused):
            check(read_certificate(content), EXACT)
        return False
    assert found == check(read_certificate(content), EXACT)
    return True


def half(inputs: InputSet | Box, *, strict: bool = False, integers: int = 0) -> Query:
    """Whether x + y - 1/2 is 0 or less somewhere."""
    builder = GraphBuilder()
    node = builder.add(ops.Input((2,)), name="x")
    graph = builder.build(builder.add(ops.Dense(np.ones((1, 2)), np.array([-0.5])), node))
    case = Case(inputs, (Atom(0, strict),))
    variables = (Variable.at("x", 0, (2,)),)
    return Query("q", graph, (case,), variables, (), integers=np.arange(integers))


TENTH, FIFTH, QUARTER = Fraction(1, 10), Fraction(1, 5), Fraction(1, 4)
BOX = Box(exact(np.zeros(2)), exact(np.ones(2)))


def ball(norm: Literal["l1", "l2"]) -> InputSet:
    return cut(BOX, [Ball(np.arange(2), exact(np.zeros(2)), exact(np.ones(2)), QUARTER, norm)])


POINTS: dict[str, tuple[Callable[[], Query], tuple[Fraction, Fraction], bool]] = {
    "inside": (lambda: half(BOX), (TENTH, FIFTH), True),
    "at the edge": (lambda: half(BOX), (QUARTER, QUARTER), True),
    "at the edge of less": (lambda: half(BOX, strict=True), (QUARTER, QUARTER), False),
    "too large": (lambda: half(BOX), (Fraction(1), FIFTH), False),
    "outside of the box": (lambda: half(BOX), (-TENTH, FIFTH), False),
    "no whole number": (lambda: half(BOX, integers=1), (TENTH, FIFTH), False),
    "a whole number": (lambda: half(BOX, integers=1), (Fraction(0), FIFTH), True),
    "outside of l1": (lambda: half(ball("l1")), (TENTH, FIFTH), False),
    "inside of l1": (lambda: half(ball("l1")), (TENTH, TENTH), True),
    "inside of l2": (lambda: half(ball("l2")), (TENTH, FIFTH), True),
    "outside of l2": (lambda: half(ball("l2")), (FIFTH, FIFTH), False),
}


@pytest.mark.parametrize("name", POINTS)
def test_a_point(name: str) -> None:
    make, point, answers = POINTS[name]
    assert accepted(make(), 0, *point) == answers


@pytest.mark.parametrize(
    "text", [b"", b"1/10", b"1/10\n1/5\n0", b"1/10\n1/0", b"0.1\n0.2", b"\xff"]
)
def test_what_is_no_point_is_refused(text: bytes) -> None:
    assert not is_accepted(state(half(BOX), "real").answer(0, text))
    assert not is_accepted(state(half(BOX), "real").answer(1, b"1/10\n1/5"))
