"""alpha-CROWN is sound wherever its places are, never looser than CROWN, and as tight as it can be
on one hidden layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.choice import (
    ChainChoice,
    Choice,
    Layout,
    Mixture,
    Places,
    RowsMoved,
    SlopeChoice,
)
from specdsl.bounds.kinds.relaxation import Relaxation
from specdsl.bounds.passes.alpha_crown import Effort, alpha_crown, alpha_propagate, alpha_rows
from specdsl.bounds.passes.ascent import Limits, ascend, differentiable_least
from specdsl.bounds.passes.crown import Propagated, Relaxations, lower_rows, propagate
from specdsl.bounds.passes.forward import evaluate, node_values
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.bounds.rows.backward import AtInput
from specdsl.bounds.rows.rows import DenseRows, Rows
from specdsl.bounds.rows.windows import WindowRows, one_hot
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.ops import as_float
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
PATIENT = Limits(steps=1000, least_gain=0, decay=0.995)
# Of the sums of products that a bound and a sampled value are computed from.
ROUNDING = {torch.float64: 1e-9, torch.float32: 2e-4}


def two_sided(compiled: CompiledGraph) -> Tensor:
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
    compiled: CompiledGraph, propagated: Propagated, points: Tensor, part: float
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


def relu_network(seed: int, hidden: Sequence[int]) -> Graph:
    """Dense layers from three inputs to two outputs, ReLU between them."""
    random = np.random.default_rng(seed)
    builder = GraphBuilder()
    x, width = builder.add(ops.Input((3,))), 3
    for count in hidden:
        weight, bias = random.normal(size=(count, width)), random.normal(size=count) / 2
        x, width = builder.add(ops.Relu(), builder.add(ops.Dense(weight, bias), x)), count
    return builder.build(builder.add(ops.Dense(random.normal(size=(2, width)), np.zeros(2)), x))


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


# --- how it is computed ---------------------------------------------------------------------------


def alone(propagated: Propagated, index: Tensor) -> Propagated:
    """Bounds and lines of the regions at `index`.

    Made anew they would be others: the planes of a product are often equally good, and one is
    taken by what rounding makes of that, which is not the same in a batch of another size.
    """
    assert not propagated.relaxations.sizes  # Those of delicate graphs, which no caller has.
    bounds = {n: Interval(b.lower[index], b.upper[index]) for n, b in propagated.bounds.items()}
    lines = {n: line_at(line, index) for n, line in propagated.relaxations.items()}
    return Propagated(bounds, Relaxations(lines))


def line_at(line: Any, index: Tensor) -> Relaxation:
    parts = {f.name: getattr(line, f.name) for f in fields(line)}
    return replace(line, **{n: p[index] for n, p in parts.items() if isinstance(p, Tensor)})


def gaps_to_boxes_alone(seed: int, limits: Limits) -> list[float]:
    """How far the bounds of three boxes in a batch are from those of each by itself."""
    compiled = compile_graph(random_graph(seed))
    region = box_region(seed, 3, INPUTS, 0.3)
    propagated = propagate(compiled, region)
    rows = two_sided(compiled)
    together = alpha_rows(compiled, rows, region, propagated, limits).linear.lower
    gaps: list[float] = []
    for index in torch.arange(3).split(1):
        own = alone(propagated, index)
        single = alpha_rows(compiled, rows, region.take(index), own, limits).linear.lower
        gaps.append(float(((together[index] - single) / (1 + single.abs())).abs().amax()))
    return gaps


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_before_it_climbs_a_batch_gives_what_its_boxes_give_alone(seed: int) -> None:
    assert max(gaps_to_boxes_alone(seed, Limits(1))) <= 1e-9


# Few enough steps that no row is left alone: that looks at the whole batch. The seeds are fixed,
# since where a coefficient cancels the gradient has a jump, and rounding may choose its side.
@pytest.mark.parametrize("seed", [*range(6), 573780, 924931])
def test_after_some_steps_a_batch_gives_what_its_boxes_give_alone(seed: int) -> None:
    assert max(gaps_to_boxes_alone(seed, Limits(5))) <= 1e-7


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

    def bound(places: Tensor, coefficients: Tensor) -> Tensor:
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


def test_places_are_found_again_where_other_entries_are_unstable() -> None:
    compiled = compile_graph(relu_network(3, (12, 12)))
    region = box_region(3, 1, 3, 1.0)
    rows = two_sided(compiled)
    propagated = propagate(compiled, region)
    found = alpha_rows(compiled, rows, region, propagated)
    middle = region.box.center
    parts = InputRegion(
        Interval(
            torch.cat([region.box.lower, middle]),
            torch.cat([middle, region.box.upper]),
        )
    )
    inner = propagate(compiled, parts, known=propagated.bounds, checked=True)
    both = found.take(torch.tensor([0, 0]))
    again = alpha_rows(compiled, rows, parts, inner, NONE, both.places)
    assert [p.values.shape for p in again.places.values()] != [
        p.values.shape for p in both.places.values()
    ]
    assert bool((again.linear.lower >= found.linear.lower - 1e-9).all())


def test_a_mixture_refuses_rows_that_read_other_entries() -> None:
    shape = (1, 2, 6, 6)
    like = torch.empty(0, dtype=torch.float64)
    rows = one_hot(torch.tensor([0, 40, 71]), shape, like)
    layout = Layout.of(rows)
    layout.require(rows)
    layout.take(torch.tensor([0, 2])).require(rows.take(torch.tensor([0, 2])))
    turned = replace(rows.windows, axes=(0, 1, 3, 2))
    others = (
        *(rows.dense(), WindowRows(rows.coefficients, turned)),
        *(rows.take(torch.tensor(index)) for index in ([0, 2, 1], [0, 1])),
    )
    for other in others:
        with pytest.raises(RowsMoved):
            layout.require(other)


def test_an_ascent_keeps_what_it_found_when_rows_move() -> None:
    steps = 0

    def lower(rows: Rows) -> Tensor:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise RowsMoved
        mixture.places.requires_grad_()
        return mixture.through(rows).constant + steps

    compiled = compile_graph(one_op(ops.Relu()))
    propagated = propagate(compiled, box_region(5, 1, ENTRIES, 2.0))
    rows = DenseRows(torch.ones(1, 1, *compiled.graph.shapes[compiled.graph.output]).double())
    mixture = choice_of(compiled, propagated).mixture(rows, 1)
    assert float(ascend(lower, rows, {"relu": mixture}, Limits(9)).lower) == 2.0


@pytest.mark.parametrize("seed", range(9))
def test_the_least_value_over_a_ball_has_the_point_where_it_is_met_as_its_gradient(
    seed: int,
) -> None:
    region = input_region(random_set(seed), torch.empty(0, dtype=torch.float64))
    random = np.random.default_rng(seed)
    rows, change = (torch.as_tensor(random.normal(size=(1, 2, INPUTS))) for _ in range(2))
    constant = torch.zeros(1, 2, dtype=torch.float64)

    def least(coefficients: Tensor) -> Tensor:
        return differentiable_least(AtInput(DenseRows(coefficients), constant, INPUTS), region)

    (gradient,) = torch.autograd.grad(least(rows.requires_grad_()).sum(), rows)
    step = 1e-5
    with torch.no_grad():
        quotient = (least(rows + step * change) - least(rows - step * change)) / (2 * step)
    assert torch.allclose((gradient * change).sum(2), quotient, atol=1e-4)
