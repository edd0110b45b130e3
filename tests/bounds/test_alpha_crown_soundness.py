"""Bounds of alpha-CROWN hold at every sampled point, wherever its places are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.kinds.choice import Places
from specdsl.bounds.passes.alpha_crown import alpha_crown, alpha_propagate, alpha_rows
from specdsl.bounds.passes.crown import Propagated, propagate
from specdsl.bounds.passes.forward import evaluate, node_values
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.graph import ops
from tests.bounds.raising import (
    NONE,
    QUICK,
    ROUNDING,
    SHORT,
    box_region,
    in_dtype,
    seeds,
    two_sided,
)
from tests.bounds.random_graphs import INPUTS, points_of, random_graph, random_set
from tests.bounds.test_sampled_laws import (
    DELICATE,
    ENTRIES,
    GENTLE,
    OTHERS,
    PIECEWISE,
    SMOOTH,
    STEPS,
    Block,
    boxes,
    mixed_graph,
    mixed_points,
    mixed_set,
    name_of,
    one_op,
    points_in,
)


def assert_contained(
    compiled: CompiledGraph, propagated: Propagated, points: Tensor, part: float
) -> None:
    """points: (regions, points, inputs)."""
    values = node_values(compiled, points.flatten(0, 1))
    for node, bound in propagated.bounds.items():
        value = values[node].unflatten(0, points.shape[:2])
        slack = part * (1 + value.abs().amax())
        assert bool((bound.lower[:, None] - slack <= value).all()), node
        assert bool((value <= bound.upper[:, None] + slack).all()), node


@given(seeds, st.sampled_from([torch.float64, torch.float32]))
@settings(max_examples=40, deadline=None)
def test_bounds_contain_every_sampled_value(seed: int, dtype: torch.dtype) -> None:
    compiled = compile_graph(random_graph(seed), torch.empty(0, dtype=dtype))
    region = in_dtype(box_region(seed, 3, INPUTS, 0.3), dtype)
    with torch.no_grad():
        propagated = alpha_propagate(compiled, region, QUICK)
        rows = two_sided(compiled)
        found = alpha_rows(compiled, rows, region, propagated, SHORT).linear
    points = points_in(region.box, 100, np.random.default_rng(seed)).to(dtype)
    part = ROUNDING[dtype]
    assert_contained(compiled, propagated, points, part)
    values = evaluate(compiled, points.flatten(0, 1)).unflatten(0, points.shape[:2])
    values = torch.cat([values, -values], 2)
    lines = points @ found.coefficients.transpose(1, 2) + found.constant[:, None]
    slack = part * (1 + values.abs().amax() + lines.abs().amax())
    assert bool((lines <= values + slack).all())
    assert bool((found.lower[:, None] <= lines + slack).all())


@given(seeds, st.sampled_from([GENTLE, DELICATE, GENTLE + DELICATE]))
@settings(max_examples=60, deadline=None)
def test_bounds_of_all_kinds_contain_every_sampled_value(seed: int, blocks: list[Block]) -> None:
    graph, inputs = mixed_graph(seed, blocks), mixed_set(seed)
    compiled = compile_graph(graph)
    region = input_region(inputs, compiled.like)
    propagated = alpha_propagate(compiled, region, QUICK)
    points = torch.as_tensor(mixed_points(inputs, 200, seed))
    assert_contained(compiled, propagated, points[None], ROUNDING[torch.float64])
    lower = alpha_crown(compiled, region, two_sided(compiled), QUICK)
    values = evaluate(compiled, points)
    slack = ROUNDING[torch.float64] * (1 + values.abs().amax())
    assert bool((lower <= torch.cat([values, -values], 1) + slack).all())


def test_points_of_a_ball_keep_above_the_bounds_of_the_ball() -> None:
    for seed in range(9):
        inputs = random_set(seed)
        compiled = compile_graph(random_graph(seed))
        region = input_region(inputs, compiled.like)
        lower = alpha_crown(compiled, region, two_sided(compiled))
        values = evaluate(compiled, torch.as_tensor(points_of(inputs, 300, seed)))
        slack = ROUNDING[torch.float64] * (1 + values.abs().amax())
        assert bool((lower <= torch.cat([values, -values], 1) + slack).all())


@pytest.mark.parametrize("op", [*PIECEWISE, *SMOOTH, *STEPS, *OTHERS], ids=name_of)
def test_rows_are_sound_wherever_the_places_are(op: ops.Op) -> None:
    random = np.random.default_rng(3)
    graph = one_op(op)
    compiled = compile_graph(graph)
    region = InputRegion(boxes(op, random))
    propagated = propagate(compiled, region)
    points = points_in(region.box, 300, random)
    values = evaluate(compiled, points.reshape(-1, ENTRIES)).unflatten(0, points.shape[:2])
    values = torch.cat([values, -values], 2)
    rows = two_sided(compiled)
    start = alpha_rows(compiled, rows, region, propagated, NONE).places
    for _ in range(3):
        # Some lie outside of what there is, and are moved to its ends.
        places = {
            n: Places(torch.as_tensor(random.random(p.values.shape)) * 12 - 2, p.columns)
            for n, p in start.items()
        }
        found = alpha_rows(compiled, rows, region, propagated, NONE, places).linear
        lines = points @ found.coefficients.transpose(1, 2) + found.constant[:, None]
        terms = points.abs() @ found.coefficients.abs().transpose(1, 2)
        terms = 1 + terms + found.constant.abs()[:, None]
        assert bool((lines <= values + 1e-11 * terms).all())
