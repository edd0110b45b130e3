"""Rewrites keep values, shapes and inputs; and they do find what they are for."""

from __future__ import annotations

import time
from fractions import Fraction

import numpy as np
from hypothesis import given, settings

from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.rewrites import simplify
from tests.graph.random_graphs import graphs, random_points
from tests.strategies import networks

# Merging reorders float64 sums; relative to the largest value met on the way.
TOLERANCE = 1e-9


def kinds(graph: Graph) -> list[str]:
    return [type(graph.op(n)).__name__ for n in graph.order]


def assert_same(graph: Graph, simplified: Graph) -> None:
    assert simplified.input == graph.input
    assert simplified.shapes[simplified.input] == graph.shapes[graph.input]
    assert simplified.shapes[simplified.output] == graph.shapes[graph.output]
    points = random_points(graph, 4)
    before = evaluate(graph, {graph.input: points})
    after = evaluate(simplified, {graph.input: points})[simplified.output]
    largest = max(1.0, *(float(np.abs(v).max(initial=0)) for v in before.values()))
    assert np.abs(before[graph.output] - after).max(initial=0) <= TOLERANCE * largest


@settings(max_examples=300, deadline=None)
@given(graphs(max_steps=10))
def test_a_simplified_graph_computes_the_same(graph: Graph) -> None:
    simplified = simplify(graph)
    assert len(simplified) <= len(graph) + 1
    assert_same(graph, simplified)
    assert kinds(simplify(simplified)) == kinds(simplified)


@settings(max_examples=50, deadline=None)
@given(networks())
def test_so_does_a_simplified_network(graph: Graph) -> None:
    assert_same(graph, simplify(graph))


def chain(shape: tuple[int, ...], *steps: ops.Op) -> Graph:
    builder = GraphBuilder()
    node = builder.add(ops.Input(shape), name="x")
    for i, step in enumerate(steps):
        node = builder.add(step, node, name=f"n{i}")
    return builder.build(node)


def dense(rows: int, columns: int) -> ops.Dense:
    rng = np.random.default_rng(rows)
    return ops.Dense(rng.standard_normal((rows, columns)), rng.standard_normal(rows))


def conv(filters: int, channels: int, pad: int) -> ops.Conv:
    rng = np.random.default_rng(filters)
    weight = rng.standard_normal((filters, channels, 2, 2))
    return ops.Conv(weight, rng.standard_normal(filters), (1, 1), ((pad, pad),) * 2, (1, 1))


def batch_norm(channels: int) -> ops.BatchNorm:
    ones = np.ones(channels, np.float32)
    return ops.BatchNorm(2 * ones, ones, 3 * ones, 4 * ones, 1e-5)


def test_normalisation_flatten_and_bias_join_the_layer_as_in_acas() -> None:
    graph = chain(
        (1, 1, 1, 5),
        ops.Scale(np.array(1.0), np.arange(5.0).reshape(1, 1, 1, 5)),
        ops.Reshape((1, 5)),
        ops.Dense(np.ones((3, 5)), np.zeros(3)),
        ops.Scale(np.array(1.0), np.arange(3.0)),
        ops.Relu(),
    )
    simplified = simplify(graph)
    assert kinds(simplified) == ["Input", "Reshape", "Dense", "Relu"]
    assert_same(graph, simplified)


def test_margins_join_the_last_layer_of_the_network() -> None:
    graph = chain(
        (1, 3),
        dense(4, 3),
        ops.Relu(),
        dense(5, 4),
        ops.Reshape((5,)),
        ops.Select(np.array([4, 0, 2])),
        dense(2, 3),
    )
    assert kinds(simplify(graph)) == ["Input", "Reshape", "Dense", "Relu", "Dense"]
    assert_same(graph, simplify(graph))


def test_a_long_chain_is_simplified_in_no_time() -> None:
    graph = chain((1, 1), *[ops.Relu() for _ in range(5_000)])
    start = time.perf_counter()
    simplify(graph)
    assert time.perf_counter() - start < 5.0


def test_batch_norm_joins_the_convolution_before_it() -> None:
    graph = chain((1, 2, 4, 4), conv(3, 2, 1), batch_norm(3), ops.Relu())
    assert kinds(simplify(graph)) == ["Input", "Conv", "Relu"]
    assert_same(graph, simplify(graph))


def test_a_shift_stays_before_a_padded_convolution_and_joins_one_without() -> None:
    shift = ops.Scale(np.array(2.0), np.array(1.0))
    padded, bare = (chain((1, 2, 4, 4), shift, conv(3, 2, p)) for p in (1, 0))
    assert kinds(simplify(padded)) == ["Input", "Scale", "Conv"]
    assert kinds(simplify(bare)) == ["Input", "Conv"]
    assert_same(bare, simplify(bare))


def test_dense_layers_merge_only_where_that_is_not_larger() -> None:
    assert kinds(simplify(chain((1, 4), dense(8, 4), dense(2, 8)))) == ["Input", "Dense"]
    bottleneck = chain((1, 50), dense(2, 50), dense(50, 2))
    assert kinds(simplify(bottleneck)) == ["Input", "Dense", "Dense"]


def test_a_layer_with_two_readers_is_not_copied() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 4)), name="x")
    shared = builder.add(dense(4, 4), x)
    scaled = builder.add(ops.Scale(np.array(2.0), np.array(0.0)), shared)
    graph = builder.build(builder.add(ops.Sum((1.0, 1.0)), shared, scaled))
    assert kinds(simplify(graph)).count("Dense") == 1
    assert_same(graph, simplify(graph))


def test_moves_that_change_nothing_go() -> None:
    graph = chain(
        (1, 6),
        ops.Reshape((1, 2, 3)),
        ops.Transpose((0, 2, 1)),
        ops.Transpose((0, 2, 1)),
        ops.Reshape((1, 6)),
        ops.Select(np.arange(6).reshape(1, 6)),
        ops.Scale(np.array(Fraction(1), dtype=object), np.array(0.0)),
        ops.Relu(),
    )
    assert kinds(simplify(graph)) == ["Input", "Relu"]


def test_the_input_stays_even_if_nothing_reads_it() -> None:
    builder = GraphBuilder()
    builder.add(ops.Input((2,)), name="x")
    graph = builder.build(builder.add(ops.Constant(np.ones(3)), name="c"))
    assert simplify(graph).inputs == ("x",)
