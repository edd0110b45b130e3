"""Laws of the linear encoding: exact with whole binaries, the convex hull with relaxed ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import Deadline
from specdsl.bounds import pre_activation_bounds
from specdsl.encoding.encode import EncodedGraph, HasBounds, encode_case, encode_graph
from specdsl.encoding.model.entries import Range
from specdsl.encoding.model.linear_model import LinearModel
from specdsl.encoding.solvers.highs import solve
from specdsl.encoding.solvers.session import OPTIMAL
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.query import Atom, Variable
from specdsl.query.sets import Box, exact
from tests.strategies import boxes, l1_balls, networks, sample

FOREVER = Deadline.after(None)
# Solver tolerances of 1e-9 through weights of a few units.
TOLERANCE = 1e-6
quick = settings(max_examples=25, deadline=None)


@dataclass(frozen=True)
class Staircase(ops.PiecewiseLinear):
    """Neither convex nor concave, not monotone, four pieces."""

    breakpoints = (-1.0, 0.5, 1.0)  # type: ignore[assignment]
    slopes = (0.25, 2.0, -1.0, 0.5)  # type: ignore[assignment]
    anchor = 0.125  # type: ignore[assignment]


def neuron(op: ops.Op, sign: float = 1.0) -> Graph:
    """`sign * op(x)` of one input."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1,)), name="x")
    node = builder.add(op, x, name="act")
    return builder.build(builder.add(ops.Scale(np.array(sign), np.array(0.0)), node))


def interval_bounds(graph: Graph, inputs: Box) -> dict[str, HasBounds]:
    return dict(pre_activation_bounds(graph, inputs, "interval"))


def box(lower: float, upper: float) -> Box:
    return Box(exact([lower]), exact([upper]))


def encoded(graph: Graph, inputs: Box) -> EncodedGraph:
    bounds: Mapping[str, HasBounds] = interval_bounds(graph, inputs)
    return encode_graph(graph, inputs, bounds)


def case_model(graph: Graph, inputs: Box, *indices: int) -> LinearModel:
    atoms = [Atom(i) for i in indices or range(graph.size(graph.output))]
    return encode_case(encoded(graph, inputs), atoms, "case")


def worst_margin(graph: Graph, points: np.ndarray) -> np.ndarray:
    shaped = points.reshape(len(points), *graph.shapes[graph.input])
    return evaluate(graph, {graph.input: shaped})[graph.output].reshape(len(points), -1).max(1)


def minimum_at(model: LinearModel, x: float) -> float:
    """The least objective with the input fixed."""
    lower, upper = model.lower.copy(), model.upper.copy()
    lower[model.inputs] = upper[model.inputs] = x
    solution = solve(replace(model, lower=lower, upper=upper), FOREVER)
    assert solution.status == OPTIMAL
    assert solution.objective is not None
    return solution.objective


OPS = [
    ops.Relu(),
    ops.Abs(),
    ops.LeakyRelu(0.125),
    ops.LeakyRelu(2.0),
    ops.Clip(-0.5, 1.0),
    Staircase(),
]
INTERVALS = [(-2.0, 3.0), (-0.25, 0.75), (-3.0, -2.0), (0.5, 0.75), (0.0, 2.0), (-1.0, 1.0)]


@pytest.mark.parametrize("op", OPS, ids=lambda op: type(op).__name__)
@pytest.mark.parametrize("ends", INTERVALS, ids=str)
def test_whole_binaries_give_the_function_itself(
    op: ops.PiecewiseLinear, ends: tuple[float, float]
) -> None:
    for sign in (1.0, -1.0):
        graph = neuron(op, sign)
        model = case_model(graph, box(*ends))
        for x in np.linspace(*ends, 5):
            expected = worst_margin(graph, np.array([[x]]))[0]
            assert minimum_at(model, x) == pytest.approx(expected, abs=TOLERANCE)


def hull_below(op: ops.PiecewiseLinear, ends: tuple[float, float], sign: float, x: float) -> float:
    """The convex hull's lower edge at x: the least chord between two corners around it."""
    lower, upper = ends
    corners = [lower, *(p for p in op.breakpoints if lower < p < upper), upper]
    values = worst_margin(neuron(op, sign), np.array(corners)[:, None])
    best = np.inf
    for i, a in enumerate(corners):
        for j, b in enumerate(corners):
            if a <= x <= b:
                share = (x - a) / (b - a) if b > a else 0.0
                best = min(best, (1 - share) * values[i] + share * values[j])
    return best


@pytest.mark.parametrize("op", OPS, ids=lambda op: type(op).__name__)
@pytest.mark.parametrize("ends", INTERVALS, ids=str)
def test_relaxed_binaries_give_the_convex_hull(
    op: ops.PiecewiseLinear, ends: tuple[float, float]
) -> None:
    for sign in (1.0, -1.0):
        model = case_model(neuron(op, sign), box(*ends)).relaxed()
        for x in np.linspace(*ends, 5):
            assert minimum_at(model, x) == pytest.approx(
                hull_below(op, ends, sign, x), abs=TOLERANCE
            )


@given(st.integers(1, 64), st.integers(1, 64), st.floats(0, 1))
@quick
def test_the_relaxed_relu_is_the_triangle(down: int, up: int, share: float) -> None:
    lower, upper = -down / 16, up / 16
    x = lower + share * (upper - lower)
    below = case_model(neuron(ops.Relu()), box(lower, upper)).relaxed()
    above = case_model(neuron(ops.Relu(), -1.0), box(lower, upper)).relaxed()
    assert minimum_at(below, x) == pytest.approx(max(0.0, x), abs=TOLERANCE)
    chord = upper * (x - lower) / (upper - lower)
    assert -minimum_at(above, x) == pytest.approx(chord, abs=TOLERANCE)


@given(st.data())
@quick
def test_the_optimum_is_a_true_margin_and_below_every_sampled_one(data: st.DataObject) -> None:
    graph = data.draw(networks())
    inputs = data.draw(boxes(graph.size(graph.input)))
    model = case_model(graph, inputs)
    solution = solve(model, FOREVER)
    assert solution.status == OPTIMAL
    assert solution.point is not None
    assert solution.objective is not None
    at_point = worst_margin(graph, solution.point[model.inputs][None])[0]
    assert at_point == pytest.approx(solution.objective, abs=TOLERANCE)
    assert solution.bound <= solution.objective + TOLERANCE
    assert solution.objective <= worst_margin(graph, sample(inputs, 200)).min() + TOLERANCE
    assert model.violation(solution.point) <= TOLERANCE


@given(st.data())
@quick
def test_an_l1_ball_bounds_the_input(data: st.DataObject) -> None:
    graph = data.draw(networks())
    ball = data.draw(l1_balls(graph.size(graph.input)))
    bounds = interval_bounds(graph, ball.box)
    atoms = [Atom(i) for i in range(graph.size(graph.output))]
    model = encode_case(encode_graph(graph, ball, bounds), atoms, "ball")
    solution = solve(model, FOREVER)
    assert solution.point is not None
    x = solution.point[model.inputs]
    (only,) = ball.balls
    center = np.array([float(c) for c in only.center])
    assert np.abs(x - center).sum() <= float(only.radius) + TOLERANCE
    assert solution.objective == pytest.approx(worst_margin(graph, x[None])[0], abs=TOLERANCE)


def test_moved_scaled_and_stable_entries_need_no_columns() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 4)), name="x")
    node = builder.add(ops.Scale(np.array(2.0), np.array(5.0)), x)
    node = builder.add(ops.Relu(), node)
    node = builder.add(ops.Transpose((1, 0)), node)
    node = builder.add(ops.Select(np.array([3, 0])), node)
    node = builder.add(ops.Concat(0), node, builder.add(ops.Constant(np.ones(1))))
    graph = builder.build(node)
    inputs = Box(exact([-1] * 4), exact([1] * 4))
    model = case_model(graph, inputs)
    assert model.columns == 4 + 1
    assert model.row_names() == ["margin[0]", "margin[1]", "margin[2]"]
    solution = solve(model, FOREVER)
    assert solution.objective == pytest.approx(3.0)


def test_an_operand_taken_twice_is_added_up() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((2,)), name="x")
    graph = builder.build(builder.add(ops.Sum((1.0, 1.0, -0.5)), x, x, x))
    model = case_model(graph, Box(exact([1, 2]), exact([3, 4])))
    assert solve(model, FOREVER).objective == pytest.approx(3.0)


def test_names_say_layer_and_neuron() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((3,)), name="x")
    node = builder.add(ops.Dense(np.eye(3) - 0.5, np.zeros(3)), x, name="fc/1")
    node = builder.add(ops.Relu(), node, name="relu_1")
    graph = builder.build(builder.add(ops.Dense(np.ones((1, 3)), np.zeros(1)), node, name="out"))
    inputs = Box(exact([-1] * 3), exact([1] * 3))
    variables = [Variable.at("speed", 0, ()), Variable.at("angle", 1, (2,))]
    model = encode_case(
        encode_graph(graph, inputs, interval_bounds(graph, inputs), variables), [Atom(0)], "c"
    )
    names = model.column_names()
    assert names[:3] == ["speed[0]", "angle[0]", "angle[1]"]
    assert {"fc_1[2]", "relu_1[2]", "relu_1_active[2]", "out[0]", "worst[0]"} <= set(names)
    assert {"fc_1[0]", "relu_1_near_left[1]", "margin[0]"} <= set(model.row_names())
    assert len(set(names)) == len(names)


def test_a_case_without_atoms_has_no_model() -> None:
    graph = neuron(ops.Relu())
    with pytest.raises(ValueError, match="without atoms"):
        encode_case(encoded(graph, box(0, 1)), [], "none")


def test_given_bounds_restrict_the_columns_they_speak_of() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((2,)), name="x")
    graph = builder.build(builder.add(ops.Dense(np.ones((1, 2)), np.zeros(1)), x, name="y"))
    inputs = Box(exact([0, 0]), exact([1, 1]))
    bounds = {"y": Range(np.array([0.25]), np.array([0.5]))}
    model = encode_case(encode_graph(graph, inputs, bounds), [Atom(0)], "c")
    assert solve(model, FOREVER).objective == pytest.approx(0.25)
