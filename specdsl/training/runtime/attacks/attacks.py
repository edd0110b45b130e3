"""Attacks on claims: points of a region where a property holds badly, for a batch at once.

An attack is a value that a script names once and calls with a network, a claim and a generator; it
gives one point (batch, n) of each region. `find` says besides how many steps were taken. Steps are
parts of the region's radius, so that one attack serves every radius of a schedule; `alpha` gives
them in units of the inputs instead. While an attack looks the network is in evaluation mode; its
weights get no gradients.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, softplus

from specdsl.training.runtime.attacks.ascent import Found, Moves, ascend, better, evaluated, moved
from specdsl.training.runtime.attacks.points import Norm, Start, extents, normal, project, start
from specdsl.training.runtime.claims.claim import Claim, margins_at
from specdsl.training.runtime.networks.network import Trainable

Attack = Callable[[Trainable, Claim, torch.Generator], Tensor]
"""One point (batch, n) of each region of a claim."""

Loss = Literal["cross_entropy", "margin"]
"""What is made large of the margins m of a claim: log(1 + sum exp(-m)), or -min m."""

# Steps of all in all 2.5 radii reach every point of a region from every other, and turn back
# (Madry et al. 2018, arXiv:1706.06083).
WHOLE_WAY = 2.5


def loss_of(margins: Tensor, loss: Loss = "cross_entropy") -> Tensor:
    """What attacks make large: of margins (batch, m) one number for each example, (batch,).

    The mean of the cross entropies is `robust_cross_entropy`.
    """
    if loss == "margin":
        return -margins.amin(1)
    return softplus(torch.logsumexp(-margins, 1))


class GradientAttack(ABC):
    """What all attacks of this file have in common."""

    @abstractmethod
    def find(self, net: Trainable, claim: Claim, generator: torch.Generator) -> Found:
        """The points, and how many steps they took."""

    def __call__(self, net: Trainable, claim: Claim, generator: torch.Generator) -> Tensor:
        """The points alone: (batch, n)."""
        return self.find(net, claim, generator).points


# --- one way up -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pgd(GradientAttack):
    """Projected gradient ascent; of several restarts the point with the largest loss is kept."""

    moves: Moves
    restarts: int = 1
    loss: Loss = "cross_entropy"

    def find(self, net: Trainable, claim: Claim, generator: torch.Generator) -> Found:
        def value(points: Tensor) -> Tensor:
            return loss_of(margins_at(net, claim, points), self.loss)

        with evaluated(net.module):
            return ascend(value, claim.region, self.moves, self.restarts, generator)


def fgsm(step: float = 1.0, start: Start = "center", *, alpha: float | None = None) -> Pgd:
    """One step along the sign of the gradient, from the center to a corner of a box.

    Exact where the margins are linear. `fgsm(1.25, "random")` is the variant of Wong et al. 2020,
    arXiv:2001.03994, that is strong enough to train with.
    Source: Goodfellow et al. 2015, arXiv:1412.6572.
    """
    return Pgd(Moves(1, step, start=start, alpha=alpha))


def pgd(  # noqa: PLR0913 - all by name, each with a default
    steps: int,
    *,
    restarts: int = 1,
    step: float | None = None,
    alpha: float | None = None,
    decay: Mapping[int, float] | None = None,
    norm: Norm | None = None,
    loss: Loss = "cross_entropy",
) -> Pgd:
    """Projected gradient ascent from random points: Madry et al. 2018, arXiv:1706.06083.

    `step`: its length in parts of the radius, 2.5 / steps where None; `alpha`: its length in units
    of the inputs instead. `decay`: `{4: .1, 7: .1}`
    multiplies lengths by 0.1 from the fifth step on, and once more from the eighth. `norm`: which
    moves count as equally long (signs of the gradient, the gradient, the signs of its largest
    entries); None: as the region measures. Raises ValueError where no step or restart is left.
    """
    return Pgd(_moves(steps, step, decay, norm, alpha), _at_least_one(restarts), loss)


def _moves(
    steps: int,
    step: float | None,
    decay: Mapping[int, float] | None = None,
    norm: Norm | None = None,
    alpha: float | None = None,
) -> Moves:
    length = WHOLE_WAY / _at_least_one(steps) if step is None else step
    return Moves(steps, length, tuple((decay or {}).items()), norm, alpha=alpha)


def _at_least_one(count: int) -> int:
    if count < 1:
        raise ValueError(f"an attack has at least one step and restart, not {count}")
    return count


# --- not all the way up ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Friendly(GradientAttack):
    """Ascent that each example leaves `tau` steps after the property first failed for it."""

    moves: Moves
    tau: int

    def find(self, net: Trainable, claim: Claim, generator: torch.Generator) -> Found:
        region = claim.region
        points = start(region, self.moves.start, generator)
        taken = torch.zeros(len(points), dtype=torch.int64, device=points.device)
        left = torch.full_like(taken, self.tau)
        failed = torch.zeros_like(taken, dtype=torch.bool)
        margins = points

        def value(points: Tensor) -> Tensor:
            nonlocal margins
            margins = margins_at(net, claim, points)
            return loss_of(margins)

        with evaluated(net.module):
            for index in range(self.moves.count):
                ahead = moved(value, region, points, self.moves, index)
                failed = failed | (margins.detach().amin(1) <= 0)
                active = ~failed | (left > 0)
                if not bool(active.any()):
                    break
                points = ahead.where(active[:, None], points)
                taken = taken + active
                left = left - (failed & active).long()
        return Found(points, taken)


def friendly(
    steps: int = 10,
    tau: int = 0,
    *,
    step: float | None = None,
    alpha: float | None = None,
    norm: Norm | None = None,
) -> Friendly:
    """Adversaries that are hardly any: at most `steps`, and `tau` more after the first violation.

    A schedule raises `tau` over the epochs. Source: Zhang et al. 2020, arXiv:2002.11242.
    """
    return Friendly(_moves(steps, step, norm=norm, alpha=alpha), tau)


# --- divergence -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Divergence(GradientAttack):
    """Ascent on the divergence of the outputs from those at the samples, whatever the labels."""

    moves: Moves
    restarts: int = 1

    def find(
        self,
        net: Trainable,
        claim: Claim,
        generator: torch.Generator,
        natural: Sequence[Tensor] | None = None,
    ) -> Found:
        """`natural`: the outputs (batch, classes) at the samples, one for each application of the
        claim; None: those at the centers of the regions.
        """
        with evaluated(net.module):
            given = natural or [net.at(a.point(claim.region.anchor)) for a in claim.applications]
            usual = [log_softmax(outputs.detach(), 1) for outputs in given]

            def value(points: Tensor) -> Tensor:
                parts = [
                    kl_div(log_softmax(net.at(a.point(points)), 1), log, None, None, "none", True)
                    for a, log in zip(claim.applications, usual, strict=True)
                ]
                return torch.stack([part.sum(1) for part in parts]).sum(0)

            return ascend(value, claim.region, self.moves, self.restarts, generator)


def kl(
    steps: int = 10,
    *,
    restarts: int = 1,
    step: float | None = None,
    alpha: float | None = None,
    decay: Mapping[int, float] | None = None,
    norm: Norm | None = None,
) -> Divergence:
    """The attack of TRADES: ascent on KL(outputs at the sample | outputs at the point).

    It begins beside the center, where the divergence has a gradient.
    Source: Zhang et al. 2019, arXiv:1901.08573.
    """
    made = _moves(steps, step, decay, norm, alpha)
    return Divergence(replace(made, start="near"), _at_least_one(restarts))


# --- no gradient, and several ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Noise(GradientAttack):
    """Normal noise around the centers, kept in the regions; `deviation` in parts of the radius."""

    deviation: float

    def find(self, net: Trainable, claim: Claim, generator: torch.Generator) -> Found:
        region = claim.region
        noise = normal(region.anchor.shape, generator, region.anchor)
        points = project(region, region.anchor + self.deviation * noise * extents(region))
        return Found(points, torch.zeros(len(points), dtype=torch.int64, device=points.device))


def noise(deviation: float) -> Noise:
    """Normal noise with this standard deviation, in parts of the radius, projected on the region.

    For noise that nothing bounds, as randomised smoothing has, see `with_noise`.
    """
    return Noise(deviation)


def with_noise(x: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Inputs with normal noise of this standard deviation, not clipped: Cohen et al. 2019,
    arXiv:1902.02918.
    """
    return x + deviation * normal(x.shape, generator, x)


@dataclass(frozen=True, slots=True)
class Several(GradientAttack):
    """Several attacks on each batch, or one of them that is drawn."""

    attacks: tuple[GradientAttack, ...]
    pick: Literal["worst", "draw"]

    def find(self, net: Trainable, claim: Claim, generator: torch.Generator) -> Found:
        if self.pick == "draw":
            drawn = torch.randint(
                len(self.attacks), (), generator=generator, device=generator.device
            )
            return self.attacks[int(drawn)].find(net, claim, generator)
        found = [attack.find(net, claim, generator) for attack in self.attacks]
        return worst(net, claim, found)


def several(*attacks: GradientAttack, pick: Literal["worst", "draw"] = "worst") -> Several:
    """For each example the point of the attack that does worst to it, or for each batch one attack.

    Raises ValueError without attacks. Source: Tramer and Boneh 2019, arXiv:1904.13000.
    """
    if not attacks:
        raise ValueError("several attacks are at least one")
    return Several(attacks, pick)


def worst(net: Trainable, claim: Claim, found: Sequence[Found]) -> Found:
    """For each example the point with the largest cross entropy; steps are those of all."""
    points: Tensor | None = None
    reached: Tensor | None = None
    with evaluated(net.module), torch.no_grad():
        for each in found:
            values = loss_of(margins_at(net, claim, each.points))
            points, reached = better(points, reached, each.points, values)
    assert points is not None
    return Found(points, torch.stack([each.steps for each in found]).sum(0))
