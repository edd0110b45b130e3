"""Joint bounds of conjunctions: sound, never worse than single atoms, near what weights can do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.margins import MarginBounds, bound_margins, deciding_margins, margin_rows
from specdsl.bounds.passes.crown import LinearLower, affine_rows, propagate
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.regions.joint import MANY_STEPS, case_bounds
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.groups import CaseGroup, group_cases
from specdsl.query.query import Atom, Case, Query
from specdsl.query.sets import InputSet
from tests.bounds.random_graphs import points_of, random_graph, random_set

seeds = st.integers(0, 10**6)


def shifted(graph: Graph, offset: np.ndarray) -> Graph:
    builder = GraphBuilder()
    entry = builder.add(graph.op(graph.input), name=graph.input)
    output = builder.splice(graph, {graph.input: entry})[graph.output]
    return builder.build(builder.add(ops.Scale(np.array(1.0), offset), output))


def conjunctions(graph: Graph, inputs: InputSet, seed: int, clearance: float) -> Query:
    """A case of all four margins and one of two; the least sampled deciding value is about
    `clearance` times the spread of the margins.
    """
    points = torch.as_tensor(points_of(inputs, 200, seed))
    values = evaluate(compile_graph(graph), points)
    centered = values - values.mean(0)
    spread = float(centered.std()) + 1e-6
    least = float(centered.amax(1).min())
    offset = (clearance * spread - least - values.mean(0)).numpy()
    cases = tuple(Case(inputs, tuple(map(Atom, rows))) for rows in ((0, 1, 2, 3), (3, 1)))
    return Query("conjunctions", shifted(graph, offset), cases, (), ())


@given(seeds, st.sampled_from([-0.5, 0.0, 0.5, 2.0]))
@settings(max_examples=60, deadline=None)
def test_a_case_with_a_point_is_never_refuted(seed: int, clearance: float) -> None:
    inputs = random_set(seed)
    query = conjunctions(random_graph(seed), inputs, seed, clearance)
    (group,) = group_cases(query)
    compiled = compile_graph(query.graph)
    region = input_region(inputs, compiled.like)
    margins = bound_margins(
        compiled, margin_rows(compiled, group), region, propagate(compiled, region)
    )
    found = case_bounds(group, margins, region, slack=0.0).least
    assert bool((found >= deciding_margins(group, margins.proven)).all())
    points = torch.as_tensor(points_of(inputs, 400, seed + 1))
    values = deciding_margins(group, evaluate(compiled, points)[:, group.rows])
    assert bool((found[0] <= values.amin(0) + 1e-9 * (1 + values.abs().max())).all())


def linear_problem(
    rng: np.random.Generator, batch: int, atoms: int, inputs: int
) -> tuple[CaseGroup, MarginBounds, InputRegion]:
    """Margins that are linear already, over boxes."""
    lower = torch.as_tensor(rng.normal(size=(batch, inputs)))
    region = InputRegion(Interval(lower, lower + torch.as_tensor(rng.uniform(size=lower.shape))))
    coefficients = torch.as_tensor(rng.normal(size=(batch, atoms, inputs)))
    coefficients = coefficients * torch.as_tensor(rng.choice([0.1, 1.0, 10.0], (batch, atoms, 1)))
    middle = (coefficients @ region.box.center[:, :, None])[..., 0]
    constant = torch.as_tensor(rng.uniform(-0.3, 0.5, size=(batch, 1))) - middle
    least = region.minimum(coefficients) + constant
    linear = LinearLower(coefficients, constant, least)
    rows = np.arange(atoms)
    group = CaseGroup(None, (0,), rows, (tuple(Atom(int(i)) for i in rows),))  # type: ignore[arg-type]
    return group, MarginBounds(linear, least), region


def best_of_all_weights(margins: MarginBounds, region: InputRegion, index: int) -> float:
    """The least value of the largest linear margin, by linear programming."""
    linear, box = margins.linear, region.box
    normals, constants = linear.coefficients[index].numpy(), linear.constant[index].numpy()
    rows = np.hstack([normals, -np.ones((len(normals), 1))])
    ends = [*zip(box.lower[index].tolist(), box.upper[index].tolist(), strict=True), (None, None)]
    cost = np.zeros(rows.shape[1])
    cost[-1] = 1
    return float(linprog(cost, rows, -constants, bounds=ends).fun)


@pytest.mark.parametrize(("atoms", "inputs"), [(2, 3), (4, 5), (6, 12)])
def test_weights_refute_nearly_what_any_weights_can(atoms: int, inputs: int) -> None:
    group, margins, region = linear_problem(np.random.default_rng(0), 150, atoms, inputs)
    found = case_bounds(group, margins, region, 0.0, MANY_STEPS).least[:, 0]
    best = np.array([best_of_all_weights(margins, region, i) for i in range(150)])
    assert (found.numpy() <= best + 1e-7).all()
    single = margins.proven.amax(1)
    refutable, refuted = int((best > 1e-3).sum()), int((found.numpy()[best > 1e-3] > 0).sum())
    assert int((single > 0).sum()) < refuted
    assert refuted >= 0.95 * refutable


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_affine_rows_are_what_the_graph_computes(seed: int) -> None:
    """Of a graph that gives a network's outputs beside linear functions of its inputs."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder()
    x = builder.add(ops.Input((3,)))
    hidden = builder.add(ops.Relu(), builder.add(ops.Dense(rng.normal(size=(4, 3)), np.ones(4)), x))
    linear = builder.add(ops.Dense(rng.normal(size=(2, 3)), rng.normal(size=2)), x)
    product = builder.add(ops.Multiply(), linear, linear)
    joined = builder.concat_flat(hidden, linear, product)
    graph = builder.build(builder.add(ops.Scale(np.array(2.0), np.array(-1.0)), joined))
    compiled = compile_graph(graph)
    rows = torch.eye(8, dtype=torch.float64)[None]
    found = affine_rows(compiled, graph.output, rows)
    assert found.is_affine.tolist() == [False] * 4 + [True] * 2 + [False] * 2
    points = torch.as_tensor(rng.normal(size=(20, 3)))
    values = evaluate(compiled, points)[:, 4:6]
    lines = points @ found.coefficients[4:6].T + found.constant[4:6]
    assert torch.allclose(values, lines)
