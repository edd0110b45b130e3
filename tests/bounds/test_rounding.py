"""How far rounding can carry bounds: measured in float32 against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes.crown import lower_rows, propagate
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.regions.region import InputRegion
from specdsl.bounds.rounding import region_slack, rounding_slack
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.sets import Box, exact

SINGLE = torch.empty(0, dtype=torch.float32)
INPUTS, WIDTH = 20, 30


def deep(kind: str, layers: int, seed: int) -> Graph:
    """So many layers of sigmoids, products of neighbours or ReLUs, with one output."""
    random = np.random.default_rng(seed)
    builder = GraphBuilder()
    node = builder.add(ops.Input((INPUTS,)))
    size = INPUTS
    for _ in range(layers):
        matrix = random.normal(size=(WIDTH, size))
        node = builder.add(ops.Dense(matrix, random.normal(size=WIDTH)), node)
        if kind == "product":
            gate = builder.add(ops.Sigmoid(), node)
            node = builder.add(ops.Multiply(), gate, node)
        else:
            node = builder.add(ops.Sigmoid() if kind == "sigmoid" else ops.Relu(), node)
        size = WIDTH
    last = ops.Dense(random.normal(size=(1, size)), random.normal(size=1))
    return builder.build(builder.add(last, node))


@given(st.sampled_from(["sigmoid", "product", "relu"]), st.integers(1, 6), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_bounds_at_a_point_are_off_by_less_than_the_slack(
    kind: str, layers: int, seed: int
) -> None:
    graph = deep(kind, layers, seed)
    single, double = compile_graph(graph, SINGLE), compile_graph(graph)
    random = np.random.default_rng(seed)
    points = torch.as_tensor(random.uniform(-1, 1, size=(5, INPUTS)), dtype=torch.float32)
    region = InputRegion(Interval(points, points))
    slack = region_slack(single, region)[graph.output]
    values = evaluate(double, points.double())
    propagated = propagate(single, region)
    rows = torch.ones(1, 1, 1)
    lower = lower_rows(single, graph.output, rows, region, propagated.relaxations).lower
    assert bool(((lower - values).abs() <= slack).all())
    bound = propagated.bounds[graph.output]
    assert bool((bound.lower - slack <= values).all())
    assert bool((values <= bound.upper + slack).all())


@pytest.mark.parametrize(("kind", "most"), [("sigmoid", 1e-4), ("relu", 1e-3)])
def test_slack_of_deep_networks_is_far_below_their_margins(kind: str, most: float) -> None:
    box = Box(exact(np.full(INPUTS, -1.0)), exact(np.full(INPUTS, 1.0)))
    assert rounding_slack(deep(kind, 6, 0), box) < most
