"""Weights to begin with: repeatable, of the deviation that was said, nothing silent."""

from __future__ import annotations

import copy
from math import pi, sqrt

import pytest
import torch
from torch import nn

from specdsl.backend import Unsupported
from specdsl.training.runtime.networks.initialise import default, ibp, keep
from tests.training.runtime.digits import network


def state(module: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in module.state_dict().values()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_keep_changes_nothing_and_says_so() -> None:
    net = network()
    before = state(net)
    done = keep(net)
    assert same(before, state(net))
    assert done.lines() == ["init keep: weights are as given"]


def test_default_is_what_pytorch_does_with_that_seed() -> None:
    net = network(3)
    seed = int(torch.randint(2**31, (), generator=generator(7)))
    default(net, generator(7))
    assert same(state(net), state(network(seed)))


@pytest.mark.parametrize("scheme", ["default", "ibp"])
def test_the_generator_alone_decides_and_no_other_is_touched(scheme: str) -> None:
    found = []
    for start in (0, 1):
        torch.manual_seed(start)
        before = torch.random.get_rng_state()
        net = network(start)
        if scheme == "ibp":
            ibp(net, (64,), generator(5))
        else:
            default(net, generator(5))
        found.append(state(net))
        assert torch.equal(before, torch.random.get_rng_state())
    assert same(*found)


def test_ibp_draws_all_but_the_last_layer_by_its_rule() -> None:
    net = network(0, (64, 400, 300, 10))
    done = ibp(net, (64,), generator(0))
    fresh = network(0, (64, 400, 300, 10))
    default(fresh, generator(0))
    for index, reads in ((0, 64), (2, 400)):
        layer = net[index]
        assert isinstance(layer, nn.Linear)
        deviation = sqrt(2 * pi) / reads
        assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.02)
        assert torch.equal(layer.bias, fresh[index].bias)
    assert torch.equal(net[4].weight, fresh[4].weight)
    assert [line.layer for line in done.layers] == ["0", "2", "4"]
    assert done.layers[0].drawn.startswith("normal with deviation 0.039")
    assert done.layers[2].drawn == "as PyTorch does"


def test_expected_widths_neither_grow_nor_shrink() -> None:
    """The law the rule is made for: half of E|W| times the number read is 1 on average."""
    net = network(0, (300, 300, 300, 300, 10))
    ibp(net, (300,), generator(0))
    radius = torch.ones(300)
    for layer in net:
        if isinstance(layer, nn.Linear) and layer.out_features == 300:
            # A ReLU halves widths: half the neurons are on the side where it is flat.
            radius = layer.weight.detach().abs() @ radius / 2
            assert float(radius.mean()) == pytest.approx(1.0, rel=0.05)


class Backwards(nn.Module):
    """Registers its last layer first."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(400, 10)
        self.body = nn.Conv2d(1, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.body(x)).relu().flatten(1).repeat(1, 100)[:, :400])


def test_the_last_layer_is_the_one_that_runs_last() -> None:
    net = Backwards()
    net.norm.running_mean = torch.full((4,), 5.0)
    copied = copy.deepcopy(net)
    done = {s.layer: s.drawn for s in ibp(net, (1, 8, 8), generator(0)).layers}
    assert done["head"] == "as PyTorch does"
    assert done["body"] == f"normal with deviation {sqrt(2 * pi) / 9:.4g}"
    assert torch.equal(net.norm.running_mean, torch.zeros(4))
    assert all(part.training for part in net.modules())
    assert not same(state(net), state(copied))


class Bare(nn.Module):
    """Has a parameter of its own that nothing can draw."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(Unsupported, match="the parameter `scale`"):
        default(Bare(), generator(0))
