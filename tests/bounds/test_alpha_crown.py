"""alpha-CROWN is sound wherever its places are, never looser than CROWN, and as tight as it can be
on one hidden layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from specdsl.bounds.alpha_crown import Effort, alpha_crown, alpha_propagate, alpha_rows
from specdsl.bounds.ascent import Limits
from specdsl.bounds.choice import ChainChoice, Choice, Mixture, SlopeChoice
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.crown import Propagated, lower_rows, propagate
from specdsl.bounds.forward import evaluate, node_values
from specdsl.bounds.interval import Interval
from specdsl.bounds.region import InputRegion, input_region
from specdsl.bounds.rows import DenseRows
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
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

seeds = st.integers(0, 10**6)
SHORT = Limits(steps=6)
QUICK = Effort(SHORT, SHORT)
NONE = Limits(steps=0)
PATIENT = Limits(steps=1000, least_gain=0, decay=0.99)
# Of the sums of products that a bound and a sampled value are computed from.
ROUNDING = {torch.float64: 1e-9, torch.float32: 2e-4}


def two_sided(compiled: CompiledGraph) -> torch.Tensor:
    """Every output from below and from above."""
    size = compiled.graph.size(compiled.graph.output)
    unit = torch.eye(size, dtype=compiled.like.dtype)
    shape = compiled.graph.shapes[compiled.graph.output]
    return torch.cat([unit, -unit]).reshape(1, 2 * size, *shape)


def box_region(seed: int, batch: int, inputs: int, radius: float) -> InputRegion:
    random = np.random.default_rng(seed)
    center = torch.as_tensor(random.normal(size=(batch, inputs)))
    width = torch.as_tensor(random.random((batch, inputs)) * radius)
    return InputRegion(Interval(center - width, center + width))


def in_dtype(region: InputRegion, dtype: torch.dtype) -> InputRegion:
    return InputRegion(Interval(region.box.lower.to(dtype), region.box.upper.to(dtype)))


def assert_contained(
    compiled: CompiledGraph, propagated: Propagated, points: torch.Tensor, part: float
) -> None:
    """points: (regions, points, inputs)."""
    values = node_values(compiled, points.flatten(0, 1))
    for node, bound in propagated.bounds.items():
        value = values[node].unflatten(0, points.shape[:2])
        slack = part * (1 + value.abs().amax())
        assert bool((bound.lower[:, None] - slack <= value).all()), node
        assert bool((value <= bound.upper[:, None] + slack).all()), node


# --- soundness ------------------------------------------------------------------------------------


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
        places = {n: torch.as_tensor(random.random(p.shape)) * 2 for n, p in start.items()}
        if isinstance(choice_of(compiled, propagated), SlopeChoice):
            places = {n: p / 2 for n, p in places.items()}
        found = alpha_rows(compiled, rows, region, propagated, NONE, places).linear
        lines = points @ found.coefficients.transpose(1, 2) + found.constant[:, None]
        terms = points.abs() @ found.coefficients.abs().transpose(1, 2)
        terms = 1 + terms + found.constant.abs()[:, None]
        assert bool((lines <= values + 1e-11 * terms).all())


def choice_of(compiled: CompiledGraph, propagated: Propagated) -> Choice:
    """Of the last node."""
    node = compiled.graph.output
    operands = [propagated.bounds[o] for o in compiled.graph.operands(node)]
    found = compiled.rules[node].choice(operands, propagated.relaxations[node])
    assert found is not None
    return found


# --- tightness ------------------------------------------------------------------------------------


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


def small_network(seed: int, hidden: int = 6) -> tuple[Graph, np.ndarray, np.ndarray]:
    """Dense, ReLU, dense to two outputs; with both layers' weights."""
    random = np.random.default_rng(seed)
    first, last = random.normal(size=(hidden, 3)), random.normal(size=(2, hidden))
    builder = GraphBuilder()
    x = builder.add(ops.Input((3,)))
    z = builder.add(ops.Dense(first, random.normal(size=hidden) / 2), x)
    return (
        builder.build(builder.add(ops.Dense(last, np.zeros(2)), builder.add(ops.Relu(), z))),
        first,
        last,
    )


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_enough_steps_reach_the_optimum_of_the_triangle_relaxation(seed: int) -> None:
    graph, first, last = small_network(seed)
    compiled = compile_graph(graph)
    region = box_region(seed, 1, 3, 1.0)
    propagated = propagate(compiled, region)
    rows = two_sided(compiled)
    found = alpha_rows(compiled, rows, region, propagated, PATIENT).linear.lower
    node = compiled.pre_activations[0]
    bias = node_values(compiled, torch.zeros(1, 3, dtype=torch.float64))[node][0].numpy()
    bounds = propagated.bounds[node].numpy()
    optimum = [
        triangle_minimum(sign * last[j], first, bias, (bounds.lower, bounds.upper), region)
        for sign in (1.0, -1.0)
        for j in range(2)
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


# --- how it is computed ---------------------------------------------------------------------------


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_a_batch_gives_what_its_boxes_give_alone(seed: int) -> None:
    compiled = compile_graph(random_graph(seed))
    region = box_region(seed, 3, INPUTS, 0.3)
    propagated = propagate(compiled, region)
    rows = two_sided(compiled)
    # Few enough steps that no row is left alone: that looks at the whole batch.
    together = alpha_rows(compiled, rows, region, propagated, Limits(5)).linear.lower
    for i in range(3):
        index = torch.tensor([i])
        single = Propagated(
            {n: Interval(b.lower[index], b.upper[index]) for n, b in propagated.bounds.items()},
            propagate(
                compiled,
                region.take(index),
                known={
                    n: Interval(b.lower[index], b.upper[index])
                    for n, b in propagated.bounds.items()
                },
            ).relaxations,
        )
        alone = alpha_rows(compiled, rows, region.take(index), single, Limits(5)).linear.lower
        assert torch.allclose(together[i], alone[0], rtol=1e-7, atol=1e-7)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_the_same_again_is_the_same(seed: int) -> None:
    compiled = compile_graph(random_graph(seed))
    region = box_region(seed, 2, INPUTS, 0.3)
    rows = two_sided(compiled)
    one, other = (alpha_crown(compiled, region, rows, QUICK) for _ in range(2))
    assert torch.equal(one, other)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_kept_places_give_the_same_rows_again_and_a_start_to_go_on_from(seed: int) -> None:
    compiled = compile_graph(random_graph(seed))
    region = box_region(seed, 2, INPUTS, 0.3)
    propagated = propagate(compiled, region)
    rows = two_sided(compiled)
    found = alpha_rows(compiled, rows, region, propagated, Limits(8))
    again = alpha_rows(compiled, rows, region, propagated, NONE, found.places)
    assert torch.allclose(found.linear.lower, again.linear.lower)
    further = alpha_rows(compiled, rows, region, propagated, Limits(8), found.places)
    assert bool((further.linear.lower >= found.linear.lower - 1e-9).all())
    second = found.take(torch.tensor([1, 1]))
    assert torch.equal(second.linear.lower[0], found.linear.lower[1])


def test_rows_that_are_good_enough_are_left_where_they_are() -> None:
    compiled = compile_graph(random_graph(0))
    region = box_region(0, 2, INPUTS, 0.3)
    propagated = propagate(compiled, region)
    rows = two_sided(compiled)
    best = alpha_rows(compiled, rows, region, propagated, Limits(40)).linear.lower
    enough = float(best.min()) - 1.0
    lazy = alpha_rows(compiled, rows, region, propagated, Limits(40, enough=enough)).linear.lower
    assert bool((lazy > enough).all())
    assert bool((lazy <= best + 1e-9).all())
    assert bool((lazy < best - 1e-9).any())


CHOICES: Sequence[ops.Op] = [
    *(ops.Relu(), ops.LeakyRelu(0.1), ops.Abs(), ops.Clip(-0.5, 1.0), ops.Sigmoid()),
    *(ops.Square(), ops.Multiply(), ops.GroupMax(np.array([[0, 1, 2], [2, 5, 4], [7, 3, 6]]))),
]


@pytest.mark.parametrize("op", CHOICES, ids=name_of)
def test_gradients_in_places_agree_with_finite_differences(op: ops.Op) -> None:
    random = np.random.default_rng(5)
    compiled = compile_graph(one_op(op))
    region = box_region(5, 2, ENTRIES, 2.0)
    propagated = propagate(compiled, region)
    mixture: Mixture
    rows = torch.as_tensor(
        random.normal(size=(1, 3, *compiled.graph.shapes[compiled.graph.output]))
    )
    choice = choice_of(compiled, propagated)
    mixture = choice.mixture(DenseRows(rows), 2)
    # Away from the members themselves, where places have a kink.
    share = torch.as_tensor(random.random(mixture.places.shape)) * 0.8 + 0.1
    point = torch.as_tensor(random.normal(size=(2, ENTRIES)))

    def bound(places: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
        mixture.places = places
        passed = mixture.through(DenseRows(coefficients))
        values = [r.dense().coefficients.flatten(2) for r in passed.rows]
        return sum((v @ point[:, :, None] for v in values), passed.constant[..., None])

    inputs = (share.requires_grad_(), rows.requires_grad_())
    assert torch.autograd.gradcheck(bound, inputs)
    assert isinstance(choice, ChainChoice | SlopeChoice)


def test_bounds_are_differentiable_in_the_region_with_places_held() -> None:
    compiled = compile_graph(random_graph(0, products=False))
    region = box_region(1, 1, INPUTS, 0.3)
    lower, upper = region.box.lower.requires_grad_(), region.box.upper.requires_grad_()
    propagated = alpha_propagate(compiled, InputRegion(Interval(lower, upper)), QUICK)
    found = alpha_rows(
        compiled, two_sided(compiled), InputRegion(Interval(lower, upper)), propagated, SHORT
    )
    gradients = torch.autograd.grad(found.linear.lower.sum(), (lower, upper))
    assert all(bool(g.isfinite().all()) and bool((g != 0).any()) for g in gradients)


def test_points_of_a_ball_keep_above_the_bounds_of_the_ball() -> None:
    for seed in range(9):
        inputs = random_set(seed)
        compiled = compile_graph(random_graph(seed))
        region = input_region(inputs, compiled.like)
        lower = alpha_crown(compiled, region, two_sided(compiled))
        values = evaluate(compiled, torch.as_tensor(points_of(inputs, 300, seed)))
        slack = ROUNDING[torch.float64] * (1 + values.abs().amax())
        assert bool((lower <= torch.cat([values, -values], 1) + slack).all())
