"""Ways to make one loss of two besides their weighted sum, and to certify a part of a batch.

What comes out of these is to train with, and says nothing sound about a network.
"""

from __future__ import annotations

import torch
from torch import Tensor

# A loss of 0 has no power with a finite gradient: it counts as this.
LEAST_LOSS = 1e-12


def convex_margins(alpha: float, certified: Tensor, adversarial: Tensor) -> Tensor:
    """`alpha` parts bounds, `1 - alpha` parts margins at points that an attack found.

    Margins of one shape, (batch, margins). Source: De Palma et al. 2024, arXiv:2305.13991 (CC-IBP).
    """
    _require_share(alpha)
    return alpha * certified + (1 - alpha) * adversarial


def geometric(alpha: float, certified_loss: Tensor, adversarial_loss: Tensor) -> Tensor:
    """`certified_loss^alpha * adversarial_loss^(1 - alpha)`, of losses that are not negative.

    Source: De Palma et al. 2024, arXiv:2305.13991 (Exp-IBP).
    """
    _require_share(alpha)
    first, second = (x.clamp(min=LEAST_LOSS).log() for x in (certified_loss, adversarial_loss))
    return torch.exp(alpha * first + (1 - alpha) * second)


def product(first: Tensor, second: Tensor, scale: float = 1.0) -> Tensor:
    """`first * second`, with the gradient of `first` counted `scale` times.

    With the loss of TAPS first and that of intervals second, a scale of 5 makes up for the smaller
    gradients of the former. Source: Mao et al. 2023, arXiv:2305.04574.
    """
    return scaled_gradient(first, scale) * second


def scaled_gradient(value: Tensor, scale: float) -> Tensor:
    """The value, with `scale` times its gradient."""
    return scale * value + (1 - scale) * value.detach()


def random_subset(count: int, share: float, generator: torch.Generator) -> Tensor:
    """Positions of `share` of a batch, rounded up, drawn without repetition, in ascending order.

    The certified loss of these stands for that of the batch. The positions are on the generator's
    device. Source: Wang et al. 2018, arXiv:1811.02625 (MixTrain, stochastic robust approximation).
    """
    _require_share(share)
    # 1e-9: a share such as 0.07 of 100 must not become 8 by rounding.
    wanted = -int(-(share * count - 1e-9) // 1)
    drawn = torch.randperm(count, generator=generator, device=generator.device)
    return drawn[: max(1, wanted)].sort().values


def balanced_weights(
    share: float, certified_loss: Tensor, clean_loss: Tensor
) -> tuple[Tensor, Tensor]:
    """Weights of two losses that add up to 1 and give the first `share` of the weighted sum.

    They follow the losses given and carry no gradient: as the certified loss falls, it is weighted
    more. Where both losses are 0, the share itself. `balance.Balance` adapts them from epoch to
    epoch, as MixTrain does (Wang et al. 2018, arXiv:1811.02625); the formula is ours.
    """
    _require_share(share)
    certified, clean = certified_loss.detach(), clean_loss.detach()
    first, second = share * clean, (1 - share) * certified
    total = first + second
    weight = torch.where(total > LEAST_LOSS, first / total.clamp(min=LEAST_LOSS), share)
    return weight, 1 - weight


def _require_share(alpha: float) -> None:
    if not 0 <= alpha <= 1:
        raise ValueError(f"a share lies between 0 and 1, not {alpha}")
