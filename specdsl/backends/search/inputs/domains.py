"""The open pieces of an input set: boxes with the bounds that left them open."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Domains:
    """Boxes that may still hold a witness.

    lower, upper: (domains, inputs). `bound`: (domains,), the proven margin bound of the box or of
    the box it was cut from. `open_cases`: (domains, cases), which cases of the group are open.
    `codes`: (domains, neurons), which neurons are known to be stable (`bounds.passes.reduced`).
    """

    lower: Tensor
    upper: Tensor
    bound: Tensor
    open_cases: Tensor
    codes: Tensor

    def __len__(self) -> int:
        return self.lower.shape[0]

    def take(self, index: Tensor | slice) -> Domains:
        """The domains at `index` (positions, a mask or a slice)."""
        return Domains(
            self.lower[index],
            self.upper[index],
            self.bound[index],
            self.open_cases[index],
            self.codes[index],
        )

    def join(self, other: Domains) -> Domains:
        """Both, one after the other."""
        return Domains(
            torch.cat([self.lower, other.lower]),
            torch.cat([self.upper, other.upper]),
            torch.cat([self.bound, other.bound]),
            torch.cat([self.open_cases, other.open_cases]),
            torch.cat([self.codes, other.codes]),
        )

    def within(self, lower: Tensor, upper: Tensor) -> Domains:
        """The same domains with other boxes."""
        return Domains(lower, upper, self.bound, self.open_cases, self.codes)

    def pop_worst(self, count: int) -> tuple[Domains, Domains]:
        """The `count` domains with the lowest bounds, and the rest."""
        if count >= len(self):
            return self, self.take(slice(0))
        chosen = self.bound.topk(count, largest=False).indices
        rest = torch.ones_like(self.bound, dtype=torch.bool)
        rest[chosen] = False
        return self.take(chosen), self.take(rest)


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """Which inputs are whole numbers, and how boxes are cut there: between two of them.

    whole: (inputs,) mask. Beyond LARGEST_WHOLE a float64 cannot tell neighbours apart; entries that
    reach so far are cut like real ones.
    """

    whole: Tensor

    @classmethod
    def of(cls, integers: Tensor, inputs: int) -> Lattice:
        """From the positions of the whole-number inputs."""
        whole = torch.zeros(inputs, dtype=torch.bool, device=integers.device)
        whole[integers] = True
        return cls(whole)

    def _counted(self, domains: Domains) -> Tensor:
        farthest = torch.maximum(domains.lower.abs(), domains.upper.abs())
        return self.whole & (farthest < LARGEST_WHOLE)

    def cuttable(self, domains: Domains) -> Tensor:
        """Whether an edge can be cut in two smaller ones: (domains, inputs)."""
        middle = (domains.lower + domains.upper) / 2
        real = (domains.lower < middle) & (middle < domains.upper)
        if not bool(self.whole.any()):
            return real
        return real & ~(self._counted(domains) & (domains.upper - domains.lower < 1))

    def ends(self, domains: Domains) -> tuple[Tensor, Tensor]:
        """Where every edge is cut: the end of the lower half and the start of the upper one.

        They are the same number for real inputs, so that nothing between the halves is lost.
        """
        middle = (domains.lower + domains.upper) / 2
        if not bool(self.whole.any()):
            return middle, middle
        below, counted = middle.floor(), self._counted(domains)
        return below.where(counted, middle), (below + 1).where(counted, middle)

    def inward(self, domains: Domains) -> Domains:
        """The domains with whole ends where inputs are whole; where these cross, there is no point.

        Crossing ends are left to `has_point`.
        """
        if not bool(self.whole.any()):
            return domains
        counted = self._counted(domains)
        lower = domains.lower.ceil().where(counted, domains.lower)
        upper = domains.upper.floor().where(counted, domains.upper)
        return domains.within(lower, upper)


def has_point(domains: Domains) -> Tensor:
    """Whether no two ends cross: (domains,)."""
    return (domains.lower <= domains.upper).all(1)


LARGEST_WHOLE = 2.0**52
