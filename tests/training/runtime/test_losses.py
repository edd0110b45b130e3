"""Losses against their formulas in numpy, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from specdsl.training.runtime.losses import losses

CLOSE = 1e-12


@pytest.fixture
def scores() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    first, second = (torch.randn(7, 5, generator=generator).double() * 3 for _ in range(2))
    return first, second, torch.randint(5, (7,), generator=generator)


def softmax(z: np.ndarray) -> np.ndarray:
    powers = np.exp(z)
    return powers / powers.sum(1, keepdims=True)


def test_robust_cross_entropy_of_class_margins_is_cross_entropy(
    scores: tuple[Tensor, Tensor, Tensor],
) -> None:
    z, _, y = scores
    others = np.array([[z[i, y[i]] - z[i, t] for t in range(5) if t != y[i]] for i in range(7)])
    expected = np.log1p(np.exp(-others).sum(1)).mean()
    found = losses.robust_cross_entropy(torch.as_tensor(others))
    assert abs(found.item() - expected) < CLOSE
    assert abs(losses.cross_entropy(z, y).item() - expected) < CLOSE
    assert abs(losses.clean_loss(z, y).item() - expected) < CLOSE


def test_squared_error(scores: tuple[Tensor, Tensor, Tensor]) -> None:
    one, other, _ = scores
    expected = ((one.numpy() - other.numpy()) ** 2).mean()
    assert abs(losses.clean_loss(one, other).item() - expected) < CLOSE
    flat = losses.mean_squared_error(one[:, :1], other[:, 0])
    assert abs(flat.item() - ((one - other)[:, 0] ** 2).mean().item()) < CLOSE
    with pytest.raises(ValueError, match="targets"):
        losses.mean_squared_error(one, other[:, 0])


def test_divergence(scores: tuple[Tensor, Tensor, Tensor]) -> None:
    one, other, _ = scores
    p, q = softmax(one.numpy()), softmax(other.numpy())
    expected = (p * (np.log(p) - np.log(q))).sum(1).mean()
    assert abs(losses.trades_divergence(one, other).item() - expected) < CLOSE
    assert losses.trades_divergence(one, one).item() == 0.0


def test_distillation(scores: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teacher, _ = scores
    teacher = teacher.requires_grad_()
    expected = -4 * (
        softmax(teacher.detach().numpy() / 2) * np.log(softmax(student.numpy() / 2))
    ).sum(1)
    found = losses.distillation(student, teacher, temperature=2.0)
    assert abs(found.item() - expected.mean()) < CLOSE
    assert not found.requires_grad
    with pytest.raises(ValueError, match="positive"):
        losses.distillation(student, teacher, temperature=0.0)


def test_losses_stay_finite_for_large_margins() -> None:
    margins = torch.tensor([[1e4, -1e4], [1e4, 1e4]], requires_grad=True)
    loss = losses.robust_cross_entropy(margins)
    loss.backward()
    assert loss.item() == pytest.approx(5e3)
    assert margins.grad is not None
    assert bool(margins.grad.isfinite().all())
