"""What constraints bound: shares of errors, distances from a property, and stand-ins for shares.

All are means over samples, 0 where there are none: a batch need not hold a class.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A constraint on `count` samples of a batch, at most 0 where it is kept.

    `observed` is the constraint itself, `stand_in` what is differentiated in its place: scalars.
    """

    stand_in: Tensor
    observed: Tensor
    count: int


def class_margins(scores: Tensor, y: Tensor) -> Tensor:
    """The score of the right class less each other: (batch, classes) to (batch, classes - 1).

    The others stand in ascending order. All positive where the sample is classified correctly.
    """
    right = scores.gather(1, y[:, None])
    others = torch.arange(scores.shape[1] - 1, device=y.device)
    others = others + (others >= y[:, None])
    return right - scores.gather(1, others)


def violation(margins: Tensor) -> Tensor:
    """How far the least margin lies below 0: (batch, margins) to a number. Differentiable."""
    return _mean((-_least(margins)).clamp(min=0))


def error_share(margins: Tensor) -> Tensor:
    """The share of samples with a margin that is not positive; no gradient. NaN counts as one."""
    return _mean((~(_least(margins.detach()) > 0)).to(margins.dtype))


def hinge(margins: Tensor) -> Tensor:
    """The mean of `max(0, 1 - least margin)`: a differentiable stand-in above `error_share`."""
    return _mean((1 - _least(margins)).clamp(min=0))


def _least(margins: Tensor) -> Tensor:
    return margins.flatten(1).amin(1)


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(1, len(values))
