"""What is left of boxes that balls cut, and what weights of margins may be."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdsl.certificates.certify import WHOLE
from specdsl.certificates.question import state
from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder
from specdsl.proof import EXACT, FLOAT, Refused, check, read_certificate
from specdsl.proof.arithmetic import Arithmetic
from specdsl.proof.passes import Bounds, Rules
from specdsl.proof.question import BallSet
from specdsl.proof.regions import Region
from specdsl.proof.relaxations import Interval
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact
from tests.proof.certificates import file_of, question_of

ENDS = st.fractions(-2, 2, max_denominator=8)


@given(
    st.lists(st.tuples(ENDS, ENDS), min_size=2, max_size=3),
    st.fractions(0, 2, max_denominator=8),
    st.sampled_from(("l1", "l2")),
    st.sampled_from((FLOAT, EXACT)),
)
def test_no_point_of_a_ball_is_in_an_empty_part(
    ends: list[tuple[Fraction, Fraction]],
    radius: Fraction,
    norm: Literal["l1", "l2"],
    how: Arithmetic,
) -> None:
    count = len(ends)
    scale = tuple(Fraction(1 + i, 2) for i in range(count))
    center = (Fraction(1, 3),) * count
    ball = BallSet(np.arange(count), center, scale, radius, norm)
    lower, upper = [min(e) for e in ends], [max(e) for e in ends]
    low, high = how.bounds(lower, upper)
    region = Region(how, Interval(low[None], high[None]), (ball,))
    # The nearest point of a box, coordinate by coordinate.
    nearest = [min(max(c, a), b) for c, a, b in zip(center, lower, upper, strict=True)]
    gaps = [s * abs(x - c) for s, x, c in zip(scale, nearest, center, strict=True)]
    far = sum(gaps) > radius if norm == "l1" else sum(g * g for g in gaps) > radius**2
    if how.exact:
        assert bool(region.empty[0]) == far
    else:
        assert far or not region.empty[0]


@pytest.mark.parametrize("count", [1, 20_000])
@pytest.mark.parametrize("power", [-540, -200, 0])
def test_rounding_empties_no_part_that_touches_its_ball(count: int, power: int) -> None:
    # The box is the ball's farthest point in the direction of (1, 1, ...), 9/10 of the radius away.
    unit = Fraction(2) ** power
    radius = unit * Fraction(count) * 10 / 9
    center = (Fraction(0),) * count
    ball = BallSet(np.arange(count), center, (Fraction(1),) * count, radius, "l1")
    low, high = FLOAT.bounds([unit] * count, [unit] * count)
    assert not Region(FLOAT, Interval(low[None], high[None]), (ball,)).empty[0]
    squares = BallSet(np.arange(count), center, (unit,) * count, unit * 150, "l2")
    low, high = FLOAT.bounds([Fraction(1)] * count, [Fraction(1)] * count)
    assert not Region(FLOAT, Interval(low[None], high[None]), (squares,)).empty[0]


def roots(shift: float, op: ops.Op) -> Query:
    """Whether `sqrt(x) + shift`, inside a network, is 0 or less for some x in [0, 1]."""
    builder = GraphBuilder()
    node = builder.add(ops.Input((1,)), name="x")
    node = builder.add(ops.Dense(np.ones((1, 1)), np.zeros(1)), node)
    node = builder.add(op, node)
    graph = builder.build(builder.add(ops.Dense(np.ones((1, 1)), np.array([shift])), node))
    case = Case(Box(exact(np.zeros(1)), exact(np.ones(1))), (Atom(0),))
    return Query("q", graph, (case,), (Variable.at("x", 0, (1,)),), ())


def test_a_root_of_what_float32_may_make_negative_is_not_known() -> None:
    query = roots(0.5, ops.Sqrt())
    assert check(read_certificate(file_of(state(query, "real")))).leaves == 1
    question = question_of(query, "float32_any_order")
    node = next(i for i, n in enumerate(question.network.nodes) if n.name == "smooth")
    for evaluated, known in (("exact", True), ("computed", False)):
        nodes = list(question.network.nodes)
        nodes[node] = replace(nodes[node], evaluated=evaluated)
        network = replace(question.network, nodes=tuple(nodes))
        rules = Rules.of(network, FLOAT, single=True)
        low, high = np.array([[-1e-9]]), np.array([[1.0]])
        bounds = Bounds(rules, Region(FLOAT, Interval(low, high)))
        with np.errstate(all="ignore"):
            bounds.propagate(None)
            least = bounds.least(bounds.back({network.output: np.ones((1, 1, 1))}))
        assert bool(least[0, 0] > 0) == known


def narrow() -> Query:
    """Two margins, x + 2 and 2 - x, for x in [-1, 1]: each of them is positive."""
    builder = GraphBuilder()
    node = builder.add(ops.Input((1,)), name="x")
    dense = ops.Dense(np.array([[1.0], [-1.0]]), np.full(2, 2.0))
    graph = builder.build(builder.add(dense, node))
    box = Box(exact(-np.ones(1)), exact(np.ones(1)))
    return Query("q", graph, (Case(box, (Atom(0), Atom(1))),), (Variable.at("x", 0, (1,)),), ())


@pytest.mark.parametrize("how", [FLOAT, EXACT], ids=["floats", "rationals"])
@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (0.5, 2.0)])
def test_weights_refute_a_case(weights: tuple[float, float], how: Arithmetic) -> None:
    assert check(read_certificate(weighted(*weights)), how).leaves == 1


@pytest.mark.parametrize("how", [FLOAT, EXACT], ids=["floats", "rationals"])
@pytest.mark.parametrize(
    "weights", [(0.0, 0.0), (-1.0, 4.0), (1.0, -0.5), (np.inf, 1.0), (np.nan, 1.0)]
)
def test_weights_that_say_nothing_are_refused(
    weights: tuple[float, float], how: Arithmetic
) -> None:
    with pytest.raises(Refused):
        check(read_certificate(weighted(*weights)), how)


def weighted(*weights: float) -> bytes:
    return file_of(state(narrow(), "real"), WHOLE, np.array([weights], np.float32))
