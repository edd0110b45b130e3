"""What a script looks for before it trains: bounds that are none, and gradients that break."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from specdsl.bounds.interval import EmptyInterval
from specdsl.training.runtime.attacks.points import start
from specdsl.training.runtime.bounds.lower import crown_ibp, interval, lower
from specdsl.training.runtime.claims.claim import Claim, margins_at
from specdsl.training.runtime.loop.data import Samples
from specdsl.training.runtime.networks.network import Trainable

# Points of each region; with eight regions and a small network half a second.
POINTS = 50
# Of the largest margin: what float32 may add up to over some layers.
TOLERANCE = 1e-4


class Mistake(AssertionError):
    """A check of a script failed."""


def check_bounds(
    net: Trainable, part: Samples, claim_of: Callable[[Tensor, Tensor], Claim]
) -> None:
    """Bounds lie below the margins at drawn points.

    Raises Mistake where they do not.
    """
    assert part.labels is not None, "a property is about labelled samples"
    module = net.module.eval()
    claim = claim_of(part.inputs, part.labels)
    generator = torch.Generator().manual_seed(0)
    for name, bound in (("interval", interval()), ("crown_ibp", crown_ibp())):
        with torch.no_grad():
            try:
                below = lower(net, claim, bound)
            except EmptyInterval as error:
                raise Mistake(f"{name}: {error}") from error
            for _ in range(POINTS):
                points = start(claim.region, "random", generator)
                at = margins_at(net, claim, points)
                if not bool((at >= below - TOLERANCE * (1 + at.abs())).all()):
                    raise Mistake(f"{name} is above the margin at a point of the region")
    module.train()


def check_gradients(net: Trainable, terms: Mapping[str, Tensor]) -> None:
    """Every term is finite, and so is the gradient of their sum. Raises Mistake.

    Without terms, where all weights are 0, there is nothing to look at.
    """
    if not terms:
        return
    for name, value in terms.items():
        if not bool(value.isfinite().all()):
            raise Mistake(f"`{name}` is {float(value.detach().sum())}")
    net.module.zero_grad()
    torch.stack([value.sum() for value in terms.values()]).sum().backward()
    for name, parameter in net.module.named_parameters():
        if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
            raise Mistake(f"the gradient of `{name}` is not finite")
