"""Pruned networks: the counts that were said, the same network where nothing was pruned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from specdsl.backend import Unsupported
from specdsl.bounds.interval import Interval
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph.runtime import Runtime
from specdsl.graph.to_onnx import export
from specdsl.graph.torch_import.load import load_module
from specdsl.training.runtime.bounds.lower import crown, interval
from specdsl.training.runtime.loop.checkpoint import Checkpoint
from specdsl.training.runtime.loop.selection import Best
from specdsl.training.runtime.networks.graph_module import from_onnx
from specdsl.training.runtime.networks.network import Trainable
from specdsl.training.runtime.networks.prune import Pruning, prune_weights
from specdsl.training.runtime.networks.prune_relus import (
    Prunable,
    prune_relus,
    put_pruned,
    unstable_neurons,
)
from specdsl.training.runtime.networks.pruned import PrunedReLU
from specdsl.training.runtime.networks.save import save_onnx
from specdsl.training.runtime.regularisers.claims import everywhere, unstable
from tests.training.runtime.digits import batch, network, numpy_intervals, trained, weights


def region_of(x: Tensor, radius: float) -> InputRegion:
    flat = x.flatten(1)
    return InputRegion(Interval((flat - radius).clamp(0, 1), (flat + radius).clamp(0, 1)))


# --- weights -------------------------------------------------------------------------------------


def test_small_weights_become_0_and_stay_0() -> None:
    net = network()
    before = weights(net)
    mask = prune_weights(net, 0.05)
    for (new, bias), (old, old_bias), (zero, size) in zip(
        weights(net), before, mask.counts().values(), strict=True
    ):
        assert np.array_equal(new, np.where(np.abs(old) < 0.05, 0, old))
        assert np.array_equal(bias, old_bias)
        assert (zero, size) == ((np.abs(old) < 0.05).sum(), old.size)
    x, y = batch(50)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(3):
        optimiser.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimiser.step()
        mask.apply(net)
    for (new, _), (old, _) in zip(weights(net), before, strict=True):
        assert ((new == 0) == (np.abs(old) < 0.05)).all()
    assert mask.lines()[0].startswith("prune weights: ")


def test_thresholds_below_0_and_networks_without_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        prune_weights(network(), -1.0)
    with pytest.raises(Unsupported, match="without weights"):
        prune_weights(nn.ReLU(), 1e-3)


# --- ReLUs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stable", [0.5, 0.9, 1.0])
def test_masks_are_the_shares_of_signs_that_numpy_counts(stable: float) -> None:
    net = trained()
    x, _ = batch(200)
    region = region_of(x, 0.05)
    lower, upper = numpy_intervals(
        net, region.box.lower.double().numpy(), region.box.upper.double().numpy()
    )[1]
    parts = (region.take(torch.arange(0, 150)), region.take(torch.arange(150, 200)))
    done = prune_relus(Trainable.of(net, (64,)), parts, stable)
    relu = net[1]
    assert isinstance(relu, PrunedReLU)
    active, inactive = (lower >= 0).mean(0) >= stable, (upper <= 0).mean(0) >= stable
    active &= ~inactive
    assert np.array_equal(relu.passing.numpy() == 1, active)
    assert np.array_equal(relu.switching.numpy() == 1, ~active & ~inactive)
    (layer,) = done.layers
    assert (layer.layer, layer.neurons) == ("1", 32)
    assert (layer.identity, layer.zero) == (active.sum(), inactive.sum())


def test_inputs_whose_neurons_have_the_pruned_sign_give_the_same_output() -> None:
    """Only where a pruned neuron would have switched does the network change."""
    net = trained()
    with torch.no_grad():
        # Some neurons to prune either way, all others as they are.
        net[0].bias[:6] -= 1.5
        net[0].bias[6:9] += 1.5
    x, _ = batch(300)
    before, hidden = net(x).detach(), net[0](x).detach()
    prune_relus(Trainable.of(net, (64,)), [region_of(x, 0.03)], 0.9)
    relu = net[1]
    assert isinstance(relu, PrunedReLU)
    zero = (relu.switching == 0) & (relu.passing == 0)
    assert int(zero.sum()) > 0
    assert int(relu.passing.sum()) > 0
    same = ~((hidden > 0) & zero).any(1) & ~((hidden < 0) & (relu.passing == 1)).any(1)
    assert 0 < int(same.sum()) < 300
    assert torch.allclose(net(x)[same], before[same], atol=1e-5)
    assert not torch.allclose(net(x)[~same], before[~same], atol=1e-5)


@given(seed=st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_without_active_masks_it_is_a_relu(seed: int) -> None:
    x = torch.as_tensor(np.random.default_rng(seed).normal(size=(5, 7))).float()
    assert torch.equal(PrunedReLU(torch.ones(7), torch.zeros(7))(x), x.relu())
    assert torch.equal(PrunedReLU(torch.zeros(7), torch.ones(7))(x), x)
    assert not PrunedReLU(torch.zeros(7), torch.zeros(7))(x).any()


def convolutional() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            nn.Conv2d(1, 4, 3, stride=2, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64, 20),
            nn.ReLU(),
            nn.Linear(20, 10),
        )
    with torch.no_grad():
        net[1].bias[0] -= 3.0
        net[5].bias[:5] += 8.0
    return net


def test_a_pruned_network_is_bounded_exported_and_runs_the_same() -> None:
    net = convolutional()
    x, _ = batch(60)
    net(x)
    net.train()
    region = region_of(x, 0.05)
    trainable = Trainable.of(net, (64,))
    net.eval()
    before = unstable_neurons(trainable.compiled(), region)
    net.train()
    done = prune_relus(trainable, [region], 0.7)
    assert all(part.training for part in net.modules())
    net.eval()
    after = unstable_neurons(done.net.compiled(), region)
    removed = sum(p.identity + p.zero for p in done.layers)
    assert removed > 16
    assert int(after.sum()) < int(before.sum())

    graph = load_module(net, [(1, 64)], "net").graph
    found = Runtime(export(graph, "net"), "net").run(x[:1].double().numpy())
    assert found.reshape(-1) == pytest.approx(net(x[:1]).detach().numpy()[0], abs=1e-4)
    rows = torch.eye(10)[None]
    for method in (interval(), crown()):
        bound = method(done.net, region, rows)
        assert bool((bound <= net(x) + 1e-4).all())


def test_what_was_pruned_stays_pruned_and_loads_again() -> None:
    net = trained()
    x, _ = batch(100)
    first = prune_relus(Trainable.of(net, (64,)), [region_of(x, 0.02)], 0.95)
    mask = net[1].switching.clone(), net[1].passing.clone()
    second = prune_relus(first.net, [region_of(x, 0.01)], 0.6)
    gone = mask[0] == 0
    assert bool((net[1].switching[gone] == 0).all())
    assert torch.equal(net[1].passing[gone], mask[1][gone])
    counts = [p.identity + p.zero for done in (first, second) for p in done.layers]
    assert 0 < counts[0] < counts[1]
    fresh = network(9)
    put_pruned(fresh, net.state_dict())
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(fresh(x), net(x))
    assert not fresh[1].training
    lines = second.lines()
    assert lines[0].startswith("prune relus: ")
    assert len(lines) == 2


class Residual(nn.Module):
    """ReLUs as functions, one of them on two branches that meet again."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(64, 20), nn.Linear(20, 20)
        self.last = nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu(self.one(x))
        return self.last(F.relu(self.two(first) + first))


def in_file(module: nn.Module, path: Path) -> Trainable:
    """A network as `onnx(...)` trains it."""
    save_onnx(Trainable.of(module, (64,)), path, "recipe")
    return Trainable.of(from_onnx(path), (64,))


def test_networks_of_graphs_are_pruned_as_those_of_parts(tmp_path: Path) -> None:
    module, x = trained(), batch(100)[0]
    net = in_file(module, tmp_path / "net.onnx")
    for radius, stable in ((0.02, 0.95), (0.01, 0.6)):
        regions = [region_of(x, radius)]
        parts, graph = (prune_relus(n, regions, stable) for n in (Trainable.of(module, (64,)), net))
        assert [(p.neurons, p.identity, p.zero) for p in graph.layers] == [
            (p.neurons, p.identity, p.zero) for p in parts.layers
        ]
        assert graph.layers[0].identity + graph.layers[0].zero > 0
        net = graph.net
        with torch.no_grad():
            assert torch.allclose(net(x), module(x), atol=1e-4)
            assert torch.allclose(net.at(x), module(x), atol=1e-4)


def test_a_pruned_graph_is_bounded_trained_saved_and_read_again(tmp_path: Path) -> None:
    torch.manual_seed(3)
    net = in_file(Residual(), tmp_path / "net.onnx")
    x, y = batch(60)
    region = region_of(x, 0.05)
    before = unstable_neurons(net.compiled(), region)
    done = prune_relus(net, [region], 0.7)
    assert len(done.layers) == 2
    assert sum(p.identity + p.zero for p in done.layers) > 0
    net = done.net
    assert int(unstable_neurons(net.compiled(), region).sum()) < int(before.sum())
    masks = {k: v.clone() for k, v in net.module.state_dict().items() if "relu" in k}
    optimiser = torch.optim.Adam(net.module.parameters(), lr=1e-2)
    F.cross_entropy(net(x), y).backward()
    optimiser.step()
    # Masks are no weights: a step leaves them.
    assert len(masks) == 4
    assert all(torch.equal(net.module.state_dict()[k], v) for k, v in masks.items())
    with torch.no_grad():
        out, bound = net(x), crown()(net, region, torch.eye(10)[None])
        assert bool((bound <= out + 1e-4).all())
        save_onnx(net, tmp_path / "pruned.onnx", "recipe")
        content = (tmp_path / "pruned.onnx").read_bytes()
        found = Runtime(content, "net").run(x[:1].double().numpy())
        assert found.reshape(-1) == pytest.approx(out[0].numpy(), abs=1e-4)
        fresh = from_onnx(tmp_path / "net.onnx")
        Prunable(fresh).load_state_dict(net.module.state_dict())
        assert torch.equal(fresh(x), net.module(x))
        assert torch.allclose(Trainable.of(fresh, (64,)).at(x), out, atol=1e-5)


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.one(x))


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.two(self.relu(self.one(x))))


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (Functional(), "1 ReLUs where `nn.ReLU` parts run 0 times"),
        (Shared(), "2 ReLUs where `nn.ReLU` parts run 2 times"),
        (nn.Sequential(nn.Linear(4, 2)), "a network without ReLUs"),
    ],
)
def test_relus_that_cannot_be_replaced_are_refused(module: nn.Module, says: str) -> None:
    net = Trainable.of(module.eval(), (4,))
    region = region_of(torch.full((2, 4), 0.5), 0.1)
    with pytest.raises(Unsupported, match=says):
        prune_relus(net, [region], 0.9)


def test_shares_and_inputs_that_say_nothing_are_refused() -> None:
    net = Trainable.of(network(), (64,))
    with pytest.raises(ValueError, match="between 1/2 and 1"):
        prune_relus(net, [], 0.4)
    with pytest.raises(ValueError, match="no inputs"):
        prune_relus(net, [], 0.9)


# --- in a training -------------------------------------------------------------------------------


def test_a_second_pruning_keeps_what_the_first_took() -> None:
    module = network()
    pruning = Pruning()
    pruning.apply(module)
    first = pruning.weights(module, 0.05)
    zeros = {name: weight == 0 for name, weight in module.named_parameters() if weight.ndim > 1}
    assert first[0].startswith("prune weights:")
    # 0 is below no threshold of 0: it is pruned all the same.
    pruning.weights(module, 0.0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    pruning.apply(module)
    for name, parameter in module.named_parameters():
        if name in zeros:
            assert torch.equal(parameter == 0, zeros[name])


def test_masks_and_pruned_modules_come_back_from_a_checkpoint(tmp_path: Path) -> None:
    def parts(module: nn.Module) -> tuple[Pruning, Checkpoint]:
        pruning = Pruning()
        path = tmp_path / "c.checkpoint"
        return pruning, Checkpoint(path, "recipe", pruning=pruning, module=Prunable(module))

    module = trained()
    pruning, checkpoint = parts(module)
    pruning.weights(module, 0.05)
    net = prune_relus(Trainable.of(module, (64,)), [region_of(batch(100)[0], 0.05)], 0.7).net
    checkpoint.save()
    other = network(1)
    again, resumed = parts(other)
    assert resumed.resume()
    x = batch(20)[0]
    with torch.no_grad():
        assert torch.equal(other(x), module(x))
        assert torch.allclose(Trainable.of(other, (64,)).at(x), net.at(x))
    assert again.mask.counts() == pruning.mask.counts()
    # What was not pruned comes back as it is, too.
    plain = tmp_path / "p.checkpoint"
    Checkpoint(plain, "recipe", module=Prunable(network(2))).save()
    fresh = network(3)
    Checkpoint(plain, "recipe", module=Prunable(fresh)).resume()
    with torch.no_grad():
        assert torch.equal(fresh(x), network(2)(x))


def test_open_relus_are_counted_on_average() -> None:
    module, x = trained(), batch(30)[0]
    net = Trainable.of(module, (64,))
    region = region_of(x, 0.05)
    expected = unstable_neurons(net.compiled(), region).mean()
    assert unstable(net, everywhere(region, 10)) == pytest.approx(float(expected))
    assert unstable(net, everywhere(region_of(x, 0.0), 10)) == 0
    assert not unstable(
        Trainable.of(nn.Sequential(nn.Linear(64, 10)), (64,)), everywhere(region, 10)
    )


def test_the_best_weights_are_forgotten_when_the_network_becomes_another() -> None:
    best, module = Best(patience=1), network()
    best.offer(module, 1, 0.5, None)
    best.offer(module, 2, 0.4, None)
    assert best.exhausted
    best.clear()
    assert not best.exhausted
    assert best.restore(module) is None
    assert best.offer(module, 3, 0.1, None)
