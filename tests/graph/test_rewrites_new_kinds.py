"""Rewrites on graphs with curves, jumps and maxima: values stay, each rule finds its pattern."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.graph import composites, ops
from specdsl.graph.exact import evaluate_exact
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.rewrites import expand_maxima, restate, simplify
from specdsl.graph.rewrites.drop_identities import drop_identities
from specdsl.graph.rewrites.drop_repeats import drop_repeats
from specdsl.graph.rewrites.fold_batch_norm import fold_batch_norm
from specdsl.graph.rewrites.fold_constants import fold_constants, magnifies
from specdsl.graph.rewrites.merge_affine import merge_affine
from specdsl.graph.rewrites.merge_gates import merge_gates
from specdsl.graph.rewrites.merge_rearrangements import merge_rearrangements
from specdsl.graph.rewrites.merge_sums import merge_sums
from specdsl.graph.rewrites.rewriting import Rule, rewrite
from specdsl.graph.rewrites.share_repeats import share_repeats
from specdsl.graph.rewrites.undo_relu_splitting import undo_relu_splitting
from specdsl.graph.rewrites.undo_split_layers import undo_split_layers
from tests.graph.random_graphs import (
    CURVED,
    PIECEWISE,
    STEPPED,
    as_exact,
    graphs,
    random_points,
)
from tests.graph.test_rewrites import assert_same, chain, dense, kinds

EXACT_RULES = (
    merge_gates,
    undo_relu_splitting,
    drop_repeats,
    merge_rearrangements,
    drop_identities,
    fold_batch_norm,
)
ROUNDING_RULES = (fold_constants, undo_split_layers, merge_sums, merge_affine)

# Merged weights are rounded once each: of exact values, all that a simplified graph may lose.
ROUNDING = Fraction(1, 10**9)


def exact_outputs(graph: Graph, seed: int) -> np.ndarray:
    point = as_exact(random_points(graph, 1, seed)[0])
    return evaluate_exact(graph, {graph.input: point})[graph.output]


@settings(max_examples=150, deadline=None)
@given(graphs(max_steps=8, steps=CURVED))
def test_a_simplified_graph_computes_the_same(graph: Graph) -> None:
    simplified = simplify(graph)
    assert_same(graph, simplified)
    assert kinds(simplify(simplified)) == kinds(simplified)


@settings(max_examples=150, deadline=None)
@given(graphs(max_steps=7, steps=STEPPED), st.integers(0, 3))
def test_so_does_one_with_jumps_in_exact_numbers(graph: Graph, seed: int) -> None:
    """Half of the arguments lie on a jump: the least rounding before it would show."""
    before, after = exact_outputs(graph, seed), exact_outputs(simplify(graph), seed)
    largest = max(Fraction(1), *sizes(graph, seed))
    assert (np.abs(before - after) <= ROUNDING * largest).all()


def sizes(graph: Graph, seed: int) -> list[Fraction]:
    point = as_exact(random_points(graph, 1, seed)[0])
    values = evaluate_exact(graph, {graph.input: point})
    return [abs(Fraction(v)) for value in values.values() for v in value.reshape(-1).tolist()]


@pytest.mark.parametrize("rule", EXACT_RULES, ids=lambda r: r.__name__)
@settings(max_examples=30, deadline=None)
@given(graph=graphs(max_steps=6, steps=STEPPED), seed=st.integers(0, 3))
def test_exact_rules_change_no_value_at_all(rule: Rule, graph: Graph, seed: int) -> None:
    rewritten, changed = rewrite(graph, rule)
    assert changed or kinds(rewritten) == kinds(graph)
    assert (exact_outputs(rewritten, seed) == exact_outputs(graph, seed)).all()


@pytest.mark.parametrize("rule", ROUNDING_RULES, ids=lambda r: r.__name__)
@settings(max_examples=30, deadline=None)
@given(graph=graphs(max_steps=6, steps=PIECEWISE))
def test_merging_rules_change_values_by_rounding_alone(rule: Rule, graph: Graph) -> None:
    assert_same(graph, rewrite(graph, rule)[0])


@settings(max_examples=50, deadline=None)
@given(graphs(max_steps=6, steps=STEPPED), st.integers(0, 3))
def test_shared_repeats_and_trees_of_maxima_are_exact(graph: Graph, seed: int) -> None:
    wanted = exact_outputs(graph, seed)
    shared, trees = share_repeats(graph)[0], expand_maxima(graph)
    assert "GroupMax" not in kinds(trees)
    assert (exact_outputs(shared, seed) == wanted).all()
    assert (exact_outputs(trees, seed) == wanted).all()


# --- each finds its pattern -----------------------------------------------------------------------


def build(shape: tuple[int, ...], make: Any) -> Graph:
    builder = GraphBuilder()
    x = builder.add(ops.Input(shape), name="x")
    return builder.build(make(builder, x))


def test_equal_nodes_are_one() -> None:
    layer = dense(3, 4)
    copy = ops.Dense(layer.weight.copy(), layer.bias.copy())
    other = ops.Dense(layer.weight.copy(), np.ones(3))

    def make(builder: GraphBuilder, x: str) -> str:
        parts = [builder.add(ops.Relu(), builder.add(op, x)) for op in (layer, copy, other)]
        return builder.add(ops.Concat(1), *parts)

    graph = build((1, 4), make)
    shared = simplify(graph)
    assert kinds(shared).count("Dense") == kinds(shared).count("Relu") == 2
    assert_same(graph, shared)


def test_what_cancels_in_nested_sums_goes() -> None:
    def make(builder: GraphBuilder, x: str) -> str:
        y = builder.add(ops.Relu(), x)
        inner = builder.add(ops.Sum((2.0, 1.0)), x, y)
        negative = builder.add(ops.Scale(np.array(-0.5), np.array(0.0)), y)
        return builder.add(ops.Sum((1.0, 2.0)), inner, negative)

    graph = build((1, 4), make)
    assert kinds(simplify(graph)) == ["Input", "Scale"]
    assert_same(graph, simplify(graph))


def halves(a: float, b: float, split: ops.Op | None = None) -> Graph:
    def make(builder: GraphBuilder, x: str) -> str:
        z = builder.add(split, x) if split else x
        turned = composites.opposite(builder, z)
        parts = builder.add(ops.Relu(), z), builder.add(ops.Relu(), turned)
        return builder.add(ops.Sum((a, b)), *parts)

    return build((1, 4), make)


@pytest.mark.parametrize(
    ("a", "b", "left"),
    [
        (1.0, -1.0, ["Input"]),
        (0.5, -0.5, ["Input", "Scale"]),
        (1.0, 1.0, ["Input", "Abs"]),
        (1.0, -0.25, ["Input", "LeakyRelu"]),
        (-0.25, 1.0, ["Input", "Scale", "LeakyRelu"]),
        (3.0, -0.3, ["Input", "Scale", "Relu", "Relu", "Sum"]),
    ],
)
def test_halves_of_a_relu_are_joined_where_that_is_exact(
    a: float, b: float, left: list[str]
) -> None:
    graph = halves(a, b)
    assert kinds(simplify(graph)) == left
    assert_same(graph, simplify(graph))
    joined, _ = rewrite(graph, undo_relu_splitting)
    assert (exact_outputs(joined, 1) == exact_outputs(graph, 1)).all()


def test_a_value_split_behind_a_layer_is_the_layer() -> None:
    """The layer has merged with the factor -1 in one branch: its weights are turned."""
    graph = halves(1.0, -1.0, dense(5, 4))
    assert kinds(simplify(graph)) == ["Input", "Dense"]


def signed(rows: ops.Array) -> np.ndarray:
    """The rows, and the same rows with the other sign."""
    return np.concatenate([rows, np.negative(rows)])


def test_a_layer_of_split_neurons_is_linear_again() -> None:
    layer, read = dense(3, 4), dense(2, 3)
    split = ops.Dense(signed(layer.weight), signed(layer.bias))
    joined = ops.Dense(signed(read.weight.T).T, read.bias)
    graph = chain((1, 4), split, ops.Relu(), joined)
    assert kinds(simplify(graph)) == ["Input", "Dense"]
    assert_same(graph, simplify(graph))


def test_neurons_without_a_partner_stay() -> None:
    layer, read = dense(3, 4), dense(2, 4)
    rows, bias = signed(layer.weight)[:4], signed(layer.bias)[:4]
    graph = chain((1, 4), ops.Dense(rows, bias), ops.Relu(), read)
    simplified = simplify(graph)
    (relu,) = [n for n in simplified.order if isinstance(simplified.op(n), ops.Relu)]
    assert simplified.shapes[relu] == (1, 3)
    assert_same(graph, simplified)


@pytest.mark.parametrize(
    ("step", "slope", "shift", "left"),
    [
        (ops.Sign(), 1.0, 0.0, ["Input", "Abs"]),
        (ops.Positive(), 1.0, 0.0, ["Input", "Relu"]),
        (ops.NotNegative(), 2.0, 0.0, ["Input", "Relu", "Scale"]),
        (ops.Positive(), 0.75, 0.25, ["Input", "LeakyRelu"]),
        (ops.Positive(), -1.0, 1.0, ["Input", "Scale", "Relu", "Scale"]),
        (ops.Positive(), 0.0, 3.0, ["Input", "Scale"]),
        (ops.Positive(), 0.7, 0.1, ["Input", "Positive", "Scale", "Multiply"]),
    ],
)
def test_products_with_ones_own_sign_are_piecewise_linear(
    step: ops.Step, slope: float, shift: float, left: list[str]
) -> None:
    def make(builder: GraphBuilder, x: str) -> str:
        gate = composites.affine(builder, builder.add(step, x), slope, shift)
        return builder.add(ops.Multiply(), gate, x)

    graph = build((1, 4), make)
    assert kinds(simplify(graph)) == left
    assert (exact_outputs(simplify(graph), 2) == exact_outputs(graph, 2)).all()


def test_a_relu_of_what_is_not_negative_goes() -> None:
    for inner in (ops.Relu(), ops.Square(), ops.Sigmoid()):
        assert kinds(simplify(chain((1, 3), inner, ops.Relu(), ops.Abs()))) == [
            "Input",
            type(inner).__name__,
        ]
    idle = chain((1, 3), ops.Clip(-1.0, 1.0), ops.Clip(-2.0, 2.0))
    assert kinds(simplify(idle)) == ["Input", "Clip", "Clip"]
    assert kinds(simplify(chain((1, 3), ops.Round(), ops.Floor()))) == ["Input", "Round"]


def test_nothing_is_rounded_before_a_jump() -> None:
    """0.1 + 0.2 > 0.3 holds in float64 sums; the numbers themselves say so too, but barely."""

    def make(builder: GraphBuilder, x: str) -> str:
        total = x
        for part in (0.1, 0.2, -0.30000000000000004):
            total = composites.affine(builder, total, 1.0, part)
        return builder.add(ops.Positive(), total)

    graph = build((1, 1), make)
    point = as_exact(np.zeros((1, 1)))
    simplified = simplify(graph)
    wanted = evaluate_exact(graph, {"x": point})[graph.output]
    assert evaluate_exact(simplified, {"x": point})[simplified.output] == wanted
    assert wanted == 0


def test_constants_before_a_jump_are_folded_exactly() -> None:
    def make(builder: GraphBuilder, x: str) -> str:
        third = builder.add(ops.Constant(np.full((1, 2), 0.1)))
        tripled = composites.affine(builder, third, 3.0, Fraction(-3, 10))
        return builder.add(ops.Sum((1.0, 1.0)), builder.add(ops.Sign(), tripled), x)

    graph = build((1, 2), make)
    assert kinds(simplify(graph)) == ["Input", "Scale"]
    assert (exact_outputs(simplify(graph), 0) == exact_outputs(graph, 0)).all()


def test_a_function_of_a_constant_is_no_constant_before_a_jump() -> None:
    def make(builder: GraphBuilder, x: str) -> str:
        root = builder.add(ops.Sqrt(), builder.add(ops.Constant(np.full((1, 2), 2.0))))
        gap = builder.add(ops.Sum((1.0, 1.0)), root, x)
        return builder.add(ops.Positive(), gap)

    assert "Sqrt" in kinds(simplify(build((1, 2), make)))


def test_sums_of_scaled_maxima_have_as_many_relus_as_members_less_one() -> None:
    groups = np.arange(7).reshape(1, 7)
    trees = expand_maxima(chain((7,), ops.GroupMax(groups)))
    relus = [n for n in trees.order if isinstance(trees.op(n), ops.Relu)]
    assert sum(trees.size(n) for n in relus) == 6


@settings(max_examples=100, deadline=None)
@given(graphs(max_steps=7, steps=(*STEPPED, *CURVED)))
def test_restating_and_simplifying_agree_on_what_magnifies_errors(graph: Graph) -> None:
    """Rounding is measured on the restated graph: the simplified one must be of the same sort."""
    restated = restate(graph_of_margins(graph)).graph
    assert magnifies(simplify(restated)) == magnifies(restated)


def graph_of_margins(graph: Graph) -> Graph:
    """The same with a vector as output."""
    builder = GraphBuilder()
    for node, op, operands in graph:
        builder.add(op, *operands, name=node)
    flat = ops.Reshape((graph.size(graph.output),))
    return builder.build(builder.add(flat, graph.output))
