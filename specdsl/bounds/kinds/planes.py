"""What a product leaves to choose: below and above, all mixtures of two planes each.

That is all there is: the two planes are the convex hull on either side (Al-Khayyal and Falk 1983).
One number for each coefficient says where it stands between the first and the second plane; it
moves steadily with the ends of the operands, so that a place found on a region is one to start from
on its parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.choice import ChainChoice, ChainMixture, Layout, Mixture
from specdsl.bounds.kinds.relaxation import Passed, PlaneRelaxation
from specdsl.bounds.rows.rows import Rows


@dataclass(frozen=True, slots=True, eq=False)
class PlaneChoice:
    """`start_below`, `start_above`: the parts of `second` that CROWN takes, (batch, *shape)."""

    first: PlaneRelaxation
    second: PlaneRelaxation
    start_below: Tensor
    start_above: Tensor

    def mixture(self, rows: Rows, batch: int) -> Mixture:
        """As Choice says."""
        if self.first.unbounded or self.second.unbounded:
            return ChainMixture(ChainChoice((self.first, self.second), 0), rows, batch)
        return PlaneMixture(self, rows, batch)

    def flattened(self, image: Interval, drift: tuple[Tensor, ...]) -> PlaneChoice:
        """As Choice says."""
        first, second = (p.flattened(image, drift) for p in (self.first, self.second))
        return PlaneChoice(first, second, self.start_below, self.start_above)

    def size(self, *operands: Tensor) -> Tensor:
        """As Choice says."""
        return torch.maximum(self.first.size(*operands), self.second.size(*operands))


class PlaneMixture(Mixture):
    """One plane for each coefficient.

    `ends`, `changes`: slope along x, along y and intercept of the first plane, and what is added on
    the way to the second: (3, 2 sides, batch, rows or 1, *what a row reads), below first.
    """

    def __init__(self, choice: PlaneChoice, rows: Rows, batch: int) -> None:
        self.layout = Layout.of(rows)
        self.last = 1.0
        first, second = (_read(plane, rows) for plane in (choice.first, choice.second))
        self.ends, self.changes = first, second - first
        start = rows.read(choice.start_below).where(
            rows.coefficients > 0, rows.read(choice.start_above)
        )
        self.places = start.expand(batch, *rows.coefficients.shape[1:]).clone()

    def through(self, rows: Rows) -> Passed:
        """As Mixture says."""
        self.layout.require(rows)
        coefficients = rows.coefficients
        positive = coefficients > 0
        ends = self.ends[:, 0].where(positive, self.ends[:, 1])
        changes = self.changes[:, 0].where(positive, self.changes[:, 1])
        along_x, along_y, intercept = coefficients * torch.addcmul(ends, self.places, changes)
        passed = rows.having(along_x), rows.having(along_y)
        return Passed(passed, intercept.flatten(2).sum(2))

    def take(self, index: Tensor) -> None:
        """As Mixture says."""
        self.layout = self.layout.take(index)
        self.places = self.places[:, index]
        self.ends, self.changes = (
            t if t.shape[3] == 1 else t[:, :, :, index] for t in (self.ends, self.changes)
        )


def _read(plane: PlaneRelaxation, rows: Rows) -> Tensor:
    below = plane.lower_x, plane.lower_y, plane.lower_intercept
    above = plane.upper_x, plane.upper_y, plane.upper_intercept
    sides = zip(below, above, strict=True)
    return torch.stack([torch.stack([rows.read(low), rows.read(high)]) for low, high in sides])
