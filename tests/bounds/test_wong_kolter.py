"""The dual of Wong and Kolter: sound, Fast-Lin by another way, refuses what is no chain."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import Unsupported
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.passes.wong_kolter import dual_bounds, dual_lower
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.ops import as_float


def chain(seed: int, sizes: tuple[int, ...]) -> Graph:
    """A fully connected network with random weights."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder()
    node = builder.add(ops.Input((1, sizes[0])))
    for index, (inside, outside) in enumerate(pairwise(sizes)):
        if index:
            node = builder.add(ops.Relu(), node)
        dense = ops.Dense(rng.normal(size=(outside, inside)), rng.normal(size=outside))
        node = builder.add(dense, node)
    return builder.build(node)


def boxes(seed: int, count: int, inputs: int) -> InputRegion:
    rng = np.random.default_rng(seed)
    center = rng.normal(size=(count, inputs))
    radius = rng.uniform(0, 0.5, size=(count, inputs))
    return InputRegion(Interval(torch.as_tensor(center - radius), torch.as_tensor(center + radius)))


def fast_lin(graph: Graph, region: InputRegion) -> list[np.ndarray]:
    """Bounds of every pre-activation and of the output of a fully connected network, written out
    as linear functions of the input with numpy: both ReLU lines have the slope u / (u - l).
    """
    denses = [
        (as_float(op.weight), as_float(op.bias)) for _, op, _ in graph if isinstance(op, ops.Dense)
    ]
    low, high = region.box.lower[0].numpy(), region.box.upper[0].numpy()
    center, radius = (low + high) / 2, (high - low) / 2
    found: list[np.ndarray] = []
    for last in range(len(denses)):
        ends = []
        for sign in (1.0, -1.0):
            a, constant = sign * denses[last][0], sign * denses[last][1]
            for i in reversed(range(last)):
                on, off = np.maximum(found[i][1], 0), np.minimum(found[i][0], 0)
                slope = on / (on - off)
                constant = constant - np.minimum(a, 0) @ (slope * off)
                a = a * slope
                constant, a = constant + a @ denses[i][1], a @ denses[i][0]
            ends.append(sign * (a @ center - np.abs(a) @ radius + constant))
        found.append(np.stack(ends))
    return found


@given(st.integers(0, 2**16))
@settings(deadline=None, max_examples=40)
def test_it_is_fast_lin(seed: int) -> None:
    graph = chain(seed, (3, 6, 5, 2))
    compiled, region = compile_graph(graph), boxes(seed, 1, 3)
    found = dual_bounds(compiled, region)
    nodes = [n for n, op, _ in graph if isinstance(op, ops.Dense)]
    for node, (lower, upper) in zip(nodes, fast_lin(graph, region), strict=True):
        assert np.allclose(found[node].lower[0, 0], lower, rtol=0, atol=1e-9)
        assert np.allclose(found[node].upper[0, 0], upper, rtol=0, atol=1e-9)


@given(st.integers(0, 2**16))
@settings(deadline=None, max_examples=40)
def test_points_lie_inside(seed: int) -> None:
    graph = chain(seed, (4, 8, 8, 3))
    compiled, region = compile_graph(graph), boxes(seed, 3, 4)
    bounds = dual_bounds(compiled, region)
    rows = torch.as_tensor(np.random.default_rng(seed).normal(size=(1, 2, 1, 3)))
    lower = dual_lower(compiled, rows, region, bounds)
    box = region.box
    for share in torch.rand(20, 3, 4, dtype=torch.float64, generator=torch.manual_seed(seed)):
        value = evaluate(compiled, box.lower + share * (box.upper - box.lower))
        assert (value >= bounds[graph.output].lower[:, 0] - 1e-9).all()
        assert (value <= bounds[graph.output].upper[:, 0] + 1e-9).all()
        assert ((value[:, None] * rows[:, :, 0]).sum(2) >= lower - 1e-9).all()


def test_the_toys_of_one_relu() -> None:
    """Zhu et al. 2020, arXiv:2002.09766: on x in [-1, 2], 3 - relu(x) is bounded exactly by 1,
    3 + relu(x) by 7/3 where its least value is 3.
    """
    for sign, expected in ((-1.0, 1.0), (1.0, 7 / 3)):
        builder = GraphBuilder()
        x = builder.add(ops.Input((1, 1)))
        y = builder.add(ops.Relu(), x)
        graph = builder.build(builder.add(ops.Dense(np.array([[sign]]), np.array([3.0])), y))
        region = InputRegion(
            Interval(torch.tensor([[-1.0]]).double(), torch.tensor([[2.0]]).double())
        )
        found = dual_bounds(compile_graph(graph), region)[graph.output]
        assert found.lower.item() == pytest.approx(expected)


def test_other_graphs_are_refused_by_name() -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 2)))
    y = builder.add(ops.Abs(), x, name="folded")
    compiled: CompiledGraph = compile_graph(builder.build(y))
    region = boxes(0, 1, 2)
    with pytest.raises(Unsupported, match=r"`folded` \(Abs\)"):
        dual_bounds(compiled, region)
