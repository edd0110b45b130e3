"""Weights that follow the sizes of two losses."""

from __future__ import annotations

import pytest
import torch

from specdsl.training.runtime.losses.balance import Balance


def after(first: list[float], second: list[float]) -> Balance:
    """One that has seen an epoch of these losses."""
    balance = Balance("balanced")
    for one, other in zip(first, second, strict=True):
        balance.weigh(0.5, torch.tensor(one), torch.tensor(other))
    balance.update()
    return balance


def test_the_first_epoch_weighs_by_the_share() -> None:
    balance = Balance("balanced")
    assert balance.log() == {}
    assert balance.weigh(0.25, torch.tensor(4.0), torch.tensor(2.0)).item() == pytest.approx(2.5)
    assert balance.log() == {"balanced": 0.25}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
def test_losses_as_large_as_in_the_last_epoch_have_their_shares_of_the_sum(share: float) -> None:
    balance = after([8.0, 4.0], [1.0, 2.0])
    first, second = torch.tensor(6.0, requires_grad=True), torch.tensor(1.5, requires_grad=True)
    total = balance.weigh(share, first, second)
    total.backward()
    assert first.grad is not None
    assert second.grad is not None
    assert first.grad.item() + second.grad.item() == pytest.approx(1.0)
    assert (first.grad * first / total).item() == pytest.approx(share)
    assert balance.log()["balanced"] == pytest.approx(first.grad.item())


def test_an_epoch_without_steps_or_numbers_changes_nothing() -> None:
    balance = after([8.0], [1.0])
    expected = balance.weigh(0.5, torch.tensor(1.0), torch.tensor(1.0))
    for value in (None, float("nan")):
        if value is not None:
            balance.weigh(0.5, torch.tensor(value), torch.tensor(1.0))
        balance.update()
        balance.update()
    again = after([8.0], [1.0])
    again.load_state_dict(balance.state_dict())
    assert again.weigh(0.5, torch.tensor(1.0), torch.tensor(1.0)) == expected
