"""Fast-Lin: the Wong-Kolter dual by the general engine, the toys, below LP and MILP."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import Deadline
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.piecewise import evaluate
from specdsl.bounds.methods import METHODS, lower_bounds
from specdsl.bounds.passes.crown import Relaxations, lower_rows, propagate
from specdsl.bounds.passes.fast_lin import parallel_lines, with_parallel_lines
from specdsl.bounds.passes.merging import interval_rows
from specdsl.bounds.passes.wong_kolter import dual_bounds, dual_lower
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.encoding.encode import encode_case, encode_graph
from specdsl.encoding.model.linear_model import LinearModel
from specdsl.encoding.solvers.highs import solve
from specdsl.encoding.solvers.session import OPTIMAL
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.query import Atom
from specdsl.query.sets import exact, norm_ball
from tests.bounds.test_sampled_laws import PIECEWISE, name_of
from tests.bounds.test_wong_kolter import boxes, chain

seeds = st.integers(0, 2**16)


def rows_of(compiled: CompiledGraph, node: str) -> torch.Tensor:
    """Every entry of the node, and its negative."""
    unit = torch.eye(compiled.graph.size(node), dtype=torch.float64)
    return torch.cat([unit, -unit]).reshape(1, -1, *compiled.graph.shapes[node])


@given(seeds)
@settings(deadline=None, max_examples=40)
def test_layer_by_layer_it_is_the_dual_of_wong_and_kolter(seed: int) -> None:
    compiled = with_parallel_lines(compile_graph(chain(seed, (3, 6, 5, 2))))
    region = boxes(seed, 3, 3)
    dual = dual_bounds(compiled, region)
    lines = Relaxations()
    for node, _, operands in compiled.graph:
        if node in dual:
            found = lower_rows(compiled, node, rows_of(compiled, node), region, lines).lower
            lower, upper = found.chunk(2, dim=1)
            assert torch.allclose(lower, dual[node].lower.flatten(1), rtol=0, atol=1e-9)
            assert torch.allclose(-upper, dual[node].upper.flatten(1), rtol=0, atol=1e-9)
        if node in compiled.rules:
            lines.lines[node] = compiled.rules[node].relax([dual[operands[0]]])


@given(seeds)
@settings(deadline=None, max_examples=40)
def test_from_the_same_pre_activations_rows_are_the_dual(seed: int) -> None:
    compiled = with_parallel_lines(compile_graph(chain(seed, (4, 8, 8, 3))))
    region = boxes(seed, 3, 4)
    rows = torch.as_tensor(np.random.default_rng(seed).normal(size=(3, 4, 1, 3)))
    found = propagate(compiled, region)
    lower = lower_rows(compiled, compiled.graph.output, rows, region, found.relaxations).lower
    assert torch.allclose(lower, dual_lower(compiled, rows, region, found.bounds), atol=1e-9)
    assert torch.equal(lower, lower_bounds(compiled, region, rows, "crown"))
    assert torch.equal(lower, lower_bounds(compiled, region, rows, "fast_lin"))


@pytest.mark.parametrize("op", PIECEWISE, ids=name_of)
def test_parallel_lines_touch_from_both_sides(op: ops.PiecewiseLinear) -> None:
    random = np.random.default_rng(0)
    lower = torch.as_tensor(random.normal(size=(1, 500)))
    width = torch.as_tensor(np.abs(random.normal(size=(1, 500))))
    width[:, ::7] = 0.0
    z = Interval(lower, lower + width)
    lines = parallel_lines(op, z)
    assert lines.lower_intercept is not None
    share = torch.linspace(0, 1, 401, dtype=torch.float64)[:, None]
    points = z.lower + share * width
    height = evaluate(op, points) - lines.lower_slope * points
    below, above = height - lines.lower_intercept, lines.upper_intercept - height
    for gap in (below, above):
        assert float(gap.min()) >= -1e-12
        # Of 401 points one lies near each corner.
        assert float(gap.amin(0).max()) <= 1e-2
    assert torch.equal(lines.lower_slope, lines.upper_slope)


# --- toys -----------------------------------------------------------------------------------------


def toy(sign: float) -> Graph:
    """`3 + sign * relu(x)`."""
    builder = GraphBuilder()
    y = builder.add(ops.Relu(), builder.add(ops.Input((1, 1))))
    return builder.build(builder.add(ops.Dense(np.array([[sign]]), np.array([3.0])), y))


@pytest.mark.parametrize(
    ("sign", "expected"),
    [
        (-1.0, dict.fromkeys(METHODS, 1.0)),
        (1.0, dict.fromkeys(METHODS, 2.0) | {"interval": 3.0, "forward": 3.0, "fast_lin": 7 / 3}),
    ],
)
def test_the_toys_of_one_relu(sign: float, expected: dict[str, float]) -> None:
    """Zhu et al. 2020, arXiv:2002.09766: on x in [-1, 2] the neuron is unstable, and 3 - relu(x) is
    bounded exactly by 1 all the same; 3 + relu(x), which is at least 3, by 7/3 in Fast-Lin and by
    2 in CROWN.
    """
    ends = torch.tensor([[-1.0]]).double(), torch.tensor([[2.0]]).double()
    rows = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    compiled = compile_graph(toy(sign))
    for method, bound in expected.items():
        found = lower_bounds(compiled, InputRegion(Interval(*ends)), rows, method)
        if METHODS[method].climbs and sign > 0:
            # It climbs from CROWN's bound towards the exact one.
            assert bound < found.item() <= 3.0
        else:
            assert found.item() == pytest.approx(bound, abs=1e-15)


# --- linear programs ------------------------------------------------------------------------------

# Solver tolerances of 1e-9 through weights of a few units.
TOLERANCE = 1e-6


def optimum(model: LinearModel) -> float:
    solution = solve(model, Deadline.after(None))
    assert solution.status == OPTIMAL
    assert solution.objective is not None
    return solution.objective


@pytest.mark.parametrize(
    "lines", [lambda compiled: compiled, with_parallel_lines], ids=["crown", "fast_lin"]
)
@given(seed=seeds)
@settings(deadline=None, max_examples=15)
def test_no_bound_exceeds_the_triangle_lp_nor_that_the_milp(
    lines: Callable[[CompiledGraph], CompiledGraph], seed: int
) -> None:
    """All on the same bounds of pre-activations."""
    graph = chain(seed, (3, 6, 5, 2))
    center = np.random.default_rng(seed).normal(size=3)
    inputs = norm_ball(exact(center), Fraction(1, 2), "linf")
    compiled = lines(compile_graph(graph))
    region = input_region(inputs, compiled.like)
    found = propagate(compiled, region)
    rows = torch.eye(2, dtype=torch.float64).reshape(1, 2, 1, 2)
    backward = lower_rows(compiled, graph.output, rows, region, found.relaxations).lower
    intervals = interval_rows(compiled, rows, region, found.bounds)
    bounds = {node: found.bounds[node].numpy() for node in compiled.pre_activations}
    encoded = encode_graph(graph, inputs, bounds)
    for row in range(2):
        model = encode_case(encoded, [Atom(row)], "row")
        relaxed = optimum(model.relaxed())
        assert float(backward[0, row]) <= relaxed + TOLERANCE
        assert float(intervals[0, row]) <= relaxed + TOLERANCE
        assert relaxed <= optimum(model) + TOLERANCE
