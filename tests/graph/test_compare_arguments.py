"""Margins over softmax and other rising functions keep their signs, and lose the functions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.graph import composites, ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.exact import evaluate_exact
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.rewrites import compare_arguments, simplify
from tests.graph.random_graphs import CURVED, as_exact, graphs, random_points
from tests.graph.test_rewrites import dense, kinds

Head = Callable[[GraphBuilder, str], str]

# Nearer to 0 than this, rounding decides on the sign of a float64 margin.
UNSURE = 1e-12


def exporters_softmax(builder: GraphBuilder, logits: str) -> str:
    """`exp(x - max x) / sum exp(x - max x)`, written out."""
    shifted = composites.subtract(builder, logits, composites.reduce_max(builder, logits, (1,)))
    powers = builder.add(ops.Exp(), shifted)
    return composites.divide(builder, powers, composites.reduce_sum(builder, powers, (1,)))


def elementwise(*chain: ops.Op) -> Head:
    def head(builder: GraphBuilder, logits: str) -> str:
        for op in chain:
            logits = builder.add(op, logits)
        return logits

    return head


HEADS: dict[str, Head] = {
    "softmax": lambda b, x: composites.softmax(b, x, 1),
    "log_softmax": lambda b, x: composites.log_softmax(b, x, 1),
    "written out": exporters_softmax,
    "log of softmax": lambda b, x: b.add(ops.Log(), composites.softmax(b, x, 1)),
    "sigmoid": elementwise(ops.Sigmoid()),
    "tanh of elu": elementwise(ops.Elu(0.5), ops.Tanh()),
    "leaky relu": elementwise(ops.LeakyRelu(0.25)),
    "1 / e^x": elementwise(ops.Exp(), ops.Reciprocal()),
    "e^x to the -0.5": elementwise(ops.Exp(), ops.Power(-0.5)),
    "softsign": elementwise(ops.Softsign()),
}


def margins(head: Head, classes: int, weight: np.ndarray, bias: np.ndarray) -> Graph:
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 4)), name="x")
    logits = builder.add(dense(classes, 4), x, name="logits")
    flat = builder.add(ops.Reshape((classes,)), head(builder, logits))
    return builder.build(builder.add(ops.Dense(weight, bias), flat, name="margins"))


def against_all(classes: int, label: int) -> np.ndarray:
    """`y[label] - y[j]` for every other j."""
    rows = np.delete(-np.eye(classes), label, axis=0)
    rows[:, label] = 1.0
    return rows


def assert_same_signs(graph: Graph, compared: Graph, count: int = 30) -> None:
    assert compared.shapes[compared.output] == graph.shapes[graph.output]
    assert compared.inputs == graph.inputs
    points = random_points(graph, count)
    before = evaluate(graph, {graph.input: points})[graph.output]
    after = evaluate(compared, {graph.input: points})[compared.output]
    sure = (np.abs(before) > UNSURE) & np.isfinite(before)
    assert (np.sign(before) == np.sign(after))[sure].all()
    assert np.isnan(after[np.isnan(before)]).all()


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_comparisons_of_outputs_are_comparisons_of_logits(name: str, classes: int) -> None:
    weight = against_all(classes, classes - 1)
    graph = margins(HEADS[name], classes, weight, np.zeros(classes - 1))
    compared = compare_arguments(graph)
    assert_same_signs(graph, compared)
    assert kinds(simplify(compared)) == ["Input", "Reshape", "Dense"]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(HEADS)), st.integers(0, 2**32 - 1))
def test_signs_stay_whatever_the_margins_are(name: str, seed: int) -> None:
    """Scaled, shifted, over three outputs or one: what has no simpler form stays as it is."""
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 5))
    weight = rng.choice([-2.0, -1.0, 0.0, 0.0, 1.0, 2.0], size=(4, classes))
    bias = rng.choice([0.0, 0.0, -0.5, 0.5, -1.0, 0.25], size=4)
    graph = margins(HEADS[name], classes, weight, bias)
    assert_same_signs(graph, compare_arguments(graph))


@settings(max_examples=60, deadline=None)
@given(graphs(max_steps=6, steps=CURVED))
def test_signs_stay_in_any_graph(graph: Graph) -> None:
    builder = GraphBuilder()
    nodes = {n: builder.add(op, *operands, name=n) for n, op, operands in graph}
    size = graph.size(graph.output)
    flat = builder.add(ops.Reshape((size,)), nodes[graph.output])
    weight = np.vstack([np.eye(size), against_all(size, 0)]) if size > 1 else np.eye(1)
    rows = builder.build(builder.add(ops.Dense(weight, np.zeros(len(weight))), flat))
    assert_same_signs(rows, compare_arguments(rows), count=8)


@pytest.mark.parametrize(
    ("op", "value", "argument"),
    [
        (ops.Sigmoid(), 0.5, 0),
        (ops.Tanh(), 0.0, 0),
        (ops.Exp(), 1.0, 0),
        (ops.Softsign(), 0.75, 3),
        (ops.LeakyRelu(0.25), -1.0, -4),
    ],
)
def test_a_threshold_moves_to_the_argument_where_that_is_rational(
    op: ops.Op, value: float, argument: Fraction
) -> None:
    graph = margins(elementwise(op), 1, np.array([[-2.0]]), np.array([2 * value]))
    compared = compare_arguments(graph)
    assert type(op).__name__ not in kinds(compared)
    point = as_exact(np.zeros((1, 4)))
    values = evaluate_exact(compared, {"x": point})
    gap = values[compared.output] + values["logits"].reshape(1)
    assert gap[0] == argument


def test_an_irrational_threshold_stays() -> None:
    graph = margins(elementwise(ops.Sigmoid()), 1, np.eye(1), np.array([-0.9]))
    assert compare_arguments(graph) is graph


def test_a_tie_of_logits_is_a_tie_of_margins() -> None:
    """0 stays 0, exactly: strict and other atoms keep their meaning."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 3)), name="x")
    flat = builder.add(ops.Reshape((3,)), composites.softmax(builder, x, 1))
    weight = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])
    graph = builder.build(builder.add(ops.Dense(weight, np.zeros(2)), flat))
    compared = compare_arguments(graph)
    point = as_exact(np.array([[0.1, 0.1, 0.3]]))
    first, second = evaluate_exact(compared, {"x": point})[compared.output]
    assert first == 0
    assert second == Fraction(0.1) - Fraction(0.3)


def test_a_falling_function_turns_the_comparison_and_poles_forbid_it() -> None:
    """1 / x falls on either side of 0, and is larger on the right of it than on the left."""
    graph = margins(elementwise(ops.Reciprocal()), 2, against_all(2, 0), np.zeros(1))
    assert compare_arguments(graph) is graph


@pytest.mark.parametrize("op", [ops.Log(), ops.Sqrt(), ops.Power(1.5), ops.Power(-0.5)])
def test_what_may_have_no_value_is_not_replaced_by_what_has_one(op: ops.Smooth) -> None:
    """`log(x) > 0` does not hold at -1 as `x > 1` does not: there is nothing to compare."""
    for weight in (np.eye(2), against_all(2, 0)):
        graph = margins(elementwise(op), 2, weight, np.zeros(len(weight)))
        assert compare_arguments(graph) is graph


def test_a_dropped_factor_keeps_its_check() -> None:
    """`u e^log(z) - v e^log(z)` has the sign of `u - v` only where z is positive."""

    def head(builder: GraphBuilder, x: str) -> str:
        factor = builder.add(ops.Exp(), builder.add(ops.Log(), x))
        first = builder.add(ops.Select(np.array([[0, 0]])), factor)
        return builder.add(ops.Multiply(), x, first)

    graph = margins(head, 2, against_all(2, 0), np.zeros(1))
    assert compare_arguments(graph) is graph


@pytest.mark.parametrize("inner", [ops.Exp(), ops.Softplus()])
@pytest.mark.parametrize("op", [ops.Log(), ops.Sqrt(), ops.Power(-0.5)])
def test_a_domain_that_cannot_be_left_forbids_nothing(op: ops.Smooth, inner: ops.Smooth) -> None:
    def head(builder: GraphBuilder, x: str) -> str:
        return builder.add(op, builder.add(inner, x))

    graph = margins(head, 2, against_all(2, 0), np.zeros(1))
    compared = compare_arguments(graph)
    assert type(op).__name__ not in kinds(compared)
    assert_same_signs(graph, compared)


def test_functions_that_do_not_rise_everywhere_stay() -> None:
    for op in (ops.Sin(), ops.Gelu(), ops.Relu(), ops.Abs(), ops.Clip(-1.0, 1.0), ops.HardSwish()):
        graph = margins(elementwise(op), 3, against_all(3, 0), np.zeros(2))
        assert compare_arguments(graph) is graph


def test_margins_of_both_kinds_keep_their_places() -> None:
    weight = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, -1.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 1.0]])
    bias = np.array([-0.5, 0.0, -0.25, 0.0])
    graph = margins(HEADS["softmax"], 3, weight, bias)
    compared = compare_arguments(graph)
    assert_same_signs(graph, compared)
    points = random_points(graph, 5)
    before = evaluate(graph, {"x": points})[graph.output]
    after = evaluate(compared, {"x": points})[compared.output]
    assert np.allclose(before[:, [0, 2]], after[:, [0, 2]])


def test_different_softmaxes_are_not_compared() -> None:
    """The sums below the line differ: `a_0 > b_0` says nothing about single logits."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 6)), name="x")
    halves = [builder.add(ops.Select(np.arange(i, i + 3).reshape(1, 3)), x) for i in (0, 3)]
    first, second = (composites.softmax(builder, half, 1) for half in halves)
    both = builder.add(ops.Concat(0), *(builder.add(ops.Reshape((3,)), n) for n in (first, second)))
    weight = np.array([[1.0, 0.0, 0.0, -1.0, 0.0, 0.0]])
    graph = builder.build(builder.add(ops.Dense(weight, np.zeros(1)), both))
    assert compare_arguments(graph) is graph
