"""Bounds contain every value; backward bounds are never looser than intervals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.bounds import EmptyInterval, Interval, pre_activation_bounds
from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.passes.crown import lower_rows, propagate
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.graph.evaluate import evaluate as reference_evaluate
from tests.bounds.random_graphs import INPUT_SHAPE, points_of, random_graph, random_set

# Values of some hundreds are sums of thousands of terms in float64.
ROUNDING = 1e-9

seeds = st.integers(0, 10**6)


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_bounds_contain_every_sampled_value(seed: int) -> None:
    graph, inputs = random_graph(seed), random_set(seed)
    points = points_of(inputs, 300, seed).reshape(-1, *INPUT_SHAPE)
    values = reference_evaluate(graph, {graph.input: points})
    for method in ("interval", "crown", "alpha_crown"):
        for node, bound in pre_activation_bounds(graph, inputs, method).items():
            slack = ROUNDING * (1 + np.abs(values[node]).max())
            assert (bound.lower - slack <= values[node]).all(), (node, method)
            assert (values[node] <= bound.upper + slack).all(), (node, method)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_crown_is_never_looser_than_intervals(seed: int) -> None:
    graph, inputs = random_graph(seed), random_set(seed)
    loose = pre_activation_bounds(graph, inputs, "interval")
    tight = pre_activation_bounds(graph, inputs, "crown")
    raised = pre_activation_bounds(graph, inputs, "alpha_crown")
    for node, bound in loose.items():
        for tighter in (tight, raised):
            assert (bound.lower - ROUNDING <= tighter[node].lower).all()
            assert (tighter[node].upper <= bound.upper + ROUNDING).all()


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_linear_bound_lies_below_the_row_at_every_point(seed: int) -> None:
    graph, inputs = random_graph(seed), random_set(seed)
    compiled = compile_graph(graph)
    region = input_region(inputs, compiled.like)
    rows = torch.as_tensor(np.random.default_rng(seed).normal(size=(1, 6, 4)))
    found = lower_rows(
        compiled, graph.output, rows, region, propagate(compiled, region).relaxations
    )
    points = torch.as_tensor(points_of(inputs, 200, seed))
    line = points @ found.coefficients[0].T + found.constant
    value = evaluate(compiled, points) @ rows[0].T
    slack = ROUNDING * (1 + value.abs().max())
    assert bool((line <= value + slack).all())
    assert bool((found.lower <= line + slack).all())


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_a_batch_gives_what_its_boxes_give_alone(seed: int) -> None:
    # The tangent of a square moves with its interval: a tighter one may give a looser line.
    graph = random_graph(seed, products=False)
    compiled = compile_graph(graph)
    centers = torch.as_tensor(np.random.default_rng(seed).normal(size=(5, 40)))
    widths = torch.tensor([0.0, 0.01, 0.1, 0.5, 1.0], dtype=torch.float64)[:, None]
    batch = propagate(compiled, InputRegion(Interval(centers - widths, centers + widths))).bounds
    for i in range(5):
        alone = Interval(centers[i : i + 1] - widths[i], centers[i : i + 1] + widths[i])
        single = propagate(compiled, InputRegion(alone)).bounds
        for node in compiled.pre_activations:
            # The batch tightens rows unstable anywhere in it, so it may be tighter, never looser.
            assert bool((batch[node].lower[i] >= single[node].lower[0] - ROUNDING).all())
            assert bool((batch[node].upper[i] <= single[node].upper[0] + ROUNDING).all())


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_torch_and_numpy_evaluate_alike(seed: int) -> None:
    graph = random_graph(seed)
    points = np.random.default_rng(seed).normal(size=(20, *INPUT_SHAPE))
    numpy_values = reference_evaluate(graph, {graph.input: points})[graph.output]
    torch_values = evaluate(compile_graph(graph), torch.as_tensor(points.reshape(20, -1)))
    assert np.allclose(numpy_values.reshape(20, -1), torch_values.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("bad", [(1.0, 0.0), (float("nan"), 0.0), (0.0, float("nan"))])
def test_an_interval_without_points_is_refused(bad: tuple[float, float]) -> None:
    with pytest.raises(EmptyInterval):
        Interval(torch.tensor([bad[0]]), torch.tensor([bad[1]]))


def test_sound_bounds_that_cross_by_rounding_are_swapped() -> None:
    one = Interval(torch.tensor([0.0]), torch.tensor([1.0]))
    other = Interval(torch.tensor([1.0 + 1e-7]), torch.tensor([2.0]))
    both = one.intersect(other)
    assert both.lower <= both.upper
    with pytest.raises(EmptyInterval):
        one.intersect(Interval(torch.tensor([1.5]), torch.tensor([2.0])))
