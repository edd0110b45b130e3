"""Models of jumps and maxima allow nothing that is not so; relaxed, they are convex hulls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from specdsl.encoding.encode import encode_case
from specdsl.encoding.solvers.highs import solve
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.query import Atom
from tests.encoding.nonlinear import (
    FOREVER,
    TOLERANCE,
    box,
    draw_groups,
    encoded,
    least_at,
    model_of,
    quick,
    values_at,
)
from tests.steps import STEPS


def signed(op: ops.Op, sign: float) -> Graph:
    builder = GraphBuilder()
    x = builder.add(ops.Input((1,)), name="x")
    node = builder.add(op, x, name="act")
    return builder.build(builder.add(ops.Scale(np.array(sign), np.array(0.0)), node))


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("ends", [(-2.75, 3.25), (-0.25, 0.75), (0.0, 2.0), (-1.0, 0.0)], ids=str)
def test_whole_columns_give_a_step_itself_away_from_jumps(
    name: str, ends: tuple[float, float]
) -> None:
    op = STEPS[name]
    for sign in (1.0, -1.0):
        model = model_of(signed(op, sign), box(*np.array(ends)[:, None]))
        for x in np.arange(np.ceil(ends[0] * 8), ends[1] * 8 + 1) / 8:
            if x * 2 == round(x * 2) or not ends[0] <= x <= ends[1]:
                continue
            expected = sign * op.value(np.array([x]))[0]
            assert least_at(model, np.array([x])) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("name", STEPS)
def test_at_a_jump_both_sides_are_allowed(name: str) -> None:
    op = STEPS[name]
    jump = op.jump if isinstance(op, ops.Rounding) else 0.0
    beside = op.value(np.array([jump - 0.25, jump, jump + 0.25]))
    for sign in (1.0, -1.0):
        model = model_of(signed(op, sign), box(np.array([-3.0]), np.array([3.0])))
        least = least_at(model, np.array([jump]))
        assert least == pytest.approx((sign * beside).min(), abs=TOLERANCE)


@pytest.mark.parametrize("name", ["positive", "not_negative", "floor", "ceil", "round"])
@given(st.data())
@quick
def test_the_relaxed_step_is_the_convex_hull(name: str, data: st.DataObject) -> None:
    op = STEPS[name]
    low, high = sorted(
        data.draw(st.lists(st.integers(-40, 40), min_size=2, max_size=2, unique=True))
    )
    ends = (low / 16, high / 16)
    share = data.draw(st.floats(0, 1))
    x = ends[0] + share * (ends[1] - ends[0])
    corners = step_corners(op, ends)
    for sign in (1.0, -1.0):
        model = model_of(signed(op, sign), box(*np.array(ends)[:, None])).relaxed()
        hull = min(
            (1 - part) * sign * f + part * sign * g
            for a, f in corners
            for b, g in corners
            if a <= x <= b
            for part in [(x - a) / (b - a) if b > a else 0.0]
        )
        assert least_at(model, np.array([x])) == pytest.approx(hull, abs=TOLERANCE)


def step_corners(op: ops.Step, ends: tuple[float, float]) -> list[tuple[float, float]]:
    """Ends with their values, and jumps with all that are reached at and beside them."""
    corners = [(x, float(op.value(np.array([x]))[0])) for x in ends]
    for jump in np.arange(-6, 7) / 2:
        sides = ((-0.25, ends[0] < jump), (0.0, True), (0.25, jump < ends[1]))
        if ends[0] <= jump <= ends[1]:
            corners += [(jump, float(op.value(np.array([jump + d]))[0])) for d, at in sides if at]
    return corners


@given(st.integers(0, 2**32 - 1))
@quick
def test_the_optimum_of_a_maximum_is_the_true_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    builder = GraphBuilder()
    x = builder.add(ops.Input((4,)), name="x")
    weight = np.round(rng.normal(size=(6, 4)) * 8) / 8
    node = builder.add(ops.Dense(weight, np.zeros(6)), x)
    node = builder.add(ops.GroupMax(draw_groups(rng, 6)), node)
    out = np.round(rng.normal(size=(1, 3)) * 8) / 8
    graph = builder.build(builder.add(ops.Dense(out, np.zeros(1)), node))
    inputs = box(-np.ones(4), np.ones(4))
    model = model_of(graph, inputs)
    whole, relaxed = solve(model, FOREVER), solve(model.relaxed(), FOREVER)
    assert whole.point is not None
    assert whole.objective is not None
    assert relaxed.objective is not None
    at_point = values_at(graph, whole.point[model.inputs][None])[0, 0]
    assert at_point == pytest.approx(whole.objective, abs=TOLERANCE)
    sampled = values_at(graph, rng.uniform(-1, 1, (2000, 4))).min()
    assert relaxed.objective - TOLERANCE <= whole.objective <= sampled + TOLERANCE


def test_two_relaxed_members_have_the_convex_hull() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((2,)), name="x")
    node = builder.add(ops.GroupMax(np.array([[0, 1]])), x)
    graph = builder.build(builder.add(ops.Scale(np.array(-1.0), np.array(0.0)), node))
    model = model_of(graph, box(np.array([-1.0, -0.5]), np.array([1.0, 2.0]))).relaxed()
    rng = np.random.default_rng(5)
    corners = [(a, b) for a in (-1.0, 1.0) for b in (-0.5, 2.0)]
    for point in rng.uniform([-1, -0.5], [1, 2], (20, 2)):
        # The concave hull over a rectangle: the best of four corners that add up to the point.
        matrix = np.array([[*c, 1.0] for c in corners]).T
        hull = milp(
            -np.array([max(c) for c in corners]),
            constraints=LinearConstraint(matrix, np.array([*point, 1.0]), np.array([*point, 1.0])),
            bounds=Bounds(0, 1),
        )
        assert least_at(model, point) == pytest.approx(hull.fun, abs=TOLERANCE)


def test_dominated_members_need_no_columns() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((4,)), name="x")
    groups = np.array([[0, 1, 1], [2, 2, 2], [0, 2, 3]])
    graph = builder.build(builder.add(ops.GroupMax(groups), x, name="pool"))
    lower, upper = np.array([0.0, 2.0, -1.0, -5.0]), np.array([1.0, 3.0, 0.5, -4.0])
    found = encoded(graph, box(lower, upper))
    np.testing.assert_array_equal(found.margins.columns[:2], found.inputs[[1, 2]])
    names = encode_case(found, [Atom(0)], "case").column_names()
    assert [n for n in names if "pool" in n] == ["pool[2]", "pool_largest[6]", "pool_largest[7]"]


def test_a_sum_before_a_jump_makes_room_for_its_rounding() -> None:
    """0.1 + 0.2 - 0.3 is not 0 in float64."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((3,)), name="x")
    node = builder.add(ops.Dense(np.array([[1.0, 1.0, -1.0]]), np.zeros(1)), x)
    graph = builder.build(builder.add(ops.NotNegative(), node, name="act"))
    inputs = box(np.array([0.1, 0.2, 0.3]), np.array([0.1, 0.2, 0.3]))
    assert solve(model_of(graph, inputs), FOREVER).objective == pytest.approx(0)
    builder = GraphBuilder()
    x = builder.add(ops.Input((1,)), name="x")
    node = builder.add(ops.Scale(np.array(3.0), np.array(-0.3)), x)
    graph = builder.build(builder.add(ops.Positive(), node, name="act"))
    model = model_of(graph, box(np.array([0.1]), np.array([0.1])))
    assert solve(model, FOREVER).objective == pytest.approx(0)
