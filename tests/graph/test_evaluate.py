"""Laws of concrete evaluation, floating and exact."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from fractions import Fraction
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.graph import ops
from specdsl.graph.evaluate import convolve, evaluate, knot_values
from specdsl.graph.exact import Exact, evaluate_exact
from specdsl.graph.graph import Graph, GraphBuilder
from tests.graph.random_graphs import as_exact, graphs, random_points

# float64 rounding of a few dozen operations, relative to the largest value met on the way.
ROUNDING = 1e-12


FRACTIONS = st.fractions(-3, 3, max_denominator=10**6)


def exact_vector(values: Iterable[Fraction]) -> np.ndarray:
    return np.array(list(values), dtype=object)


def single(op: ops.Op, shape: tuple[int, ...]) -> Graph:
    builder = GraphBuilder()
    return builder.build(builder.add(op, builder.add(ops.Input(shape), name="x"), name="y"))


def exactly(graph: Graph, point: np.ndarray) -> np.ndarray:
    return evaluate_exact(graph, {graph.input: point}, nodes=[graph.output])[graph.output]


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_floating_and_exact_values_agree_at_every_node(graph: Graph) -> None:
    points = random_points(graph, 2)
    floating = evaluate(graph, {graph.input: points})
    for i, point in enumerate(points):
        exact = evaluate_exact(graph, {graph.input: as_exact(point)})
        largest = max(1.0, *(float(np.abs(v[i]).max(initial=0)) for v in floating.values()))
        for node in graph.order:
            assert exact[node].shape == graph.shapes[node]
            difference = np.abs(floating[node][i] - exact[node].astype(np.float64))
            assert difference.max(initial=0) <= ROUNDING * largest


def naive(op: ops.Op, x: np.ndarray) -> np.ndarray:
    """Dense and conv by definition, in `Fraction`s, entry by entry."""
    if isinstance(op, ops.Dense):
        weight, bias = as_exact(op.weight.astype(np.float64)), as_exact(op.bias.astype(np.float64))
        return np.array(
            [
                [
                    sum(w * v for w, v in zip(r, x[0], strict=True)) + b
                    for r, b in zip(weight, bias, strict=True)
                ]
            ]
        )
    assert isinstance(op, ops.Conv)
    result = np.empty(op.shape(x.shape), dtype=object)
    weight = as_exact(op.weight.astype(np.float64))
    filters, channels, *kernel = op.weight.shape
    for place in itertools.product(*(range(n) for n in result.shape)):
        total = Fraction(float(op.bias[place[1]]))
        first = place[1] // (filters // op.groups) * channels
        for c, *offset in itertools.product(range(channels), *(range(k) for k in kernel)):
            where = [
                p * s - pad[0] + o * d
                for p, s, pad, o, d in zip(
                    place[2:], op.strides, op.pads, offset, op.dilations, strict=True
                )
            ]
            if all(0 <= w < n for w, n in zip(where, x.shape[2:], strict=True)):
                total += weight[(place[1], c, *offset)] * x[(place[0], first + c, *where)]
        result[place] = total
    return result


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-30, 1e-3, 1.0, 1e20]),
    st.sampled_from([np.float32, np.float64]),
)
def test_exact_products_are_the_definition(seed: int, spread: float, kind: type) -> None:
    rng = np.random.default_rng(seed)
    weight = (rng.standard_normal((3, 4)) * spread ** rng.random((3, 4))).astype(kind)
    dense = ops.Dense(weight, rng.standard_normal(3).astype(kind))
    point = as_exact(rng.standard_normal((1, 4)) * spread) / 3
    assert (exactly(single(dense, (1, 4)), point) == naive(dense, point)).all()
    conv = ops.Conv(
        weight=(rng.standard_normal((4, 1, 2, 2)) * spread).astype(kind),
        bias=rng.standard_normal(4).astype(kind),
        strides=(2, 1),
        pads=((1, 0), (0, 2)),
        dilations=(1, 2),
        groups=2,
    )
    image = as_exact(rng.standard_normal((1, 2, 4, 5)))
    assert (exactly(single(conv, (1, 2, 4, 5)), image) == naive(conv, image)).all()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=8))
def test_floats_are_taken_exactly(values: list[float]) -> None:
    found = Exact.of(np.array(values, dtype=np.float64)).fractions()
    assert list(found) == [Fraction(v) for v in values]


@given(st.lists(st.fractions(max_denominator=10**30), min_size=1, max_size=8))
def test_fractions_are_kept(values: list[Fraction]) -> None:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    assert list(Exact.of(array).fractions()) == values


def test_exact_values_see_what_floats_lose() -> None:
    big = 2.0**80
    weight = np.array([[1.0], [big], [-big]])
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 1)), name="x")
    spread = builder.add(ops.Dense(weight, np.array([0.0, 1.0, 0.0])), x)
    graph = builder.build(builder.add(ops.Dense(np.ones((1, 3)), np.zeros(1)), spread))
    point = np.array([[Fraction(1, 3)]], dtype=object)
    assert exactly(graph, point)[0, 0] == Fraction(4, 3)


@given(st.lists(st.fractions(-3, 3, max_denominator=64), min_size=1, max_size=6))
def test_piecewise_linear_ops_follow_their_facts(values: list[Fraction]) -> None:
    class Wave(ops.PiecewiseLinear):
        breakpoints = (-1.0, 0.5, 2.0)
        slopes = (0.25, -1.0, 3.0, 0.5)
        anchor = 0.75

    def expected(op: ops.PiecewiseLinear, x: Fraction) -> Fraction:
        knots = [Fraction(b) for b in op.breakpoints]
        if x <= knots[0]:
            return Fraction(op.anchor) + Fraction(op.slopes[0]) * (x - knots[0])
        i = max(i for i, knot in enumerate(knots) if knot <= x)
        return knot_values(op)[i] + Fraction(op.slopes[i + 1]) * (x - knots[i])

    point = np.empty(len(values), dtype=object)
    point[:] = values
    for op in (Wave(), ops.Relu(), ops.LeakyRelu(0.125), ops.Clip(-0.5, 1.0), ops.Abs()):
        graph = single(op, point.shape)
        exact = exactly(graph, point)
        assert list(exact) == [expected(op, v) for v in values]
        floating = evaluate(graph, {"x": point.astype(np.float64)[np.newaxis]})["y"][0]
        assert np.allclose(floating, exact.astype(np.float64), rtol=1e-14, atol=1e-14)


@given(st.lists(st.tuples(FRACTIONS, FRACTIONS), min_size=1, max_size=6))
def test_products_are_those_of_fractions(pairs: list[tuple[Fraction, Fraction]]) -> None:
    left, right = (exact_vector(column) for column in zip(*pairs, strict=True))
    builder = GraphBuilder()
    x = builder.add(ops.Input((len(pairs),)), name="x")
    y = builder.add(ops.Input((len(pairs),)), name="y")
    nodes = builder.add(ops.Multiply(), x, y), builder.add(ops.Square(), x)
    graph = builder.build(*nodes)
    values = evaluate_exact(graph, {"x": left, "y": right})
    assert list(values[nodes[0]]) == [a * b for a, b in pairs]
    assert list(values[nodes[1]]) == [a * a for a, _ in pairs]
    points = {"x": left.astype(np.float64)[None], "y": right.astype(np.float64)[None]}
    floating = evaluate(graph, points)
    for node in nodes:
        assert np.allclose(floating[node][0], values[node].astype(np.float64), rtol=1e-14)


def test_given_nodes_stand_for_what_feeds_them() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((1,)), name="x")
    inner = builder.add(ops.Scale(np.array(2.0), np.array(0.0)), x, name="inner")
    both = builder.add(ops.Sum((1.0, 1.0)), inner, x, name="both")
    graph = builder.build(both)
    one = np.array([Fraction(1)], dtype=object)
    replaced = {"inner": np.array([Fraction(1, 3)], dtype=object)}
    assert evaluate_exact(graph, {"x": one}, replaced)["both"][0] == Fraction(4, 3)
    assert evaluate_exact(graph, {"x": one}, replaced, ["inner"]) == replaced
    # What is given needs no input of its own.
    with pytest.raises(ValueError, match="no value for input x"):
        evaluate_exact(graph, {}, replaced)
    assert evaluate_exact(graph, {}, {"both": one}, ["both"])["both"][0] == 1


def test_wrong_inputs_are_named() -> None:
    graph = single(ops.Relu(), (1, 3))
    with pytest.raises(ValueError, match="no value"):
        evaluate(graph, {})
    with pytest.raises(ValueError, match="takes"):
        evaluate(graph, {"x": np.zeros((2, 3))})
    with pytest.raises(ValueError, match="takes"):
        evaluate_exact(graph, {"x": as_exact(np.zeros(3))})


def test_evaluation_runs_in_the_type_of_its_input() -> None:
    graph = single(ops.Dense(np.ones((2, 3), np.float32), np.zeros(2, np.float32)), (1, 3))
    for kind in (np.float32, np.float64):
        assert evaluate(graph, {"x": np.ones((1, 1, 3), kind)})["y"].dtype == kind


def test_large_convolutions_are_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    op = ops.Conv(np.ones((2, 1, 3, 3)), np.zeros(2), (1, 1), ((1, 1), (1, 1)), (1, 1))
    x = np.random.default_rng(0).standard_normal((7, 2, 1, 5, 5))
    whole = convolve(op, np.asarray(op.weight, np.float64), x)
    monkeypatch.setattr("specdsl.graph.evaluate.MAX_PATCH_ENTRIES", 500)
    assert np.array_equal(convolve(op, np.asarray(op.weight, np.float64), x), whole)


def test_exact_evaluation_of_a_dense_network_is_fast() -> None:
    rng = np.random.default_rng(0)
    builder = GraphBuilder()
    node = builder.add(ops.Input((1, 784)), name="x")
    for width in (256, 256, 10):
        weight = rng.standard_normal((width, prod(builder.shape(node)))).astype(np.float32)
        node = builder.add(ops.Dense(weight, np.zeros(width, np.float32)), node)
        node = builder.add(ops.Relu(), node)
    graph = builder.build(node)
    point = as_exact(rng.random((1, 784)))
    start = time.process_time()  # Of this process alone: others may be running.
    exactly(graph, point)
    assert time.process_time() - start < 0.5


def test_tensors_without_axes_hold_large_integers_too() -> None:
    for values in (np.array(1e300), np.array(Fraction(10**40, 3), dtype=object)):
        exact = Exact.of(values)
        assert exact.fractions()[()] == Fraction(values.item())
        assert all(type(n) is int for n in exact.numerators.flat)
    with pytest.raises(TypeError, match="int64"):
        Exact(np.array([1, 2]), 1)  # pyright: ignore[reportArgumentType]
