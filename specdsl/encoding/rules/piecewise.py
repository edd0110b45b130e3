"""Piecewise-linear ops with any breakpoints as linear rows and binaries, from the facts on the op.

Per neuron, on the bounds of its pre-activation:

- one piece covers the bounds: the exact line, no column and no row;
- one breakpoint inside: a column for the value and a binary that says which side. Relaxing the
  binary gives the two lines and the chord: for ReLU the triangle (Tjeng et al. 2019,
  arXiv:1711.07356; Ehlers 2017, arXiv:1705.01320);
- more breakpoints inside: the incremental formulation. Its parts are filled one after another, and
  relaxing the binaries gives the convex hull of the function's graph (Croxton, Gendron, Magnanti
  2003, doi:10.1287/mnsc.49.9.1268.16570).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

from specdsl.encoding.model.entries import Entries, Range
from specdsl.encoding.model.linear_model import FloatArray, IndexArray, SparseTerms
from specdsl.encoding.model.quadratics import Forms, Kinks, Products
from specdsl.encoding.rules.encoder import Encoder
from specdsl.graph import ops
from specdsl.graph.evaluate import knot_values
from specdsl.graph.graph import NodeId


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The op's lines `slopes[i] * x + intercepts[i]`, left to right, and where they meet."""

    breakpoints: FloatArray
    slopes: FloatArray
    intercepts: FloatArray

    @classmethod
    def of(cls, op: ops.PiecewiseLinear) -> Pieces:
        """Intercepts are computed in rationals and rounded once."""
        knots = knot_values(op)
        points = [op.breakpoints[0], *op.breakpoints]
        intercepts = [
            float(value - Fraction(slope) * Fraction(point))
            for slope, point, value in zip(op.slopes, points, [knots[0], *knots], strict=True)
        ]
        return cls(np.array(op.breakpoints), np.array(op.slopes), np.array(intercepts))

    def at(self, x: FloatArray) -> FloatArray:
        """The op's values."""
        piece = np.searchsorted(self.breakpoints, x, side="right")
        return self.slopes[piece] * x + self.intercepts[piece]

    def image(self, x: Range) -> Range:
        """Least and greatest value: they lie at ends and breakpoints."""
        candidates = [self.at(x.lower), self.at(x.upper)]
        candidates += [self.at(np.clip(p, x.lower, x.upper)) for p in self.breakpoints]
        return Range(np.minimum.reduce(candidates), np.maximum.reduce(candidates))


def encode_piecewise(
    op: ops.PiecewiseLinear, node: NodeId, x: Entries, known: Range, encoder: Encoder
) -> Entries:
    """Entries of the op's value. `known`: sound bounds of its operand `x`."""
    pieces = Pieces.of(op)
    constant = x.columns < 0
    lower = np.where(constant, x.offsets, known.lower)
    upper = np.where(constant, x.offsets, known.upper)
    first = np.searchsorted(pieces.breakpoints, lower, side="right")
    last = np.maximum(np.searchsorted(pieces.breakpoints, upper, side="left"), first)
    result = Entries(
        columns=x.columns.copy(),
        slopes=pieces.slopes[first] * x.slopes,
        offsets=pieces.slopes[first] * x.offsets + pieces.intercepts[first],
    )
    for left, right in sorted({(int(a), int(b)) for a, b in zip(first, last, strict=True)}):
        if left == right:
            continue
        indices = np.flatnonzero((first == left) & (last == right))
        bounds = Range(lower[indices], upper[indices])
        neurons = _Neurons(node, indices, x.at(indices), bounds, pieces, left, right)
        rule = _one_breakpoint if right == left + 1 else _incremental
        result.put(indices, Entries.of_columns(rule(neurons, encoder)))
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Neurons:
    """Neurons `indices` of a node, all with the pieces `left` to `right` inside their bounds."""

    node: NodeId
    indices: IndexArray
    x: Entries
    bounds: Range
    pieces: Pieces
    left: int
    right: int

    @property
    def inside(self) -> FloatArray:
        """The breakpoints strictly inside the bounds."""
        return self.pieces.breakpoints[self.left : self.right]

    def value_columns(self, encoder: Encoder) -> IndexArray:
        """New columns for the values."""
        image = self.pieces.image(self.bounds)
        return encoder.builder.add_columns(
            self.node, self.indices, image.lower, image.upper, whole=False
        )

    def unit_columns(self, suffix: str, encoder: Encoder, whole: bool) -> IndexArray:
        """New columns between 0 and 1."""
        zeros = np.zeros(self.indices.size)
        name = f"{self.node}_{suffix}"
        return encoder.builder.add_columns(name, self.indices, zeros, zeros + 1.0, whole)

    def add_rows(
        self,
        suffix: str,
        terms: Sequence[tuple[IndexArray, FloatArray | float]],
        lower: FloatArray | float,
        upper: FloatArray | float,
        encoder: Encoder,
    ) -> None:
        """One row a neuron: the sum of coefficient times column over `terms`."""
        count = self.indices.size
        rows = np.tile(np.arange(count), len(terms))
        columns = np.concatenate([column for column, _ in terms])
        coefficients = np.concatenate([np.broadcast_to(c, count) for _, c in terms])
        sparse = SparseTerms.of(rows, columns, coefficients)
        name = f"{self.node}_{suffix}"
        encoder.builder.add_rows(name, self.indices, sparse, lower, upper)


def _one_breakpoint(neurons: _Neurons, encoder: Encoder) -> IndexArray:
    """y on both lines' convex side, and above the left (right) line only as far as z (1 - z) lets.

    With k the change of slope at the point p, `f(x) = left(x) + k max(x - p, 0)`. For ReLU:
    y >= 0, y >= x, y <= upper z, y <= x - lower (1 - z).
    """
    x, bounds, pieces = neurons.x, neurons.bounds, neurons.pieces
    slope_left, slope_right = pieces.slopes[neurons.left], pieces.slopes[neurons.right]
    intercept_left = pieces.intercepts[neurons.left]
    intercept_right = pieces.intercepts[neurons.right]
    change, point = slope_right - slope_left, neurons.inside[0]
    y = neurons.value_columns(encoder)
    z = neurons.unit_columns("active", encoder, whole=True)
    offset_left = intercept_left + slope_left * x.offsets
    offset_right = intercept_right + slope_right * x.offsets
    over_left = [(y, 1.0), (x.columns, -slope_left * x.slopes)]
    over_right = [(y, 1.0), (x.columns, -slope_right * x.slopes)]
    reach_left = change * (bounds.upper - point)
    reach_right = change * (point - bounds.lower)
    free = np.inf
    convex = change > 0
    for name, slope, line, offset in (
        ("beside_left", slope_left, over_left, offset_left),
        ("beside_right", slope_right, over_right, offset_right),
    ):
        if slope != 0:  # a flat line is a bound of y's column already
            sides = (offset, free) if convex else (-free, offset)
            neurons.add_rows(name, line, *sides, encoder)
    if convex:
        near_left, near_right = (-free, offset_left), (-free, offset_right + reach_right)
    else:
        near_left, near_right = (offset_left, free), (offset_right + reach_right, free)
    neurons.add_rows("near_left", [*over_left, (z, -reach_left)], *near_left, encoder)
    neurons.add_rows("near_right", [*over_right, (z, reach_right)], *near_right, encoder)
    kinks = Kinks(
        x,
        y,
        bounds,
        float(point),
        (float(slope_left), float(slope_right)),
        (float(intercept_left), float(intercept_right)),
    )
    encoder.quadratics.kinks.append(kinks)
    encoder.quadratics.products.append(_two_lines(kinks))
    return y


def _two_lines(kinks: Kinks) -> Products:
    """The value is on the left line or on the right one: `(y - left) (y - right) = 0`."""
    value, zeros = Entries.of_columns(kinks.values), np.zeros(kinks.values.size)
    left, right = (
        Forms.of([(value, 1.0), (kinks.x, -slope)]).plus(-intercept)
        for slope, intercept in zip(kinks.slopes, kinks.intercepts, strict=True)
    )
    return Products(left, right, Forms.of([(Entries.of_constants(zeros), 1.0)]))


def _incremental(neurons: _Neurons, encoder: Encoder) -> IndexArray:
    """x walks from its lower bound through the pieces; a part starts only when the one before is
    full: `part_(k+1) <= full_k <= part_k`.
    """
    x, bounds, pieces = neurons.x, neurons.bounds, neurons.pieces
    ends = [bounds.lower, *(np.full_like(bounds.lower, p) for p in neurons.inside), bounds.upper]
    lengths = [after - before for before, after in pairwise(ends)]
    y = neurons.value_columns(encoder)
    parts = [neurons.unit_columns(f"part_{k}", encoder, whole=False) for k in range(len(lengths))]
    walked = [(part, -length) for part, length in zip(parts, lengths, strict=True)]
    start = bounds.lower - x.offsets
    neurons.add_rows("walk", [(x.columns, x.slopes), *walked], start, start, encoder)
    slopes = pieces.slopes[neurons.left : neurons.right + 1]
    risen = [(part, coef * slope) for (part, coef), slope in zip(walked, slopes, strict=True)]
    base = pieces.at(bounds.lower)
    neurons.add_rows("value", [(y, 1.0), *risen], base, base, encoder)
    for k in range(len(parts) - 1):
        full = neurons.unit_columns(f"full_{k}", encoder, whole=True)
        neurons.add_rows(f"fill_{k}", [(parts[k], 1.0), (full, -1.0)], 0.0, np.inf, encoder)
        neurons.add_rows(f"next_{k}", [(full, 1.0), (parts[k + 1], -1.0)], 0.0, np.inf, encoder)
    return y
