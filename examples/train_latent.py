"""Train the three networks of `specs/latent.spec` and write them, and one image, as files.

    python examples/train_latent.py [FOLDER]

An encoder turns images of digits (8 x 8 pixels) into 8 numbers, a classifier reads the digit off
them, and a decoder makes an image of them again. The three learn together, with noise on the 8
numbers: the image that comes out should be the one that went in, and both should be classified
right. The image beside them is the first one that none of the networks has seen.
Training takes about ten seconds on one core.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import training
from torch import Tensor, nn
from training import Digits

LATENT = 8
EPOCHS = 1_000
LEARNING_RATE = 5e-3
NOISE = 0.5
"""Standard deviation of what is added to each of the latent numbers."""
SIZE_WEIGHT = 1e-2
IMAGE_WEIGHT = 10.0


@dataclass(frozen=True)
class Models:
    """From 64 pixels to the latent numbers, from there to scores, and from there to pixels."""

    encoder: nn.Sequential
    classifier: nn.Sequential
    decoder: nn.Sequential


def initial() -> Models:
    """Seeded weights. The decoder clips its pixels to 0..1 as its last step."""
    torch.manual_seed(0)
    return Models(
        encoder=training.dense(64, 32, 24, 20, LATENT),
        classifier=training.dense(LATENT, 16, 10),
        decoder=nn.Sequential(*training.dense(LATENT, 32, 64), nn.Hardtanh(0.0, 1.0)),
    )


def loss(models: Models, digits: Digits) -> Tensor:
    """Classify image and reconstruction right, reconstruct the image, keep the numbers small."""
    exact = models.encoder(digits.images)
    latent = exact + NOISE * torch.randn_like(exact)
    free = models.decoder[:-1](latent)  # before clipping, where every pixel has a gradient
    again = models.encoder(free.clamp(0, 1))
    right = nn.functional.cross_entropy(models.classifier(latent), digits.classes)
    right_again = nn.functional.cross_entropy(models.classifier(again), digits.classes)
    image = nn.functional.mse_loss(free, digits.images)
    return right + right_again + IMAGE_WEIGHT * image + SIZE_WEIGHT * exact.square().mean()


def train(digits: Digits) -> Models:
    """Full-batch Adam on all three networks."""
    models = initial()
    parts = (models.encoder, models.classifier, models.decoder)
    parameters = [p for part in parts for p in part.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        loss(models, digits).backward()
        optimizer.step()
    return models


def main() -> None:
    """Train, say how good the networks are, write the files."""
    seen, unseen = training.digits()
    models = train(seen)
    classify = nn.Sequential(models.encoder, models.classifier)
    reconstruct = nn.Sequential(models.encoder, models.decoder)
    again = nn.Sequential(reconstruct, classify)
    print(f"right on unseen digits:           {training.share_right(classify, unseen):.1%}")
    print(f"right after decoding them again:  {training.share_right(again, unseen):.1%}")
    with torch.no_grad():
        error = (reconstruct(unseen.images) - unseen.images).abs().mean()
    print(f"mean error of a pixel:            {error:.3f}")
    target = training.folder(training.SPECS)
    networks, data = target / "networks", target / "data"
    for part in (networks, data):
        part.mkdir(exist_ok=True)
    image, code = (1, 8, 8), (1, LATENT)
    encoder = nn.Sequential(nn.Flatten(), *models.encoder)
    decoder = nn.Sequential(*models.decoder, nn.Unflatten(1, (8, 8)))
    graphs = {
        "encoder": training.to_graph(encoder, image, "image", "latent"),
        "classifier": training.to_graph(models.classifier, code, "latent", "scores"),
        "decoder": training.to_graph(decoder, code, "latent", "image"),
    }
    for name, graph in graphs.items():
        training.write(graph, networks / f"{name}.onnx")
    np.save(data / "sample.npy", unseen.images[0].reshape(8, 8).numpy())


if __name__ == "__main__":
    main()
