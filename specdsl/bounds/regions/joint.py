"""Refuting conjunctions: where all atoms hold, so does every weighted sum of them.

A case asks for a point with `margin_k <= 0` for all its atoms k at once. For weights w >= 0 with
sum 1, a positive lower bound of `sum_k w_k margin_k` refutes it, and over linear lower bounds of
the margins that is one linear function for each w. Atoms that say something about the inputs alone
have exact linear bounds: the best weights then cut the input set by them.

The weights are found by ascent, from the best single atom on; any of them give a sound bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from specdsl.bounds.margins import MarginBounds, deciding_margins
from specdsl.bounds.regions.region import InputRegion
from specdsl.query.groups import CaseGroup

# Of random conjunctions of 2 to 9 atoms that some weights refute, 12 steps refute 97 %, 48 steps
# 99.8 %: the few are enough where regions are split further.
FEW_STEPS, MANY_STEPS = 12, 48
# Ascent aims at this part of the margins' size above 0: a bound of 0 refutes nothing.
TARGET_PART = 1e-3
LEAST_SPREAD_PART = 1e-12
# Pairs of a region and a case are taken in parts of at most this many coefficients.
MAX_COEFFICIENTS = 2**22


@dataclass(frozen=True, slots=True, eq=False)
class Mixtures:
    """The best weighted sums found for pairs of a region and a conjunction that it leaves open.

    `coefficients . x + constant` lies below the sum of margins on the region, with weights that add
    up to 1, but for `rounding`. `points`: where the atoms' linear bounds are about jointly least.
    Shapes: regions, cases, constant, rounding: (pairs,); coefficients, points: (pairs, inputs).
    """

    regions: Tensor
    cases: Tensor
    coefficients: Tensor
    constant: Tensor
    rounding: Tensor
    points: Tensor

    def take(self, kept: Tensor) -> Mixtures:
        """What is left when only the regions in the mask `kept` are, counted anew."""
        number = kept.long().cumsum(0) - 1
        return self._at(kept[self.regions], number[self.regions])

    def _at(self, index: Tensor, regions: Tensor) -> Mixtures:
        return Mixtures(
            regions[index],
            self.cases[index],
            self.coefficients[index],
            self.constant[index],
            self.rounding[index],
            self.points[index],
        )


@dataclass(frozen=True, slots=True, eq=False)
class CaseBounds:
    """`least`: proven lower bounds of the deciding margin of each case, less `slack`, by single
    atoms and by all together: (batch, cases). `mixtures` of the conjunctions that single atoms
    leave open.
    """

    least: Tensor
    mixtures: tuple[Mixtures, ...]


def case_bounds(
    group: CaseGroup,
    margins: MarginBounds,
    region: InputRegion,
    slack: float,
    steps: int = FEW_STEPS,
) -> CaseBounds:
    """Bounds of all cases of a group on a batch of regions; `steps` of ascent for joint ones.

    Joint bounds are only computed where single atoms leave a case open. A region without any point
    gets infinite bounds.
    """
    least = deciding_margins(group, margins.proven - slack)
    nothing = region.is_empty
    if bool(nothing.any()):
        least = least.where(~nothing[:, None], torch.full_like(least, torch.inf))
    several = [len({a.index for a in atoms}) > 1 for atoms in group.atoms]
    candidates = (least <= 0) & torch.tensor(several, device=least.device)
    candidates &= _all_bounded(group, margins)
    if not isfinite(slack) or not bool(candidates.any()):
        return CaseBounds(least, ())
    pairs, atoms = candidates.nonzero(), _padded(group, margins.proven.device)
    size = max(1, atoms.shape[1] * region.box.lower.shape[1])
    found: list[Mixtures] = []
    for part in pairs.split(max(1, MAX_COEFFICIENTS // size)):
        problem = _Conjunctions.of(margins, region, part, atoms[part[:, 1]], slack)
        ascent = problem.ascend(steps)
        at = (part[:, 0], part[:, 1])
        least[at] = torch.maximum(least[at], ascent.bound)
        found.append(problem.mixtures(part, ascent))
    return CaseBounds(least, tuple(found))


def _all_bounded(group: CaseGroup, margins: MarginBounds) -> Tensor:
    """Whether every atom of a case has a linear bound at all: (batch, cases). No weighted sum holds
    one that is -inf.
    """
    finite = margins.linear.constant.isfinite()
    picked = [
        finite.new_tensor([a.index for a in atoms], dtype=torch.long) for atoms in group.atoms
    ]
    columns = [finite[:, own].all(1) for own in picked]
    return torch.stack(columns, dim=1)


def _padded(group: CaseGroup, device: torch.device) -> Tensor:
    """Rows of each case's atoms, the last one repeated up to the longest case: (cases, atoms)."""
    longest = max(len(atoms) for atoms in group.atoms)
    rows = [[a.index for a in atoms] or [0] for atoms in group.atoms]
    padded = [r + r[-1:] * (longest - len(r)) for r in rows]
    return torch.tensor(padded, dtype=torch.int64, device=device)


@dataclass(frozen=True, slots=True, eq=False)
class _Ascent:
    """`bound` (pairs,) at `weights` (pairs, atoms), in units of the atoms as they are; `points`
    (pairs, inputs) as in Mixtures.
    """

    bound: Tensor
    weights: Tensor
    points: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Conjunctions:
    """Pairs of a region and a conjunction, one beside the other.

    Shapes: coefficients (pairs, atoms, inputs); constant, rounding, scale (pairs, atoms): linear
    bounds of the atoms, what rounding may have added, and how far each varies over its region.
    """

    region: InputRegion
    coefficients: Tensor
    constant: Tensor
    rounding: Tensor
    scale: Tensor
    slack: float

    @classmethod
    def of(
        cls, margins: MarginBounds, region: InputRegion, pairs: Tensor, rows: Tensor, slack: float
    ) -> _Conjunctions:
        where = pairs[:, :1]
        at = region.take(pairs[:, 0])
        coefficients = margins.linear.coefficients[where, rows]
        constant = margins.linear.constant[where, rows]
        rounding = (margins.linear.lower - margins.proven)[where, rows]
        spread = (coefficients.abs() @ at.box.radius[:, :, None])[..., 0]
        # An atom that hardly varies is measured by its size, and one that is 0 by 1.
        size = constant.abs()
        scale = spread.where(spread > LEAST_SPREAD_PART * size, size)
        scale = scale.where(scale > 0, torch.ones_like(scale))
        return cls(at, coefficients, constant, rounding, scale, slack)

    def mixtures(self, pairs: Tensor, ascent: _Ascent) -> Mixtures:
        """The weighted sums at the weights of an ascent."""
        weights = ascent.weights
        return Mixtures(
            pairs[:, 0],
            pairs[:, 1],
            (weights[:, None] @ self.coefficients)[:, 0],
            (weights * self.constant).sum(1),
            (weights * self.rounding).sum(1),
            ascent.points,
        )

    def ascend(self, steps: int) -> _Ascent:
        """The best weights, by their bound less rounding and slack.

        Polyak's steps towards a positive target. Where a point has all linear bounds at or below 0,
        no weights can refute, and the point is given.
        """
        weights = self._first()
        best = self.constant.new_full(self.constant.shape[:1], -torch.inf)
        best_weights = torch.zeros_like(weights)
        mean = torch.zeros_like(self.region.box.lower)
        given = torch.zeros_like(best, dtype=torch.bool)
        for step in range(steps):
            mixed = weights / self.scale
            sums = mixed[:, None] @ self.coefficients
            point = self.region.minimiser(sums)[:, 0]
            values = (self.coefficients @ point[:, :, None])[..., 0] + self.constant
            value = self.region.minimum(sums)[:, 0] + (mixed * self.constant).sum(1)
            size = mixed.sum(1)
            proven = (value - (mixed * (self.rounding + self.slack)).sum(1)) / size
            better = proven > best
            best = proven.where(better, best)
            best_weights = (mixed / size[:, None]).where(better[:, None], best_weights)
            mean = mean.where(given[:, None], mean + (point - mean) / (step + 1))
            hopeless = (values <= 0).all(1)
            mean = mean.where(~(hopeless & ~given)[:, None], point)
            given = given | hopeless
            if bool(((best > 0) | given).all()):
                break
            slopes = values / self.scale
            away = slopes - slopes.mean(1, keepdim=True)
            length = (TARGET_PART - value).clamp(min=0) / (away * away).sum(1).clamp(min=1e-30)
            weights = _onto_simplex(weights + length[:, None] * away)
        return _Ascent(best, best_weights, mean)

    def _first(self) -> Tensor:
        """All weight on the atom with the best bound, in units of its own spread."""
        alone = self.region.minimum(self.coefficients) + self.constant
        best = (alone / self.scale).argmax(1, keepdim=True)
        return torch.zeros_like(self.scale).scatter(1, best, 1.0)


def _onto_simplex(weights: Tensor) -> Tensor:
    """The nearest weights that are not negative and add up to 1. Source: Duchi et al. 2008."""
    falling = weights.sort(dim=1, descending=True).values
    excess = falling.cumsum(1) - 1
    count = torch.arange(1, weights.shape[1] + 1, dtype=weights.dtype, device=weights.device)
    kept = (falling * count > excess).sum(1, keepdim=True).clamp(min=1)
    return (weights - excess.gather(1, kept - 1) / kept).clamp(min=0)
