"""PyTorch modules as graphs: they compute what the modules compute."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specdsl.graph.evaluate import evaluate
from specdsl.graph.onnx_import.differential import random_points
from specdsl.graph.onnx_import.load import ImportedNetwork, load_onnx
from specdsl.graph.torch_import.load import load_module
from tests.graph.torch_modules import Attention, Function, Residual, cnn, mlp, trained

Shape = tuple[int, ...]
# The graph holds the numbers of the code as float32, the module in float64 does not: 6e-8 each.
AGREEMENT = 1e-6
MASK = torch.tensor([[True, False, True], [False, True, True], [True, True, True]])
WEIGHT = torch.linspace(-1, 1, 16).reshape(4, 4)


def writes(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 0] = 3.0
    y[:, 1] += x[:, 2]
    y[:, 2:] = x[:, :2]
    y *= 2
    return y


def activations(x: Tensor) -> Any:
    by_name = "relu leaky_relu elu selu celu gelu silu mish softplus softsign hardtanh hardsigmoid"
    more = "hardswish relu6 logsigmoid softshrink hardshrink tanhshrink"
    return (
        *(getattr(F, name)(x) for name in f"{by_name} {more}".split()),
        F.gelu(x, approximate="tanh"),
        F.threshold(x, 0.5, 2.0),
        F.prelu(x, torch.tensor([0.1, 0.2, 0.3, 0.4])),
        F.softplus(x, 2.0),
        F.celu(x, 0.3),
        F.elu(x, 0.7),
        F.leaky_relu(x, 1.5),
        F.hardtanh(x, -0.3, 0.7),
    )


def curves(x: Tensor) -> Any:
    names = "exp sigmoid tanh sin cos tan erf square expm1 exp2 sinh cosh reciprocal"
    positive = x.abs() + 0.1
    roots = "log sqrt rsqrt log1p log2 log10"
    return (
        *(getattr(torch, n)(x) for n in names.split()),
        *(getattr(torch, n)(positive) for n in roots.split()),
    )


def arithmetic(x: Tensor) -> Any:
    return (
        (x + 1) * 2 - 3 * x / 7 + (1 - x) + x * x + x**3 + x**2,
        torch.pow(2.0, x),
        x / (x.abs() + 1) + 2 / (1 + x * x) + positive_power(x),
        torch.add(x, x.abs(), alpha=0.3) - torch.rsub(x, 1, alpha=0.1),
        torch.sub(x, torch.ones(4), alpha=0.3),
        torch.addcmul(x, x, x, value=0.5),
        torch.lerp(x, x.abs(), 0.25),
        x.neg() + torch.abs(x),
    )


def positive_power(x: Tensor) -> Tensor:
    return (x.abs() + 1) ** 0.5 + (x.abs() + 1) ** 1.7


def extremes(x: Tensor) -> Any:
    return (
        x.clamp(0, 1) + x.clamp(min=0.1) + x.clamp(max=0.5),
        torch.clamp(x, torch.zeros(4), torch.ones(4)),
        torch.maximum(x, x * 2) + torch.minimum(x, torch.ones(4)) + torch.max(x, -x),
        torch.where(torch.tensor([True, False, True, False]), x, 0.0),
        x.masked_fill(torch.tensor([True, False, True, False]), 3.0),
        x.amax(1) + x.amin(1) + x.max() + x.min() + x.max(1).values + x.min(1).values,
        x.topk(1).values,
        F.max_pool1d(x, 2),
    )


def jumps(x: Tensor) -> Any:
    inside = (x > 0) & (x < 1)
    return (
        (x > 0).float() + (x >= x.mean()) * 2.0 + (x < 0.3) + (x <= 1).int() + (x != 0).float(),
        inside.float() + ((x > 0) | ~(x < 1)) + ((x > 0) ^ (x < 1)) + torch.logical_not(x),
        torch.where(x > 0, x, -2 * x) + torch.where(x > 0, 1.0, 0.5) + x.masked_fill(x > 1, 0.1),
        x.floor() + x.ceil() + x.round() + x.trunc() + x.sign() + x.frac(),
        x // 2 + x % 2 + torch.fmod(x, 1.5) + torch.div(x, 3, rounding_mode="trunc"),
        (x * 3).int().float() + (x > 0).long().sum() + (x > 0).any() + (x > 0).all(),
        x.argmax(1).float() + x.argmin().float() + x.max(1).indices.float(),
    )


def sums(x: Tensor) -> Any:
    return (
        x.sum() + x.mean(1) + x.var() + x.std(1) + x.var(1, unbiased=False) + x.prod(1),
        x.norm() + x.norm(1, dim=1) + torch.linalg.vector_norm(x, float("inf")),
        x.cumsum(1) + torch.logsumexp(x, 1, keepdim=True),
        x.softmax(1) + F.log_softmax(x, 1) + F.softmin(x, 1),
        F.normalize(x + 10) + F.normalize(x + 10, p=1.0),
        x.mean() + x.sum(0, keepdim=True),
    )


def layout(x: Tensor) -> Tensor:
    square = x.view(2, 2)
    parts = [
        *(x[:, :2], x[:, 2:].flip(1), x.chunk(2, 1)[1], x.roll(1, 1), x[:, [0, 2]]),
        *(torch.stack([x, x], 1).flatten(1), x.index_select(1, torch.tensor([1]))),
        *(x.gather(1, torch.tensor([[0, 1]])), x.repeat(1, 2), x.expand(2, 4).reshape(1, 8)),
        *(x.unfold(1, 2, 1).reshape(1, -1), square.t().reshape(1, 4), square.tril().view(1, 4)),
        *(x.split([1, 3], 1)[1], x.unbind(1)[0][None], x.diagonal()[None], x.tile(2)),
        *(F.pad(x, (1, 2)), F.pad(x, (-1, 1), value=2.0), F.pad(x[None], (1, 1), "reflect")[0]),
        *(F.pad(x[None], (1, 1), "replicate")[0], F.pad(x[None], (1, 1), "circular")[0]),
        *(torch.zeros_like(x), x.new_ones(1, 2), x.movedim(0, 1).reshape(1, 4), writes(x)),
        x.scatter(1, torch.tensor([[0, 1]]), x[:, 2:]),
        x.index_put((torch.tensor([0]), torch.tensor([1])), torch.tensor([2.0])),
        x.squeeze().unsqueeze(0) + x.permute(1, 0).transpose(0, 1),
    ]
    return torch.cat(parts, 1)


def products(x: Tensor) -> Any:
    w = WEIGHT.to(x)
    return (
        x @ x.transpose(1, 2) @ x + torch.bmm(x, w[None]) + w[:3, :3] @ x,
        torch.stack([w[:3, :3], w[1:, 1:]]) @ x,
        x @ torch.stack([w, w.t()]),
        torch.matmul(x, w[0]) + x[0] @ w[1],
        w[0, :3] @ x,
        torch.baddbmm(x, x, w[None], beta=0.5, alpha=2.0),
        torch.addmm(w[0], x[0], w) + torch.addmm(x[0], x[0], w, alpha=0.5),
        torch.einsum("bij,jk->bik", x, w) + torch.einsum("bij,bij->bij", x, x),
        torch.dot(x[0, 0], x[0, 1]) + torch.mv(w, x[0, 0]).sum(),
        F.linear(x, x[0]),
    )


def convolutions(x: Tensor) -> Any:
    weight = WEIGHT.to(x).reshape(2, 2, 2, 2)
    return (
        F.conv2d(x, weight, stride=2, padding=1) + 0.0,
        F.conv2d(x, weight[:, :1], torch.ones(2).to(x), groups=2, dilation=2),
        F.conv2d(x, weight[..., :1, :1], padding="same"),
        F.conv1d(x[:, :, 0], weight[0], padding=1),
        F.conv3d(x[None], weight[None, :1]),
        F.conv_transpose2d(x, weight, stride=2, padding=1, output_padding=1),
        F.conv_transpose1d(x[:, :, 0], weight[0], groups=2),
        F.conv_transpose3d(x[None], weight[None, :1]),
    )


def pools(x: Tensor) -> Any:
    return (
        F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
        F.max_pool2d(x[0], 2, dilation=2),
        F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
        F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        F.adaptive_max_pool2d(x, 3),
        F.adaptive_avg_pool2d(x, (2, 3)),
        F.adaptive_avg_pool2d(x, 1),
        F.interpolate(x, scale_factor=2),
        F.interpolate(x, size=(3, 7)),
        F.interpolate(x, scale_factor=1.5, mode="bilinear"),
        F.interpolate(x, size=(7, 9), mode="bilinear", align_corners=True),
        F.interpolate(x[0], size=9, mode="linear"),
        F.interpolate(x, size=(3, 3), mode="nearest-exact"),
    )


def attention(x: Tensor) -> Any:
    added = torch.tensor([[0.0, float("-inf"), 0.5]]).to(x)
    return (
        F.scaled_dot_product_attention(x, x + 1, x),
        F.scaled_dot_product_attention(x, x, x, is_causal=True),
        F.scaled_dot_product_attention(x, x + 1, x, attn_mask=MASK, scale=0.3),
        F.scaled_dot_product_attention(x, x + 1, x, attn_mask=added),
    )


def recurrent(x: Tensor, lstm: nn.Module, gru: nn.Module) -> Any:
    return lstm(x)[0], gru(x)[0]


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[Shape, ...]]] = {
    "mlp": (mlp, ((1, 4),)),
    "cnn": (cnn, ((1, 1, 8, 8),)),
    "residual": (Residual, ((1, 2, 4, 4),)),
    "attention": (Attention, ((1, 3, 4),)),
    "norms": (
        lambda: nn.Sequential(
            nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.LayerNorm(5), nn.RMSNorm(5)
        ),
        ((1, 4, 3, 5),),
    ),
    "transformer": (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), ((1, 3, 4),)),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)), ((1, 4),)),
    "positions": (
        lambda: Function(lambda x, e: x + e(torch.arange(3)), nn.Embedding(3, 4)),
        ((1, 3, 4),),
    ),
    "recurrent": (
        lambda: Function(
            recurrent, nn.LSTM(4, 3, batch_first=True), nn.GRU(4, 3, batch_first=True)
        ),
        ((1, 3, 4),),
    ),
    "several": (lambda: Function(lambda x, y: {"a": x + y, "b": (x * y.sum(),)}), ((1, 4), (2, 4))),
    "nothing": (lambda: Function(lambda x: (x, x, torch.ones(2))), ((1, 4),)),
    "double": (lambda: Function(lambda x: (x.double() * 0.1).float()), ((1, 4),)),
    **{
        name: (lambda f=f: Function(f), (shape,))
        for name, f, shape in (
            ("activations", activations, (1, 4)),
            ("curves", curves, (1, 4)),
            ("arithmetic", arithmetic, (1, 4)),
            ("extremes", extremes, (1, 4)),
            ("jumps", jumps, (1, 4)),
            ("sums", sums, (1, 4)),
            ("layout", layout, (1, 4)),
            ("products", products, (1, 3, 4)),
            ("convolutions", convolutions, (1, 2, 5, 4)),
            ("pools", pools, (1, 2, 5, 4)),
            ("masks", attention, (1, 3, 4)),
        )
    },
}


@pytest.fixture(scope="module")
def imported() -> Callable[[str], tuple[nn.Module, ImportedNetwork]]:
    """Every case once: the module, and its import, compared with it on random points."""
    known: dict[str, tuple[nn.Module, ImportedNetwork]] = {}

    def load(name: str) -> tuple[nn.Module, ImportedNetwork]:
        if name not in known:
            make, shapes = CASES[name]
            module = trained(make())
            known[name] = module, load_module(module, shapes, "net")
        return known[name]

    return load


Imported = Callable[[str], tuple[nn.Module, ImportedNetwork]]


@pytest.mark.parametrize("name", CASES)
def test_the_graph_computes_what_the_module_computes_in_float64(
    imported: Imported, name: str
) -> None:
    module, network = imported(name)
    graph = network.graph
    points = {n: random_points(graph.shapes[n], 7).astype(np.float64) for n in graph.inputs}
    with np.errstate(divide="ignore"):
        values = evaluate(graph, points, graph.outputs)
    precise = deepcopy(module).double() if name != "double" else module
    kind = torch.float64 if name != "double" else torch.float32
    for row in range(len(points[graph.inputs[0]])):
        given = [torch.from_numpy(p[row]).to(kind) for p in points.values()]
        said = torch.utils._pytree.tree_leaves(in_double(precise, given))
        for node, value in zip(graph.outputs, said, strict=True):
            ours, theirs = values[node][row], value.detach().numpy().reshape(graph.shapes[node])
            finite = np.isfinite(theirs)
            assert (np.isfinite(ours) == finite).all(), node
            scale = max(1.0, float(np.abs(theirs[finite]).max(initial=0.0)))
            gap = np.abs(ours[finite] - theirs[finite]).max(initial=0.0)
            assert gap <= AGREEMENT * scale, node


def in_double(module: nn.Module, given: list[Tensor]) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(given[0].dtype)
    try:
        with torch.no_grad():
            return module(*given)
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("name", CASES)
def test_the_export_loads_back_and_computes_the_same(imported: Imported, name: str) -> None:
    _, network = imported(name)
    again = load_onnx(network.model, "net")
    assert [again.graph.shapes[n] for n in again.outputs] == [
        network.graph.shapes[n] for n in network.outputs
    ]


@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer", "jumps"])
def test_hidden_values_are_those_of_the_traced_ops(imported: Imported, name: str) -> None:
    _, network = imported(name)
    assert network.original is not None
    names = list(network.value_nodes)
    runner = network.original.runner(names)
    graph = network.graph
    points = {n: random_points(graph.shapes[n], 3)[-3:-2] for n in graph.inputs}
    said = runner.run_many([p[0] for p in points.values()])
    values = evaluate(graph, {n: p.astype(np.float64) for n, p in points.items()})
    for hidden, value in zip(names, said[len(graph.outputs) :], strict=True):
        node = network.value_nodes[hidden]
        assert value.size == prod(graph.shapes[node])
        ours = values[node].reshape(-1)
        assert np.allclose(value.reshape(-1), ours, rtol=1e-3, atol=1e-3), hidden


def test_parameters_are_copied(imported: Imported) -> None:
    module = trained(nn.Linear(2, 1))
    network = load_module(module, [(1, 2)], "net")
    before = evaluate(network.graph, {network.graph.input: np.ones((1, 1, 2))})
    with torch.no_grad():
        module.weight.fill_(7.0)
    after = evaluate(network.graph, {network.graph.input: np.ones((1, 1, 2))})
    assert all((before[n] == after[n]).all() for n in before)


def test_values_are_called_as_torch_calls_them(imported: Imported) -> None:
    _, network = imported("mlp")
    assert set(network.value_nodes) == {"linear", "relu", "linear_1"}
    assert network.graph.output == "linear_1"
    assert network.graph.input == "input"
