"""Whole-number inputs: ends rounded inward exactly, integer columns, empty sets proven empty."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import Deadline
from specdsl.encoding.deciding.emptiness import proven_empty
from specdsl.encoding.encode import encode_case, encode_graph
from specdsl.encoding.integers import round_inward
from specdsl.encoding.model.write import write_lp, write_mps
from specdsl.encoding.solvers.highs import solve
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.query import Atom, Variable
from specdsl.query.sets import Ball, Box, EmptySet, cut, exact
from tests.strategies import generators, random_weights

FOREVER = Deadline.after(None)
TOLERANCE = 1e-6
quick = settings(max_examples=30, deadline=None)
FIRST = np.array([0], dtype=np.int64)


@given(st.fractions(-5, 5, max_denominator=10**9), st.fractions(0, 3, max_denominator=10**9))
def test_ends_are_rounded_inward_exactly(lower: Fraction, width: Fraction) -> None:
    box = Box(exact([lower, lower]), exact([lower + width, lower + width]))
    inside = [n for n in range(-6, 10) if lower <= n <= lower + width]
    if not inside:
        with pytest.raises(EmptySet):
            round_inward(box, FIRST)
        return
    found = round_inward(box, FIRST).box
    assert (found.lower[0], found.upper[0]) == (inside[0], inside[-1])
    assert (found.lower[0], found.upper[0]) == (ceil(lower), floor(lower + width))
    assert (found.lower[1], found.upper[1]) == (lower, lower + width)


def small_network(rng: np.random.Generator) -> Graph:
    builder = GraphBuilder()
    node = builder.add(ops.Input((3,)), name="x")
    node = builder.add(ops.Dense(random_weights(rng, (4, 3)), random_weights(rng, (4,))), node)
    node = builder.add(ops.Abs(), node)
    return builder.build(builder.add(ops.Dense(random_weights(rng, (1, 4)), np.zeros(1)), node))


@given(generators(), st.integers(2, 9))
@quick
def test_the_optimum_over_whole_numbers_is_the_best_of_all(
    rng: np.random.Generator, radius: int
) -> None:
    graph = small_network(rng)
    box = Box(exact([-2, -2, -2]), exact([2, 2, 2]))
    ball = Ball(np.arange(2), exact([0, 1]), exact([1, 2]), Fraction(radius, 2), "l1")
    inputs = round_inward(cut(box, [ball]), np.arange(3))
    encoded = encode_graph(graph, inputs, {}, integers=np.arange(3))
    solution = solve(encode_case(encoded, [Atom(0)], "case"), FOREVER)
    points = np.array([p for p in product(range(-2, 3), repeat=3) if exact(p) in inputs], float)
    values = evaluate(graph, {graph.input: points})[graph.output]
    assert solution.objective == pytest.approx(float(values.min()), abs=TOLERANCE)


def test_variables_may_mix_whole_and_real_entries() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((2,)), name="x")
    graph = builder.build(builder.add(ops.Dense(-np.ones((1, 2)), np.zeros(1)), x))
    half = Fraction(5, 2)
    inputs = round_inward(Box(exact([0, 0]), exact([half, half])), FIRST)
    encoded = encode_graph(graph, inputs, {}, [Variable.at("x", 0, (2,))], FIRST)
    model = encode_case(encoded, [Atom(0)], "case")
    assert solve(model, FOREVER).objective == pytest.approx(-4.5)
    for text in (write_lp(model), write_mps(model)):
        assert "x(0)" in text
    assert "general\n  x(0)\n" in write_lp(model)


def two_points(gap: Fraction, norm: str, integers: np.ndarray) -> bool:
    """Whether two balls of radius 1, that far apart, are proven to have nothing in common."""
    builder = GraphBuilder()
    graph = builder.build(builder.add(ops.Input((2,)), name="x"))
    box = Box(exact([-9, -9]), exact([9, 9]))
    both = [
        Ball(np.arange(2), exact([c, c]), exact([1, 1]), Fraction(1), norm)  # type: ignore[arg-type]
        for c in (Fraction(0), gap)
    ]
    inputs = cut(box, both)
    encoded = encode_graph(graph, inputs, {}, integers=integers)
    return proven_empty(encode_case(encoded, [Atom(0)], "case"), FOREVER, 0.0)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_balls_without_a_common_point_are_proven_so(norm: str) -> None:
    none = np.zeros(0, dtype=np.int64)
    # On the diagonal the l1 balls touch at a gap of 1, the l2 balls at a gap of sqrt(2).
    assert two_points(Fraction(7, 4), norm, none)
    assert not two_points(Fraction(9, 10), norm, none)
    assert not two_points(Fraction(1), norm, none)


def test_sets_without_whole_points_are_proven_empty_by_branching() -> None:
    none, both = np.zeros(0, dtype=np.int64), np.arange(2, dtype=np.int64)
    assert not two_points(Fraction(1, 2), "l1", none)
    builder = GraphBuilder()
    graph = builder.build(builder.add(ops.Input((2,)), name="x"))
    box = Box(exact([0, 0]), exact([1, 1]))
    middle = exact([Fraction(1, 2)] * 2)
    ball = Ball(np.arange(2), middle, exact([1, 1]), Fraction(3, 4), "l1")
    encoded = encode_graph(graph, cut(box, [ball]), {}, integers=both)
    model = encode_case(encoded, [Atom(0)], "case")
    assert proven_empty(model, FOREVER, 0.0)
    assert not proven_empty(model.relaxed(), FOREVER, 0.0)
