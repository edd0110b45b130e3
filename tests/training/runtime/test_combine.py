"""Losses made of two, and parts of a batch: values, gradients, and the ends."""

from __future__ import annotations

import pytest
import torch

from specdsl.training.runtime.losses.combine import (
    balanced_weights,
    convex_margins,
    geometric,
    product,
    random_subset,
    scaled_gradient,
)


def leaf(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def test_margins_lie_between_both() -> None:
    certified, adversarial = torch.tensor([[-2.0, 1.0]]), torch.tensor([[2.0, 3.0]])
    assert torch.equal(convex_margins(0.25, certified, adversarial), torch.tensor([[1.0, 2.5]]))
    assert torch.equal(convex_margins(1.0, certified, adversarial), certified)
    assert torch.equal(convex_margins(0.0, certified, adversarial), adversarial)


def test_the_geometric_mean_has_the_gradient_of_its_formula() -> None:
    certified, adversarial = leaf(3.0), leaf(0.5)
    loss = geometric(0.3, certified, adversarial)
    loss.backward()
    assert loss.item() == pytest.approx(3.0**0.3 * 0.5**0.7)
    assert certified.grad is not None
    assert adversarial.grad is not None
    assert certified.grad.item() == pytest.approx(0.3 * loss.item() / 3.0)
    assert adversarial.grad.item() == pytest.approx(0.7 * loss.item() / 0.5)


def test_the_geometric_mean_of_nothing_is_nothing_and_has_a_gradient() -> None:
    certified, adversarial = leaf(0.0), leaf(1.0)
    loss = geometric(0.5, certified, adversarial)
    loss.backward()
    assert 0 <= loss.item() <= 1e-5
    assert certified.grad is not None
    assert bool(certified.grad.isfinite())


def test_a_product_counts_the_first_gradient_as_often_as_asked() -> None:
    first, second = leaf(2.0), leaf(3.0)
    loss = product(first, second, scale=5.0)
    loss.backward()
    assert loss.item() == 6.0
    assert first.grad is not None
    assert second.grad is not None
    assert first.grad.item() == 15.0
    assert second.grad.item() == 2.0


def test_a_scaled_gradient_leaves_the_value() -> None:
    x = leaf(1.7)
    y = scaled_gradient(x, 0.25)
    y.backward()
    assert y.item() == pytest.approx(1.7)
    assert x.grad is not None
    assert x.grad.item() == 0.25


@pytest.mark.parametrize(
    ("count", "share", "wanted"),
    [(100, 0.07, 7), (10, 0.25, 3), (5, 0.01, 1), (5, 1.0, 5), (5, 0.0, 1), (100, 0.29, 29)],
)
def test_a_subset_has_its_share_once_each_in_order(count: int, share: float, wanted: int) -> None:
    found = random_subset(count, share, torch.Generator().manual_seed(0)).tolist()
    assert len(found) == wanted
    assert found == sorted(set(found))
    assert set(found) <= set(range(count))


def test_subsets_reach_every_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    seen = {i for _ in range(60) for i in random_subset(20, 0.2, generator).tolist()}
    assert seen == set(range(20))


def test_balanced_weights_give_the_share_of_the_sum() -> None:
    certified, clean = leaf(4.0), leaf(0.5)
    first, second = balanced_weights(0.8, certified, clean)
    assert (first + second).item() == pytest.approx(1.0)
    assert not first.requires_grad
    total = first * certified + second * clean
    assert (first * certified / total).item() == pytest.approx(0.8)
    assert balanced_weights(0.8, leaf(0.0), leaf(0.0))[0].item() == pytest.approx(0.8)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_shares_outside_are_refused(alpha: float) -> None:
    one = torch.ones(1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        convex_margins(alpha, one, one)
    with pytest.raises(ValueError, match="between 0 and 1"):
        geometric(alpha, one, one)
    with pytest.raises(ValueError, match="between 0 and 1"):
        random_subset(3, alpha, torch.Generator())
