"""The options of `sampling`."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Effort:
    """How many points are drawn for an answer, how often it may be wrong, from which seed.

    `samples` count, `batch` at a time; `selection` tell beforehand whether that is worth while.
    """

    samples: int
    alpha: Fraction
    selection: int
    batch: int
    seed: int

    def check(self) -> None:
        """Raise ValueError for numbers that make no sense."""
        for name in ("samples", "selection", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` is at least 1, not {getattr(self, name)}")
        if not 0 < self.alpha < 1:
            raise ValueError(f"`alpha` lies between 0 and 1, not at {self.alpha}")
        if not -(2**63) <= self.seed < 2**63:
            raise ValueError(f"`seed` has 64 bits, unlike {self.seed}")

    @property
    def confidence(self) -> Fraction:
        """How sure an answer is."""
        return 1 - self.alpha
