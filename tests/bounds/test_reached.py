"""What the output does not depend on is not bounded backward, and nothing else is lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes.affordable import crown_pass
from specdsl.bounds.passes.crown import propagate
from specdsl.bounds.passes.forward import node_values
from specdsl.bounds.passes.reached import reached_entries
from specdsl.bounds.regions.region import InputRegion
from specdsl.bounds.rows.output_rows import backward_rows
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder


def detector(seed: int) -> Graph:
    """Convolutions, a residual sum and max-pooling, of whose grid one cell is read."""
    random = np.random.default_rng(seed)

    def conv(out: int, channels: int, stride: int = 1) -> ops.Conv:
        weight = random.normal(0, 0.4, size=(out, channels, 3, 3))
        # Two channels that cancel are read all the same.
        weight[:, 1] = -weight[:, 0]
        bias = random.normal(size=out) / 4
        pads = ((1, 1), (1, 1))
        return ops.Conv(weight, bias, (stride, stride), pads, (1, 1), 1)

    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 2, 20, 20)))
    first = builder.add(ops.Relu(), builder.add(conv(3, 2), x))
    second = builder.add(conv(3, 3), first)
    both = builder.add(ops.Relu(), builder.add(ops.Sum((1.0, 1.0)), first, second))
    places = np.arange(1200).reshape(3, 10, 2, 10, 2).transpose(0, 1, 3, 2, 4)
    places = places.reshape(1, 3, 10, 10, 4)
    pooled = builder.add(ops.GroupMax(places), both)
    last = builder.add(ops.Relu(), builder.add(conv(4, 3, 2), pooled))
    flat = builder.add(ops.Reshape((100,)), last)
    weight = np.zeros((2, 100))
    weight[:, [0, 26]] = random.normal(size=(2, 2))
    return builder.build(builder.add(ops.Dense(weight, np.zeros(2)), flat))


@pytest.mark.parametrize("seed", range(3))
def test_the_output_depends_on_nothing_else(seed: int) -> None:
    graph = detector(seed)
    compiled = compile_graph(graph)
    reached = reached_entries(compiled)
    assert not bool(reached[graph.input].all())
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(20, 800, generator=generator, dtype=torch.float64)
    others = torch.rand(20, 800, generator=generator, dtype=torch.float64)
    moved = points.where(reached[graph.input].flatten(), others)
    assert bool((moved != points).any())
    values = [node_values(compiled, each) for each in (points, moved)]
    for node, entries in reached.items():
        one, other = (value[node][:, entries] for value in values)
        assert torch.allclose(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_bounds_that_the_output_needs_are_the_same_as_with_all(seed: int) -> None:
    graph = detector(seed)
    compiled = compile_graph(graph)
    center = torch.rand(1, 800, generator=torch.Generator().manual_seed(seed)).double()
    region = InputRegion(Interval(center - 0.05, center + 0.05))
    reached = reached_entries(compiled)
    some, everything = (crown_pass(compiled, region, everywhere=e) for e in (False, True))
    intervals = propagate(compiled, region, tighten=False).bounds
    left_out = 0
    for node in compiled.sources:
        mask = reached[node][None]
        assert torch.allclose(some.bounds[node].lower[mask], everything.bounds[node].lower[mask])
        assert torch.allclose(some.bounds[node].upper[mask], everything.bounds[node].upper[mask])
        looser = some.bounds[node].lower < everything.bounds[node].lower - 1e-9
        left_out += int(looser.sum())
        assert not bool((looser & mask).any())
        assert bool((some.bounds[node].lower >= intervals[node].lower - 1e-9).all())
    assert left_out > 0
    rows = torch.eye(2, dtype=torch.float64)[None]
    one, other = (backward_rows(compiled, rows, region, each) for each in (some, everything))
    assert torch.allclose(one, other, rtol=0, atol=1e-12)
