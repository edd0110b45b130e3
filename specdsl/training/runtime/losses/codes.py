"""Autoencoders: codes that are drawn, how far they are from normal, how well they are decoded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.training.runtime.losses.losses import mean_squared_error


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """A normal distribution for each sample, and a point drawn from it: all (batch, ...).

    Gradients of the point flow into mean and deviation.
    """

    mean: Tensor
    log_deviation: Tensor
    sample: Tensor


def normal(mean: Tensor, log_deviation: Tensor, generator: torch.Generator) -> Code:
    """`mean + exp(log_deviation) * noise`, with noise from N(0, 1): two tensors of one shape.

    Raises ValueError where the shapes differ. Source: Kingma and Welling 2013, arXiv:1312.6114,
    section 2.4.
    """
    if mean.shape != log_deviation.shape:
        shapes = f"{tuple(mean.shape)} and {tuple(log_deviation.shape)}"
        raise ValueError(f"mean and deviation have the shapes {shapes}")
    noise = torch.randn(mean.shape, generator=generator, device=generator.device).to(mean)
    return Code(mean, log_deviation, mean + log_deviation.exp() * noise)


def kl_loss(code: Code) -> Tensor:
    """`KL(N(mean, deviation^2) || N(0, 1))`, summed over entries, its mean over the batch.

    Source: Kingma and Welling 2013, arXiv:1312.6114, appendix B.
    """
    mean, log_deviation = code.mean.flatten(1), code.log_deviation.flatten(1)
    entries = (2 * log_deviation).exp() + mean**2 - 1 - 2 * log_deviation
    return entries.sum(dim=1).mean() / 2


def reconstruction_loss(outputs: Tensor, inputs: Tensor) -> Tensor:
    """The mean squared error over all entries: two tensors with as many in each sample."""
    return mean_squared_error(outputs, inputs)
