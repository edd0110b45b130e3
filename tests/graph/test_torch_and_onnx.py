"""A PyTorch module and its ONNX file, two ways into one graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from torch import nn

from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder
from specdsl.graph.isomorphism import difference, isomorphic
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.graph.rewrites.simplify import simplify
from specdsl.graph.torch_import.load import load_module
from tests.graph.torch_modules import Attention, Residual, cnn, mlp, to_onnx, trained

Shape = tuple[int, ...]

SAME: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "mlp": (mlp, (1, 4)),
    "cnn": (cnn, (1, 1, 8, 8)),
    "residual": (Residual, (1, 2, 4, 4)),
    "attention": (Attention, (1, 3, 4)),
    "norms": (
        lambda: nn.Sequential(nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True)),
        (1, 4, 3, 3),
    ),
    "layer norm": (lambda: nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), (1, 3, 4)),
    "pools": (
        lambda: nn.Sequential(
            nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.AdaptiveAvgPool2d(3),
            nn.AdaptiveAvgPool2d(1),
        ),
        (1, 2, 3, 3),
    ),
    **{
        type(m).__name__: (lambda m=m: m, (1, 4))
        for m in (
            nn.LeakyReLU(),
            nn.ELU(),
            nn.SELU(),
            nn.CELU(),
            nn.Sigmoid(),
            nn.Tanh(),
            nn.Softplus(),
            nn.Hardtanh(),
            nn.ReLU6(),
            nn.PReLU(4),
            nn.Softmax(1),
            nn.LogSoftmax(1),
            nn.Hardswish(),
            nn.Softsign(),
            nn.GELU(),
        )
    },
}


@pytest.mark.parametrize("name", SAME)
def test_a_module_gives_the_graph_that_its_onnx_file_gives(name: str) -> None:
    make, shape = SAME[name]
    module = trained(make())
    traced = simplify(load_module(module, [shape], "net").graph)
    written = simplify(load_onnx(to_onnx(module, shape), "net").graph)
    assert difference(traced, written) is None


def test_the_comparison_itself_sees_what_differs() -> None:
    def graph(weight: float = 2.0, extent: int = 3, swapped: bool = False, twice: bool = False):
        builder = GraphBuilder()
        x = builder.add(ops.Input((1, extent)), name=f"x{weight}{twice}")
        scale = ops.Scale(np.asarray(weight), np.zeros(()))
        a = builder.add(scale, x)
        b = builder.add(ops.Relu(), builder.add(scale, x) if twice else a)
        return builder.build(builder.add(ops.Multiply(), *((b, a) if swapped else (a, b))), b)

    same = [graph(swapped=True), graph(twice=True), graph(weight=np.float32(2.0))]
    assert all(isomorphic(graph(), other) for other in same)
    assert difference(graph(), graph(3.0)) == (
        "`scale` (Scale of shape (1, 3)) and `scale` (Scale of shape (1, 3)): other parameters"
    )
    assert "Input of shape (1, 4)" in str(difference(graph(), graph(extent=4)))
    other = GraphBuilder()
    node = other.add(ops.Relu(), other.add(ops.Input((1, 3))))
    assert difference(graph(), other.build(node)) == "2 outputs and 1"
    assert "Multiply" in str(difference(graph(), other.build(node, node)))
