"""Ten million values of neurons, none outside its bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.methods import METHODS
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import Graph, GraphBuilder

VALUES = 10**7
POINTS = 2000
# Of values of a few units, through some hundred sums.
ROUNDING = 1e-9
ACTIVATIONS: list[ops.Op] = [ops.Relu(), ops.LeakyRelu(0.1), ops.Tanh(), ops.Gelu(), ops.Abs()]


def network(random: np.random.Generator) -> Graph:
    """Convolution, maxima and dense layers, each with another activation."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 2, 8, 8)))
    kinds = random.permutation(len(ACTIVATIONS))
    kernel = random.normal(0, 0.4, size=(6, 2, 3, 3))
    conv = ops.Conv(kernel, random.normal(size=6), (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    node = builder.add(ACTIVATIONS[kinds[0]], builder.add(conv, x))
    node = builder.add(ops.Reshape((1, 384)), node)
    last = 384
    for kind in kinds[1:4]:
        weight = random.normal(0, last**-0.5, size=(96, last))
        node = builder.add(ops.Dense(weight, random.normal(size=96)), node)
        node, last = builder.add(ACTIVATIONS[kind], node), 96
    return builder.build(node)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_ten_million_values_lie_inside_their_bounds(method: str) -> None:
    random = np.random.default_rng(0)
    seen = 0
    while seen < VALUES:
        graph = network(random)
        compiled = compile_graph(graph)
        center, radius = random.normal(size=(1, 128)), random.choice([0.01, 0.1, 0.5])
        box = Interval(*(torch.as_tensor(center + side * radius) for side in (-1, 1)))
        with torch.no_grad():
            bounds = METHODS[method].inside(compiled, InputRegion(box))
        share = random.uniform(-1, 1, size=(POINTS, 128))
        share[: POINTS // 2] = np.sign(share[: POINTS // 2])
        points = (center + radius * share).reshape(POINTS, *graph.shapes[graph.input])
        values = evaluate(graph, {graph.input: points})
        for node in graph.order:
            lower, upper = bounds[node].lower.numpy(), bounds[node].upper.numpy()
            slack = ROUNDING * (1 + np.abs(values[node]).max())
            assert (lower - slack <= values[node]).all(), (method, node)
            assert (values[node] <= upper + slack).all(), (method, node)
            seen += values[node].size
