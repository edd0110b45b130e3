"""Norm balls in linear models: never a point lost, l1 exact, l2 to the stated gap."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from specdsl.backend import Deadline
from specdsl.encoding.encode import encode_case, encode_graph
from specdsl.encoding.model.linear_model import LinearModel, ModelBuilder
from specdsl.encoding.rules.balls import BALL_GAP, OuterBall, cut_off, encode_balls, excess
from specdsl.encoding.solvers.highs import solve
from specdsl.encoding.solvers.session import OPTIMAL, Solution
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.query import Atom
from specdsl.query.sets import Ball, Box, InputSet, cut, exact
from tests.strategies import generators

FOREVER = Deadline.after(None)
TOLERANCE = 1e-6
# A gap of the norm moves an optimum by that part of the radius and the steepness (below 100 here).
GAP_TOLERANCE = 100 * BALL_GAP
ROUNDS = 40
quick = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def sum_of(coefficients: Sequence[float]) -> Graph:
    """`coefficients . x`."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((len(coefficients),)), name="x")
    return builder.build(builder.add(ops.Dense(np.array([coefficients]), np.zeros(1)), x))


def wide(size: int, reach: int = 100) -> Box:
    return Box(exact([-reach] * size), exact([reach] * size))


def least(graph: Graph, inputs: InputSet) -> Solution:
    """The optimum of the only margin, with as many tangents as it takes."""
    encoded = encode_graph(graph, inputs, {})
    model: LinearModel | None = encode_case(encoded, [Atom(0)], "case")
    for _ in range(ROUNDS):
        assert model is not None
        solution = solve(model, FOREVER)
        assert solution.status == OPTIMAL
        assert solution.point is not None
        model = cut_off(model, encoded.balls, solution.point)
        if model is None:
            assert excess(encoded.balls, solution.point) <= BALL_GAP
            return solution
    raise AssertionError("the tangents do not come to an end")


@st.composite
def balls(draw: st.DrawFn, size: int, norm: str | None = None) -> Ball:
    """Around a point of [-1, 1], with weights and radius that float64 does not hold."""
    thirds = st.integers(-9, 9).map(lambda n: Fraction(n, 9))
    positions = sorted(draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=size)))
    count = len(positions)
    return Ball(
        np.array(positions, dtype=np.int64),
        exact([draw(thirds) for _ in range(count)]),
        exact([Fraction(draw(st.integers(1, 20)), 7) for _ in range(count)]),
        Fraction(draw(st.integers(1, 30)), 11),
        norm or draw(st.sampled_from(("l1", "l2"))),  # type: ignore[arg-type]
    )


@given(balls(4), st.lists(st.integers(-8, 8), min_size=4, max_size=4))
@quick
def test_the_least_value_over_a_ball_is_that_of_the_dual_norm(
    ball: Ball, coefficients: list[int]
) -> None:
    assume(fits(ball))
    c = np.array(coefficients, dtype=np.float64)
    on_ball = c[ball.positions] / ball.scale.astype(np.float64)
    dual = np.abs(on_ball).max() if ball.norm == "l1" else np.sqrt((on_ball**2).sum())
    elsewhere = np.delete(c, ball.positions)
    expected = (
        float(c[ball.positions] @ ball.center.astype(np.float64))
        - float(ball.radius) * dual
        - 2 * np.abs(elsewhere).sum()
    )
    solution = least(sum_of(c.tolist()), cut(wide(4, 2), [ball]))
    assert solution.bound <= expected + TOLERANCE
    assert solution.bound == pytest.approx(expected, abs=GAP_TOLERANCE)


def fits(ball: Ball) -> bool:
    """Whether the ball lies in [-2, 2] as a whole."""
    lower, upper = ball.hull()
    return bool((lower >= -2).all() and (upper <= 2).all())


@given(st.data())
@quick
def test_no_point_of_several_balls_is_lost(data: st.DataObject) -> None:
    some = [data.draw(balls(3)) for _ in range(data.draw(st.integers(1, 3)))]
    rng = data.draw(generators())
    c = rng.integers(-8, 9, 3).astype(np.float64)
    inside = [p for p in exact_points(some, rng) if all(p in ball for ball in some)]
    try:
        inputs = cut(wide(3, 2), some)
    except ValueError:
        assert not inside
        return
    if inside:
        bound = least(sum_of(c.tolist()), inputs).bound
        assert bound <= min(float(exact(c) @ p) for p in inside) + TOLERANCE


def exact_points(some: Sequence[Ball], rng: np.random.Generator) -> list[np.ndarray]:
    """Points around the centers, most of them near the border of a ball."""
    points: list[np.ndarray] = []
    for _ in range(60):
        ball = some[int(rng.integers(len(some)))]
        way = exact(rng.standard_normal(ball.positions.size)) / ball.scale
        offset = ball.scale * way
        size = sum(abs(o) for o in offset)
        if ball.norm == "l2":
            size = Fraction(float(np.sqrt(float((offset * offset).sum()))))
        share = Fraction(int(rng.integers(1, 2**20)), 2**20) if rng.random() < 0.5 else Fraction(1)
        point = exact(np.round(rng.uniform(-2, 2, 3) * 8) / 8)
        point[ball.positions] = ball.center + way * ball.radius * share / size
        points.append(np.clip(point, Fraction(-2), Fraction(2)))
    return points


@given(balls(3, "l2"), st.integers(-200, 200), st.integers(-300, 300))
@quick
def test_tangents_hold_exactly_for_every_number(ball: Ball, where: int, at: int) -> None:
    outer = encoded(ball)
    entries = np.arange(ball.positions.size, dtype=np.int64)
    rows = outer.tangents(entries, np.full(entries.size, at / 97))
    a = 2 * Fraction(float(at / 97))
    for i in entries.tolist():
        x = Fraction(where, 31)
        unit = outer.slopes[i] * x - outer.shifts[i]
        square = (ball.scale[i] * (x - ball.center[i]) / ball.radius) ** 2
        assert a * unit - square <= Fraction(float(rows.upper[i]))


def encoded(ball: Ball) -> OuterBall:
    builder = ModelBuilder()
    size = int(ball.positions.max()) + 1
    ends = np.full(size, 50.0)
    columns = builder.add_columns("x", np.arange(size), -ends, ends, whole=False)
    (outer,) = encode_balls([ball], columns, builder)
    return outer


@given(balls(3, "l2"))
@quick
def test_a_point_outside_is_cut_off(ball: Ball) -> None:
    encoded_graph = encode_graph(sum_of([1.0, -2.0, 0.5]), cut(wide(3), [ball]), {})
    model = encode_case(encoded_graph, [Atom(0)], "case")
    (outer,) = encoded_graph.balls
    point = (model.lower + model.upper) / 2
    point[outer.units], point[outer.shares] = 0.9, 1.0 / outer.units.size
    tightened = cut_off(model, encoded_graph.balls, point)
    if outer.units.size > 1:
        assert tightened is not None
        assert tightened.rows == model.rows + outer.units.size
        assert tightened.violation(point) > 0.1
    point[outer.units] = 0.0
    assert cut_off(model, encoded_graph.balls, point) is None


def test_a_ball_of_radius_zero_is_a_point() -> None:
    center = exact([Fraction(1, 3), Fraction(2, 3)])
    for norm in ("l1", "l2"):
        ball = Ball(np.arange(2), center, exact([1, 2]), Fraction(0), norm)  # type: ignore[arg-type]
        assert least(sum_of([3.0, 3.0]), cut(wide(2), [ball])).bound == pytest.approx(3.0)
