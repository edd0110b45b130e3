"""TAPS: between the truth and intervals, gradients of the connector, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from specdsl.backend import Unsupported
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes.first_layer import interval_pass
from specdsl.training.runtime.bounds.latent import (
    LatentAttack,
    connected,
    half_widths,
    latent_margins,
    outputs_from,
    relu_number,
    worst_points,
)
from specdsl.training.runtime.bounds.lower import interval, lower
from specdsl.training.runtime.bounds.small_boxes import small_claim
from specdsl.training.runtime.claims.claim import (
    Application,
    Atom,
    Claim,
    ball,
    box,
    class_rows,
    intersect,
    margins_at,
    unchanged,
)
from specdsl.training.runtime.networks.network import Trainable
from tests.training.runtime.digits import batch, network, trained, weights

ROUNDING = 1e-4


def attack(after: int = 1, seed: int = 0, **options: float) -> LatentAttack:
    generator = torch.Generator().manual_seed(seed)
    return LatentAttack(after, generator, **options)  # pyright: ignore[reportArgumentType]


def robust(x: Tensor, y: Tensor, radius: float) -> Claim:
    region = intersect(ball(x, radius), box(0.0, 1.0))
    return Claim(
        region, (Application(unchanged, region),), Atom((class_rows(y, 10),), x.new_zeros(1, 9))
    )


@pytest.mark.parametrize("sizes", [(64, 32, 10), (64, 30, 20, 10)])
def test_estimates_lie_above_intervals_and_below_margins_at_points(sizes: tuple[int, ...]) -> None:
    """No inner point is below the interval bound, and some are below all outer ones."""
    net = Trainable.of(network(1, sizes), (64,))
    x, y = batch(20)
    claim = robust(x, y, 0.05)
    estimates = latent_margins(net, claim, attack(steps=20, restarts=2))
    assert estimates.shape == (20, 9)
    assert bool((estimates >= lower(net, claim, interval()) - ROUNDING).all())
    if len(sizes) == 3:
        # What is left is affine: the worst corner is found, and it is the interval bound.
        assert torch.allclose(estimates, lower(net, claim, interval()), atol=1e-4)
    generator = torch.Generator().manual_seed(0)
    ends = claim.region.box
    part = torch.rand(x.shape, generator=generator)
    points = ends.lower + part * (ends.upper - ends.lower)
    assert bool((estimates <= margins_at(net, claim, points) + ROUNDING).all())


def test_on_small_boxes_estimates_are_higher() -> None:
    """STAPS: less of the region, less to lose, on average."""
    net = Trainable.of(network(1, (64, 30, 20, 10)), (64,))
    x, y = batch(20)
    claim = robust(x, y, 0.05)
    small = small_claim(claim, x, 0.4)
    whole, part = (latent_margins(net, c, attack()) for c in (claim, small))
    assert part.mean().item() > whole.mean().item()


def test_a_step_inside_is_the_share_of_the_box_that_it_is_of_the_region() -> None:
    x = torch.tensor([[0.5, 0.5], [0.0, 1.0], [0.5, 0.5]])
    region = intersect(ball(x, torch.tensor([0.1, 0.1, 0.0])), box(0.0, 1.0))
    # The second is cut to half its width, and half of a step is 1 of its half-widths.
    assert torch.allclose(half_widths(region, 0.05), torch.tensor([0.5, 1.0, 2.0]))
    net = Trainable.of(network(1, (64, 30, 20, 10)), (64,))
    images, y = batch(8)
    claim = robust(images, y, 0.05)
    share = half_widths(claim.region, 0.02)
    assert torch.allclose(share, torch.full((8,), 0.4))
    estimates = [
        latent_margins(net, claim, LatentAttack(1, torch.Generator().manual_seed(0), step=step))
        for step in (share, 0.4, 0.01)
    ]
    assert torch.allclose(estimates[0], estimates[1], atol=1e-5)
    assert not torch.allclose(estimates[0], estimates[2], atol=1e-3)


def test_values_from_an_inner_node_are_those_of_the_rest() -> None:
    module = network(1, (64, 30, 20, 10))
    compiled = Trainable.of(module, (64,)).compiled()
    node = relu_number(compiled, 2)
    values = torch.rand(5, *compiled.graph.shapes[node])
    weight, bias = weights(module)[-1]
    found = outputs_from(compiled, node, values).flatten(1).detach().numpy()
    assert found == pytest.approx(values.flatten(1).numpy() @ weight.T + bias, abs=1e-5)


def test_points_lie_in_the_box_and_repeat_with_the_generator() -> None:
    compiled = Trainable.of(network(1, (64, 30, 20, 10)), (64,)).compiled()
    x, y = batch(6)
    claim = robust(x, y, 0.1)
    node = relu_number(compiled, 1)
    bounds = interval_pass(compiled, claim.region).bounds[node]
    ends = Interval(bounds.lower.detach(), bounds.upper.detach())
    rows = class_rows(y, 10)
    one, other = (worst_points(compiled, node, ends, rows, attack(seed=4)) for _ in range(2))
    assert torch.equal(one, other)
    assert one.shape == (6, 9, *ends.lower.shape[1:])
    assert bool((one >= ends.lower[:, None]).all())
    assert bool((one <= ends.upper[:, None]).all())


# --- the connector -------------------------------------------------------------------------------


def test_ends_take_the_gradient_of_what_lies_near_them() -> None:
    """By hand on [0, 2]: all of it at an end, half at a quarter, none in the middle."""
    low = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    high = torch.tensor([[2.0, 2.0, 2.0, 2.0, 2.0, 0.0]]).double().requires_grad_()
    points = torch.tensor([[[0.0, 0.5, 1.0, 1.5, 2.0, 0.0]]]).double()
    joined = connected(points, Interval(low, high), 0.5)
    assert torch.equal(joined.detach(), points)
    joined.sum().backward()
    assert low.grad is not None
    assert high.grad is not None
    assert low.grad[0].tolist() == pytest.approx([1.0, 0.5, 0.0, 0.0, 0.0, 0.5])
    assert high.grad[0].tolist() == pytest.approx([0.0, 0.0, 0.0, 0.5, 1.0, 0.5])


def test_gradients_are_finite_differences_where_points_are_corners() -> None:
    """With an affine rest the worst points are corners, which move with the ends."""
    module = network(3).double()
    net = Trainable(module, *_parts(module))
    x, y = batch(4)
    claim = robust(x.double(), y, 0.05)
    claim = Claim(
        claim.region, claim.applications, Atom((class_rows(y, 10).double(),), torch.zeros(1, 9))
    )

    def value() -> Tensor:
        return latent_margins(net, claim, attack(steps=30)).mean()

    module.zero_grad()
    value().backward()
    generator = torch.Generator().manual_seed(2)
    step = 1e-6
    slope, ends = 0.0, []
    tensors = list(module.parameters())
    ways = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in tensors]
    slope = sum(float((p.grad * d).sum()) for p, d in zip(tensors, ways, strict=True))
    for sign in (step, -2 * step):
        with torch.no_grad():
            for tensor, way in zip(tensors, ways, strict=True):
                tensor.add_(sign * way)
        ends.append(value().item())
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4)


def _parts(module: nn.Module) -> tuple[object, ...]:
    """Graph, weights and shape of the same network in float32."""
    net = Trainable.of(module.float(), (64,))
    module.double()
    return net.graph, net._weights, net.shape


def test_training_for_estimates_raises_them() -> None:
    module = trained()
    net = Trainable.of(module, (64,))
    x, y = batch(100)
    optimiser = torch.optim.Adam(module.parameters(), lr=2e-3)
    values: list[float] = []
    for number in range(15):
        optimiser.zero_grad()
        loss = torch.nn.functional.softplus(
            -latent_margins(net, robust(x, y, 0.05), attack(seed=number))
        ).mean()
        loss.backward()
        optimiser.step()
        values.append(loss.item())
    assert np.mean(values[-3:]) < 0.8 * np.mean(values[:3])


# --- what it refuses -----------------------------------------------------------------------------


class Around(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(x + self.one(x).relu())


def test_connections_around_and_missing_relus_are_refused() -> None:
    x, y = torch.full((2, 4), 0.5), torch.tensor([1, 2])
    net = Trainable.of(Around().eval(), (4,))
    with pytest.raises(Unsupported, match="a connection around"):
        latent_margins(net, robust(x, y, 0.1), attack())
    with pytest.raises(Unsupported, match="ReLU number 2 of a network with 1"):
        latent_margins(net, robust(x, y, 0.1), attack(after=2))


@pytest.mark.parametrize("options", [{"restarts": 0}, {"connector": 0.0}, {"connector": 1.5}])
def test_options_that_mean_nothing_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"no fewer|a connector"):
        attack(**options)


def test_small_claims_are_about_the_variables_themselves() -> None:
    x, y = batch(3)
    claim = robust(x, y, 0.1)
    small = small_claim(claim, x, 0.5)
    assert small.applications[0].region is small.region
    assert bool((small.region.box.radius <= 0.5 * claim.region.box.radius + 1e-6).all())
    moved = Claim(claim.region, (Application(lambda v: v + 1, claim.region),), claim.formula)
    with pytest.raises(Unsupported, match="applied to something else"):
        small_claim(moved, x, 0.5)
