"""What the training scripts of the examples share: data, interval bounds, ONNX files.

Networks are `nn.Sequential` models of dense layers, convolutions, ReLU, `Flatten` and `Hardtanh`,
trained in float64 so that they come out the same everywhere up to rounding, and written as ONNX
with float32 weights. The values of the file are called after their kind and number, in order:
`dense_1`, `relu_1`, `dense_2`, ..., and the last one after what it is.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.graph.to_onnx import export

SPECS = Path(__file__).resolve().parents[1] / "specs"
NETWORKS = SPECS / "networks"
TRAINED_ON = 1_297
GREY_LEVELS = 16


@dataclass(frozen=True)
class Digits:
    """Images with values from 0 to 1, shape (n, 64), and their classes."""

    images: Tensor
    classes: Tensor


def digits() -> tuple[Digits, Digits]:
    """scikit-learn's 1,797 scanned digits: the first 1,297 to learn from, 500 kept unseen."""
    data = load_digits()
    images = torch.tensor(data.data / GREY_LEVELS, dtype=torch.float64)
    classes = torch.tensor(data.target)
    seen, unseen = slice(0, TRAINED_ON), slice(TRAINED_ON, None)
    return Digits(images[seen], classes[seen]), Digits(images[unseen], classes[unseen])


def dense(*widths: int) -> nn.Sequential:
    """Dense layers with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs, dtype=torch.float64), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def share_right(model: nn.Module, data: Digits) -> float:
    """Share of images classified right."""
    with torch.no_grad():
        return float((model(data.images).argmax(dim=1) == data.classes).double().mean())


def interval(model: nn.Sequential, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of the outputs over boxes of inputs, by interval arithmetic.

    Source: Gowal et al. 2018 (interval bound propagation), arXiv:1810.12715.
    """
    for layer in model:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            center, reach = (upper + lower) / 2, (upper - lower) / 2
            center, reach = layer(center), _widen(layer, reach)
            lower, upper = center - reach, center + reach
        else:
            lower, upper = layer(lower), layer(upper)  # monotone, entry by entry
    return lower, upper


def _widen(layer: nn.Linear | nn.Conv2d, reach: Tensor) -> Tensor:
    weight = layer.weight.abs()
    if isinstance(layer, nn.Linear):
        return nn.functional.linear(reach, weight)
    return nn.functional.conv2d(reach, weight, None, layer.stride, layer.padding)


def worst_scores(model: nn.Sequential, data: Digits, radius: float) -> Tensor:
    """Scores that interval arithmetic cannot rule out within `radius`: lowest for the right class,
    highest for all others.
    """
    lower, upper = (data.images - radius).clamp(0, 1), (data.images + radius).clamp(0, 1)
    lower, upper = interval(model, lower, upper)
    right = nn.functional.one_hot(data.classes, lower.shape[1]).bool()
    return torch.where(right, lower, upper)


def share_proven(model: nn.Sequential, data: Digits, radius: float) -> float:
    """Share of images that interval arithmetic proves to be classified right within `radius`."""
    with torch.no_grad():
        worst = worst_scores(model, data, radius)
    return float((worst.argmax(dim=1) == data.classes).double().mean())


def describe_robustness(model: nn.Sequential, data: Digits, radius: float) -> None:
    """Print the share of images classified right, and that of those proven right in a box."""
    print(f"right on unseen digits:                {share_right(model, data):.1%}")
    print(f"proven right within {radius:.4f}, unseen:  {share_proven(model, data, radius):.1%}")


def to_graph(model: nn.Sequential, shape: Sequence[int], first: str, last: str) -> Graph:
    """The model with float32 weights, on inputs of `shape` (its batch axis of extent 1 included).

    `first` and `last` name the input and the output.
    """
    builder = GraphBuilder()
    node = builder.add(ops.Input(tuple(shape)), name=first)
    numbers: Counter[str] = Counter()
    for layer in model:
        kind, op = _to_op(layer, builder.shape(node))
        numbers[kind] += 1
        name = last if layer is model[-1] else f"{kind}_{numbers[kind]}"
        node = builder.add(op, node, name=name)
    return builder.build(node)


def _to_op(layer: nn.Module, shape: tuple[int, ...]) -> tuple[str, ops.Op]:
    match layer:
        case nn.Linear():
            return "dense", ops.Dense(_float32(layer.weight), _float32(layer.bias))
        case nn.Conv2d():
            pads = tuple((int(p), int(p)) for p in layer.padding)
            weight, bias = _float32(layer.weight), _float32(layer.bias)
            return "conv", ops.Conv(weight, bias, tuple(layer.stride), pads, tuple(layer.dilation))
        case nn.ReLU():
            return "relu", ops.Relu()
        case nn.Hardtanh():
            return "clip", ops.Clip(layer.min_val, layer.max_val)
        case nn.Flatten():
            return "flat", ops.Reshape((1, int(np.prod(shape))))
        case nn.Unflatten():
            return "image", ops.Reshape((1, *layer.unflattened_size))
        case _:
            raise TypeError(f"no ONNX op for {layer}")


def _float32(parameter: Tensor | None) -> npt.NDArray[np.float32]:
    assert parameter is not None
    return parameter.detach().numpy().astype(np.float32)


def folder(standard: Path) -> Path:
    """Where a script writes: its first argument, or `standard`; made where it is missing."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else standard
    target.mkdir(parents=True, exist_ok=True)
    return target


def write(graph: Graph, target: Path) -> None:
    """The graph as an ONNX file, and a line that says so."""
    content = export(graph, target.stem)
    target.write_bytes(content)
    print(f"{target}: {len(content)} bytes")
