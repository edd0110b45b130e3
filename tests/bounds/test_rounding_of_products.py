"""The slack for rounding where sums that cancel are multiplied."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.bounds.rounding import ROUNDINGS, rounding_slack
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.exact import evaluate_exact
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.sets import Box, InputSet, exact

INPUTS, WIDTH = 3, 4


def network(seed: int, scale: float) -> Graph:
    """Squares of `W (b - a)`, cut off, times their neighbours; a and b are nearly equal."""
    random = np.random.default_rng(seed)
    rows = scale * random.normal(size=(WIDTH, INPUTS))
    first = np.concatenate([rows, rows + random.normal(size=rows.shape)])
    second = random.normal(size=(WIDTH, WIDTH))
    builder = GraphBuilder()
    node = builder.add(ops.Input((INPUTS,)))
    both = builder.add(ops.Dense(first, np.zeros(2 * WIDTH)), node)
    low = builder.add(ops.Select(np.arange(WIDTH)), both)
    high = builder.add(ops.Select(np.arange(WIDTH, 2 * WIDTH)), both)
    apart = builder.add(ops.Sum((-1.0, 1.0)), low, high)
    mixed = builder.add(ops.Dense(second, np.zeros(WIDTH)), apart)
    square = builder.add(ops.Square(), builder.add(ops.Clip(-1.0, 1.0), mixed))
    turned = builder.add(ops.Select(np.roll(np.arange(WIDTH), 1)), square)
    return builder.build(builder.add(ops.Multiply(), square, turned))


def box() -> InputSet:
    return Box(exact([Fraction(-1)] * INPUTS), exact([Fraction(1)] * INPUTS))


@given(st.integers(0, 10**6), st.sampled_from([1.0, 1e3, 1e6]))
@settings(max_examples=40, deadline=None)
def test_the_slack_covers_what_float64_is_off_by(seed: int, scale: float) -> None:
    graph = network(seed, scale)
    slack = rounding_slack(graph, box())
    random = np.random.default_rng(seed)
    for point in random.uniform(-1.0, 1.0, size=(5, INPUTS)):
        found = evaluate(graph, {graph.input: point[None]})[graph.output][0]
        wanted = evaluate_exact(graph, {graph.input: exact(point)})[graph.output]
        off = max(abs(Fraction(float(f)) - w) for f, w in zip(found, wanted, strict=True))
        assert off <= Fraction(slack)


@pytest.mark.parametrize("seed", range(3))
def test_it_grows_with_what_cancels_as_an_error_does(seed: int) -> None:
    """Once, and not once for each factor: errors are multiplied by values."""
    small, large = (rounding_slack(network(seed, s), box()) for s in (1e3, 1e6))
    assert large <= 1.1e3 * small
    assert small >= ROUNDINGS
