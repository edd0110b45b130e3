"""Layers with curves, maxima and statistics of their own are those of PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.enclosure import enclose
from specdsl.graph.evaluate import evaluate
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.graph.runtime import Runtime
from tests.graph.test_layers import Argument, network, parsed
from tests.graph.test_new_ops import exactly

# Both sides in float64, by other formulas.
CLOSE = 1e-12
# The runtime computes in float32.
FLOAT32 = 2e-5

VECTOR, IMAGE = (5,), (4, 6, 5)
GAMMA = torch.tensor([1.0, 2.0, 3.0, 0.5], dtype=torch.float64)
BETA = torch.tensor([0.0, -1.0, 0.25, 1.0], dtype=torch.float64)
WEIGHT = torch.arange(4 * 2 * 3 * 3, dtype=torch.float64).reshape(4, 2, 3, 3) / 64 - 0.5
BIAS = torch.tensor([0.25, -1.0], dtype=torch.float64)

LAYERS: list[tuple[str, tuple[int, ...], Callable[[Tensor], Tensor]]] = [
    ("sigmoid", VECTOR, torch.sigmoid),
    ("tanh", VECTOR, torch.tanh),
    ("softplus", VECTOR, functional.softplus),
    ("softsign", VECTOR, functional.softsign),
    ("elu", VECTOR, functional.elu),
    ("elu(1/4)", VECTOR, lambda x: functional.elu(x, 0.25)),
    ("celu(alpha = 1/2)", VECTOR, lambda x: functional.celu(x, 0.5)),
    ("selu", VECTOR, functional.selu),
    ("gelu", VECTOR, functional.gelu),
    ("gelu_tanh", VECTOR, lambda x: functional.gelu(x, approximate="tanh")),
    ("silu", VECTOR, functional.silu),
    ("mish", VECTOR, functional.mish),
    ("hardsigmoid", VECTOR, functional.hardsigmoid),
    ("hardswish", VECTOR, functional.hardswish),
    ("softmax", VECTOR, lambda x: functional.softmax(x, -1)),
    ("log_softmax", VECTOR, lambda x: functional.log_softmax(x, -1)),
    ("layer_norm", VECTOR, lambda x: functional.layer_norm(x, VECTOR)),
    ("layer_norm(beta = 1/2)", IMAGE, lambda x: functional.layer_norm(x, IMAGE) + 0.5),
    (
        "instance_norm(gamma = [1, 2, 3, 1/2], beta = [0, -1, 1/4, 1], epsilon = 1/1000)",
        IMAGE,
        lambda x: functional.instance_norm(x, weight=GAMMA, bias=BETA, eps=1e-3),
    ),
    (
        "group_norm(2, gamma = [1, 2, 3, 1/2], beta = [0, -1, 1/4, 1])",
        IMAGE,
        lambda x: functional.group_norm(x, 2, GAMMA, BETA),
    ),
    ("max_pool(2)", IMAGE, lambda x: functional.max_pool2d(x, 2)),
    (
        "maxpool([3, 2], stride = [1, 2], padding = 1)",
        IMAGE,
        lambda x: functional.max_pool2d(x, (3, 2), (1, 2), 1),
    ),
    (
        f"conv_transpose(weight = {WEIGHT.tolist()}, bias = {BIAS.tolist()}, stride = [2, 1], "
        "padding = [1, 0], output_padding = [1, 0])",
        IMAGE,
        lambda x: functional.conv_transpose2d(x, WEIGHT, BIAS, (2, 1), (1, 0), (1, 0)),
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shape", "layer"), LAYERS, ids=[text[:30] for text, _, _ in LAYERS]
)
def test_a_layer_is_that_of_torch_in_the_runtime_too_and_loads_back(
    text: str, shape: tuple[int, ...], layer: Callable[[Tensor], Tensor]
) -> None:
    net = parsed(f"layer one = {text}", shape)
    points = np.random.default_rng(7).normal(0, 2, (20, 1, *shape)).astype(np.float32)
    wanted = layer(torch.tensor(points.reshape(20, *shape), dtype=torch.float64)).numpy()
    found = evaluate(net.graph, {net.graph.input: points.astype(np.float64)})[net.graph.output]
    assert net.graph.output == "one"
    assert np.allclose(found.reshape(wanted.shape), wanted, rtol=CLOSE, atol=CLOSE)
    said = Runtime(net.model, "net").run(points[0])
    assert np.allclose(said, found[0], rtol=FLOAT32, atol=FLOAT32)
    again = load_onnx(net.model, "again").graph
    reread = evaluate(again, {again.input: points.astype(np.float64)})[again.output]
    assert np.allclose(reread, found, rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.parametrize(
    ("text", "shape", "layer"), LAYERS, ids=[text[:30] for text, _, _ in LAYERS]
)
def test_its_value_at_a_point_is_enclosed_narrowly(
    text: str, shape: tuple[int, ...], layer: Callable[[Tensor], Tensor]
) -> None:
    graph = parsed(f"layer {text}", shape).graph
    point = np.random.default_rng(3).integers(-8, 9, (1, 1, *shape)) / 4
    exact = exactly([Fraction(v) for v in point.flat], (1, *shape))
    found = enclose(graph, {graph.input: exact}, nodes=[graph.output])[graph.output]
    wanted = evaluate(graph, {graph.input: point})[graph.output][0]
    assert np.allclose(found.value.astype(np.float64), wanted, rtol=CLOSE, atol=CLOSE)
    assert found.error.max() < 1e-8


def test_a_layer_without_a_name_leaves_no_node_that_does_nothing() -> None:
    graph = parsed("layer selu", (2,)).graph
    assert not isinstance(graph.op(graph.output), ops.Reshape)


@pytest.mark.parametrize(
    ("kind", "named", "shape", "code"),
    [
        ("softmax", {}, (2, 2), "E0621"),
        ("log_softmax", {}, (1, 2, 2), "E0621"),
        ("elu", {"alpha": 0}, (2,), "E0620"),
        ("layer_norm", {"gamma": [1, 2, 3]}, (2,), "E0621"),
        ("layer_norm", {"epsilon": 0}, (2,), "E0620"),
        ("instance_norm", {}, (2,), "E0621"),
        ("group_norm", {}, (2, 2, 2), "E0620"),
        ("group_norm", {"groups": 3}, (2, 2, 2), "E0621"),
        ("max_pool", {}, (1, 4), "E0620"),
        ("max_pool", {"kernel": 5}, (1, 4), "E0621"),
        ("conv_transpose", {}, (1, 4), "E0622"),
        ("conv_transpose", {"weight": [[1]]}, (1, 4), "E0621"),
        ("conv_transpose", {"weight": [[[1]]], "output_padding": 1}, (1, 4), "E0621"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    kind: str, named: dict[str, Argument], shape: tuple[int, ...], code: str
) -> None:
    with pytest.raises(SpecError) as caught:
        network([(kind, (), named)], shape)
    assert caught.value.diagnostics[0].code == code
