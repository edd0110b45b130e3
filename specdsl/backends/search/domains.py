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
    """

    lower: Tensor
    upper: Tensor
    bound: Tensor
    open_cases: Tensor

    def __len__(self) -> int:
        return self.lower.shape[0]

    def take(self, index: Tensor) -> Domains:
        """The domains at `index` (positions or a mask)."""
        return Domains(
            self.lower[index], self.upper[index], self.bound[index], self.open_cases[index]
        )

    def join(self, other: Domains) -> Domains:
        """Both, one after the other."""
        return Domains(
            torch.cat([self.lower, other.lower]),
            torch.cat([self.upper, other.upper]),
            torch.cat([self.bound, other.bound]),
            torch.cat([self.open_cases, other.open_cases]),
        )

    def pop_worst(self, count: int) -> tuple[Domains, Domains]:
        """The `count` domains with the lowest bounds, and the rest."""
        if count >= len(self):
            return self, self.take(torch.zeros(0, dtype=torch.int64))
        chosen = self.bound.topk(count, largest=False).indices
        rest = torch.ones(len(self), dtype=torch.bool)
        rest[chosen] = False
        return self.take(chosen), self.take(rest)
