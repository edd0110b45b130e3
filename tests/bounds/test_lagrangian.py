"""The layer-wise Lagrangian dual: sound for any multipliers, from CROWN to the linear program."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.nonlinear import nonlinear_rule
from specdsl.bounds.passes.crown import Propagated, lower_rows, propagate
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.passes.lagrangian import dual_value, lagrangian_bound, least_cost
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.ops import as_float
from tests.bounds.random_graphs import points_of, random_graph, random_set
from tests.bounds.test_wong_kolter import boxes, chain

# Values of some tens to thousands, computed in another order.
ROUNDING = 1e-8

seeds = st.integers(0, 2**16)
SMOOTH = (ops.Sigmoid, ops.Tanh, ops.Erf, ops.Sin, ops.Softplus, ops.Square)


def network(seed: int) -> Graph:
    """Fully connected, with another function after each layer; a ReLU among them."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder()
    node = builder.add(ops.Input((1, 3)))
    inside = 3
    for function in (SMOOTH[seed % len(SMOOTH)](), ops.Relu(), ops.LeakyRelu(-0.3)):
        weight = rng.normal(size=(5, inside)) / 2
        node = builder.add(ops.Dense(weight, rng.normal(size=5) / 2), node)
        node, inside = builder.add(function, node), 5
    return builder.build(builder.add(ops.Dense(rng.normal(size=(2, 5)), rng.normal(size=2)), node))


def rows_of(compiled: CompiledGraph, seed: int) -> Tensor:
    shape = compiled.graph.shapes[compiled.graph.output]
    return torch.as_tensor(np.random.default_rng(seed).normal(size=(1, 3, *shape)))


def crown(
    compiled: CompiledGraph, rows: Tensor, region: InputRegion, propagated: Propagated
) -> Tensor:
    output = compiled.graph.output
    return lower_rows(compiled, output, rows, region, propagated.relaxations).lower


def sampled(compiled: CompiledGraph, region: InputRegion, rows: Tensor, seed: int) -> Tensor:
    """Values of the rows at points of each box: (points, batch, rows)."""
    unit = torch.rand(
        100, *region.box.lower.shape, dtype=torch.float64, generator=torch.manual_seed(seed)
    )
    unit[::2] = unit[::2].round()
    points = region.box.lower + unit * (region.box.upper - region.box.lower)
    values = evaluate(compiled, points.flatten(0, 1))
    return (values @ rows[0].flatten(1).T).reshape(100, region.batch, -1)


@given(seeds)
@settings(deadline=None, max_examples=40)
def test_it_starts_no_lower_than_crown_and_only_rises(seed: int) -> None:
    compiled, region = compile_graph(network(seed)), boxes(seed, 2, 3)
    propagated, rows = propagate(compiled, region), rows_of(compiled, seed)
    before = crown(compiled, rows, region, propagated)
    for steps in (0, 1, 8):
        found = lagrangian_bound(compiled, rows, region, propagated, steps).lower
        slack = ROUNDING * (1 + before.abs())
        assert (found >= before - slack).all()
        before = torch.maximum(before, found) if not steps else before
        assert (found <= sampled(compiled, region, rows, seed).amin(0) + slack).all()


@given(seeds, st.sampled_from([0.01, 1.0, 100.0]))
@settings(deadline=None, max_examples=40)
def test_any_multipliers_are_sound(seed: int, size: float) -> None:
    compiled, region = compile_graph(network(seed)), boxes(seed, 2, 3)
    propagated, rows = propagate(compiled, region), rows_of(compiled, seed)
    start = lagrangian_bound(compiled, rows, region, propagated, 0).multipliers
    generator = torch.manual_seed(seed)
    drawn = {
        node: size * torch.randn(value.shape, dtype=torch.float64, generator=generator)
        for node, value in start.items()
    }
    found = dual_value(compiled, rows, region, propagated, drawn)
    least = sampled(compiled, region, rows, seed).amin(0)
    assert (found <= least + ROUNDING * (1 + found.abs())).all()


KINDS = (
    *(ops.Relu(), ops.LeakyRelu(-0.3), ops.Abs(), ops.Clip(-0.5, 1.0), ops.Square()),
    *(ops.Sigmoid(), ops.Tanh(), ops.Erf(), ops.Sin(), ops.Cos(), ops.Softplus()),
)


@pytest.mark.parametrize("op", KINDS, ids=[type(op).__name__ for op in KINDS])
@given(seed=seeds)
@settings(deadline=None, max_examples=30)
def test_what_an_entry_pays_is_the_least_there_is(op: ops.Op, seed: int) -> None:
    rng = np.random.default_rng(seed)
    center = rng.normal(size=(2, 6)) * rng.choice([0.1, 1, 10])
    width = rng.choice([0, 1e-9, 0.1, 1, 2], size=(2, 6))
    z = Interval(torch.as_tensor(center - width), torch.as_tensor(center + width))
    nu, mu = (
        torch.as_tensor(rng.normal(size=(2, 4, 6)) * rng.choice([0, 1e-12, 1, 100], (2, 4, 6)))
        for _ in range(2)
    )
    rule = nonlinear_rule(op)
    found = least_cost(rule, z, nu, mu)
    share = torch.linspace(0, 1, 1001, dtype=torch.float64)[:, None, None]
    points = (z.lower + share * (z.upper - z.lower)).clamp(z.lower, z.upper)
    values = nu * rule.evaluate([points])[:, :, None] - mu * points[:, :, None]
    least, size = values.amin(0), values.abs().amax(0)
    assert (found <= least + 1e-12 * size).all()
    # The grid itself misses the least by some steps of it.
    step = torch.as_tensor(width)[:, None] / 200
    assert (found >= least - step * (4 * nu.abs() + mu.abs()) - 1e-9 * size).all()


@given(seeds)
@settings(deadline=None, max_examples=30)
def test_convolutions_branches_products_and_balls(seed: int) -> None:
    compiled, inputs = compile_graph(random_graph(seed)), random_set(seed)
    region = input_region(inputs, compiled.like)
    propagated, rows = propagate(compiled, region), rows_of(compiled, seed)
    found = lagrangian_bound(compiled, rows, region, propagated, 3).lower
    values = evaluate(compiled, torch.as_tensor(points_of(inputs, 60, seed))) @ rows[0].T
    slack = ROUNDING * (1 + values.abs().amax() + found.abs().amax())
    assert (found[0] <= values + slack).all()
    assert (found >= crown(compiled, rows, region, propagated) - slack).all()


def triangle_program(
    graph: Graph, region: InputRegion, propagated: Propagated, row: Tensor
) -> float:
    """The least value of a row of a ReLU network over the triangle of each neuron."""
    denses = [(n, op) for n, op, _ in graph if isinstance(op, ops.Dense)]
    ends = list(zip(region.box.lower[0].tolist(), region.box.upper[0].tolist(), strict=True))
    total = len(ends) + sum(op.weight.shape[0] for _, op in denses[:-1])
    above, limits, start = [], [], 0
    for node, op in denses[:-1]:
        weight, bias, z = as_float(op.weight), as_float(op.bias), propagated.bounds[node]
        width, at = weight.shape[1], len(ends)
        for j, (low, high) in enumerate(
            zip(z.lower.flatten().tolist(), z.upper.flatten().tolist(), strict=True)
        ):
            z_of = np.zeros(total)
            z_of[start : start + width] = weight[j]
            y_of = np.eye(total)[at + j]
            slope = max(high, 0) / max(max(high, 0) - min(low, 0), 1e-12)
            above += [z_of - y_of, y_of - slope * z_of]
            limits += [-bias[j], slope * (bias[j] - min(low, 0))]
        start = at
        ends += [(0.0, None)] * weight.shape[0]
    last = denses[-1][1]
    cost = np.zeros(total)
    cost[start:] = row.numpy() @ as_float(last.weight)
    tight = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    found = linprog(cost, np.array(above), np.array(limits), bounds=ends, options=tight)
    assert found.status == 0
    return float(found.fun + row.numpy() @ as_float(last.bias))


@pytest.mark.parametrize("seed", range(6))
def test_it_climbs_towards_the_linear_program_and_never_past_it(seed: int) -> None:
    graph = chain(seed, (3, 8, 8, 2))
    compiled, region = compile_graph(graph), boxes(seed, 1, 3)
    propagated, rows = propagate(compiled, region), rows_of(compiled, seed)
    before = crown(compiled, rows, region, propagated)[0]
    few, many = (
        lagrangian_bound(compiled, rows, region, propagated, steps).lower[0] for steps in (20, 400)
    )
    optimum = torch.tensor(
        [triangle_program(graph, region, propagated, row) for row in rows[0, :, 0]],
        dtype=torch.float64,
    )
    gap = (optimum - before).clamp(min=0)
    assert (few <= optimum + 1e-6).all()
    assert (many <= optimum + 1e-6).all()
    assert (optimum - many <= 0.1 * gap + 1e-6).all()


def test_gradients_are_those_of_finite_differences() -> None:
    compiled, region = compile_graph(network(0)), boxes(0, 1, 3)
    propagated, rows = propagate(compiled, region), rows_of(compiled, 0)
    start = lagrangian_bound(compiled, rows, region, propagated, 2).multipliers
    nodes = tuple(start)

    def value(*multipliers: Tensor) -> Tensor:
        given = dict(zip(nodes, multipliers, strict=True))
        return dual_value(compiled, rows, region, propagated, given)

    noise = torch.manual_seed(0)
    given = [
        (v + 0.01 * torch.randn(v.shape, dtype=v.dtype, generator=noise)).requires_grad_(True)
        for v in start.values()
    ]
    assert torch.autograd.gradcheck(value, given, eps=1e-7, atol=1e-4)


def test_ops_that_magnify_rounding_are_refused_by_name() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 2)))
    compiled = compile_graph(builder.build(builder.add(ops.Floor(), x)))
    region = boxes(0, 1, 2)
    propagated = propagate(compiled, region)
    with pytest.raises(Unsupported, match="magnify rounding"):
        lagrangian_bound(compiled, torch.ones(1, 1, 1, 2).double(), region, propagated)
