"""Digits of 8 by 8 pixels and a small network for them: what the runtime is tried on."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph.torch_import.load import load_module

FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@cache
def digits() -> tuple[FloatArray, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """All 1797 images as rows of 64 numbers in [0, 1], and their labels."""
    found = load_digits()
    return found.data / 16.0, found.target


def batch(count: int, start: int = 0) -> tuple[Tensor, Tensor]:
    x, y = digits()
    part = slice(start, start + count)
    return torch.as_tensor(x[part]).float(), torch.as_tensor(y[part])


def network(seed: int = 0, sizes: tuple[int, ...] = (64, 32, 10)) -> nn.Sequential:
    """Linear layers with ReLUs between, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for i in range(len(sizes) - 1):
            layers += [nn.ReLU()] * (i > 0) + [nn.Linear(sizes[i], sizes[i + 1])]
        return nn.Sequential(*layers).eval()


def trained(seed: int = 0, epochs: int = 15) -> nn.Sequential:
    """The network after a few plain epochs on the first 1000 digits."""
    net = network(seed)
    x, y = batch(1000)
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for part in torch.randperm(len(x), generator=order).split(100):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[part]), y[part]).backward()
            optimiser.step()
    return net


def compiled(
    module: nn.Module, shape: tuple[int, ...] = (64,), dtype: torch.dtype = torch.float64
) -> CompiledGraph:
    graph = load_module(module, [(1, *shape)], "net", check=False).graph
    return compile_graph(graph, torch.empty(0, dtype=dtype))


def ball(x: Tensor, radius: float) -> InputRegion:
    """Infinity-norm balls cut by [0, 1], in float64."""
    x = x.double().flatten(1)
    return InputRegion(Interval((x - radius).clamp(0, 1), (x + radius).clamp(0, 1)))


def weights(module: nn.Module) -> list[tuple[FloatArray, FloatArray]]:
    """(weight, bias) of every linear layer as arrays of float64."""
    return [
        (part.weight.detach().double().numpy(), part.bias.detach().double().numpy())
        for part in module.modules()
        if isinstance(part, nn.Linear)
    ]


def numpy_intervals(
    module: nn.Module, lower: FloatArray, upper: FloatArray
) -> list[tuple[FloatArray, FloatArray]]:
    """Interval bounds of the input and of every layer's result, by centre and radius."""
    found = [(lower, upper)]
    layers = weights(module)
    for index, (weight, bias) in enumerate(layers):
        if index:
            lower, upper = np.maximum(lower, 0), np.maximum(upper, 0)
        center, radius = (lower + upper) / 2, (upper - lower) / 2
        center, radius = center @ weight.T + bias, radius @ np.abs(weight).T
        lower, upper = center - radius, center + radius
        found.append((lower, upper))
    return found
