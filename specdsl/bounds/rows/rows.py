"""Rows: linear functions of one node's value, many at a time, on the way back to the input.

Two ways of storing them: `DenseRows` on the whole value, `windows.WindowRows` on a patch of it that
moves with the row. What happens to rows on the way is written once, for both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

from torch import Tensor


class Rows(ABC):
    """Row r of region b is the sum of `coefficients[b, r]` times what the row reads of the value.

    `coefficients`: (batch or 1, rows, *what a row reads).
    """

    coefficients: Tensor

    @abstractmethod
    def read(self, value: Tensor) -> Tensor:
        """What the rows read of a value (batch or 1, *shape), to multiply coefficients by.

        Shape: (batch or 1, rows or 1, *what a row reads).
        """

    @abstractmethod
    def having(self, coefficients: Tensor) -> Self:
        """Rows that read the same entries, with other coefficients."""

    @abstractmethod
    def take(self, index: Tensor) -> Self:
        """The rows at these positions."""

    @abstractmethod
    def dense(self) -> DenseRows:
        """The same rows on the whole value."""

    @abstractmethod
    def at(self, value: Tensor) -> Tensor:
        """The rows at a value (batch or 1, *shape): (batch or 1, rows)."""

    def at_unbounded(self, value: Tensor) -> Tensor:
        """The same where values may be infinite, which a coefficient of 0 does not read."""
        products = self.coefficients * self.read(value)
        return entries(products.masked_fill(self.coefficients == 0, 0.0), 2).sum(2)

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.coefficients.shape[1]

    @property
    def size(self) -> int:
        """Number of coefficients that a row has in one region."""
        return self.coefficients.shape[2:].numel()


@dataclass(frozen=True, slots=True, eq=False)
class DenseRows(Rows):
    """coefficients: (batch or 1, rows, *shape of the value)."""

    coefficients: Tensor

    def read(self, value: Tensor) -> Tensor:
        """Every row reads everything."""
        return value[:, None]

    def having(self, coefficients: Tensor) -> DenseRows:
        """Rows with these coefficients."""
        return DenseRows(coefficients)

    def take(self, index: Tensor) -> DenseRows:
        """The rows at these positions."""
        return DenseRows(self.coefficients[:, index])

    def dense(self) -> DenseRows:
        """They are."""
        return self

    @property
    def flat(self) -> Tensor:
        """The coefficients as matrices: (batch or 1, rows, entries of the value)."""
        return entries(self.coefficients, 2)

    def at(self, value: Tensor) -> Tensor:
        """As a product of matrices, which is faster than entry by entry."""
        return (self.flat @ entries(value, 1)[:, :, None])[..., 0]


def entries(x: Tensor, leading: int) -> Tensor:
    """All axes behind the `leading` ones as one, which a node of shape () lacks."""
    return x.flatten(leading) if x.ndim > leading else x.unsqueeze(leading)
