"""The module that is written for a network computes what the spec says with the same weights."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.passes.forward import node_values
from specdsl.graph.graph import Graph
from specdsl.graph.layer_weights import NoWeights, TensorSource, WeightSource
from specdsl.graph.layers import Layout, lay_out
from specdsl.graph.safetensors import read_tensors
from specdsl.language import syntax
from specdsl.language.evaluation import evaluate
from specdsl.language.layer_schemas import LAYERS
from specdsl.language.parsing.parser import parse
from specdsl.language.spec import Value
from specdsl.source import Source
from specdsl.training.emit.model import MODULES, model_source
from specdsl.training.runtime.networks.layers import Normalize
from specdsl.training.runtime.networks.network import Trainable
from specdsl.training.runtime.networks.save import load_safetensors, save_safetensors

IMAGE, VECTOR = (2, 6, 5), (6,)
CASES: dict[str, tuple[tuple[int, ...], str]] = {
    "average_pool": (IMAGE, "average_pool(kernel = 2, stride = [2, 1], padding = 1)"),
    "avgpool": (IMAGE, "avgpool(2)"),
    "batch_norm": (IMAGE, "batch_norm(epsilon = 1e-3)"),
    "celu": (VECTOR, "celu(1/2)"),
    "clip": (VECTOR, "clip(-1/4, 1/2)"),
    "conv": (IMAGE, "conv(3, kernel = [3, 2], stride = 2, padding = [1, 0])"),
    "conv_transpose": (
        IMAGE,
        "conv_transpose(3, kernel = 3, stride = 2, padding = 1, output_padding = 1)",
    ),
    "dense": (VECTOR, "dense(4)"),
    "dropout": (VECTOR, "dropout(1/4)"),
    "elu": (VECTOR, "elu(1/2)"),
    "flatten": (IMAGE, "flatten"),
    "gelu": (VECTOR, "gelu"),
    "gelu_tanh": (VECTOR, "gelu_tanh"),
    "group_norm": ((4, 3, 3), "group_norm(2)"),
    "hardsigmoid": (VECTOR, "hardsigmoid"),
    "hardswish": (VECTOR, "hardswish"),
    "hardtanh": (VECTOR, "hardtanh"),
    "instance_norm": (IMAGE, "instance_norm(epsilon = 1e-3)"),
    "layer_norm": (VECTOR, "layer_norm"),
    "leaky_relu": (VECTOR, "leaky_relu(1/8)"),
    "log_softmax": (VECTOR, "log_softmax"),
    "max_pool": (IMAGE, "max_pool(2, stride = 1)"),
    "maxpool": (IMAGE, "maxpool(2)"),
    "mish": (VECTOR, "mish"),
    "normalize": (IMAGE, "normalize(mean = [1/2, 1/4], std = [1/4, 2])"),
    "relu": (VECTOR, "relu"),
    "reshape": (VECTOR, "dense(12)\nlayer reshape([3, 2, 2])\nlayer conv(2, kernel = 2)"),
    "selu": (VECTOR, "selu"),
    "sigmoid": (VECTOR, "sigmoid"),
    "silu": (VECTOR, "silu"),
    "softmax": (VECTOR, "softmax"),
    "softplus": (VECTOR, "softplus"),
    "softsign": (VECTOR, "softsign"),
    "tanh": (VECTOR, "tanh"),
}
FURTHER: dict[str, tuple[tuple[int, ...], str]] = {
    "named": (VECTOR, "layer first = dense(5)\nlayer relu\nlayer last = dense(3)"),
    "row": ((2, 7), "layer conv(3, kernel = 3)\nlayer batch_norm\nlayer max_pool(2)"),
    "vector": (VECTOR, "layer dense(5)\nlayer batch_norm\nlayer dense(3)"),
    "one mean": (IMAGE, "layer normalize(mean = 1/2, std = 1/4)\nlayer flatten\nlayer dense(2)"),
    "skips": (
        IMAGE,
        "layer c1 = conv(4, kernel = 3, padding = 1)\nlayer r1 = relu\n"
        "layer c2 = conv(4, kernel = 3, padding = 1)\nskip add(from = r1)\nlayer relu\n"
        "layer c3 = conv(3, kernel = 3, stride = 2, padding = 1)\n"
        "skip add(from = r1, by = conv(3, kernel = 1, stride = 2))\n"
        "skip add(from = input, by = conv(3, kernel = 1, stride = 2))\n"
        "layer flatten\nlayer dense(2)",
    ),
    "skip of the input": (VECTOR, "layer dense(6)\nlayer relu\nskip add(from = input)\nlayer tanh"),
    "skip from a sum": (
        VECTOR,
        "layer skip0 = dense(6)\nskip add(from = input)\nlayer b = relu\n"
        "skip add(from = skip0)\nskip add(from = b)\nlayer dense(2)",
    ),
}


def laid_out(shape: tuple[int, ...], lines: str, weights: WeightSource | None = None) -> Layout:
    text = f"spec 1.0\nnetwork net: real[1] -> real[1] {{\n{lines}\n}}\n"
    (network,) = parse(Source("t.spec", text)).items
    assert isinstance(network, syntax.Network)

    def value(expression: syntax.Expr) -> Value:
        return evaluate(expression, {}, {})

    return lay_out(network.layers, shape, value, weights or NoWeights())


def made(layout: Layout) -> nn.Module:
    """The emitted text, run, with weights and statistics drawn."""
    given = (nn, Tensor, OrderedDict, Normalize)
    scope: dict[str, object] = {each.__name__.removeprefix("torch."): each for each in given}
    exec(model_source(layout), scope)
    module = scope["model"]()  # type: ignore[operator]
    assert isinstance(module, nn.Module)
    drawn = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                # Variances are positive.
                tensor.copy_(torch.rand(tensor.shape, generator=drawn) + 0.25)
                tensor.mul_(0.5)
    return module.eval()


def computed(graph: Graph, x: Tensor) -> Tensor:
    compiled = compile_graph(graph, torch.empty(0, dtype=torch.float64))
    return node_values(compiled, x.flatten(1))[graph.output].flatten(1)


def test_every_layer_of_the_language_is_tried() -> None:
    assert set(CASES) == set(LAYERS.schemas) == set(MODULES)


@pytest.mark.parametrize("name", [*CASES, *FURTHER])
def test_the_module_computes_what_the_graph_does(name: str, tmp_path: Path) -> None:
    shape, lines = FURTHER[name] if name in FURTHER else CASES[name]
    lines = lines if name in FURTHER else f"layer {lines}"
    module = made(laid_out(shape, lines))
    path = tmp_path / "n.safetensors"
    save_safetensors(module, path, "recipe")
    source = TensorSource(read_tensors(path.read_bytes(), path.name))
    graph = laid_out(shape, lines, source).graph
    x = torch.randn(5, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        found = module.double()(x).flatten(1)
    # float32 weights are numbers of float64: what is left is rounding.
    assert torch.allclose(found, computed(graph, x), rtol=1e-9, atol=1e-9)


def test_weights_of_skips_are_called_by_their_number(tmp_path: Path) -> None:
    shape, lines = FURTHER["skips"]
    path = tmp_path / "n.safetensors"
    save_safetensors(made(laid_out(shape, lines)), path, "recipe")
    places = read_tensors(path.read_bytes(), path.name).places
    # The first skip has no layer on it.
    assert {"c1.weight", "skip1.weight", "skip2.bias", "6.weight"} <= set(places)


@pytest.mark.parametrize("name", ["skips", "row", "one mean"])
def test_modules_can_be_trained_and_loaded_again(name: str, tmp_path: Path) -> None:
    shape, lines = FURTHER[name]
    layout = laid_out(shape, lines)
    module, other = made(layout), made(layout)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    path = tmp_path / "n.safetensors"
    save_safetensors(other, path, "recipe")
    load_safetensors(module, path)
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(2))
    net = Trainable.of(module, shape)
    with torch.no_grad():
        assert torch.equal(net(x), other(x).flatten(1))
        assert torch.allclose(net.at(x), other(x).flatten(1))
