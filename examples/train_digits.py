"""Train the digits classifier of `specs/digits.spec` and write it as ONNX.

    python examples/train_digits.py [FOLDER]

The data are scikit-learn's 1,797 scanned digits, 8 x 8 pixels with grey levels 0 to 16. A network
of 64, 32, 32 and 10 neurons learns the first 1,297 of them so that small changes of all pixels at
once rarely change its answer: beside the usual loss it minimises the loss of the worst scores that
interval arithmetic allows in a box around each image (interval bound propagation, Gowal et al.
2018, arXiv:1810.12715). The other 500 stay unseen. Training takes a few seconds on one core.
"""

from __future__ import annotations

import torch
import training
from torch import nn
from training import Digits

from specdsl.graph.graph import Graph

EPOCHS = 400
LEARNING_RATE = 5e-3
RADIUS = 1 / training.GREY_LEVELS
"""One grey level: the box that training guards at its end."""


def train(digits: Digits) -> nn.Sequential:
    """Dense layers with seeded weights, trained."""
    torch.manual_seed(0)
    return learn(training.dense(64, 32, 32, 10), digits)


def learn(model: nn.Sequential, digits: Digits) -> nn.Sequential:
    """Full-batch Adam; the guarded box grows over the first three quarters."""
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for epoch in range(EPOCHS):
        progress = min(1.0, epoch / (0.75 * EPOCHS))
        clean = nn.functional.cross_entropy(model(digits.images), digits.classes)
        guarded = training.worst_scores(model, digits, RADIUS * progress)
        robust = nn.functional.cross_entropy(guarded, digits.classes)
        loss = (1 - progress / 2) * clean + progress / 2 * robust
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def to_graph(model: nn.Sequential) -> Graph:
    """The network on one image of shape (1, 8, 8)."""
    return training.to_graph(nn.Sequential(nn.Flatten(), *model), (1, 8, 8), "image", "scores")


def main() -> None:
    """Train, say how good it is, write the file."""
    seen, unseen = training.digits()
    model = train(seen)
    training.describe_robustness(model, unseen, RADIUS)
    training.write(to_graph(model), training.folder(training.NETWORKS) / "digits.onnx")


if __name__ == "__main__":
    main()
