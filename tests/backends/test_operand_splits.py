"""Splitting what ops of several operands read: products, maxima, quotients, softmax."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.backends.milp import Milp
from specdsl.backends.search import Search
from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.parts.beta_crown import PartBounds
from specdsl.bounds.parts.cutting import Cuts
from specdsl.bounds.parts.known import Known, Parts
from specdsl.bounds.passes.crown import propagate
from specdsl.bounds.passes.forward import node_values
from specdsl.bounds.regions.region import InputRegion
from specdsl.evidence import settle
from specdsl.graph import ops
from specdsl.graph.composites.activations import softmax
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact
from specdsl.verdict import Falsified, Unknown, Verified

INPUTS, WIDTH, OUTPUTS = 3, 4, 2
# Points of a part at which its bounds are held against values.
POINTS = 2000


def products(builder: GraphBuilder, x: NodeId, y: NodeId) -> NodeId:
    """`x y`, and a product of that with a function of x."""
    first = builder.add(ops.Multiply(), x, y)
    return builder.add(ops.Multiply(), first, builder.add(ops.Tanh(), x))


def maxima(builder: GraphBuilder, x: NodeId, y: NodeId) -> NodeId:
    """The largest of each three neighbours, and y."""
    groups = np.stack([np.arange(i, i + 3) % WIDTH for i in range(WIDTH)])
    largest = builder.add(ops.GroupMax(groups), x)
    return builder.add(ops.Sum((1.0, -1.0)), largest, y)


def attention(builder: GraphBuilder, x: NodeId, y: NodeId) -> NodeId:
    """Weights by softmax, times what is weighted."""
    return builder.add(ops.Multiply(), softmax(builder, x, 0), y)


def quotients(builder: GraphBuilder, x: NodeId, y: NodeId) -> NodeId:
    """`y / (x^2 + 1/2)`."""
    square = builder.add(ops.Square(), x)
    below = builder.add(ops.Scale(np.ones(WIDTH), np.full(WIDTH, 0.5)), square)
    return builder.add(ops.Multiply(), builder.add(ops.Reciprocal(), below), y)


def picked(builder: GraphBuilder, x: NodeId, y: NodeId) -> NodeId:
    """A product of entries, moved and repeated, and a ReLU of some of them."""
    turned = builder.add(ops.Select(np.array([3, 1, 1, 0])), x)
    square = builder.add(ops.Reshape((2, 2)), y)
    moved = builder.add(ops.Reshape((WIDTH,)), builder.add(ops.Transpose((1, 0)), square))
    product = builder.add(ops.Multiply(), turned, moved)
    return builder.add(ops.Sum((1.0, 1.0)), product, builder.add(ops.Relu(), turned))


Body = Callable[[GraphBuilder, NodeId, NodeId], NodeId]
BODIES: tuple[Body, ...] = (products, maxima, attention, quotients, picked)
seeds = st.integers(0, 10**6)
bodies = st.sampled_from(BODIES)


def network(seed: int, body: Body) -> Graph:
    """A layer, the body on its value and on that of another, and a layer."""
    random = np.random.default_rng(seed)
    builder = GraphBuilder()
    node = builder.add(ops.Input((INPUTS,)))
    x, y = (
        builder.add(ops.Dense(random.normal(size=(WIDTH, INPUTS)), random.normal(size=WIDTH)), node)
        for _ in range(2)
    )
    found = body(builder, x, y)
    weight = random.normal(size=(OUTPUTS, WIDTH))
    return builder.build(builder.add(ops.Dense(weight, random.normal(size=OUTPUTS)), found))


def known_of(graph: Graph) -> Known:
    """The box from -1 to 1."""
    compiled = compile_graph(graph)
    one = torch.ones(1, INPUTS, dtype=torch.float64)
    region = InputRegion(Interval(-one, one))
    return Known.of(compiled, region, propagate(compiled, region).bounds)


def entry_values(known: Known, points: Tensor) -> Tensor:
    """The values of all entries that may be split: (points, entries)."""
    values, entries = node_values(known.compiled, points), known.entries
    parts = zip(entries.nodes, entries.columns, strict=True)
    return torch.cat([values[node].flatten(1)[:, columns] for node, columns in parts], 1)


def random_parts(known: Known, random: torch.Generator, count: int) -> Parts:
    """Five parts that cut the same entries, around the values of a point each."""
    total = known.entries.count
    numbers = torch.randperm(total, generator=random)[: min(count, total)].sort().values
    whole = known.entries.pick(known.bounds)
    low, high = (e[:, numbers].repeat(5, 1) for e in (whole.lower, whole.upper))
    at = low + torch.rand(low.shape, generator=random, dtype=low.dtype) * (high - low)
    below = torch.rand(low.shape, generator=random) < 0.4
    above = ~below & (torch.rand(low.shape, generator=random) < 0.6)
    return Parts(numbers, at.where(below, low), at.where(above, high), below, above)


@given(seeds, bodies)
@settings(max_examples=40, deadline=None)
def test_bounds_of_parts_hold_at_all_their_points(seed: int, body: Body) -> None:
    """Of margins, and of every node that a part narrows; whatever the multipliers."""
    known = known_of(network(seed, body))
    random = torch.Generator().manual_seed(seed)
    parts = random_parts(known, random, 3)
    rows = torch.randn(5, 2, OUTPUTS, generator=random, dtype=torch.float64)
    multipliers = torch.randn(5, 2, len(parts.numbers), generator=random, dtype=torch.float64)
    points = 2 * torch.rand(POINTS, INPUTS, generator=random, dtype=torch.float64) - 1
    with torch.no_grad():
        bounds = PartBounds(known, parts)
        found = bounds.rows(rows, {}, multipliers, steps=4)
        values = node_values(known.compiled, points)
        inner = entry_values(known, points)[:, parts.numbers]
    inside = ((inner[:, None] >= parts.lower) & (inner[:, None] <= parts.upper)).all(2)
    reached = torch.einsum("dro,po->pdr", rows, values[known.compiled.graph.output])
    reached = reached.where(inside[..., None], torch.inf).amin(0)
    assert bool((found.proven <= reached).all())
    for node, interval in bounds.bounds.items():
        value = values[node].flatten(1)[:, None]
        low, high = (e.flatten(1)[None] for e in (interval.lower, interval.upper))
        slack = 1e-9 * (1 + value.abs())
        holds = (value >= low - slack) & (value <= high + slack)
        assert bool((holds | ~inside[..., None]).all()), node


@given(seeds, bodies)
@settings(max_examples=40, deadline=None)
def test_halves_cover_a_part_and_are_narrower(seed: int, body: Body) -> None:
    known = known_of(network(seed, body))
    whole = known.entries.pick(known.bounds)
    numbers = torch.arange(known.entries.count)
    points = Cuts.of(known).points(numbers, whole.lower[0], whole.upper[0])
    assert bool(((whole.lower[0] < points) & (points < whole.upper[0])).all())


@given(seeds, bodies)
@settings(max_examples=40, deadline=None)
def test_no_bound_of_a_part_is_below_that_of_the_whole(seed: int, body: Body) -> None:
    """Multipliers of 0 leave what the whole says, or better: intervals only shrink."""
    known = known_of(network(seed, body))
    parts = random_parts(known, torch.Generator().manual_seed(seed), 2)
    found = PartBounds(known, parts).bounds
    for node, interval in found.items():
        assert bool((interval.lower >= known.bounds[node].lower).all())
        assert bool((interval.upper <= known.bounds[node].upper).all())


@pytest.mark.parametrize("body", BODIES)
def test_what_an_op_reads_is_split_where_it_comes_from(body: Body) -> None:
    """Readings name every entry that an op reads, by its value."""
    known = known_of(network(1, body))
    points = torch.zeros(1, INPUTS, dtype=torch.float64) + 0.3
    values, entries = node_values(known.compiled, points), entry_values(known, points)[0]
    assert known.readings
    for node, readings in known.readings.items():
        for reading in readings:
            operand = known.compiled.graph.operands(node)[reading.operand]
            read = reading.numbers >= 0
            assert torch.equal(values[operand].flatten()[read], entries[reading.numbers[read]])


def query(seed: int, body: Body, share: float) -> Query:
    """Is the first output at most what it is nearly everywhere? At `share` between the extremes of
    samples, the largest first.
    """
    graph = network(seed, body)
    compiled = compile_graph(graph)
    random = torch.Generator().manual_seed(seed)
    points = 2 * torch.rand(POINTS, INPUTS, generator=random, dtype=torch.float64) - 1
    first = node_values(compiled, points)[graph.output][:, 0]
    level = float(first.max() + share * (first.max() - first.min()))
    builder = GraphBuilder()
    nodes: dict[NodeId, NodeId] = {}
    for node, op, operands in graph:
        nodes[node] = builder.add(op, *(nodes[o] for o in operands), name=node)
    margin = ops.Dense(np.array([[-1.0, 0.0]]), np.array([level]))
    box = Box(exact([Fraction(-1)] * INPUTS), exact([Fraction(1)] * INPUTS))
    margins = builder.build(builder.add(margin, nodes[graph.output]))
    return Query("small", margins, (Case(box, (Atom(0),)),), (Variable.at("x", 0, (INPUTS,)),), ())


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("seed", range(2))
def test_answers_are_those_of_input_splitting(seed: int, body: Body) -> None:
    """What holds with room is proven, and what fails is not; points of parts refute most of it."""
    for share, wanted in ((0.5, Verified), (-0.05, Falsified)):
        asked = query(seed, body, share)
        by_inputs = Search(split="input").answer(asked, Deadline.after(10)).verdict
        assert isinstance(by_inputs, wanted)
        limit = 10 if wanted is Verified else 1
        found = settle(asked, Search(split="neuron").answer(asked, Deadline.after(limit))).verdict
        assert isinstance(found, wanted) or (wanted is Falsified and isinstance(found, Unknown))


@pytest.mark.parametrize("seed", range(4))
def test_answers_on_maxima_are_those_of_exact_milp(seed: int) -> None:
    for share in (0.05, -0.05):
        asked = query(seed, maxima, share)
        found = settle(asked, Search(split="neuron").answer(asked, Deadline.after(20))).verdict
        wanted = Milp().answer(asked, Deadline.after(20)).verdict
        assert not isinstance(wanted, Unknown)
        assert type(found) is type(wanted)
