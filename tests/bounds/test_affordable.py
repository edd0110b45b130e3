"""CROWN with forward bounds first, where few inputs vary."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes import affordable
from specdsl.bounds.passes.affordable import crown_pass
from specdsl.bounds.passes.crown import propagate, unstable_in
from specdsl.bounds.passes.forward_linear import forward_bounds
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, GraphBuilder


def generator(seed: int, inputs: int = 3, width: int = 60) -> Graph:
    """A network much wider than its input."""
    random = np.random.default_rng(seed)
    builder = GraphBuilder()
    node, last = builder.add(ops.Input((inputs,))), inputs
    for _ in range(3):
        weight = random.normal(0, last**-0.5, size=(width, last))
        node = builder.add(ops.Dense(weight, random.normal(size=width) / 4), node)
        node, last = builder.add(ops.Relu(), node), width
    return builder.build(builder.add(ops.Dense(random.normal(size=(2, last)), np.zeros(2)), node))


def box(seed: int, inputs: int, radius: float) -> InputRegion:
    center = np.random.default_rng(seed).normal(size=(1, inputs))
    return InputRegion(Interval(*(torch.as_tensor(center + r) for r in (-radius, radius))))


@pytest.mark.parametrize("seed", range(5))
def test_bounds_are_within_those_of_both_and_hold(seed: int) -> None:
    graph, region = generator(seed), box(seed, 3, 0.2)
    compiled = compile_graph(graph)
    found = crown_pass(compiled, region).bounds
    forward, crown = forward_bounds(compiled, region).bounds, propagate(compiled, region).bounds
    share = np.random.default_rng(1).uniform(-1, 1, size=(500, 3))
    values = evaluate(graph, {graph.input: region.box.center.numpy() + 0.2 * share})
    first = compiled.pre_activations[0]
    assert torch.allclose(found[first].lower, crown[first].lower, rtol=0, atol=1e-12)
    for node in compiled.pre_activations:
        assert bool((found[node].lower >= forward[node].lower - 1e-12).all())
        assert (found[node].lower.numpy() <= values[node] + 1e-9).all()
        assert (values[node] <= found[node].upper.numpy() + 1e-9).all()


def test_forward_bounds_are_taken_only_where_they_are_cheap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []

    def noted(compiled: object, region: InputRegion) -> object:
        taken.append(region.box.lower.shape[1])
        return forward_bounds(compiled, region)  # type: ignore[arg-type]

    monkeypatch.setattr(affordable, "forward_bounds", noted)
    crown_pass(compile_graph(generator(0)), box(0, 3, 0.2))
    crown_pass(compile_graph(generator(0, inputs=40)), box(0, 40, 0.2))
    assert taken == [3]


def test_layers_that_are_too_large_keep_the_bounds_they_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph, region = generator(2, inputs=40), box(2, 40, 0.05)
    compiled = compile_graph(graph)
    intervals = propagate(compiled, region, tighten=False).bounds
    second = compiled.pre_activations[1]
    usual = crown_pass(compiled, region)
    assert bool((usual.bounds[second].lower > intervals[second].lower).any())
    assert not usual.coarse
    monkeypatch.setattr(affordable, "MAX_UNSTABLE", 0)
    found = crown_pass(compiled, region)
    kept = found.bounds
    assert all(torch.equal(kept[n].lower, intervals[n].lower) for n in compiled.pre_activations)
    # The first layer is as tight as can be; of the others, those that ReLUs read are named.
    later = compiled.pre_activations[1:]
    assert found.coarse == {
        node: int(unstable_in(compiled, node, intervals[node]).sum()) for node in later
    }
