"""What search and attack may rely on: clipping and splitting lose no point, answers are right."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import ceil, floor

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specdsl.backend import Deadline
from specdsl.backends.attack import Attack
from specdsl.backends.incomplete import Incomplete
from specdsl.backends.portfolio import Portfolio
from specdsl.backends.search import Search
from specdsl.backends.search.inputs.clipping import clip
from specdsl.backends.search.inputs.domains import Domains, Lattice
from specdsl.backends.search.inputs.splitting import (
    bisect,
    sensitivity,
    splittable,
    steepness,
)
from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.margins import bound_margins, deciding_margins, margin_rows
from specdsl.bounds.passes.crown import propagate
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.regions.joint import case_bounds
from specdsl.bounds.regions.projection import Projector
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.encoding.integers import round_inward
from specdsl.evidence import settle
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate as reference_evaluate
from specdsl.graph.exact import evaluate_exact
from specdsl.graph.graph import GraphBuilder
from specdsl.query.groups import group_cases
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Ball, Box, CutBox, InputSet, Norm, cut, exact, norm_ball
from specdsl.verdict import Falsified, Unknown, Verified
from tests.backends.set_queries import sample_set, set_queries

seeds = st.integers(0, 10**6)

NO_CODES = torch.zeros(1, 0, dtype=torch.int8)
NUMBER = torch.zeros(1, dtype=torch.long)
REAL = Lattice.of(torch.zeros(0, dtype=torch.int64), 3)


def small_query(seed: int, inputs: InputSet | None = None) -> Query:
    """Two or three inputs, two hidden layers, four margins in two cases."""
    random = np.random.default_rng(seed)
    size = 3 if inputs is None else inputs.size
    builder = GraphBuilder()
    node = builder.add(ops.Input((size,)))
    for width in (6, 5):
        weight = random.normal(size=(width, builder.shape(node)[0]))
        node = builder.add(ops.Dense(weight, random.normal(size=width)), node)
        node = builder.add(ops.Relu(), node)
    weight = random.normal(size=(4, 5))
    node = builder.add(ops.Dense(weight, random.normal(size=4) + seed % 5), node)
    box = inputs or Box(exact([Fraction(-1)] * size), exact([Fraction(1)] * size))
    cases = (Case(box, (Atom(0), Atom(2))), Case(box, (Atom(1), Atom(3, strict=True))))
    variables = (Variable.at("x", 0, (size,)),)
    return Query("small", builder.build(node), cases, variables, ())


def sampled_violation(query: Query, count: int = 4000) -> float:
    """The least deciding margin over sampled points of the (box or ball) inputs."""
    compiled = compile_graph(query.graph)
    (group,) = group_cases(query)
    projector = Projector(input_region(group.inputs, compiled.like))
    points = projector.sample(count, torch.Generator().manual_seed(1))
    return float(deciding_margins(group, evaluate(compiled, points)[:, group.rows]).min())


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_clipping_keeps_every_violating_point(seed: int) -> None:
    query = small_query(seed)
    compiled = compile_graph(query.graph)
    (group,) = group_cases(query)
    random = np.random.default_rng(seed)
    lower = torch.as_tensor(random.uniform(-1, 0.5, size=(8, 3)))
    upper = lower + torch.as_tensor(random.uniform(0.05, 0.5, size=(8, 3)))
    region = InputRegion(Interval(lower, upper))
    rows = margin_rows(compiled, group)
    margins = bound_margins(compiled, rows, region, propagate(compiled, region))
    is_open = torch.as_tensor(random.random((8, 2)) < 0.7)
    domains = Domains(
        lower, upper, torch.zeros(8), is_open, NO_CODES.expand(8, 0), NUMBER.expand(8)
    )
    mixtures = case_bounds(group, margins, region, 0.0).mixtures
    clipped = clip(domains, margins.linear, group, 0.0, mixtures)
    assert bool((clipped.lower >= lower).all())
    assert bool((clipped.upper <= upper).all())
    for i in range(8):
        points = lower[i] + torch.as_tensor(random.random((400, 3))) * (upper[i] - lower[i])
        deciding = deciding_margins(group, evaluate(compiled, points)[:, group.rows])
        bad = points[((deciding <= 0) & is_open[i]).any(1)]
        assert bool(((clipped.lower[i] <= bad) & (bad <= clipped.upper[i])).all())


@given(seeds, st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_splitting_covers_the_box(seed: int, levels: int) -> None:
    query = small_query(seed)
    compiled = compile_graph(query.graph)
    (group,) = group_cases(query)
    region = input_region(group.inputs, compiled.like)
    rows = margin_rows(compiled, group)
    linear = bound_margins(compiled, rows, region, propagate(compiled, region)).linear
    root = Domains(
        region.box.lower, region.box.upper, torch.zeros(1), torch.ones(1, 2) > 0, NO_CODES, NUMBER
    )
    slopes = steepness(linear, sensitivity(compiled, group, region))
    parts = bisect(root, slopes, REAL, levels)
    assert len(parts) == 2**levels
    points = torch.as_tensor(np.random.default_rng(seed).uniform(-1, 1, size=(500, 1, 3)))
    inside = ((parts.lower <= points) & (points <= parts.upper)).all(2).any(1)
    assert bool(inside.all())
    assert bool(splittable(parts, REAL).all())


def test_a_box_of_neighbouring_floats_cannot_be_split() -> None:
    lower = torch.tensor([[1.0, 2.0, 2.5]], dtype=torch.float64)
    upper = torch.nextafter(lower, torch.tensor(3.0, dtype=torch.float64))
    domains = Domains(lower, upper, torch.zeros(1), torch.ones(1, 1) > 0, NO_CODES, NUMBER)
    assert not bool(splittable(domains, REAL).any())


@given(seeds, st.sampled_from(["box", "l1", "l2"]))
@settings(max_examples=40, deadline=None)
def test_answers_agree_with_each_other_and_with_samples(seed: int, kind: str) -> None:
    center = exact(np.random.default_rng(seed).uniform(-1, 1, size=3))
    inputs = None if kind == "box" else norm_ball(center, Fraction(1), kind)
    query = small_query(seed, inputs)
    deadline = Deadline.after(20)
    bounded = Incomplete().answer(query, deadline).verdict
    searched = Search().answer(query, deadline).verdict
    attacked = Attack(steps=30, restarts=10).answer(query, deadline).verdict
    least = sampled_violation(query)
    if isinstance(bounded, Verified):
        assert isinstance(searched, Verified)
        assert bounded.certificate.margin <= least + 1e-9
    if isinstance(searched, Verified):
        assert not isinstance(attacked, Falsified)
        assert least > 0
        assert (searched.certificate.margin or 0.0) <= least + 1e-9
    if least < -1e-3:
        assert isinstance(searched, Falsified)
    for verdict in (searched, attacked):
        if isinstance(verdict, Falsified):
            witness = verdict.witness
            assert witness.point in query.cases[witness.case].inputs
            assert witness.exact_margin <= 0


def test_a_passed_deadline_is_unknown_with_the_reason() -> None:
    query = small_query(3)
    verdict = Search().answer(query, Deadline.after(0)).verdict
    assert isinstance(verdict, Unknown)
    assert verdict.timeout
    assert "timeout after 0 s" in verdict.reason


def test_a_case_without_atoms_is_falsified_by_any_point() -> None:
    query = small_query(1)
    box = query.cases[0].inputs
    anything = Query("any", query.graph, (Case(box, ()),), query.variables, ())
    assert isinstance(Search().answer(anything, Deadline.after(5)).verdict, Falsified)
    assert isinstance(Attack().answer(anything, Deadline.after(5)).verdict, Falsified)
    assert isinstance(Incomplete().answer(anything, Deadline.after(5)).verdict, Unknown)


def test_a_query_without_cases_is_verified() -> None:
    query = small_query(1)
    nothing = Query("none", query.graph, (), query.variables, ())
    assert isinstance(Search().answer(nothing, Deadline.after(5)).verdict, Verified)
    assert isinstance(Incomplete().answer(nothing, Deadline.after(5)).verdict, Verified)


@given(set_queries())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_projected_points_are_whole_and_near_the_set(query: Query) -> None:
    inputs = round_inward(query.cases[0].inputs, query.integers)
    region = input_region(inputs, torch.empty(0, dtype=torch.float64))
    integers = torch.as_tensor(query.integers)
    projector = Projector(region, integers)
    points = torch.as_tensor(np.random.default_rng(0).normal(size=(30, inputs.size)) * 3)
    found = projector.project(points)
    assert torch.equal(found[:, integers], found[:, integers].round())
    assert bool((found >= region.box.lower).all() & (found <= region.box.upper).all())
    # Points of the set stay where they are.
    members = torch.as_tensor(sample_set(inputs, query.integers, 50))
    assert torch.allclose(projector.project(members), members, atol=1e-6)
    if not query.integers.size:
        assert all(exact(p) in grown(inputs) for p in found.tolist())


def grown(inputs: InputSet) -> InputSet:
    """The set larger by a part that balls which hardly meet may be missed by."""
    part = Fraction(1, 50)
    larger = [replace(b, radius=b.radius * (1 + part)) for b in inputs.balls]
    box = Box(inputs.box.lower - part, inputs.box.upper + part)
    return CutBox(box, tuple(larger)) if larger else box


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_projection_reaches_the_set_and_moves_nothing_inside(norm: str) -> None:
    random = np.random.default_rng(0)
    center = random.normal(size=12)
    inputs = norm_ball(exact(center), Fraction(1, 2), norm)
    region = input_region(inputs, torch.empty(0, dtype=torch.float64))
    projector = Projector(region)
    outside = torch.as_tensor(center + random.normal(size=(50, 12)) * 3)
    offset = (projector.project(outside) - torch.as_tensor(center)).numpy()
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    assert (np.linalg.norm(offset, ord=order, axis=1) <= 0.5 + 1e-9).all()
    inside = torch.as_tensor(center + offset * 0.9)
    assert torch.allclose(projector.project(inside), inside)


# --- whole numbers -------------------------------------------------------------------------------


def whole_query(seed: int, reals: int, strict: bool = False) -> Query:
    """Two whole-number inputs with some points each, `reals` real ones fixed at 1/3; one margin of
    two layers with small whole weights, so that ties are common.
    """
    rng = np.random.default_rng(seed)
    size = 2 + reals
    builder = GraphBuilder()
    x = builder.add(ops.Input((size,)))
    weight = rng.integers(-2, 3, size=(3, size)).astype(float)
    hidden = builder.add(ops.Relu(), builder.add(ops.Dense(weight, rng.integers(-2, 3, 3)), x))
    out = ops.Dense(rng.integers(-2, 3, size=(1, 3)).astype(float), rng.integers(-1, 4, 1))
    low = rng.integers(-3, 1, size=2)
    ends = [Fraction(int(v)) for v in low], [Fraction(int(v) + 3) + Fraction(1, 2) for v in low]
    third = [Fraction(1, 3)] * reals
    box = Box(exact([*ends[0], *third]), exact([*ends[1], *third]))
    case = Case(box, (Atom(0, strict),))
    graph = builder.build(builder.add(out, hidden))
    return Query("whole", graph, (case,), (), (), integers=np.array([0, 1]))


def holds_somewhere(query: Query) -> bool:
    """By trying every whole point, exactly."""
    (case,) = query.cases
    box, graph = case.inputs.box, query.graph
    ranges = [range(ceil(box.lower[i]), floor(box.upper[i]) + 1) for i in (0, 1)]
    for values in product(*ranges):
        point = exact([*values, *box.lower[2:]])
        value = evaluate_exact(graph, {graph.input: point}, nodes=[graph.output])[graph.output][0]
        if value < 0 or (value == 0 and not case.atoms[0].strict):
            return True
    return False


@given(seeds, st.integers(0, 1), st.booleans())
@settings(max_examples=150, deadline=None)
def test_whole_inputs_are_decided_exactly(seed: int, reals: int, strict: bool) -> None:
    query = whole_query(seed, reals, strict)
    verdict = Search().answer(query, Deadline.after(20)).verdict
    assert isinstance(verdict, Falsified if holds_somewhere(query) else Verified)
    if isinstance(verdict, Falsified):
        assert all(v.denominator == 1 for v in verdict.witness.point[:2])


@given(seeds, st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_splitting_loses_no_whole_point(seed: int, levels: int) -> None:
    query = small_query(seed)
    compiled = compile_graph(query.graph)
    (group,) = group_cases(query)
    lower = torch.tensor([[-3.0, 0.0, -1.0]], dtype=torch.float64)
    upper = torch.tensor([[2.0, 1.0, 1.0]], dtype=torch.float64)
    region = InputRegion(Interval(lower, upper))
    linear = bound_margins(
        compiled, margin_rows(compiled, group), region, propagate(compiled, region)
    ).linear
    lattice = Lattice.of(torch.tensor([0, 1]), 3)
    root = Domains(lower, upper, torch.zeros(1), torch.ones(1, 2) > 0, NO_CODES, NUMBER)
    slopes = steepness(linear, sensitivity(compiled, group, region))
    parts = bisect(root, slopes, lattice, levels)
    assert bool((parts.lower <= parts.upper).all())
    assert bool((parts.lower[:, :2] == parts.lower[:, :2].round()).all())
    whole = torch.cartesian_prod(torch.arange(-3.0, 3), torch.arange(0.0, 2))
    whole = whole.repeat(50, 1).double()
    reals = torch.as_tensor(np.random.default_rng(seed).uniform(-1, 1, size=(len(whole), 1)))
    points = torch.cat([whole, reals], dim=1)[:, None]
    inside = ((parts.lower <= points) & (points <= parts.upper)).all(2)
    assert bool(inside.any(1).all())
    # Whole-number cuts share no point: a box is met twice only on a real face.
    assert bool((inside.sum(1) == 1).float().mean() > 0.9)


def test_an_interval_without_whole_numbers_is_empty() -> None:
    query = small_query(1, Box(exact([Fraction(1, 4)] * 3), exact([Fraction(3, 4)] * 3)))
    anything = replace(query, cases=(Case(query.cases[0].inputs, ()),), integers=np.array([1]))
    for backend in (Search(), Incomplete()):
        assert isinstance(backend.answer(anything, Deadline.after(5)).verdict, Verified)
    assert isinstance(Attack().answer(anything, Deadline.after(5)).verdict, Unknown)


# --- several balls -------------------------------------------------------------------------------


def ball_at(center: float, radius: Fraction, norm: Norm) -> Ball:
    where, ones = np.arange(3, dtype=np.int64), exact([1] * 3)
    return Ball(where, exact([center] * 3), ones, radius, norm)


def test_balls_without_a_common_point_are_empty() -> None:
    wide = Box(exact([-3] * 3), exact([3] * 3))
    inputs = cut(wide, [ball_at(-1, Fraction(3, 2), "l2"), ball_at(1, Fraction(3, 2), "l1")])
    query = small_query(1, inputs)
    anything = replace(query, cases=(Case(inputs, ()),))
    for backend in (Search(), Incomplete(), Portfolio()):
        assert isinstance(backend.answer(anything, Deadline.after(5)).verdict, Verified)
    assert isinstance(Attack().answer(anything, Deadline.after(5)).verdict, Unknown)


@given(set_queries(products=True))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_hold_on_every_kind_of_set(query: Query) -> None:
    (case,) = query.cases
    points = sample_set(case.inputs, query.integers)
    values = reference_evaluate(
        query.graph, {query.graph.input: points.reshape(-1, *query.graph.shapes[query.graph.input])}
    )[query.graph.output]
    least = float(values[:, [a.index for a in case.atoms]].max(1).min())
    for backend in (Incomplete(), Attack(steps=20, restarts=5), Search(), Portfolio()):
        answer = backend.answer(query, Deadline.after(5))
        assert settle(query, answer) is answer
        if isinstance(answer.verdict, Verified):
            assert least >= 0
            assert (answer.verdict.certificate.margin or 0.0) <= least + 1e-9


# --- conditions between inputs -------------------------------------------------------------------


def monotone_query(seed: int, rising: bool) -> Query:
    """Two copies a and b of three inputs: is there a[0] + 1/4 <= b[0], the others equal up to 1/8,
    with f(b) + 1/2 <= f(a)? Never where f rises in its first input and hardly changes otherwise.
    """
    rng = np.random.default_rng(seed)
    builder = GraphBuilder()
    x = builder.add(ops.Input((6,)))
    first, last = rng.uniform(0.2, 1, size=(5, 3)), rng.uniform(0.1, 1, size=(1, 5))
    first[:, 1:] *= 0.1
    first[:, 0] *= 1.0 if rising else -1.0
    bias = rng.normal(size=5)

    def copy(start: int) -> str:
        part = builder.add(ops.Select(np.arange(start, start + 3)), x)
        hidden = builder.add(ops.Relu(), builder.add(ops.Dense(first, bias), part))
        return builder.add(ops.Dense(last, np.zeros(1)), hidden)

    output = builder.add(ops.Sum((1.0, -1.0)), copy(3), copy(0))
    output = builder.add(ops.Scale(np.array(1.0), np.array(0.5 if rising else 0.01)), output)
    between = np.zeros((5, 6))
    between[:, :3] = [[1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
    between[:, 3:] = -between[:, :3]
    offsets = np.array([0.25, *[-0.125] * 4])
    conditions = builder.add(ops.Dense(between, offsets), x)
    box = Box(exact([-1] * 6), exact([1] * 6))
    case = Case(box, tuple(map(Atom, range(6))))
    graph = builder.build(builder.concat_flat(conditions, output))
    return Query("monotone", graph, (case,), (Variable.at("a", 0, (3,)),), ())


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_a_monotone_network_is_verified(seed: int) -> None:
    query = monotone_query(seed, rising=True)
    assert isinstance(Search().answer(query, Deadline.after(20)).verdict, Verified)
    assert isinstance(
        Attack(steps=20, restarts=5).answer(query, Deadline.after(5)).verdict, Unknown
    )


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_an_attack_moves_into_conditions_between_inputs(seed: int) -> None:
    query = monotone_query(seed, rising=False)
    for backend in (Attack(steps=20, restarts=20), Search()):
        verdict = backend.answer(query, Deadline.after(20)).verdict
        assert isinstance(verdict, Falsified), backend


def test_an_attack_keeps_one_of_several_classes() -> None:
    """Five entries of which exactly one is 1; only the third class violates."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((5,)))
    total = builder.add(ops.Dense(np.array([[1.0] * 5, [-1.0] * 5]), np.array([-1.0, 1.0])), x)
    score = builder.add(ops.Dense(np.array([[1.0, 1.0, -1.0, 1.0, 1.0]]), np.array([0.5])), x)
    graph = builder.build(builder.concat_flat(total, builder.add(ops.LeakyRelu(0.5), score)))
    case = Case(Box(exact([0] * 5), exact([1] * 5)), (Atom(0), Atom(1), Atom(2)))
    query = Query("class", graph, (case,), (), (), integers=np.arange(5))
    for backend in (Attack(steps=10, restarts=4), Search()):
        verdict = backend.answer(query, Deadline.after(5)).verdict
        assert isinstance(verdict, Falsified)
        assert verdict.witness.point.tolist() == [0, 0, 1, 0, 0]
