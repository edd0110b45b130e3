"""What an attack may be trusted with: witnesses that are ones, every kind of set, every case, and
the same answer every time.
"""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specdsl.backend import FOREVER, Deadline, OutOfTime
from specdsl.backends.attack import Attack
from specdsl.backends.attack.descent import Descent, Walkers
from specdsl.backends.attack.objective import Objective, points_at_once, stacked
from specdsl.backends.attack.precision import in_dtype, search_dtype
from specdsl.backends.attack.rounds import Round, rounds
from specdsl.backends.attack.starts import middle, spread
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.regions.region import input_region
from specdsl.evidence import settle
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.work import work
from specdsl.query.groups import group_cases
from specdsl.query.query import Atom, Case, Query
from specdsl.query.sets import Box, exact
from specdsl.verdict import Falsified, Unknown
from tests.backends.set_queries import set_queries

seeds = st.integers(0, 10**6)
SLOW_TO_DRAW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
LIKE = torch.empty(0, dtype=torch.float64)


def unit_box(size: int, low: float = 0.0) -> Box:
    return Box(exact([low] * size), exact([low + 1] * size))


def random_graph(seed: int, inputs: int, margins: int, width: int = 8) -> Graph:
    """`inputs -> width -> margins` with a ReLU in between."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder()
    x = builder.add(ops.Input((inputs,)))
    first = ops.Dense(rng.normal(size=(width, inputs)), rng.normal(size=width))
    hidden = builder.add(ops.Relu(), builder.add(first, x))
    last = ops.Dense(rng.normal(size=(margins, width)), rng.normal(size=margins))
    return builder.build(builder.add(last, hidden))


def plateau(inputs: int, corner: np.ndarray) -> Query:
    """Is the margin below 0, which is 1 but near one corner of the unit box? The part of the box
    with a gradient is less than 1 in 2^inputs.
    """
    builder = GraphBuilder()
    x = builder.add(ops.Input((inputs,)))
    toward = 2.0 * corner - 1.0
    near = ops.Dense(toward[None], np.array([0.5 - corner.sum()]))
    inside = builder.add(ops.Relu(), builder.add(near, x))
    graph = builder.build(builder.add(ops.Dense(np.array([[-4.0]]), np.array([1.0])), inside))
    return Query("plateau", graph, (Case(unit_box(inputs), (Atom(0),)),), (), ())


def boxes_query(seed: int, boxes: int) -> Query:
    """Two cases over each of some unit boxes in a row, of three margins."""
    graph = random_graph(seed, 2, 3)
    cases: list[Case] = []
    for i in range(boxes):
        box = unit_box(2, float(i))
        cases += [Case(box, (Atom(0), Atom(1))), Case(box, (Atom(2, strict=True),))]
    return Query("boxes", graph, tuple(cases), (), ())


def objective_of(query: Query) -> tuple[CompiledGraph, Objective]:
    compiled = compile_graph(query.graph)
    groups = group_cases(query)
    region = stacked([group.inputs for group in groups], LIKE)
    return compiled, Objective.of(compiled, groups, region, torch.as_tensor(query.integers))


# --- evidence ------------------------------------------------------------------------------------


@given(set_queries(products=True), seeds)
@settings(max_examples=40, deadline=None, suppress_health_check=SLOW_TO_DRAW)
def test_a_witness_is_in_its_set_and_violates_exactly(query: Query, seed: int) -> None:
    answer = Attack(steps=20, restarts=5, seed=seed).answer(query, Deadline.after(10))
    assert settle(query, answer) is answer
    if isinstance(answer.verdict, Falsified):
        witness = answer.verdict.witness
        assert witness.point in query.cases[witness.case].inputs
        assert witness.exact_margin <= 0


@given(set_queries(products=False), seeds)
@settings(max_examples=20, deadline=None, suppress_health_check=SLOW_TO_DRAW)
def test_the_same_seed_gives_the_same_answer(query: Query, seed: int) -> None:
    attack = Attack(steps=12, restarts=5, seed=seed)
    one, two = (attack.answer(query, FOREVER).verdict for _ in range(2))
    assert type(one) is type(two)
    if isinstance(one, Falsified) and isinstance(two, Falsified):
        assert one.witness.case == two.witness.case
        assert (one.witness.point == two.witness.point).all()


def test_what_float32_sees_and_float64_does_not_is_no_candidate() -> None:
    """The margin 2^-30 + relu(x) - x is 2^-30 everywhere, and 0 in float32 where x is about 1."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((512,)))
    mean = builder.add(ops.Dense(np.full((512, 512), 1 / 512), np.zeros(512)), x)
    moved = builder.add(ops.Scale(np.array(1.0), np.array(2.0**-30)), mean)
    rectified = builder.add(ops.Relu(), moved)
    graph = builder.build(builder.add(ops.Sum((1.0, -1.0)), rectified, mean))
    box = Box(exact([Fraction(1, 2)] * 512), exact([1] * 512))
    query = Query("thin", graph, (Case(box, (Atom(0),)),), (), ())
    assert search_dtype(graph, [input_region(box, LIKE)]) is torch.float32
    assert isinstance(Attack(steps=5, restarts=2).answer(query, FOREVER).verdict, Unknown)


# --- sets and cases ------------------------------------------------------------------------------


@given(seeds, st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_distances_are_the_largest_margins_of_the_cases_of_a_box(seed: int, boxes: int) -> None:
    query = boxes_query(seed, boxes)
    compiled, objective = objective_of(query)
    cases = torch.arange(objective.count).repeat(3)
    generator = torch.Generator().manual_seed(seed)
    points = objective.ground(cases).sample(len(cases), generator)
    distance = objective.distance(points, cases, FOREVER)
    margins = evaluate(compiled, points)
    first, second = margins[:, :2].amax(1), margins[:, 2]
    assert torch.allclose(distance, torch.stack([first, second], dim=1))
    own = torch.where(cases % 2 == 0, first, second)
    assert torch.allclose(objective.own(distance, cases), own)


@given(seeds, st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_points_stay_in_the_boxes_of_their_cases(seed: int, boxes: int) -> None:
    query = boxes_query(seed, boxes)
    _, objective = objective_of(query)
    cases = torch.arange(objective.count).repeat(4)
    generator = torch.Generator().manual_seed(seed)
    low = objective.region.box.lower[objective.home[cases]]
    for points in (
        middle(objective, cases),
        spread(objective, cases, generator, FOREVER),
    ):
        assert bool(((low <= points) & (points <= low + 1)).all())
        descent = Descent(objective, Walkers.at(points, cases), generator)
        for candidate in descent.run(5, FOREVER):
            corner = candidate.case // 2
            assert bool(((corner <= candidate.point) & (candidate.point <= corner + 1)).all())


@pytest.mark.parametrize("violated", range(5))
def test_every_box_of_a_disjunction_is_searched(violated: int) -> None:
    """The margin |x - c| + |y - c| - 1/10 is below 0 in one of five boxes only."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((2,)))
    moved = builder.add(ops.Scale(np.array(1.0), np.array(-violated - 0.7)), x)
    sizes = builder.add(ops.Abs(), moved)
    graph = builder.build(builder.add(ops.Dense(np.ones((1, 2)), np.array([-0.1])), sizes))
    cases = tuple(Case(unit_box(2, float(i)), (Atom(0),)) for i in range(5))
    query = Query("one", graph, cases, (), ())
    verdict = Attack(steps=30, restarts=4).answer(query, FOREVER).verdict
    assert isinstance(verdict, Falsified)
    assert verdict.witness.case == violated


def test_a_conjunction_needs_all_of_its_margins_lowered() -> None:
    """Twelve half-spaces x_i >= 9/10 at once, behind a ReLU each."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((12,)))
    margins = builder.add(
        ops.LeakyRelu(0.5), builder.add(ops.Scale(np.array(-1.0), np.array(0.9)), x)
    )
    query = Query(
        "all", builder.build(margins), (Case(unit_box(12), tuple(map(Atom, range(12)))),), (), ()
    )
    assert isinstance(Attack(steps=20, restarts=2).answer(query, FOREVER).verdict, Falsified)


# --- plateaus ------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize("first", [0, 1])
def test_corner_search_leaves_a_plateau_that_gradients_cannot(blocks: int, first: int) -> None:
    corner = (np.arange(40) * blocks // 40 + first) % 2
    query = plateau(40, corner.astype(float))
    _, objective = objective_of(query)
    cases = torch.zeros(8, dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    descent = Descent(objective, Walkers.at(middle(objective, cases), cases), generator)
    assert not list(descent.run(20, FOREVER))
    assert descent.flat
    verdict = Attack(steps=10, restarts=2).answer(query, FOREVER).verdict
    assert isinstance(verdict, Falsified)


def test_random_search_crosses_steps() -> None:
    """Twelve signs of sums, all of which must be 1: gradients are zero everywhere."""
    rng = np.random.default_rng(0)
    builder = GraphBuilder()
    x = builder.add(ops.Input((12,)))
    weight = np.eye(12) + rng.normal(size=(12, 12)) * 0.05
    signs = builder.add(ops.Positive(), builder.add(ops.Dense(weight, np.full(12, -0.7)), x))
    graph = builder.build(builder.add(ops.Dense(-np.ones((1, 12)), np.array([11.5])), signs))
    query = Query("signs", graph, (Case(unit_box(12), (Atom(0),)),), (), ())
    assert isinstance(Attack(steps=40, restarts=10).answer(query, FOREVER).verdict, Falsified)


# --- effort --------------------------------------------------------------------------------------


@given(st.integers(1, 200), st.integers(1, 500))
def test_rounds_grow_up_to_what_was_asked_for(restarts: int, steps: int) -> None:
    found = rounds(restarts, steps)
    assert found[-1] == Round(restarts, steps)
    assert all(r.restarts <= restarts and r.steps <= steps for r in found)
    assert all(a.restarts <= b.restarts for a, b in pairwise(found))
    assert sum(r.restarts for r in found[:-1]) <= max(2, restarts)


def test_a_passed_deadline_ends_an_attack() -> None:
    query = boxes_query(3, 2)
    hard = replace(
        query, cases=tuple(replace(c, atoms=(Atom(0), Atom(1), Atom(2))) for c in query.cases)
    )
    _, objective = objective_of(hard)
    cases = torch.arange(objective.count)
    with pytest.raises(OutOfTime):
        objective.distance(middle(objective, cases), cases, Deadline.after(0))
    start = time.monotonic()
    verdict = (
        Attack(steps=10**6, restarts=1)
        .answer(plateau(30, np.arange(30) % 3 % 2.0), Deadline.after(0.2))
        .verdict
    )
    assert isinstance(verdict, Unknown)
    assert verdict.timeout
    assert time.monotonic() - start < 5


def test_large_graphs_are_measured_in_parts() -> None:
    small, large = random_graph(0, 4, 1), random_graph(0, 1000, 1, width=1000)
    assert work(large) > 10**6 > work(small)
    assert points_at_once(large) < points_at_once(small)
    region = input_region(unit_box(4), LIKE)
    assert search_dtype(small, [region]) is torch.float64
    assert in_dtype(region, torch.float64) is region
    assert in_dtype(region, torch.float32).box.lower.dtype is torch.float32
