"""Neurons that are on one of two lines, and what is known of several of them together.

For a few neurons of one layer, their arguments z lie in a polytope: the box, and bounds on sums and
differences. On each side of all their kinks the values y are linear in z, so the convex hull of
what (z, y) can be is spanned by the corners of all these sides. Its facets are rows that no row of
a single neuron implies.

Source: k-ReLU, Singh et al. 2019, arXiv:1909.13868 (there of ReLUs); PRIMA, Mueller et al. 2022,
arXiv:2103.03638. Facets are found in floats; how far each must be moved is bounded by duality, from
any multipliers, so that every row holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from specdsl.encoding.model.linear_model import FloatArray, IndexArray
from specdsl.encoding.model.quadratics import Kinks

# Corners may miss a side by this part of the box: they only propose facets.
NEAR_PART = 1e-9
# Part of all magnitudes that is added for rounding, here and in the bounds that are given.
ROUNDING_PART = 1e-10
# Entries of facets below this part of the largest are noise of the hull, and are left out of them.
NOISE_PART = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Facets:
    """`arguments z + values y <= limits`. Shapes: (rows, k), (rows, k), (rows,)."""

    arguments: FloatArray
    values: FloatArray
    limits: FloatArray


def directions(k: int) -> FloatArray:
    """All sums and differences of up to k numbers, each with its opposite. Shape: (3^k - 1, k)."""
    every = np.array(list(product((-1.0, 0.0, 1.0), repeat=k)))
    return every[np.abs(every).sum(1) > 0]


def hull_facets(
    kinks: Kinks, lower: FloatArray, upper: FloatArray, sums: FloatArray, limits: FloatArray
) -> Facets:
    """Rows of k neurons whose arguments are between `lower` and `upper` with `sums z <= limits`.

    Empty where the hull is flat, or where nothing but single neurons' rows comes out.
    """
    from scipy.spatial import ConvexHull, QhullError

    sides = list(_sides(kinks, lower, upper, sums, limits))
    points = np.concatenate([side.lifted for side in sides])
    try:
        equations = ConvexHull(points).equations
    except (QhullError, ValueError):  # fewer points than dimensions, or all in one plane
        return _none(lower.size)
    k = lower.size
    normals = equations[:, : 2 * k].copy()
    normals[np.abs(normals) < NOISE_PART * np.abs(normals).max(1, keepdims=True)] = 0.0
    normals = np.unique(normals.round(12), axis=0)
    neurons = (normals[:, :k] != 0) | (normals[:, k:] != 0)
    normals = normals[(neurons.sum(1) > 1) & (normals[:, k:] != 0).any(1)]
    if not normals.size:
        return _none(k)
    arguments, values = normals[:, :k], normals[:, k:]
    found = np.max([side.greatest(arguments, values) for side in sides], axis=0)
    kept = np.isfinite(found)
    return Facets(arguments[kept], values[kept], found[kept])


def _none(k: int) -> Facets:
    return Facets(np.zeros((0, k)), np.zeros((0, k)), np.zeros(0))


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One side of every kink: `rows z <= ends`, and y = slopes z + intercepts there.

    `corners`: where k rows meet, (corners, k). `bases`: rows that meet somewhere, (bases, k), those
    of corners or, where no point is on this side, all; `inverses` of their transposed matrices.
    """

    rows: FloatArray
    ends: FloatArray
    slopes: FloatArray
    intercepts: FloatArray
    lower: FloatArray
    upper: FloatArray
    corners: FloatArray
    bases: IndexArray
    inverses: FloatArray

    @property
    def lifted(self) -> FloatArray:
        """Corners with their values: (corners, 2 k)."""
        return np.concatenate([self.corners, self.corners * self.slopes + self.intercepts], 1)

    def greatest(self, arguments: FloatArray, values: FloatArray) -> FloatArray:
        """At least the greatest value here of each row of (z, y). Shape: (rows,).

        For multipliers m >= 0: `g z = (m rows) z + rest z <= m ends + greatest of rest on the box`.
        Every basis proposes some, and the best of these are made sure of.
        """
        g = arguments + values * self.slopes
        count, k = self.bases.shape
        proposed = (self.inverses.reshape(-1, k) @ g.T).reshape(count, k, -1)
        farthest = np.maximum(np.abs(self.lower), np.abs(self.upper))
        ends = self.ends[self.bases]
        negative = np.minimum(proposed, 0.0)
        # What is cut off from negative ones is left to the box: at most this much.
        worth = np.einsum("cif,ci->cf", proposed - negative, ends)
        worth -= 2 * k * farthest.max() * negative.sum(1)
        best = worth.argmin(0)
        chosen = np.maximum(proposed[best, :, np.arange(best.size)], 0.0)
        own, ends = self.rows[self.bases[best]], ends[best]
        rest = g - np.einsum("fi,fij->fj", chosen, own)
        passed = np.abs(g) + np.einsum("fi,fij->fj", chosen, np.abs(own))
        size = (chosen * np.abs(ends)).sum(1) + passed @ farthest
        found = (chosen * ends).sum(1) + np.maximum(rest * self.lower, rest * self.upper).sum(1)
        constant = values @ self.intercepts
        size += np.abs(values) @ np.abs(self.intercepts)
        return found + ROUNDING_PART * size + constant


def _sides(
    kinks: Kinks, lower: FloatArray, upper: FloatArray, sums: FloatArray, limits: FloatArray
) -> Iterator[_Side]:
    k, point = lower.size, kinks.point
    scale = float((upper - lower).max())
    for right in product((False, True), repeat=k):
        sign = np.where(right, -1.0, 1.0)
        rows = np.concatenate([np.eye(k), -np.eye(k), sums, np.diag(sign)])
        ends = np.concatenate([upper, -lower, limits, sign * point])
        bases = np.array(list(combinations(range(len(rows)), k)))
        matrices = rows[bases]
        bases = bases[np.abs(np.linalg.det(matrices)) > 0.5]  # of entries -1, 0, 1: whole numbers
        solved = np.linalg.solve(rows[bases], ends[bases][..., None])[..., 0]
        corners = np.asarray(solved, dtype=np.float64)
        inside = ((corners @ rows.T) <= ends + NEAR_PART * scale).all(1)
        chosen = bases[inside] if inside.any() else bases
        yield _Side(
            rows,
            ends,
            np.where(right, kinks.slopes[1], kinks.slopes[0]),
            np.where(right, kinks.intercepts[1], kinks.intercepts[0]),
            lower,
            upper,
            corners[inside],
            chosen,
            np.asarray(np.linalg.inv(np.swapaxes(rows[chosen], 1, 2)), dtype=np.float64),
        )
