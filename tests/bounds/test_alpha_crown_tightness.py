"""Alpha-CROWN is never looser than CROWN nor tighter than the truth; on one hidden layer it reaches
the optimum of the triangles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.passes.alpha_crown import alpha_crown, alpha_propagate, alpha_rows
from specdsl.bounds.passes.ascent import Limits
from specdsl.bounds.passes.crown import lower_rows, propagate
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.graph import ops
from specdsl.graph.graph import Graph
from specdsl.graph.ops import as_float
from tests.bounds.raising import ROUNDING, box_region, in_dtype, relu_network, seeds, two_sided
from tests.bounds.random_graphs import random_graph, random_set
from tests.bounds.test_sampled_laws import DELICATE, GENTLE, mixed_graph, mixed_set

PATIENT = Limits(steps=1000, least_gain=0, decay=0.995)


@given(seeds, st.booleans())
@settings(max_examples=40, deadline=None)
def test_rows_are_never_looser_than_those_of_crown_on_the_same_bounds(
    seed: int, mixed: bool
) -> None:
    if mixed:
        graph, inputs = mixed_graph(seed, GENTLE + DELICATE), mixed_set(seed)
    else:
        graph, inputs = random_graph(seed), random_set(seed)
    compiled = compile_graph(graph)
    region = input_region(inputs, compiled.like)
    propagated = propagate(compiled, region)
    rows = two_sided(compiled)
    plain = lower_rows(compiled, graph.output, rows, region, propagated.relaxations).lower
    found = alpha_rows(compiled, rows, region, propagated).linear.lower
    assert bool((found >= plain - 1e-9 * (1 + plain.abs())).all())


@given(seeds, st.sampled_from([torch.float64, torch.float32]))
@settings(max_examples=20, deadline=None)
def test_raised_layers_are_never_looser_than_those_of_crown(seed: int, dtype: torch.dtype) -> None:
    # Lines of other kinds may be worse on a tighter interval; slopes of a ReLU are raised again.
    compiled = compile_graph(relu_network(seed, (5, 4)), torch.empty(0, dtype=dtype))
    region = in_dtype(box_region(seed, 3, 3, 1.0), dtype)
    plain, raised = propagate(compiled, region), alpha_propagate(compiled, region)
    first = compiled.pre_activations[1]
    slack = ROUNDING[dtype]
    assert bool((raised.bounds[first].lower >= plain.bounds[first].lower - slack).all())
    assert bool((raised.bounds[first].upper <= plain.bounds[first].upper + slack).all())


def dense_layers(graph: Graph) -> list[ops.Dense]:
    return [op for _, op, _ in graph if isinstance(op, ops.Dense)]


@pytest.mark.parametrize("seed", range(12))
def test_enough_steps_reach_the_optimum_of_the_triangle_relaxation(seed: int) -> None:
    graph = relu_network(seed, (6,))
    compiled = compile_graph(graph)
    region = box_region(seed, 1, 3, 1.0)
    propagated = propagate(compiled, region)
    found = alpha_rows(compiled, two_sided(compiled), region, propagated, PATIENT).linear.lower
    first, last = dense_layers(graph)
    bounds = propagated.bounds[compiled.pre_activations[0]].numpy()
    weight, bias = as_float(first.weight), as_float(first.bias)
    rows = as_float(last.weight)
    optimum = [
        triangle_minimum(row, weight, bias, (bounds.lower, bounds.upper), region)
        for row in (*rows, *-rows)
    ]
    assert np.allclose(found[0].numpy(), optimum, atol=1e-4)
    assert (found[0].numpy() <= np.array(optimum) + 1e-6).all()


def triangle_minimum(
    row: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    region: InputRegion,
) -> float:
    """Least `row . y` with `y` in the triangles around `max(W x + b, 0)`."""
    lower, upper = np.minimum(bounds[0], 0), np.maximum(bounds[1], 0)
    slope = upper / np.maximum(upper - lower, 1e-300)
    one = np.eye(len(row))
    above = np.hstack([weight, -one]), -bias  # W x + b <= y
    under = np.hstack([-slope[:, None] * weight, one]), slope * (bias - lower)
    box = list(zip(region.box.lower[0].tolist(), region.box.upper[0].tolist(), strict=True))
    answer = linprog(
        np.concatenate([np.zeros(weight.shape[1]), row]),
        A_ub=np.vstack([above[0], under[0]]),
        b_ub=np.concatenate([above[1], under[1]]),
        bounds=[*box, *((0, None) for _ in row)],
    )
    assert answer.status == 0
    return float(answer.fun)


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_bounds_are_no_higher_than_the_exact_minimum(seed: int) -> None:
    graph = relu_network(seed, (5, 4))
    compiled = compile_graph(graph)
    region = box_region(seed, 1, 3, 1.0)
    rows = two_sided(compiled)
    found = alpha_crown(compiled, region, rows)[0].numpy()
    exact = [exact_minimum(row, graph, compiled, region) for row in rows[0].numpy()]
    assert (found <= np.array(exact) + 1e-6).all()


def between(matrix: np.ndarray, least: Any, most: Any) -> LinearConstraint:
    return LinearConstraint(matrix, least, most)  # scipy's own types know numbers alone.


def box_of(least: Any, most: Any) -> Bounds:
    return Bounds(least, most)


def exact_minimum(
    row: np.ndarray, graph: Graph, compiled: CompiledGraph, region: InputRegion
) -> float:
    """Least `row . output`, by a mixed integer program over inputs, activations and phases."""
    *hidden, last = dense_layers(graph)
    bounds = propagate(compiled, region, tighten=False).bounds
    inputs = region.box.lower.shape[1]
    total = sum(len(layer.bias) for layer in hidden)
    columns = inputs + 2 * total
    conditions: list[LinearConstraint] = []
    least = np.concatenate([region.box.lower[0].numpy(), np.zeros(2 * total)])
    most = np.concatenate([region.box.upper[0].numpy(), np.full(total, np.inf), np.ones(total)])
    before, start = slice(0, inputs), inputs
    for layer, node in zip(hidden, compiled.pre_activations, strict=True):
        weight, bias, count = as_float(layer.weight), as_float(layer.bias), len(layer.bias)
        box = bounds[node].numpy()
        low, high = np.minimum(box.lower, 0), np.maximum(box.upper, 0)
        after = slice(start, start + count)
        phase = slice(start + total, start + total + count)
        over, above, under = (np.zeros((count, columns)) for _ in range(3))
        over[:, after], over[:, before] = np.eye(count), -weight  # y - W x >= b
        above[:, after], above[:, phase] = np.eye(count), -np.diag(high)  # y <= high p
        under[:, after], under[:, before] = np.eye(count), -weight
        under[:, phase] = np.diag(-low)  # y - W x - low p <= b - low
        conditions += [
            between(over, bias, np.inf),
            between(above, -np.inf, 0.0),
            between(under, -np.inf, bias - low),
        ]
        before, start = after, start + count
    cost = np.zeros(columns)
    cost[before] = row @ as_float(last.weight)
    integral = np.concatenate([np.zeros(inputs + total), np.ones(total)])
    answer = milp(cost, constraints=conditions, bounds=box_of(least, most), integrality=integral)
    assert answer.status == 0
    return float(answer.fun) + float(row @ as_float(last.bias))
