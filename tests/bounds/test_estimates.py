"""Estimates by name: near the bounds, differentiable in the weights, taken by nothing as bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import specdsl
from specdsl.backends.incomplete import Incomplete
from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.estimates import ESTIMATES
from specdsl.bounds.interval import Interval
from specdsl.bounds.methods import METHODS, UnknownMethod, lower_bounds
from specdsl.bounds.parameters import Parameters, parameters_of, with_parameters
from specdsl.bounds.passes.random_projections import Estimate, estimate_rows
from specdsl.bounds.passes.wong_kolter import dual_bounds, dual_lower
from specdsl.bounds.regions.region import InputRegion
from tests.bounds.test_wong_kolter import chain

every_estimate = pytest.mark.parametrize("name", ESTIMATES)
MARGIN = torch.tensor([[[[1.0, -1.0]]]], dtype=torch.float64)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_rows_are_near_the_dual() -> None:
    compiled = compile_graph(chain(3, (20, 30, 30, 10)))
    center = torch.as_tensor(np.random.default_rng(3).normal(size=(8, 20)))
    region = InputRegion(Interval(center - 0.05, center + 0.05))
    rows = torch.as_tensor(np.random.default_rng(4).normal(size=(1, 6, 1, 10)))
    expected = dual_lower(compiled, rows, region, dual_bounds(compiled, region))
    found = estimate_rows(compiled, center, 0.05, rows, count=500, generator=generator())
    assert found.lower.shape == expected.shape
    assert ((found.lower - expected).abs() / (found.upper - found.lower)).median() < 0.1


@every_estimate
def test_rows_that_are_entries_are_those_of_the_output(name: str) -> None:
    graph = chain(5, (4, 6, 2))
    compiled, center = compile_graph(graph), torch.zeros(3, 4, dtype=torch.float64)
    unit = torch.eye(2, dtype=torch.float64).reshape(1, 2, 1, 2)
    rows = ESTIMATES[name].rows(compiled, center, 0.1, unit, generator())
    inside = ESTIMATES[name].inside(compiled, center, 0.1, generator())[graph.output]
    assert torch.allclose(rows.lower, inside.lower[:, 0])
    assert torch.allclose(rows.upper, inside.upper[:, 0])


@every_estimate
def test_gradients_in_the_weights_are_those_of_finite_differences(name: str) -> None:
    compiled = compile_graph(chain(5, (4, 6, 6, 2)))
    center = torch.as_tensor(np.random.default_rng(5).normal(size=(2, 4)))
    own = parameters_of(compiled)

    def loss(parameters: dict[str, Parameters]) -> torch.Tensor:
        trained = with_parameters(compiled, parameters)
        return ESTIMATES[name].rows(trained, center, 0.1, MARGIN, generator()).lower.sum()

    leaves = {node: p.weight for node, p in own.items()}
    found = torch.autograd.grad(loss(own), list(leaves.values()))
    random = generator()
    for (node, weight), gradient in zip(leaves.items(), found, strict=True):
        step = 1e-6 * torch.randn(weight.shape, generator=random, dtype=torch.float64)
        ends = [
            loss(own | {node: Parameters((weight + sign * step).detach(), own[node].offset)})
            for sign in (1, -1)
        ]
        expected = float(2 * (gradient * step).sum())
        change = float((ends[0] - ends[1]).detach())
        assert change == pytest.approx(expected, rel=1e-3, abs=1e-10)


def test_no_name_is_that_of_a_method() -> None:
    assert not set(ESTIMATES) & set(METHODS)


@every_estimate
def test_nothing_that_proves_takes_them(name: str) -> None:
    graph = chain(0, (3, 4, 2))
    compiled, region = (
        compile_graph(graph),
        InputRegion(Interval(*(torch.full((1, 3), e, dtype=torch.float64) for e in (-0.1, 0.1)))),
    )
    with pytest.raises(UnknownMethod, match=f"`{name}` is no bounding method"):
        lower_bounds(compiled, region, MARGIN, name)
    with pytest.raises(specdsl.SpecError, match=f"there is no bounding method `{name}`"):
        specdsl.bound(graph, (-np.ones(3), np.ones(3)), name)
    with pytest.raises(specdsl.SpecError, match=f"there is no bounding method `{name}`"):
        specdsl.bound(graph, (-np.ones(3), np.ones(3)), ("crown", name))


@every_estimate
def test_no_backend_takes_them(name: str) -> None:
    method: Any = name
    with pytest.raises(ValueError, match=f"`{name}` is no method of `incomplete`"):
        Incomplete(method)


def test_an_estimate_is_no_interval() -> None:
    assert not issubclass(Estimate, Interval)
