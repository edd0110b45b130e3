"""What an encoding knows of its columns that linear rows cannot say: products that are equal.

Every ReLU is one, `(y - 0) (y - z) = 0`, as is each op with two lines; so are products and squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from specdsl.encoding.model.entries import Entries, Range
from specdsl.encoding.model.linear_model import FloatArray, IndexArray, SparseTerms


@dataclass(frozen=True, slots=True, eq=False)
class Forms:
    """Affine forms of columns, one a row: `terms x + offsets`. Shape of offsets: (forms,)."""

    terms: SparseTerms
    offsets: FloatArray

    @classmethod
    def of(cls, parts: Sequence[tuple[Entries, FloatArray | float]]) -> Forms:
        """Sums of entries times weights."""
        size = parts[0][0].size
        linked = [np.flatnonzero(entries.columns >= 0) for entries, _ in parts]
        weights = [np.broadcast_to(weight, size) for _, weight in parts]
        chosen = list(zip(parts, linked, weights, strict=True))
        terms = SparseTerms.of(
            np.concatenate(linked),
            np.concatenate([entries.columns[own] for (entries, _), own, _ in chosen]),
            np.concatenate([(w * entries.slopes)[own] for (entries, _), own, w in chosen]),
        )
        zero = np.zeros(size)
        return cls(terms, sum((w * e.offsets for (e, _), _, w in chosen), zero))

    @property
    def count(self) -> int:
        """How many."""
        return self.offsets.size

    def plus(self, offsets: FloatArray | float) -> Forms:
        """With numbers added."""
        return Forms(self.terms, self.offsets + offsets)


@dataclass(frozen=True, slots=True, eq=False)
class Products:
    """`first * second = value`, form by form, at every point of the network."""

    first: Forms
    second: Forms
    value: Forms


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Columns that are affine forms of columns before them."""

    columns: IndexArray
    forms: Forms


@dataclass(frozen=True, slots=True, eq=False)
class Kinks:
    """Neurons of one layer. `x`: what they read, with `bounds`; `values`: their columns. Left of
    `point` they are `slopes[0] x + intercepts[0]`, right of it the second line.
    """

    x: Entries
    values: IndexArray
    bounds: Range
    point: float
    slopes: tuple[float, float]
    intercepts: tuple[float, float]


@dataclass(slots=True, eq=False)
class Quadratics:
    """What is collected while a graph is encoded: in that order, so that sums of sums come last.

    `kinks`: neurons on two lines, layer by layer; `squares`: of each, the sum of the forms' squares
    is at most 1 (l2 balls).
    """

    kinks: list[Kinks] = field(default_factory=list[Kinks])
    sums: list[Sums] = field(default_factory=list[Sums])
    products: list[Products] = field(default_factory=list[Products])
    squares: list[Forms] = field(default_factory=list[Forms])
