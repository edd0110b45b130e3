"""Sums of few entries, bounded by functions of those: sound, and no wider than entries alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import FOREVER
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes import combined
from specdsl.bounds.passes.affordable import crown_pass
from specdsl.bounds.passes.combined import combination_of, combined_ends
from specdsl.bounds.passes.crown import entry_ends, propagate
from specdsl.bounds.passes.forward import node_values
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from specdsl.graph.composites.activations import softmax
from specdsl.graph.graph import GraphBuilder, NodeId

INPUTS, SCORES, POINTS = 4, 5, 500


def network(seed: int, *, hidden: bool) -> CompiledGraph:
    """Softmax of a layer, behind a hidden layer or not, and a product with its scores."""
    random = np.random.default_rng(seed)
    builder = GraphBuilder()
    node = builder.add(ops.Input((INPUTS,)))
    if hidden:
        weight = random.normal(size=(6, INPUTS))
        node = builder.add(ops.Tanh(), builder.add(ops.Dense(weight, random.normal(size=6)), node))
    weight = random.normal(size=(SCORES, builder.shape(node)[0]))
    scores = builder.add(ops.Dense(weight, random.normal(size=SCORES)), node)
    weights = softmax(builder, scores, 0)
    return compile_graph(builder.build(builder.add(ops.Multiply(), weights, scores)))


def differences(compiled: CompiledGraph) -> NodeId:
    """The node that holds the scores' differences."""
    (node,) = (n for n, op, _ in compiled.graph if isinstance(op, ops.Sum))
    return node


def box() -> InputRegion:
    one = torch.ones(2, INPUTS, dtype=torch.float64)
    return InputRegion(Interval(-one, torch.stack([one[0], 0.1 * one[1]])))


def sampled(compiled: CompiledGraph, region: InputRegion, index: int) -> dict[NodeId, torch.Tensor]:
    random = torch.Generator().manual_seed(index)
    low, high = region.box.lower[index], region.box.upper[index]
    points = low + torch.rand(POINTS, INPUTS, generator=random, dtype=low.dtype) * (high - low)
    return node_values(compiled, points)


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=30, deadline=None)
def test_bounds_of_sums_hold_everywhere(seed: int, hidden: bool) -> None:
    compiled, region = network(seed, hidden=hidden), box()
    node = differences(compiled)
    sums = combination_of(compiled, node)
    assert sums is not None
    with torch.no_grad():
        found = propagate(compiled, region)
        wanted = torch.arange(1, compiled.graph.size(node), 2)
        ends = combined_ends(compiled, sums, wanted, region, found.relaxations, FOREVER)
    for index in range(2):
        values = sampled(compiled, region, index)[node].flatten(1)[:, wanted]
        assert bool((ends.lower[index] <= values).all())
        assert bool((values <= ends.upper[index]).all())


@pytest.mark.parametrize("seed", range(5))
def test_what_affine_layers_have_in_common_cancels(seed: int) -> None:
    """Behind affine layers alone, bounds are those of rows that walk back for every difference."""
    compiled, region = network(seed, hidden=False), box()
    node = differences(compiled)
    sums = combination_of(compiled, node)
    assert sums is not None
    found = propagate(compiled, region)
    wanted = torch.arange(compiled.graph.size(node))
    ours = combined_ends(compiled, sums, wanted, region, found.relaxations, FOREVER)
    rows = entry_ends(compiled, node, wanted, region, found.relaxations)
    assert torch.allclose(ours.lower, rows.lower, atol=1e-9)
    assert torch.allclose(ours.upper, rows.upper, atol=1e-9)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_pass_that_takes_them_is_sound(hidden: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every node's bounds hold where the sums of a small network are taken this way as well."""
    monkeypatch.setattr(combined, "MANY", 1)
    monkeypatch.setattr(combined, "WORTHWHILE", 2)
    compiled, region = network(7, hidden=hidden), box()
    with torch.no_grad():
        bounds = crown_pass(compiled, region).bounds
    for index in range(2):
        values = sampled(compiled, region, index)
        for node, value in values.items():
            low, high = bounds[node].lower, bounds[node].upper
            at = min(index, len(low) - 1)
            assert bool((low[at] - 1e-9 <= value).all()), node
            assert bool((value <= high[at] + 1e-9).all()), node


def test_other_nodes_are_no_such_sums() -> None:
    compiled = network(1, hidden=True)
    found = [n for n in compiled.graph.order if combination_of(compiled, n) is not None]
    assert found == [differences(compiled)]


@pytest.mark.parametrize("seed", range(5))
def test_intervals_of_smooth_ops_are_as_tight_as_rows(seed: int) -> None:
    """What `crown_pass` leaves to intervals is no wider than what rows say."""
    compiled, region = network(seed, hidden=True), box()
    with torch.no_grad():
        found = crown_pass(compiled, region)
        for node in compiled.sources:
            if isinstance(compiled.graph.op(node), ops.Smooth):
                wanted = torch.arange(compiled.graph.size(node))
                rows = entry_ends(compiled, node, wanted, region, found.relaxations)
                lower, upper = (
                    e.flatten(1) for e in (found.bounds[node].lower, found.bounds[node].upper)
                )
                assert bool((lower >= rows.lower - 1e-9).all())
                assert bool((upper <= rows.upper + 1e-9).all())
