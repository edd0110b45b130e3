"""Bounds inside where the output meets a condition: they hold at every point that does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import Deadline, OutOfTime
from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.parts.ascent import Assumption
from specdsl.bounds.parts.assumed import Contradiction, Wanted, sharpened
from specdsl.bounds.parts.known import Known, Parts
from specdsl.bounds.passes.crown import propagate
from specdsl.bounds.passes.forward import node_values
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder, NodeId

SINGLE = torch.empty(0, dtype=torch.float32)
INPUTS, WIDTH = 3, 6
ROUNDING = 1e-9


def network(kind: str, seed: int) -> Graph:
    """Two hidden layers with a skip, a product or none; two outputs."""
    random = np.random.default_rng(seed)
    builder = GraphBuilder()
    node = builder.add(ops.Input((INPUTS,)))
    size = INPUTS
    for _ in range(2):
        dense = ops.Dense(random.normal(size=(WIDTH, size)), random.normal(size=WIDTH))
        before = builder.add(dense, node)
        node = builder.add(ops.Sigmoid() if kind == "sigmoid" else ops.Relu(), before)
        if kind == "product":
            node = builder.add(ops.Multiply(), node, before)
        size = WIDTH
    last = ops.Dense(random.normal(size=(2, WIDTH)), random.normal(size=2))
    return builder.build(builder.add(last, node))


def knowns(graph: Graph) -> tuple[Known, Known]:
    """On the whole box, by CROWN; and the same in float32."""
    both: list[Known] = []
    double, single = compile_graph(graph), compile_graph(graph, SINGLE)
    for compiled in (double, single):
        ends = compiled.like.new_ones(1, INPUTS)
        region = InputRegion(Interval(-ends, ends))
        if not both:
            both.append(Known.of(compiled, region, propagate(compiled, region).bounds))
        else:
            both.append(both[0].nearly(compiled, region))
    return both[0], both[1]


def no_splits(known: Known) -> Parts:
    none = known.compiled.like.new_zeros(1, 0)
    return Parts(torch.zeros(0, dtype=torch.long), none, none, none.bool(), none.bool())


def one_split(known: Known, random: np.random.Generator) -> Parts:
    """Some entry on one side of a point of its interval."""
    number = torch.tensor([int(random.integers(known.entries.count))])
    ends = known.entries.pick(known.bounds)
    lower, upper = ends.lower[:, number], ends.upper[:, number]
    point = lower + float(random.random()) * (upper - lower)
    above = bool(random.integers(2))
    no, yes = torch.zeros(1, 1, dtype=torch.bool), torch.ones(1, 1, dtype=torch.bool)
    return Parts(number, point, upper, yes, no) if above else Parts(number, lower, point, no, yes)


def values_where(
    known: Known, parts: Parts, assumption: Assumption, random: np.random.Generator
) -> dict[NodeId, torch.Tensor]:
    """Of all nodes, at random points of the part that meet the assumption."""
    points = torch.as_tensor(random.uniform(-1, 1, size=(4000, INPUTS)))
    values = node_values(known.compiled, points)
    met = (values[known.compiled.graph.output] @ assumption.rows.T <= assumption.most).all(1)
    for i, node in enumerate(known.entries.nodes):
        here = known.entries.here(parts.numbers, i)
        own = values[node].flatten(1)[:, known.entries.positions(parts.numbers[here], i)]
        met &= ((own >= parts.lower[:, here]) & (own <= parts.upper[:, here])).all(1)
    return {node: value[met] for node, value in values.items()}


@given(
    st.sampled_from(["relu", "sigmoid", "product"]),
    st.integers(0, 10**6),
    st.booleans(),
    st.integers(1, 2),
)
@settings(max_examples=60, deadline=None)
def test_bounds_hold_wherever_the_assumption_does(
    kind: str, seed: int, split: bool, atoms: int
) -> None:
    random = np.random.default_rng(seed)
    known, near = knowns(network(kind, seed))
    parts = one_split(known, random) if split else no_splits(known)
    rows = torch.as_tensor(random.normal(size=(atoms, 2)))
    whole = values_where(known, no_splits(known), Assumption(rows, np.inf), random)
    # So that the assumption cuts somewhere: at a part of what margins take.
    margins = whole[known.compiled.graph.output] @ rows.T
    most = float(margins.amax(1).quantile(float(random.uniform(0, 0.5))))
    assumption = Assumption(rows, most)
    met = values_where(known, parts, assumption, random)
    chosen = torch.arange(known.entries.count)
    try:
        first = sharpened(known, near, parts, assumption, Wanted(chosen))
        # Once more, from where the first ended, as a search does.
        known = replace(known, bounds=first.bounds)
        near = known.nearly(near.compiled, near.region)
        found = sharpened(known, near, parts, assumption, Wanted(chosen, first.stands)).bounds
    except Contradiction:
        assert not len(met[known.compiled.graph.input])
        return
    for node, bound in found.items():
        value = met[node]
        slack = ROUNDING * (1 + bound.lower.abs().maximum(bound.upper.abs()))
        assert bool((bound.lower - slack <= value).all()), node
        assert bool((value <= bound.upper + slack).all()), node


def test_an_assumption_that_nothing_meets_by_far_ends_in_a_contradiction() -> None:
    known, near = knowns(network("relu", 1))
    values = values_where(
        known,
        no_splits(known),
        Assumption(torch.ones(1, 2).double(), np.inf),
        np.random.default_rng(0),
    )
    rows = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    least = float((values[known.compiled.graph.output] @ rows.T).min())
    chosen = torch.arange(known.entries.count)
    with pytest.raises(Contradiction):
        sharpened(known, near, no_splits(known), Assumption(rows, least - 50.0), Wanted(chosen))


def test_what_is_assumed_narrows_bounds() -> None:
    known, near = knowns(network("relu", 2))
    rows = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    values = values_where(
        known, no_splits(known), Assumption(rows, np.inf), np.random.default_rng(0)
    )
    most = float((values[known.compiled.graph.output] @ rows.T).quantile(0.02))
    chosen = torch.arange(known.entries.count)
    found = sharpened(known, near, no_splits(known), Assumption(rows, most), Wanted(chosen)).bounds
    before = known.entries.pick(known.bounds)
    after = known.entries.pick(found)
    assert bool((after.lower >= before.lower).all())
    assert bool((after.upper <= before.upper).all())
    width = float((before.upper - before.lower).sum())
    assert float((after.upper - after.lower).sum()) < 0.95 * width


def test_entries_that_were_not_chosen_keep_their_bounds_or_better_ones() -> None:
    known, near = knowns(network("sigmoid", 3))
    assumption = Assumption(torch.tensor([[1.0, 0.0]], dtype=torch.float64), 0.0)
    nothing = Wanted(torch.zeros(0, dtype=torch.long))
    found = sharpened(known, near, no_splits(known), assumption, nothing)
    for node, bound in found.bounds.items():
        assert bool((bound.lower >= known.bounds[node].lower).all())
        assert bool((bound.upper <= known.bounds[node].upper).all())


def test_time_that_is_over_ends_it() -> None:
    known, near = knowns(network("relu", 4))
    assumption = Assumption(torch.tensor([[1.0, 0.0]], dtype=torch.float64), 0.0)
    chosen = torch.arange(known.entries.count)
    with pytest.raises(OutOfTime):
        sharpened(known, near, no_splits(known), assumption, Wanted(chosen), Deadline.after(0.0))
