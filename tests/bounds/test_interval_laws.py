"""Intervals: merged rows, balls in the first layer, monotone in the region."""

from __future__ import annotations

from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.methods import lower_bounds
from specdsl.bounds.passes.first_layer import first_layer, interval_pass
from specdsl.bounds.passes.forward import node_values
from specdsl.bounds.passes.merging import dot, interval_rows
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.sets import exact, norm_ball
from tests.bounds.random_graphs import points_of, random_graph, random_set
from tests.bounds.test_sampled_laws import (
    DELICATE,
    GENTLE,
    Block,
    mixed_graph,
    mixed_set,
    where_defined,
)

ROUNDING = 1e-9
seeds = st.integers(0, 10**6)


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_merging_the_last_layer_is_at_least_as_tight(seed: int) -> None:
    graph, inputs = random_graph(seed), random_set(seed)
    compiled = compile_graph(graph)
    region = input_region(inputs, compiled.like)
    bounds = interval_pass(compiled, region).bounds
    rows = torch.as_tensor(np.random.default_rng(seed).normal(size=(1, 5, 4)))
    positive = rows.clamp(min=0)
    output = bounds[graph.output]
    apart = dot(positive, output.lower) + dot(rows - positive, output.upper)
    merged = interval_rows(compiled, rows, region, bounds)
    assert bool((merged >= apart - ROUNDING * (1 + apart.abs())).all())


@given(seeds, st.sampled_from([GENTLE, DELICATE]))
@settings(max_examples=40, deadline=None)
def test_a_part_of_a_region_has_intervals_inside(seed: int, blocks: list[Block]) -> None:
    graph = mixed_graph(seed, blocks)
    compiled = compile_graph(graph)
    box = input_region(mixed_set(seed), compiled.like).box
    share = torch.as_tensor(np.sort(np.random.default_rng(seed).random((2, 4, 4)), axis=0))
    parts = InputRegion(Interval(*(box.lower + s * (box.upper - box.lower) for s in share)))
    with where_defined():
        whole = interval_pass(compiled, InputRegion(box))
    inner = interval_pass(compiled, parts)
    for node, bound in whole.bounds.items():
        slack = ROUNDING * (1 + bound.lower.abs() + bound.upper.abs())
        assert bool((inner.bounds[node].lower >= bound.lower - slack).all()), node
        assert bool((inner.bounds[node].upper <= bound.upper + slack).all()), node
    rows = torch.as_tensor(np.random.default_rng(seed).normal(size=(1, 3, 4)))
    outer = lower_bounds(compiled, InputRegion(box), rows, "interval")
    found = lower_bounds(compiled, parts, rows, "interval")
    assert bool((found >= outer - ROUNDING * (1 + outer.abs())).all())


# --- balls in the first layer ---------------------------------------------------------------------

CHANNELS, SIZE, OUTPUTS = 3, 5, 4


def convolution(weight: np.ndarray) -> Graph:
    """3x3 kernels over 3 channels, then ReLU."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, CHANNELS, SIZE, SIZE)))
    place = ((1, 1), ((0, 0), (0, 0)), (1, 1))
    conv = builder.add(ops.Conv(weight, np.zeros(len(weight)), *place), x, name="conv")
    return builder.build(builder.add(ops.Relu(), conv))


def widths(weight: np.ndarray, norm: str, radius: Fraction) -> torch.Tensor:
    """Of the pre-activations, around the image 0."""
    compiled = compile_graph(convolution(weight))
    center = exact(np.zeros(CHANNELS * SIZE * SIZE))
    region = input_region(norm_ball(center, radius, norm), compiled.like)  # type: ignore[arg-type]
    found = interval_pass(compiled, region).bounds["conv"]
    return found.upper - found.lower


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_an_l2_ball_is_at_least_as_wide_as_the_linf_ball_of_its_kernel(seed: int) -> None:
    """Zhu et al. 2020, arXiv:2002.09766, appendix F: 0.25 in l2 against 0.25 / sqrt(27) in linf."""
    weight = np.random.default_rng(seed).normal(size=(OUTPUTS, CHANNELS, 3, 3))
    l2 = widths(weight, "l2", Fraction(1, 4))
    linf = widths(weight, "linf", Fraction("0.04811"))
    assert bool((l2 >= linf).all())


def test_they_are_equally_wide_where_all_weights_have_one_magnitude() -> None:
    sign = np.sign(np.random.default_rng(0).normal(size=(OUTPUTS, CHANNELS, 3, 3)))
    l2 = widths(1.5 * sign, "l2", Fraction(1, 4))
    linf = widths(1.5 * sign, "linf", Fraction(0.25 / sqrt(27)))
    assert torch.allclose(l2, linf, rtol=1e-12)
    assert torch.allclose(l2, widths(1.5 * sign, "linf", Fraction("0.04811")), rtol=1e-4)


@pytest.mark.parametrize(("norm", "order"), [("l2", 2), ("l1", torch.inf)])
def test_a_first_layer_over_a_ball_is_its_dual_norm(norm: str, order: float) -> None:
    weight = np.random.default_rng(1).normal(size=(OUTPUTS, CHANNELS, 3, 3))
    size = torch.linalg.vector_norm(torch.as_tensor(weight).flatten(1), ord=order, dim=1)
    found = widths(weight, norm, Fraction(1, 4))
    expected = 2 * 0.25 * size[None, :, None, None].expand_as(found)
    assert torch.allclose(found, expected, rtol=1e-12)


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_balls_in_the_first_layer_hold_points_and_only_tighten(seed: int) -> None:
    graph, inputs = random_graph(seed), random_set(seed)
    compiled = compile_graph(graph)
    region = input_region(inputs, compiled.like)
    points = torch.as_tensor(points_of(inputs, 200, seed))
    found = interval_pass(compiled, region)
    boxed = interval_pass(compiled, InputRegion(region.box))
    assert (region.balls is None) == (not first_layer(compiled, region))
    for node, value in node_values(compiled, points).items():
        bound, loose = found.bounds[node], boxed.bounds[node]
        slack = ROUNDING * (1 + value.abs().max())
        assert bool((bound.lower - slack <= value).all() & (value <= bound.upper + slack).all())
        assert bool((bound.lower >= loose.lower - slack).all())
        assert bool((bound.upper <= loose.upper + slack).all())
