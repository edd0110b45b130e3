"""Train the digits classifier of `specs/digits.spec` and write it as ONNX.

    python examples/train_digits.py [FILE]

The data are scikit-learn's 1,797 scanned digits, 8 x 8 pixels with grey levels 0 to 16. A network
of 64, 32, 32 and 10 neurons learns the first 1,297 of them so that small changes of all pixels at
once rarely change its answer: beside the usual loss it minimises the loss of the worst scores that
interval arithmetic allows in a box around each image (interval bound propagation, Gowal et al.
2018, arXiv:1810.12715). The other 500 stay unseen. Training takes a few seconds on one core and is
done in float64, so that it gives the same weights everywhere up to rounding.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder
from specdsl.graph.to_onnx import export

TARGET = Path(__file__).resolve().parents[1] / "specs" / "networks" / "digits.onnx"
TRAINED_ON = 1_297
WIDTHS = (64, 32, 32, 10)
EPOCHS = 400
LEARNING_RATE = 5e-3
RADIUS = 1 / 16
"""One grey level: the box that training guards at its end."""


@dataclass(frozen=True)
class Digits:
    """Images with values from 0 to 1, shape (n, 64), and their classes."""

    images: Tensor
    classes: Tensor


def load() -> tuple[Digits, Digits]:
    """What the network learns, and what it never sees."""
    data = load_digits()
    images = torch.tensor(data.data / 16, dtype=torch.float64)
    classes = torch.tensor(data.target)
    seen = slice(0, TRAINED_ON)
    unseen = slice(TRAINED_ON, None)
    return Digits(images[seen], classes[seen]), Digits(images[unseen], classes[unseen])


def initial_layers() -> list[nn.Linear]:
    """Dense layers with seeded weights."""
    torch.manual_seed(0)
    return [nn.Linear(a, b, dtype=torch.float64) for a, b in pairwise(WIDTHS)]


def scores(layers: list[nn.Linear], images: Tensor) -> Tensor:
    """The network itself: dense layers with ReLU between them."""
    for layer in layers[:-1]:
        images = torch.relu(layer(images))
    return layers[-1](images)


def worst_scores(layers: list[nn.Linear], digits: Digits, radius: float) -> Tensor:
    """Scores that interval arithmetic cannot rule out within `radius`: lowest for the right class,
    highest for all others.
    """
    lower = (digits.images - radius).clamp(0, 1)
    upper = (digits.images + radius).clamp(0, 1)
    for number, layer in enumerate(layers):
        center, reach = (upper + lower) / 2, (upper - lower) / 2
        center, reach = layer(center), reach @ layer.weight.abs().T
        lower, upper = center - reach, center + reach
        if number < len(layers) - 1:
            lower, upper = torch.relu(lower), torch.relu(upper)
    right = nn.functional.one_hot(digits.classes, WIDTHS[-1]).bool()
    return torch.where(right, lower, upper)


def train(digits: Digits) -> list[nn.Linear]:
    """Full-batch Adam; the guarded box grows over the first three quarters."""
    layers = initial_layers()
    parameters = [p for layer in layers for p in layer.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    for epoch in range(EPOCHS):
        progress = min(1.0, epoch / (0.75 * EPOCHS))
        clean = nn.functional.cross_entropy(scores(layers, digits.images), digits.classes)
        guarded = worst_scores(layers, digits, RADIUS * progress)
        robust = nn.functional.cross_entropy(guarded, digits.classes)
        loss = (1 - progress / 2) * clean + progress / 2 * robust
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return layers


def to_onnx(layers: list[nn.Linear]) -> bytes:
    """The network with float32 weights, on one image of shape (1, 8, 8)."""
    builder = GraphBuilder()
    node = builder.add(ops.Input((1, 8, 8)), name="image")
    node = builder.add(ops.Reshape((1, WIDTHS[0])), node, name="flat")
    for number, layer in enumerate(layers, 1):
        weight, bias = (p.detach().numpy().astype(np.float32) for p in (layer.weight, layer.bias))
        last = number == len(layers)
        node = builder.add(
            ops.Dense(weight, bias), node, name="scores" if last else f"dense{number}"
        )
        if not last:
            node = builder.add(ops.Relu(), node, name=f"relu{number}")
    return export(builder.build(node), "digits")


def share_right(layers: list[nn.Linear], digits: Digits, radius: float | None = None) -> float:
    """Share of images classified right; with a radius, proven right within it."""
    with torch.no_grad():
        found = (
            scores(layers, digits.images)
            if radius is None
            else worst_scores(layers, digits, radius)
        )
    return float((found.argmax(dim=1) == digits.classes).double().mean())


def main() -> None:
    """Train, say how good it is, write the file."""
    seen, unseen = load()
    layers = train(seen)
    print(f"right on unseen digits:                      {share_right(layers, unseen):.1%}")
    print(f"proven right within one grey level, unseen:  {share_right(layers, unseen, RADIUS):.1%}")
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    target.parent.mkdir(parents=True, exist_ok=True)
    content = to_onnx(layers)
    target.write_bytes(content)
    print(f"{target}: {len(content)} bytes")


if __name__ == "__main__":
    main()
