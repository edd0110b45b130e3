"""The attack with a penalty on distance convinces a classifier, from near by."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from specdsl.data.sklearn_sets import read_sklearn
from specdsl.training.runtime.attacks.distance import DistancePenalty
from specdsl.training.runtime.loop.data import samples


def test_nine_of_ten_digits_are_taken_for_another_with_confidence() -> None:
    torch.manual_seed(0)
    digits = samples(read_sklearn("digits"), scale=1 / 16, shape=(64,))
    assert digits.labels is not None
    module = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(digits.inputs), digits.labels).backward()
        optimiser.step()
    before = [p.grad for p in module.parameters()]
    few = digits[:50]
    assert few.labels is not None
    goal = (few.labels + 1) % 10
    found = DistancePenalty()(module, few.inputs, goal)
    assert float((found.confidence >= 0.95).double().mean()) >= 0.9
    assert float(found.points.min()) >= 0
    assert float(found.points.max()) <= 1
    assert torch.allclose(found.distance, (found.points - few.inputs).norm(dim=1), atol=1e-5)
    scores = module(found.points).softmax(1).gather(1, goal[:, None])[:, 0]
    assert torch.allclose(scores, found.confidence, atol=1e-5)
    # A larger weight of the distance keeps nearer to the samples.
    nearer = DistancePenalty(weight=1.0)(module, few.inputs, goal)
    both = (found.confidence >= 0.95) & (nearer.confidence >= 0.95)
    assert float(nearer.distance[both].mean()) <= float(found.distance[both].mean()) + 0.05
    assert [p.grad for p in module.parameters()] == before


def test_an_attack_without_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        DistancePenalty(steps=0)(nn.Linear(2, 2), torch.zeros(1, 2), torch.zeros(1).long())
