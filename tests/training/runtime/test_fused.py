"""Loss fusion: above the loss of every point, and that of intervals where nothing is gained."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.training.runtime.attacks.points import start
from specdsl.training.runtime.bounds.fused import fused_loss, per_sample_fused_loss
from specdsl.training.runtime.bounds.lower import crown_ibp, interval, lower
from specdsl.training.runtime.claims.claim import (
    All,
    Any_,
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
from specdsl.training.runtime.losses.losses import per_sample_robust_cross_entropy
from specdsl.training.runtime.networks.network import Trainable
from tests.training.runtime.digits import batch, network, trained
from tests.training.runtime.test_against_engine import Branching

# Of losses about 1, in float32.
ROUNDING = 1e-5
X, Y = batch(12)


def robust(x: Tensor, y: Tensor, radius: float, norm: str = "linf", classes: int = 10) -> Claim:
    assert norm in ("linf", "l2")
    region = intersect(ball(x, radius, norm), box(0.0, 1.0))
    rows = class_rows(y, classes).to(x)
    atom = Atom((rows,), x.new_zeros(1, classes - 1))
    return Claim(region, (Application(unchanged, region),), atom)


def rising(x: Tensor, radius: float) -> Claim:
    """Two applications, and a conjunction of atoms with offsets."""
    region = intersect(ball(x, radius), box(0.0, 1.0))
    moved = intersect(ball(x + 0.1, radius))
    rows = torch.eye(10)[None, :3]
    one = Atom((-rows, rows), x.new_full((1, 3), 0.2))
    other = Atom((None, rows), x.new_full((1, 3), 0.5))
    applications = (Application(unchanged, region), Application(lambda v: v + 0.1, moved))
    return Claim(region, applications, All((one, other)))


def in_double(module: torch.nn.Module, inputs: int) -> Trainable:
    net = Trainable.of(module, (inputs,))
    net.module.double()
    return net


def losses_at_points(net: Trainable, claim: Claim, count: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(count):
        points = start(claim.region, "random", generator)
        found.append(per_sample_robust_cross_entropy(margins_at(net, claim, points)))
    return torch.stack(found).amax(0)


@cache
def fresh() -> Trainable:
    return Trainable.of(network(0), (64,))


@cache
def fitted() -> Trainable:
    return Trainable.of(trained(0), (64,))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("radius", [0.0, 1e-4, 0.02, 0.3])
def test_it_lies_above_the_loss_of_every_point(norm: str, radius: float) -> None:
    for net in (fresh(), fitted()):
        claim = robust(X, Y, radius * (3 if norm == "l2" else 1), norm)
        with torch.no_grad():
            reached = losses_at_points(net, claim)
            for beta in (0.0, 0.4, 1.0):
                found = per_sample_fused_loss(net, claim, beta)
                assert (found >= reached - ROUNDING * (1 + found)).all()


def test_of_networks_with_branches_and_claims_about_several_applications() -> None:
    torch.manual_seed(4)
    branching = Trainable.of(Branching(), (1, 6, 6))
    x = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(5))
    claims = [(branching, robust(x, torch.tensor([0, 1, 2, 3, 0]), 0.02, classes=4))]
    claims.append((fitted(), rising(X, 0.01)))
    for net, claim in claims:
        with torch.no_grad():
            found = per_sample_fused_loss(net, claim)
            assert (found >= losses_at_points(net, claim) - ROUNDING * (1 + found)).all()


def test_it_lies_above_the_largest_loss_of_a_linear_network() -> None:
    """Of a linear network over a box a corner is worst: there are few of them in two entries."""
    layer = torch.nn.Linear(2, 4, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 0.0], [2.0, 0.0], [-2.0, 1.0], [0.0, -1.0]]))
    net = in_double(torch.nn.Sequential(layer), 2)
    x = torch.tensor([[0.3, 0.6], [0.5, 0.5]], dtype=torch.float64)
    claim = robust(x, torch.tensor([0, 0]), 0.2, classes=4)
    corners = [(a, b) for a in (-0.2, 0.2) for b in (-0.2, 0.2)]
    with torch.no_grad():
        points = [x + torch.tensor(corner, dtype=torch.float64) for corner in corners]
        each = [per_sample_robust_cross_entropy(margins_at(net, claim, p)) for p in points]
        exact = torch.stack(each).amax(0)
        found = per_sample_fused_loss(net, claim)
        margins = per_sample_robust_cross_entropy(lower(net, claim, interval()))
    assert (found >= exact - 1e-12).all()
    # Where margins trade against one another a bound of their sum is tighter than each alone.
    assert (found < margins - 1e-3).all()


def test_without_its_row_it_is_the_loss_of_intervals() -> None:
    net = fitted()
    claim = robust(X, Y, 0.1)
    with torch.no_grad():
        expected = per_sample_robust_cross_entropy(lower(net, claim, interval()))
        assert torch.allclose(per_sample_fused_loss(net, claim, 0.0), expected, rtol=1e-5)


def test_at_a_point_it_is_the_loss_there() -> None:
    net = fitted()
    claim = robust(X, Y, 0.0)
    with torch.no_grad():
        expected = per_sample_robust_cross_entropy(margins_at(net, claim, X))
        assert torch.allclose(per_sample_fused_loss(net, claim), expected, atol=1e-5)
        bounds = lower(net, claim, crown_ibp())
        assert torch.equal(bounds, lower(net, claim, interval()))


@pytest.mark.parametrize("size", [1.0, 30.0, 1e4])
def test_gradients_are_finite_however_large_margins_are(size: float) -> None:
    module = network(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(size)
    net = Trainable.of(module, (64,))
    for radius in (0.0, 1e-3, 0.3):
        loss = fused_loss(net, robust(X, Y, radius))
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        assert bool(loss.isfinite())
        assert all(bool(g.isfinite().all()) for g in gradients)


def test_the_gradient_is_that_of_its_value() -> None:
    torch.manual_seed(0)
    first = torch.nn.Linear(3, 4)
    net = in_double(torch.nn.Sequential(first, torch.nn.ReLU(), torch.nn.Linear(4, 3)), 3)
    x = torch.rand(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    claim = robust(x, torch.tensor([0, 2]), 0.1, classes=3)
    weight = first.weight
    (gradient,) = torch.autograd.grad(fused_loss(net, claim, 0.7), weight)
    step = 1e-6
    for place in ((0, 0), (1, 2), (3, 1)):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[place] += sign * step
                ends.append(fused_loss(net, claim, 0.7).item())
                weight[place] -= sign * step
        assert gradient[place].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-6)


def test_what_is_no_share_or_has_alternatives_is_refused() -> None:
    net = fresh()
    claim = robust(X, Y, 0.1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        fused_loss(net, claim, 1.5)
    alternatives = Claim(claim.region, claim.applications, All((Any_((claim.formula,)),)))
    with pytest.raises(Unsupported, match="alternatives"):
        fused_loss(net, alternatives)


def test_what_is_known_without_the_network_counts_as_it_does_for_margins() -> None:
    net = fresh()
    claim = robust(X, Y, 0.05)
    known = torch.full((len(X), 1), torch.inf)
    known[3] = -torch.inf
    both = Claim(claim.region, claim.applications, All((claim.formula, Atom((None,), known))))
    found, alone = per_sample_fused_loss(net, both), per_sample_fused_loss(net, claim)
    assert found[3].item() == torch.inf
    fine = torch.arange(len(X)) != 3
    assert torch.allclose(found[fine], alone[fine])
    gradients = torch.autograd.grad(found[fine].sum(), list(net.module.parameters()))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
