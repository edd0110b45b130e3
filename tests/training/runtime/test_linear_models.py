"""Robust logistic regression: the closed form is the worst case, and its minimiser is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from specdsl.training.runtime.bounds.lower import interval, lower
from specdsl.training.runtime.claims.claim import (
    Application,
    Atom,
    Claim,
    ball,
    class_rows,
    intersect,
    unchanged,
)
from specdsl.training.runtime.losses.linear_models import (
    Norm,
    robust_logistic_loss,
    robust_logistic_regression,
    worst_margins,
)
from specdsl.training.runtime.losses.losses import robust_cross_entropy
from specdsl.training.runtime.networks.network import Trainable
from tests.training.runtime.digits import digits

norms = st.sampled_from(["linf", "l2", "l1"])


@given(seed=st.integers(0, 2**16), norm=norms)
@settings(max_examples=60, deadline=None)
def test_no_point_of_the_ball_is_worse_and_one_is_as_bad(seed: int, norm: Norm) -> None:
    rng = np.random.default_rng(seed)
    w, x = rng.normal(size=5), rng.normal(size=(3, 5))
    y = rng.choice([-1.0, 1.0], size=3)
    found = worst_margins(*map(torch.as_tensor, (w, np.float64(0.3), x, y)), 0.2, norm).numpy()
    steps = rng.normal(size=(200, 5))
    sizes = {"linf": np.abs(steps).max(1), "l2": np.linalg.norm(steps, axis=1)}
    size = sizes.get(norm, np.abs(steps).sum(1))
    steps = 0.2 * steps / size[:, None]
    sampled = y * ((x[None] + steps[:, None]) @ w + 0.3)
    assert (sampled >= found - 1e-12).all()
    single = np.zeros(5)
    single[np.abs(w).argmax()] = np.sign(w[np.abs(w).argmax()])
    worst = {"linf": np.sign(w), "l2": w / np.linalg.norm(w), "l1": single}[norm]
    at_worst = y * ((x - 0.2 * y[:, None] * worst) @ w + 0.3)
    assert at_worst == pytest.approx(found, abs=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_certified_loss_of_a_linear_network_is_the_closed_form(norm: Norm) -> None:
    """Bounds of linear networks are exact: what a script trains is this very loss."""
    x, y = zeros_and_ones()
    x, signs = x[:20].float(), y[:20].float()
    module = nn.Linear(64, 2)
    net = Trainable.of(module.eval(), (64,))
    region = intersect(ball(x, 0.1, norm))
    rows = class_rows((signs > 0).long(), 2)
    claim = Claim(region, (Application(unchanged, region),), Atom((rows,), x.new_zeros(1, 1)))
    with torch.no_grad():
        found = robust_cross_entropy(lower(net, claim, interval()))
        weight, bias = (p[1] - p[0] for p in (module.weight, module.bias))
        expected = robust_logistic_loss(weight, bias, x, signs, 0.1, norm)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def zeros_and_ones() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = digits()
    chosen = y <= 1
    return torch.as_tensor(x[chosen]), torch.as_tensor(np.where(y[chosen] == 1, 1.0, -1.0))


def test_the_closed_form_is_what_adversarial_training_finds() -> None:
    """Descent on the loss at the worst points, found by the sign of the gradient of each step."""
    x, y = zeros_and_ones()
    radius = 0.2
    model = robust_logistic_regression(x, y, radius)
    weight = torch.zeros_like(x[0]).requires_grad_()
    bias = x.new_zeros(()).requires_grad_()
    optimiser = torch.optim.Adam([weight, bias], lr=0.2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 1500)
    for _ in range(1500):
        points = x.clone().requires_grad_()
        loss = F.softplus(-y * (points @ weight + bias)).sum()
        (gradient,) = torch.autograd.grad(loss, points)
        optimiser.zero_grad()
        moved = x + radius * gradient.sign()
        F.softplus(-y * (moved @ weight + bias)).mean().backward()
        optimiser.step()
        scheduler.step()
    found = robust_logistic_loss(weight.detach(), bias.detach(), x, y, radius).item()
    assert model.loss <= found + 1e-9
    assert found == pytest.approx(model.loss, rel=1e-2)


def test_zeros_and_ones_stay_apart_under_perturbation() -> None:
    x, y = zeros_and_ones()
    model = robust_logistic_regression(x, y, 0.1)
    plain = robust_logistic_regression(x, y, 0.0, steps=30)
    shares = [
        float((worst_margins(m.weight, m.bias, x, y, 0.1) > 0).double().mean())
        for m in (model, plain)
    ]
    assert shares[0] >= 0.99
    assert shares[0] >= shares[1]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_minimiser_has_no_way_down(norm: Norm) -> None:
    x, y = zeros_and_ones()
    model = robust_logistic_regression(x, y, 0.1, norm)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        step = 1e-3 * torch.randn(x.shape[1], generator=generator, dtype=x.dtype)
        moved = robust_logistic_loss(model.weight + step, model.bias, x, y, 0.1, norm)
        assert moved.item() >= model.loss - 1e-6
