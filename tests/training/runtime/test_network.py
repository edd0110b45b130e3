"""A module's bounds follow its weights: mapping, gradients, normalisation, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.passes.forward import node_values
from specdsl.diagnostics import SpecError
from specdsl.graph.to_onnx import export
from specdsl.graph.torch_import.load import load_module
from specdsl.training.runtime.bounds.lower import crown_ibp, interval, lower
from specdsl.training.runtime.claims.claim import (
    Application,
    Atom,
    Claim,
    ball,
    class_rows,
    intersect,
    margins_at,
    unchanged,
)
from specdsl.training.runtime.networks.graph_module import from_onnx
from specdsl.training.runtime.networks.network import Trainable

ROUNDING = 1e-5


class Weighted(nn.Module):
    """Parameters applied by functions, entry by entry, and through a computation."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(5, 4))
        self.factor = nn.Parameter(torch.randn(4))
        self.shift = nn.Parameter(torch.randn(4))
        self.last = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(x @ self.matrix * self.factor + self.shift)
        return self.last(hidden)


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2, padding=1),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.ConvTranspose2d(3, 2, 2, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * 5 * 5, 6),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Linear(6, 3),
    )


MODULES = {
    "layers": (convolutional, (1, 8, 8)),
    "functions": (Weighted, (5,)),
}


def classes(x: Tensor, y: Tensor, radius: float) -> Claim:
    region = intersect(ball(x, radius))
    rows = class_rows(y, 3)
    return Claim(region, (Application(unchanged, region),), Atom((rows,), x.new_zeros(1, 2)))


@pytest.fixture(params=sorted(MODULES))
def trained(request: pytest.FixtureRequest) -> Trainable:
    torch.manual_seed(1)
    make, shape = MODULES[request.param]
    return Trainable.of(make(), shape)


def batch(net: Trainable, count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(count, *net.shape, generator=generator)
    return x, torch.randint(3, (count,), generator=generator)


def disturb(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))


def test_bounds_see_the_weights_of_now(trained: Trainable) -> None:
    trained.module.eval()
    disturb(trained.module)
    x, _ = batch(trained)
    compiled = trained.compiled()
    found = node_values(compiled, x.flatten(1))[compiled.graph.output].flatten(1)
    assert torch.allclose(found, trained(x), atol=ROUNDING)
    assert torch.allclose(found, trained.at(x), atol=ROUNDING)


def test_bounds_lie_below_margins_in_training_mode(trained: Trainable) -> None:
    trained.module.train()
    x, y = batch(trained)
    trained(x)
    claim = classes(x, y, 0.05)
    noise = 0.1 * torch.rand(x.shape) - 0.05
    found = margins_at(trained, claim, (x + noise).flatten(1))
    for method in (interval(), crown_ibp()):
        assert (lower(trained, claim, method) <= found + ROUNDING).all()


def test_at_radius_0_bounds_are_margins_and_gradients_agree(trained: Trainable) -> None:
    trained.module.train()
    x, y = batch(trained)
    trained(x)
    claim = classes(x, y, 0.0)
    parameters = [p for p in trained.module.parameters()]
    gradients: list[tuple[Tensor, ...]] = []
    values: list[Tensor] = []
    for margins in (
        margins_at(trained, claim, x.flatten(1)),
        lower(trained, claim, interval()),
        lower(trained, claim, crown_ibp()),
    ):
        values.append(margins)
        gradients.append(torch.autograd.grad(margins.square().sum(), parameters, retain_graph=True))
    for found, slopes in zip(values[1:], gradients[1:], strict=True):
        assert torch.allclose(found, values[0], atol=ROUNDING)
        for one, other in zip(slopes, gradients[0], strict=True):
            assert torch.allclose(one, other, atol=1e-3, rtol=1e-3)


def test_in_training_mode_normalisation_is_by_the_clean_batch() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(3)
    module = nn.Sequential(nn.Linear(4, 3), norm, nn.ReLU(), nn.Linear(3, 3))
    net = Trainable.of(module.train(), (4,))
    x, _ = batch(net)
    with pytest.raises(ValueError, match="clean batch"):
        net.compiled()
    assert torch.allclose(net(x), net.at(x), atol=ROUNDING)
    assert norm.running_mean is not None
    running = norm.running_mean.clone()
    net.at(x)
    assert torch.equal(running, norm.running_mean)
    net.refresh()
    with pytest.raises(ValueError, match="clean batch"):
        net.compiled()


def test_a_module_is_left_as_it_was() -> None:
    module = convolutional().train()
    before = {name: t.clone() for name, t in module.state_dict().items()}
    net = Trainable.of(module, (1, 8, 8))
    assert all(part.training for part in module.modules())
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())
    net(torch.rand(3, 1, 8, 8))
    assert not any(part._forward_pre_hooks for part in module.modules())


class Sloped(nn.Module):
    """A slope is a parameter, which no bound is trained through."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(2, 2)
        self.slope = nn.Parameter(torch.tensor([0.5]))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.prelu(self.line(x), self.slope)


def test_a_parameter_read_in_another_way_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match=r"`prelu`.*reads `slope`"):
        Trainable.of(Sloped(), (2,))


def test_a_network_of_a_file_can_be_trained(tmp_path: Path) -> None:
    torch.manual_seed(0)
    original = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).eval()
    graph = load_module(original, [(1, 4)], "net").graph
    (tmp_path / "net.onnx").write_bytes(export(graph, "net"))
    module = from_onnx(tmp_path / "net.onnx")
    net = Trainable.of(module, (4,))
    x, y = batch(net)
    assert torch.allclose(net(x), original(x), atol=ROUNDING)
    disturb(module)
    claim = classes(x, y, 0.0)
    found = lower(net, claim, interval())
    assert torch.allclose(found, margins_at(net, claim, x), atol=ROUNDING)
    found.sum().backward()
    assert all(p.grad is not None for p in module.parameters())
    again = compile_graph(load_module(module.eval(), [(1, 4)], "net").graph)
    values = node_values(again, x.double())[again.graph.output]
    assert torch.allclose(values.float().flatten(1), net(x), atol=ROUNDING)
