"""Boxes bounded by what is left of the graph: nothing that a point of a box does is lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import Deadline
from specdsl.backends.milp import Milp
from specdsl.backends.prepared import Prepared
from specdsl.backends.search import Search
from specdsl.backends.search.inputs import bounding
from specdsl.backends.search.inputs.bounding import Bounder
from specdsl.backends.search.options import SearchOptions
from specdsl.backends.search.problem import Problem
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes.forward import node_values
from specdsl.bounds.passes.reduced import CURVED, LEFT, OPEN, RIGHT, Neurons, with_bounds
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact
from specdsl.verdict import Falsified, Verified

INPUTS = 3
BOXES, POINTS = 5, 40

# What decides how boxes are bounded, small enough that small networks take every way.
WAYS: dict[str, dict[str, int]] = {
    "reduced": {},
    "forward first": {"FEW_OPEN": 0},
    "taken apart": {"FEW_OPEN": 0, "MOST_OPEN": 8},
    "margins alone": {"FEW_OPEN": 0, "MOST_OPEN": 0},
    "as it is": {"FEW_OPEN": 0, "MOST_OPEN": 0, "MAX_FORWARD": 0, "LEAST_BATCH": 1},
}
ways = pytest.mark.parametrize("way", list(WAYS))


def branching_graph(seed: int) -> Graph:
    """Two hidden layers, leaky or curved now and then, and a way round the second."""
    random = np.random.default_rng(seed)
    builder = GraphBuilder()
    given_input = builder.add(ops.Input((INPUTS,)))
    first = builder.add(_dense(random, 7, INPUTS), given_input)
    first = builder.add(ops.Relu(), first)
    bent = builder.add(_dense(random, 6, 7), first)
    bent = builder.add((ops.Relu(), ops.LeakyRelu(0.1), ops.Tanh())[seed % 3], bent)
    both = builder.add(
        ops.Sum((1.0, -1.0)),
        builder.add(_dense(random, 6, 6), bent),
        builder.add(_dense(random, 6, 7), first),
    )
    last = builder.add(ops.Relu(), both)
    return builder.build(builder.add(_dense(random, 2, 6), last))


def _dense(random: np.random.Generator, rows: int, columns: int) -> ops.Dense:
    return ops.Dense(random.normal(size=(rows, columns)), random.normal(size=rows))


def query_of(graph: Graph, offset: float) -> Query:
    """Both outputs at or below `-offset`, on the unit box with one input fixed."""
    builder = GraphBuilder()
    images: dict[NodeId, NodeId] = {}
    for node, op, operands in graph:
        images[node] = builder.add(op, *(images[o] for o in operands), name=node)
    shifted = builder.add(ops.Scale(np.ones(2), np.full(2, offset)), images[graph.output])
    box = Box(exact([-1, -1, 0]), exact([1, 1, 0]))
    case = Case(box, (Atom(0), Atom(1, strict=True)))
    return Query("small", builder.build(shifted), (case,), (Variable.at("x", 0, (INPUTS,)),), ())


def random_boxes(seed: int, inside: Interval) -> Interval:
    """Some boxes in one box."""
    generator = torch.Generator().manual_seed(seed)
    shape = (BOXES, inside.lower.shape[1])
    ends = [torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2)]
    width = inside.upper - inside.lower
    return Interval(
        inside.lower + torch.minimum(*ends) * width, inside.lower + torch.maximum(*ends) * width
    )


@ways
@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_no_point_lies_below_the_bounds_or_on_another_piece(way: str, seed: int) -> None:
    """On boxes and on parts of them, which inherit what was found."""
    query = query_of(branching_graph(seed), 0.0)
    prepared = Prepared(query)
    (group,), compiled = prepared.groups, prepared.compiled
    root = input_region(group.inputs, compiled.like)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in WAYS[way].items():
            patch.setattr(bounding, name, value)
        bounder = Bounder(Problem(prepared, group, 0.0, SearchOptions(batch=BOXES)), root)
        codes, outer = bounder.no_codes(BOXES), Interval(*_repeated(root.box))
        for depth in range(3):
            boxes = random_boxes(seed + depth, outer)
            found = bounder.bound(InputRegion(boxes), codes, Deadline.after(None))
            _check(compiled, boxes, found)
            codes, outer = found.codes, boxes


def _repeated(box: Interval) -> tuple[torch.Tensor, torch.Tensor]:
    return box.lower.expand(BOXES, -1), box.upper.expand(BOXES, -1)


def _check(compiled: CompiledGraph, boxes: Interval, found: bounding.BoxBounds) -> None:
    generator = torch.Generator().manual_seed(0)
    neurons = Neurons.of(compiled)
    assert neurons is not None
    for position in range(BOXES):
        lower, upper = boxes.lower[position], boxes.upper[position]
        unit = torch.rand(POINTS, INPUTS, generator=generator, dtype=torch.float64)
        points = torch.cat([lower + unit * (upper - lower), lower[None], upper[None]])
        values = node_values(compiled, points)
        margins = values[compiled.graph.output]
        linear = found.margins.linear
        lines = points @ linear.coefficients[position].T + linear.constant[position]
        assert bool((lines <= margins + 1e-9).all())
        assert bool((found.margins.proven[position] <= margins).all())
        for node, start in neurons.starts.items():
            argument = values[compiled.graph.operands(node)[0]]
            codes = found.codes[position, start : start + argument.shape[1]]
            assert bool((argument[:, codes == RIGHT] >= -1e-9).all())
            assert bool((argument[:, codes == LEFT] <= 1e-9).all())
            curved = isinstance(compiled.graph.op(node), ops.Smooth)
            assert bool(((codes == CURVED) == curved).all())


def test_parts_of_a_box_have_no_more_open_neurons() -> None:
    """Codes are inherited, whatever bounds say."""
    query = query_of(branching_graph(3), 0.0)
    prepared = Prepared(query)
    (group,), compiled = prepared.groups, prepared.compiled
    root = input_region(group.inputs, compiled.like)
    bounder = Bounder(Problem(prepared, group, 0.0, SearchOptions(batch=BOXES)), root)
    boxes = random_boxes(1, Interval(*_repeated(root.box)))
    codes = bounder.bound(InputRegion(boxes), bounder.no_codes(BOXES), Deadline.after(None)).codes
    parts = random_boxes(2, boxes)
    found = bounder.bound(InputRegion(parts), codes, Deadline.after(None)).codes
    assert bool((found == codes)[codes != OPEN].all())
    assert int((found == OPEN).sum()) < int((codes == OPEN).sum())


@pytest.mark.parametrize("way", ["forward first", "margins alone", "as it is"])
@pytest.mark.parametrize("seed", range(4))
def test_boxes_know_what_crown_says_of_the_whole_set(
    way: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has stable is open on no box."""
    for name, value in WAYS[way].items():
        monkeypatch.setattr(bounding, name, value)
    prepared = Prepared(query_of(branching_graph(seed), 0.0))
    (group,), compiled = prepared.groups, prepared.compiled
    root = input_region(group.inputs, compiled.like)
    bounder = Bounder(Problem(prepared, group, 0.0, SearchOptions(batch=BOXES)), root)
    neurons = bounder.neurons
    assert neurons is not None
    whole = prepared.crown(group, Deadline.after(None))
    stable = with_bounds(compiled, neurons, neurons.blank[None], whole.bounds)
    boxes = Interval(*_repeated(root.box))
    found = bounder.bound(InputRegion(boxes), bounder.no_codes(BOXES), Deadline.after(None))
    assert bool((found.codes == stable)[(stable != OPEN).expand(BOXES, -1)].all())
    assert bool((stable != OPEN).any())


@ways
@pytest.mark.parametrize("seed", range(0, 24, 3))
def test_search_and_milp_decide_alike(way: str, seed: int) -> None:
    """Where the worst margin is well away from 0, on either side."""
    graph = branching_graph(seed)
    for offset in (-4.0, 1.0, 12.0):
        query = query_of(graph, offset)
        expected = Milp().answer(query, Deadline.after(30)).verdict
        with pytest.MonkeyPatch.context() as patch:
            for name, value in WAYS[way].items():
                patch.setattr(bounding, name, value)
            found = Search(split="input").answer(query, Deadline.after(30)).verdict
        assert isinstance(found, Verified | Falsified)
        assert type(found) is type(expected)


@pytest.mark.parametrize("seed", range(6))
def test_whole_batches_and_single_boxes_verify_alike(seed: int) -> None:
    """The union of what is open in a batch may be looser, but never wrong."""
    query = query_of(branching_graph(seed), 2.0)
    answers = [
        Search(split="input", batch=batch).answer(query, Deadline.after(30)).verdict
        for batch in (1, 64)
    ]
    assert len({type(answer) for answer in answers}) == 1
