"""Loss fusion: the robust cross-entropy bounded by one row of CROWN-IBP instead of one a margin.

`log(1 + sum over t of exp(-margin t))` is bounded as a whole. Intervals of the margins give chords
above the exponentials; what they add up to is one linear function of the outputs, which is walked
back to the input as a single row. With K classes that is 1 row where margins need K - 1.

The result lies above the loss of every point of the region. It says nothing about any one margin:
it is a loss to train with, and no certificate.

Source: Xu et al. 2020, arXiv:2002.12920, section 3.3 (loss fusion).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.regions.region import InputRegion
from specdsl.training.runtime.bounds.centered import Centered, centered_pass
from specdsl.training.runtime.bounds.lower import is_point, require_share, shaped
from specdsl.training.runtime.bounds.row_walk import Bounds, merged_interval, relaxed_lower
from specdsl.training.runtime.claims.claim import Any_, Claim, Formula, atoms_of
from specdsl.training.runtime.networks.network import Trainable

# Below this width a chord's slope is taken from its series: the quotient would lose half its
# digits. The series, cut off after `w / 2`, is below the slope, so that the line stays above.
NARROW = 1e-3


def fused_loss(net: Trainable, claim: Claim, beta: float = 1.0) -> Tensor:
    """Mean over the batch of upper bounds of the robust cross-entropy: a number. TRAIN ONLY.

    `beta`: the share of the row's bound; intervals are the rest, and with 0 it is the loss of
    interval bounds. Raises ValueError for a share outside [0, 1], Unsupported for a claim with
    alternatives, whose margins do not add up.
    """
    return per_sample_fused_loss(net, claim, beta).mean()


def per_sample_fused_loss(net: Trainable, claim: Claim, beta: float = 1.0) -> Tensor:
    """The same for each sample: (batch,)."""
    require_share(beta)
    if _has_alternatives(claim.formula):
        what = "a claim with alternatives"
        raise Unsupported("loss fusion", what, "bound its margins: leave `fused` away")
    margins = _Margins.of(net, claim)
    found = margins.interval()
    # Exponentials of `-margin`, of which the largest is 1: they neither overflow nor all vanish.
    highest = torch.where(margins.open, -found.lower, 0.0)
    shift = highest.detach().amax(1, keepdim=True).clamp(min=0)
    at_least = torch.where(margins.open, torch.exp(highest - shift), 0.0)
    total = torch.exp(-shift[:, 0]) + at_least.sum(1)
    if beta != 0 and not margins.are_known:
        slopes = at_least * _share_of_slope(2 * found.radius)
        gain = margins.weighted_lower(slopes) - (slopes * found.lower).sum(1)
        # Rounding may take away more than there is; a larger bound is one too.
        least = torch.finfo(total.dtype).eps * total.detach()
        total = torch.maximum(total - beta * gain, least)
    # What is known to fail has an infinite loss, as its margin does.
    return torch.where(margins.fails, torch.inf, total.log() + shift[:, 0])


def _has_alternatives(formula: Formula) -> bool:
    if isinstance(formula, Any_):
        return True
    return any(_has_alternatives(part) for part in getattr(formula, "parts", ()))


def _share_of_slope(width: Tensor) -> Tensor:
    """`(1 - exp(-width)) / width`: of `exp` at the upper end of an interval, its chord's slope."""
    safe = width.clamp(min=NARROW)
    return torch.where(width > NARROW, -torch.expm1(-safe) / safe, 1 - width / 2)


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """One application: its region, intervals, and rows (batch or 1, margins, *output)."""

    region: InputRegion
    bounds: Bounds
    rows: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Margins:
    """All margins of a claim: sums over applications, and `offset` (batch, margins).

    `open`: those that are not known to hold or to fail whatever the network does, (batch, margins);
    `fails`: whether one is known to fail, (batch,).
    """

    compiled: CompiledGraph
    reads: tuple[_Read, ...]
    offset: Tensor
    open: Tensor
    fails: Tensor

    @classmethod
    def of(cls, net: Trainable, claim: Claim) -> _Margins:
        compiled = net.compiled()
        atoms = atoms_of(claim.formula)
        batch = claim.region.batch
        counts = [atom.offset.shape[1] for atom in atoms]
        reads: list[_Read] = []
        for k, application in enumerate(claim.applications):
            own = [atom.rows[k] for atom in atoms]
            if all(rows is None for rows in own):
                continue
            like = next(rows for rows in own if rows is not None)
            size = max(1, *(len(rows) for rows in own if rows is not None))
            stacked = [
                like.new_zeros(size, count, like.shape[2]) if rows is None else rows
                for rows, count in zip(own, counts, strict=True)
            ]
            together = torch.cat([rows.expand(size, -1, -1) for rows in stacked], dim=1)
            bounds = centered_pass(compiled, application.region)
            reads.append(_Read(application.region, bounds, shaped(compiled, together)))
        offset = torch.cat([atom.offset.expand(batch, -1) for atom in atoms], dim=1)
        finite = torch.where(offset.isinf(), 0.0, offset)
        return cls(compiled, tuple(reads), finite, offset.isfinite(), offset.isneginf().any(1))

    @property
    def are_known(self) -> bool:
        """Whether intervals are exact, because every region is a point."""
        return all(is_point(read.region) for read in self.reads)

    def interval(self) -> Centered:
        """By intervals: (batch, margins)."""
        center, radius = self.offset, torch.zeros_like(self.offset)
        for read in self.reads:
            found = merged_interval(self.compiled, read.rows, read.region, read.bounds)
            center, radius = center + found.center, radius + found.radius
        return Centered(center, radius)

    def weighted_lower(self, weights: Tensor) -> Tensor:
        """A lower bound of `weights . margins`, by one row for each application: (batch,)."""
        total = (weights * self.offset).sum(1)
        for read in self.reads:
            row = (weights[:, None] @ read.rows.flatten(2)).unflatten(2, read.rows.shape[2:])
            total = total + relaxed_lower(self.compiled, row, read.region, read.bounds)[:, 0]
        return total
