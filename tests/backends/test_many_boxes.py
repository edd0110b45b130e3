"""Many boxes bounded and split together decide as one box after the other does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import FOREVER, Backend
from specdsl.backends.attack import Attack
from specdsl.backends.attack import backend as attack_backend
from specdsl.backends.incomplete import Incomplete
from specdsl.backends.portfolio import Portfolio
from specdsl.backends.search import Search
from specdsl.bounds.interval import Interval
from specdsl.bounds.many_boxes import ManyBoxes, batches
from specdsl.evidence import Replayer
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.outputs import only_entries
from specdsl.graph.rewrites import restate
from specdsl.query.groups import group_cases
from specdsl.query.query import Atom, Case, Query
from specdsl.query.sets import Box, exact
from specdsl.verdict import Falsified, Unknown, Verified
from tests.backends.test_out_of_time import looked
from tests.bounds.random_graphs import random_graph

LIKE = torch.empty(0, dtype=torch.float64)
BOXES = 12


def graph_of(seed: int, thresholds: int) -> Graph:
    """A network of one output, compared with numbers: `value - t` and `t - value` by turns."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder()
    node = builder.add(ops.Input((3,)), name="x")
    for width in (6, 6):
        size = builder.shape(node)[-1]
        weight, bias = rng.normal(size=(width, size)), rng.normal(size=width)
        node = builder.add(ops.Relu(), builder.add(ops.Dense(weight, bias), node))
    node = builder.add(ops.Dense(rng.normal(size=(1, 6)), rng.normal(size=1)), node)
    signs = np.array([1.0, -1.0] * thresholds)[:, None]
    margins = ops.Dense(signs, rng.normal(scale=4.0, size=2 * thresholds))
    return builder.build(builder.add(margins, node))


def many_boxes(seed: int, away: float = 0.0) -> Query:
    """Boxes in which one or two inputs vary, two cases each, of which one has two atoms; bounded
    away from what is met at the middles by `away`.
    """
    graph = graph_of(seed, BOXES)
    rng = np.random.default_rng(seed + 1)
    cases: list[Case] = []
    bias = np.zeros(2 * BOXES)
    for i in range(BOXES):
        center, radius = rng.normal(size=3), rng.uniform(0.05, 0.4, 3)
        radius[i % 3] = 0.0
        box = Box(exact(center - radius), exact(center + radius))
        value = evaluate(graph, {graph.input: center[None]})[graph.output][0]
        bias[2 * i : 2 * i + 2] = away - value[2 * i : 2 * i + 2]
        cases.append(Case(box, (Atom(2 * i),)))
        cases.append(Case(box, (Atom(2 * i + 1), Atom(2 * i))))
    builder = GraphBuilder()
    new = builder.splice(graph, {graph.input: builder.add(ops.Input((3,)), name="x")})
    shifted = ops.Scale(np.ones(2 * BOXES), bias)
    return Query(
        "many", builder.build(builder.add(shifted, new[graph.output])), tuple(cases), (), ()
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_entries_of_the_output_are_what_they_were(seed: int) -> None:
    graph = random_graph(seed) if seed % 2 else graph_of(seed, 4)
    rng = np.random.default_rng(seed)
    entries = rng.integers(graph.size(graph.output), size=3)
    x = rng.normal(size=(5, *graph.shapes[graph.input]))
    some = only_entries(graph, entries)
    whole = evaluate(graph, {graph.input: x})[graph.output].reshape(5, -1)
    np.testing.assert_allclose(evaluate(some, {some.input: x})[some.output], whole[:, entries])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_bounds_of_many_boxes_hold_and_are_those_of_each(seed: int) -> None:
    query = many_boxes(seed, away=1.0)
    margins = restate(query.graph).graph
    (batch,) = batches(margins, group_cases(query), LIKE)
    boxes = ManyBoxes.of(margins, batch.groups, batch.box, FOREVER)
    home = torch.arange(len(batch.groups))
    together = boxes.least(batch.box, home)
    rng = np.random.default_rng(seed)
    for i, group in enumerate(batch.groups):
        own = Interval(batch.box.lower[i : i + 1], batch.box.upper[i : i + 1])
        alone = ManyBoxes.of(margins, (group,), own, FOREVER).least(own, torch.zeros(1).long())
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-7, atol=1e-7)
        low, high = own.lower.numpy()[0], own.upper.numpy()[0]
        points = rng.uniform(low, high, size=(50, 3))
        values = evaluate(query.graph, {query.graph.input: points})[query.graph.output]
        for slot, member in enumerate(group.members):
            met = values[:, [a.index for a in query.cases[member].atoms]].max(1).min()
            assert together[i, slot] <= met


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("away", [0.2, 1.0, 2.0, 8.0])
def test_all_boxes_together_are_decided_as_one_by_one(seed: int, away: float) -> None:
    query = many_boxes(seed, away)
    verdicts = [
        Search().answer(replace(query, cases=(case,)), FOREVER).verdict for case in query.cases
    ]
    expected = Falsified if any(isinstance(v, Falsified) for v in verdicts) else Verified
    for backend in (Search(), Portfolio()):
        found = backend.answer(query, FOREVER).verdict
        assert type(found) is expected
        if isinstance(found, Falsified):
            point = np.array([float(x) for x in found.witness.point])
            assert Replayer(query).confirm(point, [found.witness.case]) is not None
    found = Incomplete().answer(query, FOREVER).verdict
    assert isinstance(found, Unknown if expected is Falsified else Verified | Unknown)
    if isinstance(found, Unknown):
        assert found.left is not None
        closed = set(range(len(query.cases))) - set(found.left.cases)
        assert not any(isinstance(verdicts[i], Falsified) for i in closed)


@pytest.mark.parametrize("planted", [0, 7, BOXES - 1])
def test_one_box_with_a_point_is_found_among_many(planted: int) -> None:
    query = many_boxes(3, away=20.0)
    inside = query.cases[2 * planted].inputs
    cases = list(query.cases)
    # The other comparison holds wherever this one is far from holding.
    low = replace(query, cases=(Case(inside, (Atom(2 * planted),)),))
    assert isinstance(Search().answer(low, FOREVER).verdict, Verified)
    cases[2 * planted] = Case(inside, ())
    for backend in (Search(), Attack(steps=20, restarts=2), Portfolio()):
        found = backend.answer(replace(query, cases=tuple(cases)), FOREVER).verdict
        assert isinstance(found, Falsified)
        assert found.witness.case == 2 * planted


def test_cases_without_atoms_and_unknown_values_stay_open() -> None:
    query = many_boxes(5, away=20.0)
    margins = restate(query.graph).graph
    (batch,) = batches(margins, group_cases(query), LIKE)
    boxes = ManyBoxes.of(margins, batch.groups, batch.box, FOREVER)
    unknown = torch.full((1, boxes.rows.shape[1]), -torch.inf, dtype=torch.float64)
    assert bool((boxes.deciding(unknown, torch.zeros(1).long()) == -torch.inf).all())


@pytest.mark.parametrize("backend", [Incomplete(), Search(), Attack(5, 2), Portfolio()])
def test_the_clock_is_looked_at_between_batches(backend: Backend) -> None:
    query = many_boxes(2, away=2.0)
    for times in range(0, 400, 4):
        verdict = backend.answer(query, looked(times)).verdict
        if not isinstance(verdict, Unknown) or not verdict.timeout:
            return
    pytest.fail("400 looks were not enough")


def test_groups_are_attacked_over_the_margins_they_read(monkeypatch: pytest.MonkeyPatch) -> None:
    query = many_boxes(4, away=0.2)
    together = Attack(20, 2).answer(query, FOREVER).verdict
    monkeypatch.setattr(attack_backend, "MARGINS_TOGETHER", 4)
    apart = Attack(20, 2).answer(query, FOREVER).verdict
    assert isinstance(together, Falsified)
    assert isinstance(apart, Falsified)
