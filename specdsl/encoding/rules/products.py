"""Products and squares as the rows of a relaxation: sound, and not exact.

A product lies in the convex hull of `x y` over the box of its factors, four planes; a square below
its chord and above tangents.

Source: McCormick 1976, doi:10.1007/BF01580665.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from specdsl.encoding.model.entries import Entries, Range
from specdsl.encoding.model.linear_model import FloatArray, IndexArray, SparseTerms
from specdsl.encoding.model.quadratics import Forms, Products
from specdsl.encoding.rules.encoder import Encoder
from specdsl.graph.graph import NodeId

# Sides and ends are products of two numbers and sums of four: they make room for rounding by this
# part of what was added up (float64 rounds at 1.1e-16 a step).
PRODUCT_ROUNDING_PART = 1e-14


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """One factor with sound bounds of it."""

    value: Entries
    bounds: Range

    @property
    def size(self) -> FloatArray:
        """The largest magnitude."""
        return np.maximum(np.abs(self.bounds.lower), np.abs(self.bounds.upper))


def encode_product(node: NodeId, x: Factor, y: Factor, encoder: Encoder) -> Entries:
    """Entries between the four planes of McCormick."""
    corners = [
        a * b for a in (x.bounds.lower, x.bounds.upper) for b in (y.bounds.lower, y.bounds.upper)
    ]
    room = PRODUCT_ROUNDING_PART * x.size * y.size
    indices = np.arange(x.value.size, dtype=np.int64)
    z = encoder.builder.add_columns(
        node, indices, np.minimum.reduce(corners) - room, np.maximum.reduce(corners) + room, False
    )
    low, high = x.bounds, y.bounds
    planes = (
        ("above_lower", low.lower, high.lower, True),
        ("above_upper", low.upper, high.upper, True),
        ("below_left", low.upper, high.lower, False),
        ("below_right", low.lower, high.upper, False),
    )
    # (x - a) (y - b) has a known sign: z - b x - a y + a b is on one side of 0.
    for name, a, b, above in planes:
        constant = -a * b + b * x.value.offsets + a * y.value.offsets
        terms = _terms(
            [
                (z, np.ones(z.size)),
                (x.value.columns, -b * x.value.slopes),
                (y.value.columns, -a * y.value.slopes),
            ]
        )
        sizes = np.abs(a * b) + np.abs(b * x.value.offsets) + np.abs(a * y.value.offsets)
        slack = PRODUCT_ROUNDING_PART * sizes
        sides = (constant - slack, np.inf) if above else (-np.inf, constant + slack)
        encoder.builder.add_rows(f"{node}_{name}", indices, terms, *sides)
    return _known_product(Entries.of_columns(z), x, y, encoder)


def encode_square(node: NodeId, x: Factor, encoder: Encoder) -> Entries:
    """Entries below the chord and above tangents at both ends and in the middle."""
    lower, upper = x.bounds.lower, x.bounds.upper
    least = np.where((lower <= 0) & (upper >= 0), 0.0, np.minimum(lower * lower, upper * upper))
    room = PRODUCT_ROUNDING_PART * x.size * x.size
    indices = np.arange(x.value.size, dtype=np.int64)
    z = encoder.builder.add_columns(
        node, indices, np.maximum(least - room, 0.0), x.size * x.size + room, False
    )
    lines = (
        ("tangent_lower", lower, lower, True),
        ("tangent_middle", (lower + upper) / 2, (lower + upper) / 2, True),
        ("tangent_upper", upper, upper, True),
        ("chord", lower, upper, False),
    )
    # The line through (a, a^2) and (b, b^2): (a + b) x - a b.
    for name, a, b, above in lines:
        steepness = a + b
        constant = -a * b + steepness * x.value.offsets
        terms = _terms([(z, np.ones(z.size)), (x.value.columns, -steepness * x.value.slopes)])
        sizes = np.abs(a * b) + (np.abs(a) + np.abs(b)) * (np.abs(x.value.offsets) + x.size)
        slack = PRODUCT_ROUNDING_PART * sizes
        sides = (constant - slack, np.inf) if above else (-np.inf, constant + slack)
        encoder.builder.add_rows(f"{node}_{name}", indices, terms, *sides)
    return _known_product(Entries.of_columns(z), x, x, encoder)


def _known_product(z: Entries, x: Factor, y: Factor, encoder: Encoder) -> Entries:
    forms = (Forms.of([(each, 1.0)]) for each in (x.value, y.value, z))
    encoder.quadratics.products.append(Products(*forms))
    return z


def _terms(parts: list[tuple[IndexArray, FloatArray]]) -> SparseTerms:
    """One row an entry; a constant operand (column -1) has no term."""
    rows = np.tile(np.arange(parts[0][0].size), len(parts))
    columns = np.concatenate([column for column, _ in parts])
    coefficients = np.concatenate([c for _, c in parts])
    linked = columns >= 0
    return SparseTerms.of(rows[linked], columns[linked], coefficients[linked])
