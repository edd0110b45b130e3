"""Estimates come near the bounds they stand for, and nothing takes them for bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes.random_projections import estimate_bounds
from specdsl.bounds.passes.wong_kolter import dual_bounds
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from tests.bounds.test_wong_kolter import chain

VECTORS = 200


def test_widths_of_the_linf_ball() -> None:
    """Median error under a fifth of the width with 200 vectors, layer by layer."""
    graph = chain(3, (20, 30, 30, 10))
    compiled = compile_graph(graph)
    center = torch.as_tensor(np.random.default_rng(3).normal(size=(8, 20)))
    region = InputRegion(Interval(center - 0.05, center + 0.05))
    exact = dual_bounds(compiled, region)
    generator = torch.Generator().manual_seed(0)
    found = estimate_bounds(compiled, center, 0.05, count=VECTORS, generator=generator)
    assert found.keys() == exact.keys()
    for node, bounds in exact.items():
        width = bounds.upper - bounds.lower
        for estimated, end in (
            (found[node].lower, bounds.lower),
            (found[node].upper, bounds.upper),
        ):
            assert ((estimated - end).abs() / width).median() < 0.2


def test_the_first_layer_of_the_l2_ball() -> None:
    graph = chain(4, (50, 40, 2))
    compiled = compile_graph(graph)
    center = torch.zeros(1, 50, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    found = estimate_bounds(compiled, center, 0.5, norm="l2", count=VECTORS, generator=generator)
    first = next(op for _, op, _ in graph if isinstance(op, ops.Dense))
    node = next(n for n, op, _ in graph if op is first)
    length = np.linalg.norm(ops.as_float(first.weight), axis=1)
    width = (found[node].upper - found[node].lower)[0, 0].numpy()
    assert width == pytest.approx(length, rel=0.25)
    assert (width / length).mean() == pytest.approx(1, rel=0.05)


def test_gradients_flow() -> None:
    graph = chain(5, (4, 6, 2))
    compiled = compile_graph(graph)
    center = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    generator = torch.Generator().manual_seed(0)
    found = estimate_bounds(compiled, center, 0.1, generator=generator)
    found[graph.output].lower.sum().backward()
    assert center.grad is not None
    assert bool(center.grad.isfinite().all())
