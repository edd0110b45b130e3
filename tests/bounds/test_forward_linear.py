"""Forward linear bounds: points lie inside at every node, and batches are as regions alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes import forward_linear, linear_functions
from specdsl.bounds.passes.crown import lower_rows, propagate
from specdsl.bounds.passes.forward import evaluate, node_values
from specdsl.bounds.passes.forward_linear import forward_bounds, forward_lower
from specdsl.bounds.passes.merging import interval_rows
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from tests.bounds.random_graphs import points_of, random_graph, random_set
from tests.bounds.test_sampled_laws import (
    DELICATE,
    ENTRIES,
    GENTLE,
    OTHERS,
    PIECEWISE,
    POINTS,
    SMOOTH,
    STEPS,
    Block,
    affine_ops,
    boxes,
    mixed_graph,
    mixed_points,
    mixed_set,
    name_of,
    one_op,
    points_in,
    where_defined,
)

# Values of some hundreds are sums of thousands of terms in float64.
ROUNDING = 1e-9
seeds = st.integers(0, 10**6)


def holds_at(graph: Graph, region: InputRegion, points: torch.Tensor) -> None:
    """Values at points of the only region lie within all that the pass found."""
    compiled = compile_graph(graph)
    found = forward_bounds(compiled, region)
    values = node_values(compiled, points)
    for node, bound in found.bounds.items():
        slack = ROUNDING * (1 + values[node].abs().max())
        assert bool((bound.lower - slack <= values[node]).all()), node
        assert bool((values[node] <= bound.upper + slack).all()), node
    for node, ends in found.linear.items():
        for end, sign in ((ends.lower, 1.0), (ends.upper, -1.0)):
            line = torch.einsum("pc,bc...->p...", points[:, found.columns], end.coefficients)
            slack = ROUNDING * (1 + values[node].abs().max())
            assert bool((sign * (line + end.constant - values[node]) <= slack).all()), node


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_points_lie_inside_at_every_node(seed: int) -> None:
    graph, inputs = random_graph(seed), random_set(seed)
    region = input_region(inputs, compile_graph(graph).like)
    holds_at(graph, region, torch.as_tensor(points_of(inputs, 200, seed)))


@given(seeds, st.sampled_from([GENTLE, DELICATE, GENTLE + DELICATE]))
@settings(max_examples=120, deadline=None)
def test_points_lie_inside_whatever_the_kinds_of_ops(seed: int, blocks: list[Block]) -> None:
    graph, inputs = mixed_graph(seed, blocks), mixed_set(seed)
    region = input_region(inputs, compile_graph(graph).like)
    with where_defined():
        holds_at(graph, region, torch.as_tensor(mixed_points(inputs, 200, seed)))


@pytest.mark.parametrize("op", [*affine_ops(), *SMOOTH, *STEPS, *PIECEWISE, *OTHERS], ids=name_of)
def test_100_000_points_lie_inside(op: ops.Op) -> None:
    random = np.random.default_rng(3)
    graph = one_op(op)
    compiled = compile_graph(graph)
    region = InputRegion(boxes(op, random))
    points = points_in(region.box, POINTS, random)
    values = evaluate(compiled, points.reshape(-1, ENTRIES)).unflatten(0, points.shape[:2])
    span = forward_bounds(compiled, region).bounds[graph.output]
    size = 1e-11 * (values.abs() + 1e-11)
    assert bool((span.lower.flatten(1)[:, None] <= values + size).all())
    assert bool((values <= span.upper.flatten(1)[:, None] + size).all())


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_rows_lie_below_and_are_at_least_as_tight_as_intervals(seed: int) -> None:
    graph, inputs = random_graph(seed), random_set(seed)
    compiled = compile_graph(graph)
    region = input_region(inputs, compiled.like)
    rows = torch.as_tensor(np.random.default_rng(seed).normal(size=(1, 6, 4)))
    lower = forward_lower(compiled, rows, region)
    values = evaluate(compiled, torch.as_tensor(points_of(inputs, 200, seed))) @ rows[0].T
    assert bool((lower <= values + ROUNDING * (1 + values.abs().max())).all())
    ends = forward_bounds(compiled, region).bounds[graph.output]
    intervals = propagate(compiled, region, tighten=False).bounds[graph.output]
    assert bool((intervals.lower - ROUNDING <= ends.lower).all())
    assert bool((ends.upper <= intervals.upper + ROUNDING).all())


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_a_batch_gives_what_its_boxes_give_alone(seed: int) -> None:
    # Planes below and above products are chosen among equals, and rounding may choose.
    graph = random_graph(seed, products=False)
    compiled = compile_graph(graph)
    random = np.random.default_rng(seed)
    centers = torch.as_tensor(random.normal(size=(5, 40)))
    # The first box is a point, the third varies in some inputs only.
    widths = torch.tensor([0.0, 0.01, 0.1, 0.5, 1.0], dtype=torch.float64)[:, None].repeat(1, 40)
    widths[2, ::3] = 0.0
    batch = Interval(centers - widths, centers + widths)
    rows = torch.as_tensor(random.normal(size=(5, 3, 4)))
    together = forward_lower(compiled, rows, InputRegion(batch))
    for i in range(5):
        alone = InputRegion(Interval(batch.lower[i : i + 1], batch.upper[i : i + 1]))
        found = forward_lower(compiled, rows[i : i + 1], alone)
        assert torch.allclose(found[0], together[i], rtol=1e-9, atol=1e-9)


def test_regions_and_columns_taken_some_at_a_time_give_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled = compile_graph(random_graph(5))
    random = np.random.default_rng(5)
    centers = torch.as_tensor(random.normal(size=(7, 40)))
    region = InputRegion(Interval(centers - 0.1, centers + 0.1))
    rows = torch.as_tensor(random.normal(size=(7, 3, 4)))
    at_once = forward_lower(compiled, rows, region)
    monkeypatch.setattr(forward_linear, "MAX_COEFFICIENTS", 1)
    monkeypatch.setattr(linear_functions, "MAX_AT_A_TIME", 1000)
    assert torch.allclose(forward_lower(compiled, rows, region), at_once, rtol=1e-12)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_behind_one_hidden_layer_it_is_crown(seed: int) -> None:
    """Forward and backward then add up the same lines, in another order."""
    random = np.random.default_rng(seed)
    builder = GraphBuilder()
    x = builder.add(ops.Input((4,)))
    for outputs, inputs in ((6, 4), (3, 6)):
        x = builder.add(ops.Dense(random.normal(size=(outputs, inputs)), np.ones(outputs)), x)
        x = builder.add(ops.Relu(), x) if outputs == 6 else x
    compiled = compile_graph(builder.build(x))
    center = torch.as_tensor(random.normal(size=(3, 4)))
    region = InputRegion(Interval(center - 0.5, center + 0.5))
    rows = torch.as_tensor(random.normal(size=(1, 2, 3)))
    lines = propagate(compiled, region).relaxations
    backward = lower_rows(compiled, compiled.graph.output, rows, region, lines).lower
    intervals = interval_rows(compiled, rows, region, propagate(compiled, region).bounds)
    expected = torch.maximum(backward, intervals)
    assert torch.allclose(forward_lower(compiled, rows, region), expected, rtol=1e-9, atol=1e-9)


def test_float32_is_bounded_in_float32() -> None:
    graph, inputs = random_graph(7), random_set(7)
    exact = compile_graph(graph)
    single = compile_graph(graph, torch.empty(0, dtype=torch.float32))
    rows = torch.eye(4, dtype=torch.float64)[None]
    expected = forward_lower(exact, rows, input_region(inputs, exact.like))
    found = forward_lower(single, rows.float(), input_region(inputs, single.like))
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), expected, rtol=1e-3, atol=1e-3)
