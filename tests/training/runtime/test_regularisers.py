"""Regularisers: equal to numpy, gradients as finite differences say, each with its law."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from specdsl.backend import Unsupported
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.parameters import Parameters, parameters_of, with_parameters
from specdsl.bounds.passes.crown import propagate
from specdsl.bounds.passes.crown_ibp import crown_ibp_lower
from specdsl.bounds.passes.first_layer import interval_pass
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.passes.wong_kolter import dual_bounds, dual_lower
from specdsl.bounds.regions.region import InputRegion
from specdsl.training.runtime.networks.network import Trainable
from specdsl.training.runtime.regularisers.intervals import (
    relu_stability,
    shi_relu,
    shi_tightness,
)
from specdsl.training.runtime.regularisers.lipschitz import (
    local_lipschitz,
    spectral_norms,
    spectral_product,
)
from specdsl.training.runtime.regularisers.tightness import (
    Lines,
    output_gap,
    pre_activation_gap,
    tightness_gaps,
)
from specdsl.training.runtime.regularisers.weights import l1, l2
from tests.training.runtime.digits import (
    ball,
    batch,
    compiled,
    network,
    numpy_intervals,
    trained,
    weights,
)

seeds = st.integers(0, 2**16)
SIZES = (64, 32, 20, 10)


def setting(
    seed: int, radius: float = 0.1
) -> tuple[nn.Sequential, CompiledGraph, InputRegion, list[tuple[np.ndarray, np.ndarray]]]:
    net = network(seed, SIZES)
    x, _ = batch(6, seed % 1000)
    region = ball(x, radius)
    box = region.box
    return net, compiled(net), region, numpy_intervals(net, box.lower.numpy(), box.upper.numpy())


def bounds_of(graph: CompiledGraph, region: InputRegion) -> dict[str, Interval]:
    return dict(interval_pass(graph, region).bounds)


def test_sums_of_weights_leave_out_biases() -> None:
    net = network()
    layers = weights(net)
    assert l1(net).item() == pytest.approx(sum(np.abs(w).sum() for w, _ in layers), rel=1e-5)
    assert l2(net).item() == pytest.approx(sum((w**2).sum() for w, _ in layers), rel=1e-5)
    l1(net).backward()
    assert torch.equal(net[0].weight.grad, net[0].weight.sign())
    assert net[0].bias.grad is None
    with pytest.raises(Unsupported, match="without weights"):
        l1(nn.ReLU())


@pytest.mark.parametrize("seed", range(4))
def test_terms_of_intervals_equal_numpy(seed: int) -> None:
    _, graph, region, found = setting(seed, 0.01)
    bounds = bounds_of(graph, region)
    first = ((found[0][1] - found[0][0]) / 2).mean()
    tight, balance, stable = [], [], 0.0
    for lower, upper in found[1:-1]:
        center, width = (lower + upper) / 2, (upper - lower) / 2
        tight.append(max(0.0, 0.5 - first / width.mean()) / 0.5)
        on, off = lower > 0, upper < 0
        means = (center * on).sum() / -(center * off).sum()
        squares = (center - center.mean()) ** 2
        variances = (squares * on).sum() / (squares * off).sum()
        ratios = [min(r, 1 / r) for r in (means, variances)]
        balance.append(sum(max(0.0, 0.5 - r) / 0.5 for r in ratios))
        stable += (-np.tanh(1 + lower * upper)).sum(1).mean()
    assert shi_tightness(graph, bounds).item() == pytest.approx(np.mean(tight), rel=1e-9)
    assert shi_relu(graph, bounds).item() == pytest.approx(np.mean(balance), rel=1e-9)
    assert relu_stability(graph, bounds).item() == pytest.approx(stable, rel=1e-9)


def test_a_layer_on_one_side_costs_no_balance() -> None:
    net = network(0, (4, 3, 2))
    with torch.no_grad():
        net[0].bias.fill_(100.0)
    graph = compiled(net, (4,))
    bounds = bounds_of(graph, ball(torch.full((2, 4), 0.5), 0.1))
    assert shi_relu(graph, bounds).item() == 0.0


def test_stability_is_the_number_of_neurons_where_all_are_stable() -> None:
    """Far from 0 every neuron gives -tanh of something large."""
    net = network(0, (4, 5, 2))
    with torch.no_grad():
        net[0].bias.copy_(torch.tensor([50.0, -50.0, 50.0, -50.0, 50.0]))
    graph = compiled(net, (4,))
    bounds = bounds_of(graph, ball(torch.full((3, 4), 0.5), 0.1))
    assert relu_stability(graph, bounds).item() == pytest.approx(-5.0, abs=1e-9)


def test_networks_without_relus_are_refused() -> None:
    graph = compiled(nn.Sequential(nn.Linear(4, 2)).eval(), (4,))
    bounds = bounds_of(graph, ball(torch.full((1, 4), 0.5), 0.1))
    for term in (shi_tightness, shi_relu, relu_stability):
        with pytest.raises(Unsupported, match="without ReLUs"):
            term(graph, bounds)


# --- gradients -----------------------------------------------------------------------------------

Term = Callable[[CompiledGraph, InputRegion], Tensor]
ROWS = torch.eye(10, dtype=torch.float64).reshape(1, 10, 1, 10) - 0.1


def _spectral(graph: CompiledGraph, region: InputRegion) -> Tensor:
    return torch.stack(list(spectral_norms(graph).values())).prod()


TERMS: dict[str, Term] = {
    "shi_tightness": lambda g, r: shi_tightness(g, bounds_of(g, r), 2.0),
    "shi_relu": lambda g, r: shi_relu(g, bounds_of(g, r), 2.0),
    "relu_stability": lambda g, r: relu_stability(g, bounds_of(g, r)),
    "d crown_ibp": lambda g, r: output_gap(g, r, ROWS),
    "d crown": lambda g, r: output_gap(g, r, ROWS, "crown"),
    "r fast_lin": lambda g, r: pre_activation_gap(g, r, ROWS, "fast_lin"),
    "d wong_kolter": lambda g, r: output_gap(g, r, ROWS, "wong_kolter"),
    "spectral": _spectral,
    "local l2": lambda g, r: local_lipschitz(g, ROWS, bounds_of(g, r), "l2").mean(),
    "local linf": lambda g, r: local_lipschitz(g, ROWS, bounds_of(g, r)).mean(),
}


@pytest.mark.parametrize("name", TERMS)
def test_gradients_are_finite_differences(name: str) -> None:
    """In float64, along one random direction of all weights."""
    _, graph, region, _ = setting(11, 0.03)
    leaves = parameters_of(graph)
    tensors = [t for p in leaves.values() for t in (p.weight, p.offset) if t is not None]
    value = TERMS[name](with_parameters(graph, leaves), region)
    gradients = torch.autograd.grad(value, tensors, allow_unused=True)
    generator = torch.Generator().manual_seed(1)
    directions = [torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in tensors]
    slope = sum(
        float((g * d).sum()) for g, d in zip(gradients, directions, strict=True) if g is not None
    )
    step = 1e-7
    ends = []
    for sign in (1, -1):
        moved = {
            node: Parameters(
                p.weight.detach() + sign * step * _of(p.weight, tensors, directions),
                None
                if p.offset is None
                else p.offset.detach() + sign * step * _of(p.offset, tensors, directions),
            )
            for node, p in leaves.items()
        }
        ends.append(float(TERMS[name](with_parameters(graph, moved), region)))
    assert abs(slope) > 1e-6
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4)


def _of(tensor: Tensor, tensors: list[Tensor], directions: list[Tensor]) -> Tensor:
    return next(d for t, d in zip(tensors, directions, strict=True) if t is tensor)


# --- gaps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", ["crown_ibp", "crown", "fast_lin", "wong_kolter"])
def test_the_bound_under_a_gap_is_that_of_its_relaxation(lines: Lines) -> None:
    _, graph, region, _ = setting(5)
    found = tightness_gaps(graph, region, ROWS, lines)
    if lines == "crown_ibp":
        expected = crown_ibp_lower(graph, ROWS, region)
    elif lines == "wong_kolter":
        expected = dual_lower(graph, ROWS, region, dual_bounds(graph, region))
    else:
        expected = None
    if expected is not None:
        assert torch.allclose(found.lower, expected, rtol=1e-10, atol=1e-10)
    assert bool((found.output_gap >= -1e-10).all())
    assert output_gap(graph, region, ROWS, lines).item() == pytest.approx(
        found.output_gap.mean().item()
    )
    assert pre_activation_gap(graph, region, ROWS, lines).item() == pytest.approx(
        found.pre_activation_gap.mean().item()
    )


# --- Lipschitz constants -------------------------------------------------------------------------


def test_spectral_norms_equal_the_largest_singular_values() -> None:
    net = Trainable.of(trained(), (64,))
    largest = [np.linalg.svd(w, compute_uv=False)[0] for w, _ in weights(net.module)]
    found = [v.item() for v in spectral_norms(net.compiled()).values()]
    assert found == pytest.approx(largest, rel=1e-5)
    product = spectral_product(net)
    assert product.item() == pytest.approx(np.prod(largest), rel=1e-5)
    product.backward()
    assert float(net.module.get_parameter("0.weight").grad.abs().sum()) > 0


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_convolutions_are_maps_of_images_and_not_matrices_of_kernels(kind: type) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(kind(1, 3, 3, stride=2, padding=1), nn.Flatten()).eval()
    graph = compiled(net, (1, 8, 8))
    with torch.no_grad():
        columns = net(torch.eye(64).reshape(64, 1, 8, 8)) - net(torch.zeros(1, 1, 8, 8))
    expected = np.linalg.svd(columns.double().numpy(), compute_uv=False)[0]
    exact, few = (
        [v.item() for v in spectral_norms(graph, rounds).values()] for rounds in (3000, 30)
    )
    # The largest two of the transposed one are close.
    assert exact == pytest.approx([expected], rel=1e-3)
    assert few == pytest.approx([expected], rel=2e-2)
    assert few[0] <= expected * (1 + 1e-9)


@pytest.mark.parametrize("make", [lambda: nn.Sequential(nn.ReLU()), nn.Identity])
def test_networks_without_weights_have_no_spectral_norms(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(Unsupported, match="without weights"):
        spectral_product(Trainable.of(make().eval(), (4,)))


@given(seed=seeds)
@settings(max_examples=5, deadline=None)
def test_no_sampled_change_exceeds_the_local_constant(seed: int) -> None:
    _, graph, region, _ = setting(seed)
    generator = torch.Generator().manual_seed(seed)
    bounds = propagate(graph, region).bounds
    lower, upper = region.box.lower, region.box.upper
    one, other = (
        lower + (upper - lower) * torch.rand(lower.shape, generator=generator, dtype=lower.dtype)
        for _ in range(2)
    )
    change = (evaluate(graph, one) - evaluate(graph, other)) @ ROWS[0, :, 0].T
    gap = one - other
    sizes = {"linf": gap.abs().amax(1), "l2": gap.norm(dim=1), "l1": gap.abs().sum(1)}
    for norm, size in sizes.items():
        constant = local_lipschitz(graph, ROWS, bounds, norm)  # pyright: ignore[reportArgumentType]
        assert bool((change.abs() <= constant * size[:, None] * (1 + 1e-9) + 1e-12).all())


def test_where_all_is_stable_the_local_constant_is_the_gradient() -> None:
    _, graph, _, _ = setting(2)
    x, _ = batch(3)
    region = ball(x, 1e-9)
    found = local_lipschitz(graph, ROWS, bounds_of(graph, region))
    points = x.double().requires_grad_()
    for row in range(10):
        margins = evaluate(graph, points) @ ROWS[0, row, 0]
        (gradient,) = torch.autograd.grad(margins.sum(), points)
        assert torch.allclose(found[:, row], gradient.abs().sum(1), rtol=1e-9)


def test_other_graphs_have_no_constants() -> None:
    class Skip(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + x.relu()

    graph = compiled(Skip().eval(), (4,))
    bounds = bounds_of(graph, ball(torch.full((1, 4), 0.5), 0.1))
    with pytest.raises(Unsupported, match="chains of affine layers and ReLUs only"):
        local_lipschitz(graph, torch.ones(1, 1, 1, 4).double(), bounds)
