"""Attacks that want one certain wrong answer, by either of two objectives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.training.runtime.attacks.ascent import Found, Moves, Value, ascend, evaluated
from specdsl.training.runtime.attacks.attacks import WHOLE_WAY, GradientAttack, worst
from specdsl.training.runtime.attacks.points import Norm
from specdsl.training.runtime.claims.claim import Atom, Claim, margins_at
from specdsl.training.runtime.networks.network import Trainable

Target = Literal["likeliest", "least_likely", "random", "each"]
Objective = Literal["margin", "rest"]


@dataclass(frozen=True, slots=True)
class Targeted(GradientAttack):
    """Ascent towards one wrong class for each example, or towards each in turn."""

    moves: Moves
    restarts: int
    target: Target
    objective: Objective

    def find(self, net: Trainable, claim: Claim, generator: torch.Generator) -> Found:
        with evaluated(net.module):
            if self.target != "each":
                margin = self._chosen(net, claim, generator)
                return self._towards(net, claim, margin, generator)
            with torch.no_grad():
                margins = margins_at(net, claim, claim.region.anchor)
            found = [
                self._towards(net, claim, torch.full_like(margins[:, 0], k).long(), generator)
                for k in range(margins.shape[1])
            ]
            return worst(net, claim, found)

    def _chosen(self, net: Trainable, claim: Claim, generator: torch.Generator) -> Tensor:
        """Which margin of each example is attacked: (batch,)."""
        with torch.no_grad():
            margins = margins_at(net, claim, claim.region.anchor)
        if self.target == "likeliest":
            return margins.argmin(1)
        if self.target == "least_likely":
            return margins.argmax(1)
        batch, count = margins.shape
        drawn = torch.randint(count, (batch,), generator=generator, device=generator.device)
        return drawn.to(margins.device)

    def _towards(
        self, net: Trainable, claim: Claim, margin: Tensor, generator: torch.Generator
    ) -> Found:
        value = (
            _margin(net, claim, margin)
            if self.objective == "margin"
            else _over_the_rest(net, claim, target_classes(claim, margin))
        )
        return ascend(value, claim.region, self.moves, self.restarts, generator)


def targeted(  # noqa: PLR0913 - all by name, each with a default
    steps: int,
    *,
    target: Target = "likeliest",
    objective: Objective = "margin",
    restarts: int = 1,
    step: float | None = None,
    alpha: float | None = None,
    decay: Mapping[int, float] | None = None,
    norm: Norm | None = None,
) -> Targeted:
    """An attack that wants one wrong class t of each example with class y.

    `target`: that with the largest or the least score at the center, a drawn one, or each in turn,
    of which the worst point is kept. `objective`: "margin" makes h_t - h_y large, "rest" makes
    h_t - sum of all other scores large, which finds fewer violations, and among them more of t.
    Other properties have a margin in place of a class; "rest" is about classes alone. `step`,
    `alpha`, `decay` and `norm` are those of `pgd`.
    """
    if steps < 1 or restarts < 1:
        raise ValueError(f"an attack has at least one step and restart, not {min(steps, restarts)}")
    length = WHOLE_WAY / steps if step is None else step
    moves = Moves(steps, length, tuple((decay or {}).items()), norm, alpha=alpha)
    return Targeted(moves, restarts, target, objective)


def target_classes(claim: Claim, margin: Tensor) -> Tensor:
    """The class that the chosen margin of each example is about: (batch,).

    Raises Unsupported where the claim does not compare the scores of one application.
    """
    formula = claim.formula
    rows = formula.rows[0] if isinstance(formula, Atom) and len(formula.rows) == 1 else None
    if rows is None:
        what = "a target class for a property that does not compare scores at one point"
        raise Unsupported("attack `targeted`", what)
    batch = torch.arange(len(margin), device=margin.device)
    return rows.expand(len(margin), -1, -1)[batch, margin].argmin(1)


def _margin(net: Trainable, claim: Claim, margin: Tensor) -> Value:
    def value(points: Tensor) -> Tensor:
        return -margins_at(net, claim, points).gather(1, margin[:, None])[:, 0]

    return value


def _over_the_rest(net: Trainable, claim: Claim, target: Tensor) -> Value:
    def value(points: Tensor) -> Tensor:
        scores = net.at(claim.applications[0].point(points))
        return 2 * scores.gather(1, target[:, None])[:, 0] - scores.sum(1)

    return value
