"""The weights of a module: computed ones are read and never written into."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from specdsl.backend import Unsupported
from specdsl.training.runtime.networks.graph_module import GraphModule
from specdsl.training.runtime.networks.initialise import default, ibp
from specdsl.training.runtime.networks.layers import fan_in, weights_of
from specdsl.training.runtime.networks.network import Trainable
from specdsl.training.runtime.networks.prune import prune_weights
from specdsl.training.runtime.networks.svd import scale_singular_values
from specdsl.training.runtime.regularisers.weights import l1
from tests.training.runtime.digits import network


def computed() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), weight_norm(nn.Linear(3, 2)))


def test_weights_are_what_layers_multiply_by() -> None:
    net = computed()
    found = dict(weights_of(net))
    assert list(found) == ["0.weight", "2.weight"]
    assert torch.equal(found["2.weight"], net[2].weight)
    l1(net).backward()
    for name, parameter in net.named_parameters():
        assert (parameter.grad is not None) == ("bias" not in name)


WRITERS: dict[str, Callable[[nn.Module], object]] = {
    "default": lambda net: default(net, torch.Generator()),
    "ibp": lambda net: ibp(net, (4,), torch.Generator()),
    "prune": lambda net: prune_weights(net, 0.1),
    "svd": lambda net: scale_singular_values(net, 0.5, 0.0),
}


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_written_into_what_is_computed(name: str) -> None:
    with pytest.raises(Unsupported, match=r"`2\.weight`, which is computed from other"):
        WRITERS[name](computed())


def test_weight_norm_of_old_is_refused_too() -> None:
    with pytest.warns(FutureWarning, match="weight_norm"):
        net = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 2)))
    with pytest.raises(Unsupported, match=r"`0\.weight`, which is computed"):
        prune_weights(net, 0.1)


def test_networks_of_graphs_have_weights_and_no_start_of_their_own() -> None:
    net = GraphModule(Trainable.of(network(), (64,)).graph)
    shapes = [tuple(w.shape) for _, w in weights_of(net)]
    assert shapes == [(32, 64), (10, 32)]
    assert len(prune_weights(net, 0.05).kept) == 2
    with pytest.raises(Unsupported, match="the parameter"):
        default(net, torch.Generator())


@pytest.mark.parametrize(
    ("layer", "reads"),
    [
        (nn.Linear(7, 2), 7),
        (nn.Conv2d(4, 6, 3, stride=2, groups=2), 18),
        (nn.Conv1d(4, 6, 5), 20),
        (nn.ConvTranspose2d(4, 6, 4, stride=2), 16),
    ],
)
def test_fan_in_is_how_many_entries_are_read(layer: nn.Module, reads: float) -> None:
    """Counted: how many inputs move an entry in the middle of the output, on average."""
    assert fan_in(layer) == reads  # pyright: ignore[reportArgumentType]
    if isinstance(layer, nn.Linear):
        return
    axes = layer.weight.ndim - 2
    x = torch.randn(1, 4, *([12] * axes), requires_grad=True)
    middle = layer(x)
    for _ in range(axes):
        middle = middle.narrow(-axes, middle.shape[-axes] // 2, 2).movedim(-axes, -1)
    entries = middle[0, 0].flatten()
    counted = [int((torch.autograd.grad(e, x, retain_graph=True)[0] != 0).sum()) for e in entries]
    assert sum(counted) / len(counted) == pytest.approx(reads)
