"""The bounds that training takes are those of the engine, values and gradients alike."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from specdsl.bounds.affine import ConvKernel
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.methods import METHODS
from specdsl.bounds.passes.crown_ibp import crown_ibp_lower
from specdsl.bounds.passes.forward import evaluate
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from specdsl.training.runtime.bounds.centered import centered_pass, output_at
from specdsl.training.runtime.bounds.lower import Bound, crown_ibp, interval
from specdsl.training.runtime.bounds.row_walk import merged_lower, relaxed_lower
from specdsl.training.runtime.bounds.spread import spread_rows
from specdsl.training.runtime.claims.claim import ball, box, class_rows, intersect
from specdsl.training.runtime.networks.network import Trainable

# Sums of some hundred products of numbers about 1, in float32.
ROUNDING = 1e-4


class Branching(nn.Module):
    """A value that is read twice, a pool, a curve, a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, (3, 2), stride=(1, 2), padding=(1, 0), bias=False)
        self.last = nn.Linear(4 * 6 * 3, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first(x))
        pooled = nn.functional.max_pool2d(hidden, (1, 2))
        joined = torch.relu(self.second(hidden) - 0.5 * pooled)
        return self.last((joined + torch.tanh(pooled)).flatten(1))


MODULES = {
    "chain": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 9),
        nn.LeakyReLU(),
        nn.Linear(9, 4),
    ),
    "branching": Branching,
    "grouped": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 2, dilation=2),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, groups=2, padding=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 36, 4),
    ),
}


def network(name: str) -> Trainable:
    torch.manual_seed(4)
    return Trainable.of(MODULES[name](), (1, 8, 8) if name == "chain" else (1, 6, 6))


def region_of(net: Trainable, radius: float, norm: str, count: int = 3) -> InputRegion:
    x = torch.rand(count, *net.shape, generator=torch.Generator().manual_seed(5))
    match norm:
        case "l2":
            return intersect(ball(x, radius, "l2"), box(0.0, 1.0))
        case "l1":
            return intersect(ball(x, radius, "l1"))
        case _:
            return intersect(ball(x, radius), box(0.0, 1.0))


ENGINE = {
    "interval": (
        interval(),
        METHODS["interval"].lower,
    ),
    "crown_ibp": (
        crown_ibp(),
        METHODS["crown_ibp"].lower,
    ),
    "mixed": (
        crown_ibp(beta=0.3),
        lambda compiled, region, rows: crown_ibp_lower(compiled, rows, region, beta=0.3),
    ),
}


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("method", sorted(ENGINE))
@pytest.mark.parametrize("name", sorted(MODULES))
def test_as_the_engine(name: str, method: str, norm: str) -> None:
    net = network(name)
    region = region_of(net, 0.1, norm)
    rows = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(6))
    for given_rows in (rows, rows[:1]):
        own, engine = ENGINE[method]
        found = own(net, region, given_rows)
        compiled = net.compiled()
        expected = engine(compiled, region, given_rows.reshape(-1, 5, 1, 4))
        assert torch.allclose(found, expected, atol=ROUNDING)
        slopes = (_slopes(net, value) for value in (found, expected))
        for one, other in zip(*slopes, strict=True):
            assert torch.allclose(one, other, atol=10 * ROUNDING, rtol=1e-3)


def _slopes(net: Trainable, value: Tensor) -> tuple[Tensor, ...]:
    loss = torch.exp(-value).sum()
    return torch.autograd.grad(loss, [*net.module.parameters()], materialize_grads=True)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_values_at_points_are_those_of_the_engine(name: str) -> None:
    net = network(name)
    points = torch.rand(7, net.inputs, generator=torch.Generator().manual_seed(11))
    compiled = net.compiled()
    assert torch.allclose(output_at(compiled, points), evaluate(compiled, points), atol=ROUNDING)
    assert torch.allclose(output_at(compiled, points), net(points), atol=ROUNDING)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_by_differences(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        *(nn.Conv2d(1, 2, 2, stride=2), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)),
    )
    net = Trainable.of(module, (1, 4, 4))
    module.to(dtype)
    x = torch.rand(2, 1, 4, 4).to(dtype)
    region = intersect(ball(x, 0.2))
    rows = torch.randn(2, 3, 3).to(dtype)
    parameter = module[0].weight
    assert isinstance(parameter, Tensor)
    for method in (interval(), crown_ibp()):
        loss = method(net, region, rows).sum()
        (slope,) = torch.autograd.grad(loss, parameter)
        direction = torch.randn_like(parameter)
        step = 1e-6 if dtype == torch.float64 else 1e-3
        ends: list[float] = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(sign * step * direction)
                ends.append(method(net, region, rows).sum().item())
                parameter.sub_(sign * step * direction)
        found = (ends[0] - ends[1]) / (2 * step)
        tolerance = 1e-5 if dtype == torch.float64 else 2e-2
        assert found == pytest.approx((slope * direction).sum().item(), rel=tolerance)


@pytest.mark.parametrize("method", [interval(), crown_ibp(), crown_ibp(0.5)])
def test_gradients_are_finite_where_nothing_is_left_of_a_region(method: Bound) -> None:
    """Radius 0, pre-activations that are exactly 0, and neurons that no input reaches."""
    torch.manual_seed(0)
    first, last = nn.Linear(3, 4), nn.Linear(4, 2)
    with torch.no_grad():
        first.bias.zero_()
        first.weight[0] = 0.0
    net = Trainable.of(nn.Sequential(first, nn.ReLU(), last), (3,))
    for radius in (0.0, 1e-30):
        x = torch.stack([torch.zeros(3), torch.ones(3)])
        for norm in ("linf", "l2", "l1"):
            region = intersect(ball(x, radius, norm))
            net.module.zero_grad()
            method(net, region, torch.eye(2)[None]).sum().backward()
            gradients = [p.grad for p in net.module.parameters()]
            assert all(g is not None and bool(g.isfinite().all()) for g in gradients)


@settings(deadline=None, max_examples=60)
@given(
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    strides=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    pads=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    extents=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    biased=st.booleans(),
)
def test_phases_are_the_transpose(
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int],
    extents: tuple[int, int],
    biased: bool,
) -> None:
    generator = torch.Generator().manual_seed(7)
    weight = torch.randn(3, 2, *kernel, generator=generator)
    bias = torch.randn(3, 1, 1, generator=generator) if biased else None
    evenly = tuple((p, p) for p in pads)
    op = ops.Conv(weight.numpy(), torch.zeros(3).numpy(), strides, evenly, (1, 1))
    operand = (1, 2, *extents)
    assume(all(e + 2 * p >= k for e, p, k in zip(extents, pads, kernel, strict=True)))
    result = op.shape(operand)
    found = [w.clone().requires_grad_() for w in (weight, weight)]
    rows = torch.randn(2, 4, *result, generator=generator)
    stacked = [rows.clone().requires_grad_() for _ in range(2)]
    kernels = [ConvKernel(op, w, w.abs(), bias, operand, result) for w in found]
    passed, gained = spread_rows(kernels[0], stacked[0])
    expected = kernels[1].transpose(0, stacked[1].flatten(0, 1)).reshape(passed.shape)
    offset = torch.zeros(3, 1, 1) if bias is None else bias
    constant = (stacked[1] * offset).flatten(2).sum(2)
    assert torch.allclose(passed, expected, atol=ROUNDING)
    assert torch.allclose(gained, constant, atol=ROUNDING)
    weights = torch.randn(passed.shape, generator=generator)
    for one, other in ((passed, gained), (expected, constant)):
        ((one * weights).sum() + other.square().sum()).backward()
    for mine, theirs in ((found[0], found[1]), (stacked[0], stacked[1])):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert torch.allclose(mine.grad, theirs.grad, atol=10 * ROUNDING)


def test_float64_takes_the_plain_transpose() -> None:
    net = network("chain")
    net.module.double()
    region = region_of(net, 0.1, "linf")
    region = intersect(box(region.box.lower.double(), region.box.upper.double()))
    rows = torch.eye(4, dtype=torch.float64)[None, :, None]
    compiled: CompiledGraph = net.compiled()
    bounds = centered_pass(compiled, region)
    for method in (interval(), crown_ibp()):
        assert method(net, region, class_rows(torch.arange(3), 4)).dtype == torch.float64
    for own, name in ((merged_lower, "interval"), (relaxed_lower, "crown_ibp")):
        found = own(compiled, rows, region, bounds)
        expected = METHODS[name].lower(compiled, region, rows)
        assert torch.allclose(found, expected, atol=1e-10)


class Product(nn.Module):
    """A product of entries with others."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 - x.flip(1))


CURVES = {
    **{type(m).__name__: m for m in (nn.Tanh(), nn.Sigmoid(), nn.GELU(), nn.SiLU(), nn.Mish())},
    **{type(m).__name__: m for m in (nn.ELU(), nn.Softplus(), nn.Hardswish(), nn.Softshrink())},
    **{type(m).__name__: m for m in (nn.LeakyReLU(), nn.ReLU6(), nn.MaxPool1d(2), Product())},
}


@pytest.mark.parametrize("radius", [0.0, 0.1])
@pytest.mark.parametrize("name", sorted(CURVES))
def test_gradients_are_finite_through_any_activation(name: str, radius: float) -> None:
    """Behind a ReLU some intervals are points, at radius 0 all are."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), CURVES[name])
    body.append(nn.Linear(body(torch.zeros(1, 5)).shape[1], 2))
    net = Trainable.of(body, (5,))
    region = intersect(ball(torch.rand(4, 5), radius))
    crown_ibp()(net, region, torch.eye(2)[None]).sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in body.parameters())
