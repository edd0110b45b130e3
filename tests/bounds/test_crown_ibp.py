"""CROWN-IBP: the mixture with intervals, and gradients of bounds in weights and inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.methods import METHODS, lower_bounds
from specdsl.bounds.parameters import Parameters, parameters_of, with_parameters
from specdsl.bounds.passes.crown_ibp import crown_ibp_lower
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from tests.bounds.random_graphs import INPUT_SHAPE, INPUTS, random_graph, random_set
from tests.bounds.test_sampled_laws import DELICATE, mixed_graph
from tests.bounds.test_wong_kolter import boxes, chain

seeds = st.integers(0, 10**6)
every_differentiable_method = pytest.mark.parametrize(
    "method", [name for name, method in METHODS.items() if not method.climbs]
)


@given(seeds, st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_the_mixture_lies_between_its_parts(seed: int, beta: float) -> None:
    graph, inputs = random_graph(seed), random_set(seed)
    compiled = compile_graph(graph)
    region = input_region(inputs, compiled.like)
    rows = torch.as_tensor(np.random.default_rng(seed).normal(size=(1, 5, 4)))
    intervals = lower_bounds(compiled, region, rows, "interval")
    backward = lower_bounds(compiled, region, rows, "crown_ibp")
    mixed = crown_ibp_lower(compiled, rows, region, beta=beta)
    assert torch.allclose(mixed, beta * backward + (1 - beta) * intervals, rtol=1e-12)


@pytest.mark.parametrize("beta", [-0.1, 1.5, float("nan")])
def test_a_share_outside_0_and_1_is_refused(beta: float) -> None:
    compiled, region = compile_graph(chain(0, (3, 2))), boxes(0, 1, 3)
    with pytest.raises(ValueError, match="beta is a share"):
        crown_ibp_lower(compiled, torch.ones(1, 1, 1, 2).double(), region, beta=beta)


# --- gradients ------------------------------------------------------------------------------------

# Central differences of piecewise smooth functions: off by the square of the step and by rounding
# over the step. Lines chosen anew make jumps, pieces kinks.
STEP = 1e-6
NEAR = 1e-4


def slope_of(value: Callable[[float], float]) -> float:
    """The central difference at 0; a kink or jump within the step is no example."""
    before, at, after = value(-STEP), value(0.0), value(STEP)
    right, left = (after - at) / STEP, (at - before) / STEP
    assume(abs(right - left) <= NEAR * (1 + abs(right)))
    return (after - before) / (2 * STEP)


def trained(seed: int) -> Graph:
    """Convolution, batch normalisation, ReLU, dense."""
    random = np.random.default_rng(seed)
    builder = GraphBuilder()
    x = builder.add(ops.Input(INPUT_SHAPE))
    weight, bias = random.normal(size=(3, 2, 3, 3)), random.normal(size=3)
    conv = ops.Conv(weight, bias, (2, 1), ((1, 0), (1, 1)), (1, 1))
    x = builder.add(conv, x, name="conv")
    four = random.normal(size=(3, 3))
    norm = ops.BatchNorm(four[0], four[1], four[2], random.random(3) + 0.5, 1e-5)
    x = builder.add(ops.Relu(), builder.add(norm, x, name="norm"))
    size = int(np.prod(builder.shape(x)))
    x = builder.add(ops.Reshape((1, size)), x)
    x = builder.add(ops.Dense(random.normal(size=(5, size)), random.normal(size=5)), x, name="one")
    x = builder.add(ops.Relu(), x)
    dense = ops.Dense(random.normal(size=(2, 5)), random.normal(size=2))
    return builder.build(builder.add(dense, x, name="two"))


def leaves(parameters: dict[str, Parameters]) -> list[torch.Tensor]:
    return [t for p in parameters.values() for t in (p.weight, p.offset) if t is not None]


@every_differentiable_method
@given(seed=seeds)
@settings(max_examples=6, deadline=None)
def test_gradients_in_all_weights_agree_with_differences(method: str, seed: int) -> None:
    graph = trained(seed)
    compiled = compile_graph(graph)
    random = np.random.default_rng(seed)
    center = torch.as_tensor(random.normal(size=(2, INPUTS)))
    region = InputRegion(Interval(center - 0.05, center + 0.05))
    rows = torch.as_tensor(random.normal(size=(1, 3, 1, 2)))
    parameters = parameters_of(compiled)
    assert set(parameters) == {"conv", "norm", "one", "two"}

    def total(parameters: dict[str, Parameters]) -> torch.Tensor:
        own = with_parameters(compiled, parameters)
        return lower_bounds(own, region, rows, method).sum()

    gradients = torch.autograd.grad(total(parameters), leaves(parameters))
    moved = {n: torch.as_tensor(random.normal(size=p.weight.shape)) for n, p in parameters.items()}

    def along(step: float) -> float:
        with torch.no_grad():
            return float(
                total(
                    {
                        n: replace(p, weight=p.weight + step * moved[n])
                        for n, p in parameters.items()
                    }
                )
            )

    slope = sum(
        float((g * moved[n]).sum()) for n, g in zip(parameters, gradients[::2], strict=True)
    )
    assert slope == pytest.approx(slope_of(along), rel=NEAR, abs=NEAR)


@every_differentiable_method
@given(seed=seeds)
@settings(max_examples=6, deadline=None)
def test_gradients_in_the_region_agree_with_differences(method: str, seed: int) -> None:
    compiled = compile_graph(trained(seed))
    random = np.random.default_rng(seed)
    center = torch.as_tensor(random.normal(size=(2, INPUTS)))
    rows = torch.as_tensor(random.normal(size=(1, 3, 1, 2)))
    direction = torch.as_tensor(random.normal(size=(2, INPUTS)))

    def total(center: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
        region = InputRegion(Interval(center - radius, center + radius))
        return lower_bounds(compiled, region, rows, method).sum()

    radius = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    at = center.clone().requires_grad_()
    by_center, by_radius = torch.autograd.grad(total(at, radius), [at, radius])

    def along(step: float) -> float:
        with torch.no_grad():
            return float(total(center + step * direction, radius + step))

    slope = float((by_center * direction).sum() + by_radius)
    assert slope == pytest.approx(slope_of(along), rel=NEAR, abs=NEAR)


@every_differentiable_method
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_where_neurons_are_dead(method: str, dtype: torch.dtype) -> None:
    """A pruned neuron has the interval [0, 0]."""
    graph = chain(1, (3, 6, 5, 2))
    compiled = compile_graph(graph, torch.empty(0, dtype=dtype))
    parameters = parameters_of(compiled)
    with torch.no_grad():
        for own in list(parameters.values())[:-1]:
            own.weight[:2] = 0.0
            assert own.offset is not None
            own.offset[:2] = 0.0
    box = boxes(1, 3, 3).box
    region = InputRegion(Interval(box.lower.to(dtype), box.upper.to(dtype)))
    rows = torch.ones(1, 1, 1, 2, dtype=dtype)
    lower = lower_bounds(with_parameters(compiled, parameters), region, rows, method)
    for gradient in torch.autograd.grad(lower.sum(), leaves(parameters)):
        assert bool(gradient.isfinite().all())


# --- parameters -----------------------------------------------------------------------------------


def values(compiled: CompiledGraph, seed: int) -> torch.Tensor:
    count = compiled.graph.size(compiled.graph.input)
    return evaluate(compiled, torch.as_tensor(np.random.default_rng(seed).normal(size=(7, count))))


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_a_graph_with_the_parameters_of_another_is_that_other(seed: int) -> None:
    one, other = (compile_graph(trained(s)) for s in (seed, seed + 1))
    changed = with_parameters(one, parameters_of(other))
    assert torch.allclose(values(changed, seed), values(other, seed), rtol=1e-12)


def test_a_bias_of_a_convolution_is_one_number_a_channel() -> None:
    compiled = compile_graph(trained(0))
    own = parameters_of(compiled)["conv"]
    assert own.offset is not None
    flat = {"conv": Parameters(own.weight, own.offset.detach().flatten())}
    assert torch.equal(values(with_parameters(compiled, flat), 0), values(compiled, 0))


def test_signs_of_weights_are_forgotten_with_the_weights() -> None:
    """Delicate graphs make use of weights that all have one sign; turned weights have the other."""
    compiled = compile_graph(mixed_graph(1, DELICATE))
    own = parameters_of(compiled)
    turned = {n: Parameters(-p.weight.detach(), p.offset) for n, p in own.items()}
    changed = with_parameters(compiled, turned)
    assert changed.outward is not None
    assert all(changed.outward.signs[n] == (0,) for n in turned)


def test_what_does_not_fit_is_refused() -> None:
    compiled = compile_graph(trained(0))
    own = parameters_of(compiled)["two"]
    for node, parameters, message in (
        ("nothing", own, "`nothing` has no weights"),
        ("one", own, "the weight of `one` has shape"),
        ("two", Parameters(own.weight, torch.ones(5)), "`two` adds no tensor of shape"),
    ):
        with pytest.raises(ValueError, match=message):
            with_parameters(compiled, {node: parameters})
