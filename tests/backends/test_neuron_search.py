"""What search over inner values may rely on: bounds of parts are sound, answers are right."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor

from specdsl.backend import Deadline, Unsupported
from specdsl.backends.milp import Milp
from specdsl.backends.search import Search
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.parts.beta_crown import PartBounds
from specdsl.bounds.parts.known import Known, Parts
from specdsl.bounds.passes.affordable import alpha_pass, crown_pass
from specdsl.bounds.passes.crown import propagate
from specdsl.bounds.passes.forward import node_values
from specdsl.bounds.regions.region import InputRegion
from specdsl.evidence import settle
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, Norm, exact, norm_ball
from specdsl.verdict import Falsified, Unknown, Verified

seeds = st.integers(0, 10**6)
ACTIVATIONS = (ops.Relu(), ops.LeakyRelu(0.1), ops.Sigmoid(), ops.Tanh(), ops.Clip(-1.0, 1.0))
INPUTS = 4


def network(seed: int, activation: ops.Op, outputs: int = 3, *, skip: bool = False) -> Graph:
    """Two hidden layers; with `skip` the first is added to the second."""
    random = np.random.default_rng(seed)
    builder = GraphBuilder()
    node = builder.add(ops.Input((INPUTS,)))
    hidden: list[str] = []
    for width in (6, 6):
        weight = 1.5 * random.normal(size=(width, builder.shape(node)[0]))
        node = builder.add(ops.Dense(weight, random.normal(size=width)), node)
        node = builder.add(activation, node)
        hidden.append(node)
    if skip:
        node = builder.add(ops.Sum((1.0, 1.0)), *hidden)
    weight = random.normal(size=(outputs, 6))
    return builder.build(builder.add(ops.Dense(weight, random.normal(size=outputs)), node))


def known_of(compiled: CompiledGraph) -> Known:
    """The box from -1 to 1."""
    one = torch.ones(1, INPUTS, dtype=torch.float64)
    region = InputRegion(Interval(-one, one))
    bounds = propagate(compiled, region).bounds
    return Known.of(compiled, region, bounds)


def picked(known: Known, points: Tensor) -> Tensor:
    """The values of all entries that may be split: (points, entries)."""
    values = node_values(known.compiled, points)
    entries = known.entries
    parts = zip(entries.nodes, entries.columns, strict=True)
    return torch.cat([values[node].flatten(1)[:, columns] for node, columns in parts], 1)


def jacobian(function: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    """(values, inputs) at one point."""
    point = point.clone().requires_grad_()
    values = function(point)[0]
    return torch.stack([torch.autograd.grad(v, point, retain_graph=True)[0][0] for v in values])


@given(seeds, st.sampled_from(ACTIVATIONS), st.booleans())
@settings(max_examples=30, deadline=None)
def test_bounds_of_parts_hold_at_all_their_points(seed: int, op: ops.Op, skip: bool) -> None:
    compiled = compile_graph(network(seed, op, skip=skip))
    known = known_of(compiled)
    entries = known.entries.pick(known.bounds)
    random = torch.Generator().manual_seed(seed)
    count = min(4, known.entries.count)
    if count == 0:
        return
    numbers = torch.randperm(known.entries.count, generator=random)[:count].sort().values
    low, high = (e[:, numbers].repeat(5, 1) for e in (entries.lower, entries.upper))
    at = low + torch.rand(5, count, generator=random, dtype=low.dtype) * (high - low)
    below = torch.rand(5, count, generator=random) < 0.4
    above = ~below & (torch.rand(5, count, generator=random) < 0.6)
    parts = Parts(numbers, at.where(below, low), at.where(above, high), below, above)
    rows = torch.randn(5, 2, 3, generator=random, dtype=low.dtype)
    multipliers = torch.randn(5, 2, count, generator=random, dtype=low.dtype)
    with torch.no_grad():
        found = PartBounds(known, parts).rows(rows, {}, multipliers, steps=4)
        points = 2 * torch.rand(2000, INPUTS, generator=random, dtype=low.dtype) - 1
        values = node_values(compiled, points)
        inner = picked(known, points)[:, numbers]
    inside = ((inner[:, None] >= parts.lower) & (inner[:, None] <= parts.upper)).all(2)
    outputs = values[compiled.graph.output]
    reached = torch.einsum("dro,po->pdr", rows, outputs)
    reached = reached.where(inside[..., None], torch.inf).amin(0)
    assert bool((found.proven <= reached).all())


def test_multipliers_reach_the_optimum_where_every_piece_is_known() -> None:
    """On a fully split part the program is linear: sampling comes near the bound."""
    compiled = compile_graph(network(3, ops.Relu()))
    known = known_of(compiled)
    entries = known.entries.pick(known.bounds)
    point = torch.tensor([[0.3, -0.2, 0.5, 0.1]], dtype=torch.float64)
    with torch.no_grad():
        own = picked(known, point)
    below, above = own >= 0, own < 0
    parts = Parts(
        torch.arange(known.entries.count),
        entries.lower.masked_fill(below, 0.0),
        entries.upper.masked_fill(above, 0.0),
        below,
        above,
    )
    rows = torch.eye(3, dtype=torch.float64)[None]
    zero = rows.new_zeros(1, 3, known.entries.count)
    bounds = PartBounds(known, parts)
    first = bounds.rows(rows, {}, zero).linear.lower
    found = bounds.rows(rows, {}, zero, steps=150)
    # Steps become smaller: where multipliers are large, it takes several ascents.
    for _ in range(5):
        found = bounds.rows(rows, found.places, found.multipliers, steps=150)
    last = found.linear.lower
    inner = jacobian(lambda x: picked(known, x), point)
    outputs = jacobian(lambda x: node_values(compiled, x)[compiled.graph.output], point)
    signs = torch.where(below[0], -1.0, 1.0).double()
    offset = own[0] - inner @ point[0]
    value = node_values(compiled, point)[compiled.graph.output][0] - outputs @ point[0]
    for row in range(3):
        solved = linprog(
            outputs[row].numpy(),
            A_ub=(signs[:, None] * inner).numpy(),
            b_ub=(-signs * offset).numpy(),
            bounds=[(-1, 1)] * INPUTS,
        )
        least = solved.fun + float(value[row])
        assert float(last[0, row]) <= least + 1e-9
        assert least - float(last[0, row]) <= 0.02 * max(1e-3, least - float(first[0, row]))


def query(seed: int, op: ops.Op, ball: Norm | None = None) -> Query:
    """Three margins: one case of one atom, one of two."""
    box = Box(exact([Fraction(-1)] * INPUTS), exact([Fraction(1)] * INPUTS))
    inputs = box if ball is None else norm_ball(exact([Fraction(0)] * INPUTS), Fraction(1, 8), ball)
    cases = (Case(inputs, (Atom(0),)), Case(inputs, (Atom(1), Atom(2, strict=True))))
    variables = (Variable.at("x", 0, (INPUTS,)),)
    return Query("small", network(seed, op), cases, variables, ())


@pytest.mark.parametrize("seed", range(12))
def test_answers_are_those_of_exact_milp(seed: int) -> None:
    asked = query(seed, ops.Relu())
    found = settle(asked, Search(split="neuron").answer(asked, Deadline.after(90))).verdict
    wanted = Milp().answer(asked, Deadline.after(90)).verdict
    assert not isinstance(wanted, Unknown)
    assert type(found) is type(wanted)


@pytest.mark.parametrize("op", [ops.Sigmoid(), ops.Tanh(), ops.LeakyRelu(0.2)], ids=repr)
@pytest.mark.parametrize("seed", range(4))
def test_answers_are_those_of_input_splitting(seed: int, op: ops.Op) -> None:
    asked = query(seed, op)
    found = Search(split="neuron").answer(asked, Deadline.after(10)).verdict
    wanted = Search(split="input").answer(asked, Deadline.after(10)).verdict
    if isinstance(found, Unknown):
        assert not found.timeout or isinstance(wanted, Verified | Falsified)
    else:
        assert type(found) is type(wanted)


@pytest.mark.parametrize("ball", ["l1", "l2"])
def test_balls_are_taken(ball: Norm) -> None:
    kinds: set[type] = set()
    for seed in (0, 1, 2, 3, 5, 6, 7, 11, 14):
        asked = query(seed, ops.Relu(), ball)
        found = settle(asked, Search(split="neuron").answer(asked, Deadline.after(20))).verdict
        wanted = Search(split="input").answer(asked, Deadline.after(20)).verdict
        if not isinstance(found, Unknown):
            assert type(found) is type(wanted)
            kinds.add(type(found))
    assert kinds == {Verified, Falsified}


def test_both_ways_take_turns() -> None:
    """With more inputs than boxes like, and fewer than they cannot do."""
    random = np.random.default_rng(0)
    builder = GraphBuilder()
    node = builder.add(ops.Input((20,)))
    for width in (8, 1):
        weight = random.normal(size=(width, builder.shape(node)[0]))
        node = builder.add(ops.Dense(weight, random.normal(size=width)), node)
        node = builder.add(ops.Relu(), node) if width > 1 else node
    box = Box(exact([Fraction(-1, 10)] * 20), exact([Fraction(1, 10)] * 20))
    asked = Query(
        "wide", builder.build(node), (Case(box, (Atom(0),)),), (Variable.at("x", 0, (20,)),), ()
    )
    auto, alone = (s.answer(asked, Deadline.after(20)) for s in (Search(), Search(split="neuron")))
    assert type(auto.verdict) is type(alone.verdict)
    assert not isinstance(auto.verdict, Unknown)


def test_two_runs_are_alike() -> None:
    asked = query(5, ops.Relu())
    first, second = (Search(split="neuron").answer(asked, Deadline.after(20)) for _ in range(2))
    assert first.statistics == second.statistics
    assert type(first.verdict) is type(second.verdict)


def test_jumps_are_refused() -> None:
    asked = query(0, ops.Sign())
    with pytest.raises(Unsupported, match="jumps"):
        Search(split="neuron").answer(asked, Deadline.after(5))


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ValueError, match="auto, input, neuron"):
        Search(split="output")  # pyright: ignore[reportArgumentType]


def test_layers_that_were_not_raised_in_time_are_told() -> None:
    compiled = compile_graph(network(2, ops.Relu()))
    region = known_of(compiled).region
    with torch.no_grad():
        late = alpha_pass(compiled, region, until=Deadline.after(0))
        whole = alpha_pass(compiled, region)
        crown = crown_pass(compiled, region)
    assert late.unraised
    assert not whole.unraised
    for node in compiled.pre_activations:
        assert torch.equal(late.bounds[node].lower, crown.bounds[node].lower)


def test_a_search_without_time_says_what_is_open() -> None:
    verdict = Search(split="neuron").answer(query(0, ops.Relu()), Deadline.after(0)).verdict
    assert isinstance(verdict, Unknown)
    assert verdict.timeout
    assert "2 domains open" in verdict.reason


def test_a_case_without_atoms_has_any_point_of_its_inputs() -> None:
    graph = network(0, ops.Relu())
    box = Box(exact([-1] * INPUTS), exact([1] * INPUTS))
    far = (Atom(0), Atom(1), Atom(2))
    for cases in ((Case(box, ()),), (Case(box, far), Case(box, ()))):
        query = Query("random", graph, cases, (Variable.at("x", 0, (INPUTS,)),), ())
        answer = settle(query, Search(split="neuron").answer(query, Deadline.after(None)))
        assert isinstance(answer.verdict, Falsified), answer.verdict
