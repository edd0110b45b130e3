"""Gaps of a relaxation: the toys exactly, never negative, 0 where nothing is relaxed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.backend import Unsupported
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.parameters import parameters_of, with_parameters
from specdsl.bounds.passes.crown import lower_rows, propagate
from specdsl.bounds.passes.fast_lin import with_parallel_lines
from specdsl.bounds.regions.region import InputRegion
from specdsl.bounds.tightness import Tightness, tightness
from tests.bounds.random_graphs import random_graph
from tests.bounds.test_fast_lin import toy
from tests.bounds.test_wong_kolter import boxes, chain

seeds = st.integers(0, 2**16)
Lines = Callable[[CompiledGraph], CompiledGraph]


def crown(compiled: CompiledGraph) -> CompiledGraph:
    return compiled


both_lines = pytest.mark.parametrize("lines", [crown, with_parallel_lines])


def gaps(compiled: CompiledGraph, rows: torch.Tensor, region: InputRegion) -> Tightness:
    return tightness(compiled, rows, region, propagate(compiled, region).bounds)


@pytest.mark.parametrize(
    ("sign", "lines", "lower", "d", "r"),
    [
        (-1.0, with_parallel_lines, 1.0, 0.0, 0.0),
        (-1.0, crown, 1.0, 0.0, 0.0),
        (1.0, with_parallel_lines, 7 / 3, 2 / 3, 1.0),
        (1.0, crown, 2.0, 1.0, 1.0),
    ],
)
def test_the_toys_of_one_relu(sign: float, lines: Lines, lower: float, d: float, r: float) -> None:
    """`3 + sign * relu(x)` on [-1, 2]; with -1 tight although the neuron is unstable."""
    ends = torch.tensor([[-1.0]]).double(), torch.tensor([[2.0]]).double()
    rows = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    found = gaps(lines(compile_graph(toy(sign))), rows, InputRegion(Interval(*ends)))
    assert found.lower.item() == pytest.approx(lower, abs=1e-15)
    assert found.output_gap.item() == pytest.approx(d, abs=1e-15)
    assert found.pre_activation_gap.item() == pytest.approx(r, abs=1e-15)


@both_lines
@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_the_bound_is_that_of_the_engine_and_no_gap_is_negative(lines: Lines, seed: int) -> None:
    compiled = lines(compile_graph(chain(seed, (3, 6, 5, 2))))
    region = boxes(seed, 3, 3)
    rows = torch.as_tensor(np.random.default_rng(seed).normal(size=(1, 4, 1, 2)))
    propagated = propagate(compiled, region)
    found = tightness(compiled, rows, region, propagated.bounds)
    expected = lower_rows(compiled, compiled.graph.output, rows, region, propagated.relaxations)
    assert torch.allclose(found.lower, expected.lower, rtol=1e-12, atol=1e-12)
    assert bool((found.output_gap >= -1e-12).all())
    assert bool((found.pre_activation_gap >= 0).all())


@both_lines
def test_where_all_neurons_are_stable_there_is_no_gap(lines: Lines) -> None:
    compiled = lines(compile_graph(chain(3, (3, 6, 5, 2))))
    center = torch.as_tensor(np.random.default_rng(3).normal(size=(4, 3)))
    region = InputRegion(Interval(center - 1e-9, center + 1e-9))
    found = gaps(compiled, torch.eye(2, dtype=torch.float64).reshape(1, 2, 1, 2), region)
    assert float(found.output_gap.abs().max()) <= 1e-12
    assert float(found.pre_activation_gap.max()) == 0.0


def unstable(compiled: CompiledGraph, region: InputRegion) -> int:
    z = propagate(compiled, region).bounds[compiled.pre_activations[0]]
    return int(((z.lower < 0) & (z.upper > 0)).sum())


@pytest.mark.parametrize(("seed", "steps"), [(4, 400), (10, 100)])
def test_without_the_second_gap_there_is_none_though_neurons_are_unstable(
    seed: int, steps: int
) -> None:
    """Proposition 1 at work: descent on r alone makes the bound exact."""
    compiled = with_parallel_lines(compile_graph(chain(seed, (4, 8, 2))))
    center = torch.as_tensor(np.random.default_rng(seed).normal(size=(1, 4)))
    region = InputRegion(Interval(center - 0.3, center + 0.3))
    rows = torch.tensor([1.0, -1.0], dtype=torch.float64).reshape(1, 1, 1, 2)
    parameters = parameters_of(compiled)
    leaves = [t for p in parameters.values() for t in (p.weight, p.offset) if t is not None]
    optimiser = torch.optim.Adam(leaves, lr=2e-3)
    assert gaps(compiled, rows, region).output_gap.item() > 0.1
    for _ in range(steps):
        optimiser.zero_grad()
        found = gaps(with_parameters(compiled, parameters), rows, region)
        found.pre_activation_gap.sum().backward()
        optimiser.step()
    final = with_parameters(compiled, parameters)
    found = gaps(final, rows, region)
    assert found.pre_activation_gap.item() == pytest.approx(0.0, abs=1e-6)
    assert found.output_gap.item() == pytest.approx(0.0, abs=1e-6)
    assert unstable(final, region) > 0


def test_other_graphs_are_refused() -> None:
    compiled = compile_graph(random_graph(0))
    region = InputRegion(Interval(torch.zeros(1, 40).double(), torch.ones(1, 40).double()))
    with pytest.raises(Unsupported, match="chains of affine layers and ReLUs only"):
        gaps(compiled, torch.ones(1, 1, 4).double(), region)
