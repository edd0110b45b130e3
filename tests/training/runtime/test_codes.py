"""Codes, their divergence and reconstructions against their formulas in numpy, on digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from specdsl.training.api import kl_loss, normal, reconstruction_loss
from tests.training.runtime.digits import batch, network

CLOSE = 1e-12
# Draws of which an expected value is the mean, and how far from it that may be.
DRAWS, NEAR = 20_000, 0.05


def outputs(seed: int) -> torch.Tensor:
    """Codes of some digits by a network that was not trained, in float64."""
    x, _ = batch(32)
    return network(seed, (64, 16, 5)).double()(x.double())


def test_a_code_is_its_mean_and_noise_as_wide_as_its_deviation() -> None:
    mean, log_deviation = outputs(0), outputs(1)
    code = normal(mean, log_deviation, torch.Generator().manual_seed(4))
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(4)).double()
    wanted = mean.detach().numpy() + np.exp(log_deviation.detach().numpy()) * noise.numpy()
    assert np.abs(code.sample.detach().numpy() - wanted).max() < CLOSE


def test_gradients_flow_into_mean_and_deviation() -> None:
    mean, log_deviation = (torch.zeros(3, 2, requires_grad=True) for _ in range(2))
    code = normal(mean, log_deviation, torch.Generator().manual_seed(0))
    code.sample.sum().backward()
    assert torch.equal(mean.grad, torch.ones(3, 2))  # type: ignore[arg-type]
    # With a deviation of 1 the derivative by its logarithm is the noise.
    assert torch.allclose(log_deviation.grad, code.sample.detach())  # type: ignore[arg-type]


def test_the_divergence_is_that_of_the_formula() -> None:
    mean, log_deviation = outputs(0), outputs(1)
    code = normal(mean, log_deviation, torch.Generator())
    m, s = mean.detach().numpy(), np.exp(log_deviation.detach().numpy())
    wanted = ((s**2 + m**2 - 1) / 2 - np.log(s)).sum(1).mean()
    assert abs(kl_loss(code).item() - wanted) < CLOSE


def test_the_divergence_is_the_mean_of_what_it_measures() -> None:
    """`KL(p || q)` is the mean of `log p - log q` over draws from p."""
    mean, log_deviation = torch.full((DRAWS, 1), 0.5), torch.full((DRAWS, 1), -0.3)
    code = normal(mean, log_deviation, torch.Generator().manual_seed(1))
    p = torch.distributions.Normal(mean, log_deviation.exp())
    q = torch.distributions.Normal(0.0, 1.0)
    drawn = (p.log_prob(code.sample) - q.log_prob(code.sample)).mean()
    assert abs(float(kl_loss(code) - drawn)) < NEAR


def test_the_standard_normal_distribution_is_nowhere_away_from_itself() -> None:
    nothing = torch.zeros(4, 3)
    assert float(kl_loss(normal(nothing, nothing, torch.Generator()))) == 0


def test_reconstructions_are_compared_entry_by_entry() -> None:
    x, _ = batch(32)
    made = network(2, (64, 8, 64))(x).detach()
    wanted = ((made.numpy().astype(float) - x.numpy().astype(float)) ** 2).mean()
    assert abs(float(reconstruction_loss(made, x.reshape(-1, 1, 8, 8))) - wanted) < 1e-7


def test_mean_and_deviation_have_one_shape() -> None:
    with pytest.raises(ValueError, match="shapes"):
        normal(torch.zeros(2, 3), torch.zeros(2, 1), torch.Generator())
