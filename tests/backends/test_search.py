"""What search and attack may rely on: clipping and splitting lose no point, answers are right."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import Deadline
from specdsl.backends.attack import Attack
from specdsl.backends.incomplete import Incomplete
from specdsl.backends.search import Search
from specdsl.backends.search.clipping import clip
from specdsl.backends.search.domains import Domains
from specdsl.backends.search.splitting import bisect, sensitivity, splittable
from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.crown import propagate
from specdsl.bounds.forward import evaluate
from specdsl.bounds.interval import Interval
from specdsl.bounds.margins import bound_margins, deciding_margins, margin_rows
from specdsl.bounds.projection import Projector
from specdsl.bounds.region import InputRegion, input_region
from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder
from specdsl.query.groups import group_cases
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, InputSet, exact, norm_ball
from specdsl.verdict import Falsified, Unknown, Verified

seeds = st.integers(0, 10**6)


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
    variables = (Variable("x", 0, (size,)),)
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
    domains = Domains(lower, upper, torch.zeros(8), is_open)
    clipped = clip(domains, margins.linear, group)
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
    root = Domains(region.box.lower, region.box.upper, torch.zeros(1), torch.ones(1, 2) > 0)
    parts = bisect(root, linear, sensitivity(compiled, group, region), levels)
    assert len(parts) == 2**levels
    points = torch.as_tensor(np.random.default_rng(seed).uniform(-1, 1, size=(500, 1, 3)))
    inside = ((parts.lower <= points) & (points <= parts.upper)).all(2).any(1)
    assert bool(inside.all())
    assert bool(splittable(parts).all())


def test_a_box_of_neighbouring_floats_cannot_be_split() -> None:
    lower = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    upper = torch.nextafter(lower, torch.tensor(3.0, dtype=torch.float64))
    domains = Domains(lower, upper, torch.zeros(1), torch.ones(1, 1) > 0)
    assert not bool(splittable(domains).any())


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
