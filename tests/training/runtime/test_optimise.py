"""Steps, and what stops them; which weights are kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from specdsl.diagnostics import SpecError, render
from specdsl.training.runtime.loop import optimise
from specdsl.training.runtime.loop.optimise import (
    Budget,
    Optimisers,
    clip_gradients,
    seeded,
    set_lr,
)
from specdsl.training.runtime.loop.selection import Best
from tests.conftest import Golden


@pytest.fixture(autouse=True)
def restored() -> object:
    """`seeded` sets what belongs to the whole process."""
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


def test_every_optimiser_goes_down() -> None:
    for kind in optimise.OPTIMIZERS:
        weight = nn.Parameter(torch.tensor([3.0, -2.0]))
        optimiser = optimise.optimizer([weight], kind, 0.05)
        losses = [
            float(optimise.step({"loss": weight.square()}, optimiser, epoch=1)) for _ in range(50)
        ]
        assert losses[-1] < losses[0] / 2, kind


def test_options_and_rates_reach_the_optimiser() -> None:
    optimiser = optimise.optimizer([nn.Parameter(torch.ones(1))], "sgd", 0.1, momentum=0.9)
    assert optimiser.param_groups[0]["momentum"] == 0.9
    set_lr(optimiser, 0.01)
    assert optimiser.param_groups[0]["lr"] == 0.01


def moved(optimisers: Optimisers, epochs: range) -> Tensor:
    """The weight after some epochs of one step each."""
    weight = next(optimisers.module.parameters())
    for epoch in epochs:
        optimiser = optimisers.at(epoch)
        set_lr(optimiser, 0.1)
        optimise.step({"loss": (weight - 3).square()}, optimiser, epoch=epoch)
    return weight.detach().clone()


def test_a_stage_begins_with_its_own_optimiser_and_resumes_with_its_memory() -> None:
    kinds: dict[int, tuple[optimise.Kind, dict[str, float]]]
    kinds = {0: ("adam", {}), 3: ("sgd", {"momentum": 0.9})}
    whole = Optimisers(nn.Linear(1, 1, bias=False), kinds)
    start = whole.module.state_dict()["weight"].clone()
    end = moved(whole, range(8))
    for stop in (2, 3, 5):
        module = nn.Linear(1, 1, bias=False)
        module.load_state_dict({"weight": start})
        first = Optimisers(module, kinds)
        moved(first, range(stop))
        state = first.state_dict()
        again = Optimisers(module, kinds)
        again.load_state_dict(state)
        assert torch.equal(moved(again, range(stop, 8)), end)
    assert isinstance(whole.at(7), torch.optim.SGD)
    with pytest.raises(ValueError, match="begins in epoch 4"):
        Optimisers(nn.Linear(1, 1), {0: ("adam", {})}).load_state_dict({"first": 4, "current": {}})


def test_long_gradients_are_shortened_and_short_ones_kept() -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimiser = optimise.optimizer([weight], "sgd", 1.0)
    weight.grad = torch.tensor([30.0, 40.0])
    assert float(clip_gradients(optimiser, 10.0)) == 50
    assert torch.allclose(weight.grad, torch.tensor([6.0, 8.0]))
    assert float(clip_gradients(optimiser, 11.0)) == pytest.approx(10)
    assert float(clip_gradients(optimiser, None)) == pytest.approx(10)


def test_a_term_that_breaks_is_named_before_anything_changes(golden: Golden) -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimiser = optimise.optimizer([weight], "sgd", 1.0)
    terms = {"clean_loss": weight.sum(), "certified_loss": weight.sum().log() - weight.sum().log()}
    with pytest.raises(SpecError) as caught:
        optimise.step(terms, optimiser, epoch=7)
    golden.check("codes/E1101.txt", render(caught.value.diagnostics[0]))
    assert weight.tolist() == [0, 0]


def test_a_gradient_that_breaks_stops_too() -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimiser = optimise.optimizer([weight], "sgd", 1.0)
    # The root has an infinite slope at 0, and a value.
    with pytest.raises(SpecError, match="gradient of `a` is not finite in epoch 2"):
        optimise.step({"a": weight.sqrt().sum()}, optimiser, epoch=2, clip=1.0)
    assert weight.tolist() == [0, 0]


def trained(seed: int) -> Tensor:
    generator = seeded(seed, threads=1)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2))
    optimiser = optimise.optimizer(module.parameters(), "adam", 1e-2)
    for _ in range(5):
        x = torch.rand(16, 4, generator=generator)
        optimise.step({"loss": module(x).square().mean()}, optimiser, epoch=1, clip=1.0)
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_one_seed_gives_the_same_weights_twice() -> None:
    assert torch.equal(trained(3), trained(3))
    assert not torch.equal(trained(3), trained(4))
    assert torch.get_num_threads() == 1


def test_a_budget_counts_the_runs_before() -> None:
    assert not Budget(None).passed
    budget = Budget(1000.0)
    assert not budget.passed
    budget.load_state_dict({"spent": 999.0})
    assert 999 <= budget.elapsed < 1000
    assert not budget.passed
    budget.load_state_dict({"spent": budget.state_dict()["spent"] + 2})
    assert budget.passed


# --- selection ------------------------------------------------------------------------------------


def offers(best: Best, *epochs: tuple[float, float]) -> nn.Linear:
    """Epochs of (measure, clean accuracy), with the number of the epoch as their weights."""
    module = nn.Linear(1, 1)
    for epoch, (measure, clean) in enumerate(epochs, 1):
        nn.init.constant_(module.weight, float(epoch))
        best.offer(module, epoch, measure, clean)
    return module


def test_the_best_measure_among_the_accurate_is_kept() -> None:
    best = Best(least_clean=0.9)
    module = offers(best, (0.5, 0.95), (0.9, 0.8), (0.6, 0.9), (0.6, 0.99), (float("nan"), 1.0))
    assert best.epoch == 3
    assert best.restore(module) == 3
    assert float(module.weight.detach()) == 3


def test_nothing_is_restored_where_no_epoch_qualified() -> None:
    best = Best(least_clean=0.9, patience=1)
    module = offers(best, (0.5, 0.1), (0.6, 0.2))
    assert best.restore(module) is None
    assert float(module.weight.detach()) == 2
    assert not best.exhausted
    with pytest.raises(ValueError, match="clean accuracy"):
        best.offer(module, 3, 0.5, None)


def test_patience_counts_epochs_since_the_best() -> None:
    best = Best(patience=2)
    offers(best, (0.5, 0.9), (0.4, 0.9))
    assert not best.exhausted
    other = Best(patience=2)
    other.load_state_dict(best.state_dict())
    other.offer(nn.Linear(1, 1), 3, 0.45, None)
    assert other.exhausted
    other.offer(nn.Linear(1, 1), 4, 0.55, None)
    assert not other.exhausted
