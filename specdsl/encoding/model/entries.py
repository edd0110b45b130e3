"""Values during encoding: every entry of a node's value is one column, scaled and shifted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from specdsl.encoding.model.linear_model import FloatArray, IndexArray


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    """`lower <= value <= upper`, flat float64 arrays."""

    lower: FloatArray
    upper: FloatArray

    @property
    def farthest(self) -> FloatArray:
        """The largest magnitudes."""
        return np.maximum(np.abs(self.lower), np.abs(self.upper))


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """A node's value, flat in row-major order: entry i is `slopes[i] * column + offsets[i]`.

    `columns[i]` is -1 (and the slope 0) where the entry is constant. This is why entries that are
    only moved, scaled or passed on by a stable neuron need no columns of their own.
    """

    columns: IndexArray
    slopes: FloatArray
    offsets: FloatArray

    @classmethod
    def of_columns(cls, columns: IndexArray) -> Entries:
        """The columns themselves."""
        return cls(columns, np.ones(columns.size), np.zeros(columns.size))

    @classmethod
    def of_constants(cls, values: FloatArray) -> Entries:
        """Numbers."""
        nowhere = np.full(values.size, -1, dtype=np.int64)
        return cls(nowhere, np.zeros(values.size), values.astype(np.float64))

    @classmethod
    def joined(cls, parts: Sequence[Entries]) -> Entries:
        """One after another."""
        return cls(
            np.concatenate([p.columns for p in parts]),
            np.concatenate([p.slopes for p in parts]),
            np.concatenate([p.offsets for p in parts]),
        )

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.columns.size

    def at(self, positions: IndexArray) -> Entries:
        """Some of the entries."""
        return Entries(self.columns[positions], self.slopes[positions], self.offsets[positions])

    def values(self, point: FloatArray) -> FloatArray:
        """What they are at a point of all columns."""
        constant = self.columns < 0
        return np.where(constant, 0.0, point[self.columns]) * self.slopes + self.offsets

    def put(self, positions: IndexArray, entries: Entries) -> None:
        """Fill in place; only for entries that nobody has been given yet."""
        self.columns[positions] = entries.columns
        self.slopes[positions] = entries.slopes
        self.offsets[positions] = entries.offsets
