"""Methods on a device that is not the host: the same bounds, and no tensor on the wrong one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import specdsl
from specdsl.bounds import bound
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.devices import full_precision
from specdsl.bounds.methods import METHODS
from specdsl.bounds.passes.crown import propagate
from specdsl.bounds.passes.lagrangian import lagrangian_bound
from specdsl.bounds.regions.region import input_region
from specdsl.graph.graph import Graph
from specdsl.query.sets import InputSet
from tests.bounds.other_device import DEVICE, Away, OtherDevice, WrongDevice
from tests.bounds.random_graphs import random_graph, random_set
from tests.bounds.test_sampled_laws import DELICATE, GENTLE, mixed_graph, mixed_set

every_method = pytest.mark.parametrize("method", METHODS)
CLIMBING = [name for name, method in METHODS.items() if method.climbs]
PASSES = [name for name in METHODS if name not in CLIMBING]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def lower(
    method: str, graph: Graph, inputs: InputSet, device: str, dtype: torch.dtype = torch.float64
) -> torch.Tensor:
    """Bounds of five rows."""
    compiled = compile_graph(graph, torch.empty(0, dtype=dtype, device=device))
    rows = np.random.default_rng(0).normal(size=(1, 5, 4))
    given = torch.as_tensor(rows, dtype=dtype, device=device)
    return METHODS[method].lower(compiled, input_region(inputs, compiled.like), given)


def require_the_same_elsewhere(method: str, graph: Graph, inputs: InputSet) -> None:
    """The bounds of the host, found without a tensor of the host."""
    with OtherDevice():
        found = lower(method, graph, inputs, DEVICE)
    assert isinstance(found, Away)
    torch.testing.assert_close(found.held, lower(method, graph, inputs, "cpu"))


# A box, a ball in l2, one in l1: convolutions, branches, and what cuts the region.
@pytest.mark.parametrize(
    ("method", "seed"),
    [(method, seed) for method in PASSES for seed in range(3)] + [("alpha_crown", 2)],
)
def test_nothing_is_made_elsewhere(method: str, seed: int) -> None:
    require_the_same_elsewhere(method, random_graph(seed), random_set(seed))


def few_steps(device: str) -> torch.Tensor:
    """Of the Lagrangian dual, in which a step takes long on the other device."""
    compiled = compile_graph(random_graph(0), torch.empty(0, dtype=torch.float64, device=device))
    region = input_region(random_set(0), compiled.like)
    rows = torch.as_tensor(np.eye(4)[None], device=device)
    return lagrangian_bound(compiled, rows, region, propagate(compiled, region), steps=2).lower


def test_a_dual_makes_nothing_elsewhere() -> None:
    with OtherDevice():
        found = few_steps(DEVICE)
    assert isinstance(found, Away)
    torch.testing.assert_close(found.held, few_steps("cpu"))


@pytest.mark.parametrize("block", range(len(GENTLE + DELICATE)))
def test_no_kind_of_op_makes_anything_elsewhere(block: int) -> None:
    graph, inputs = mixed_graph(block, [(GENTLE + DELICATE)[block]]), mixed_set(2)
    require_the_same_elsewhere("forward_crown", graph, inputs)


def test_the_public_function_bounds_elsewhere() -> None:
    graph, region = random_graph(5), (np.zeros((2, 5, 4)), np.ones((2, 5, 4)))
    with OtherDevice():
        found = specdsl.bound(graph, region, "crown", layers=True, device=DEVICE)
    expected = specdsl.bound(graph, region, "crown", layers=True)
    np.testing.assert_allclose(found.lower, expected.lower)
    np.testing.assert_allclose(found.upper, expected.upper)
    assert found.layers.keys() == expected.layers.keys()


def test_mistakes_are_noticed() -> None:
    """Of the other device itself: else the laws above would say nothing."""
    with OtherDevice():
        there = torch.ones(3, device=DEVICE)
        assert isinstance(there * 2.0, Away)
        assert there.sum().item() == 3
        with pytest.raises(WrongDevice):
            torch.add(there, torch.ones(3))
        with pytest.raises(WrongDevice):
            there[torch.arange(2)]
        with pytest.raises(WrongDevice):
            torch.zeros(3)[there > 0] = 1.0
        with pytest.raises((RuntimeError, TypeError)):
            there.numpy()


@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@every_method
@pytest.mark.parametrize("seed", range(2))
def test_a_gpu_gives_the_bounds_of_the_host(method: str, seed: int, dtype: torch.dtype) -> None:
    graph, inputs = random_graph(seed), random_set(seed)
    found = lower(method, graph, inputs, "cuda", dtype)
    assert found.device.type == "cuda"
    assert found.dtype == dtype
    # Ascents go other ways where sums are added up in another order, and are bounds all the same.
    tolerance = 1e-3 if dtype == torch.float32 or method in CLIMBING else 1e-8
    expected = lower(method, graph, inputs, "cpu", dtype)
    torch.testing.assert_close(found.cpu(), expected, rtol=tolerance, atol=tolerance)


def test_float32_keeps_its_bits_on_cuda_devices_while_bounds_are_computed() -> None:
    """TF32 rounds more than the slack allows for; what the caller has set comes back."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    with full_precision():
        assert not matmul.allow_tf32
        assert not cudnn.allow_tf32
        assert cudnn.enabled
    assert (matmul.allow_tf32, cudnn.allow_tf32) == before


def test_bounds_are_computed_so(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    compiled = bound.compile_graph

    def noted(graph: Graph, like: torch.Tensor) -> CompiledGraph:
        seen.append(torch.backends.cudnn.allow_tf32)
        return compiled(graph, like)

    monkeypatch.setattr(bound, "compile_graph", noted)
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()).eval()
    bound.bound(network, (np.zeros(2), np.ones(2)), dtype="float32")
    assert seen
    assert not any(seen)
