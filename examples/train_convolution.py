"""Train the convolutional network of `specs/robust.spec` and write it as ONNX.

    python examples/train_convolution.py [FOLDER]

Two convolutions with stride 2 and a dense layer learn scikit-learn's digits as `train_digits.py`
does: so that changes of all pixels by up to one grey level rarely change the answer. Training
takes about half a minute on one core.
"""

from __future__ import annotations

import torch
import training
from torch import nn
from train_digits import RADIUS, learn

from specdsl.graph.graph import Graph


def initial() -> nn.Sequential:
    """Seeded weights; the images come as vectors of 64 pixels."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 6, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 10, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(40, 10),
    )
    return model.to(torch.float64)


def to_graph(model: nn.Sequential) -> Graph:
    """The network on one image of shape (1, 1, 8, 8): batch, channel, rows, columns."""
    return training.to_graph(model[1:], (1, 1, 8, 8), "image", "scores")


def main() -> None:
    """Train, say how good it is, write the file."""
    seen, unseen = training.digits()
    model = learn(initial(), seen)
    training.describe_robustness(model, unseen, RADIUS)
    training.write(to_graph(model), training.folder(training.NETWORKS) / "convolution.onnx")


if __name__ == "__main__":
    main()
