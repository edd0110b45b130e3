"""Rows for groups of two or three neurons of a layer, on what the rows so far say of them.

Groups have many facets, of which a solution breaks few: rows are kept in a pool, and a model takes
those that its point is cut off by.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from specdsl.backend import Deadline
from specdsl.encoding.encode import EncodedGraph
from specdsl.encoding.model.linear_model import FloatArray, IndexArray, SparseTerms
from specdsl.encoding.model.quadratics import Kinks
from specdsl.encoding.solvers.dual_bound import ROUNDING_PART
from specdsl.encoding.solvers.highs import HighsSession
from specdsl.encoding.solvers.session import INFEASIBLE, Session
from specdsl.encoding.tightening.hulls import Facets, directions, hull_facets

# Three have some hundred facets, and four thousands.
MOST_NEURONS = 3
# Every neuron is in so many groups, with those that its arguments have most in common with.
GROUPS_OF_A_NEURON = 3
# Seconds for one sum of arguments, and the part of the time that all may take.
SUM_SECONDS, GROUPS_PART = 1.0, 0.5
# Times that a sum is asked for anew once rows that its point breaks are there.
SUM_ROUNDS = 3
# A row is broken by more than solvers leave off, of its magnitude; the worst of a group are taken.
BROKEN = 1e-6
ROWS_OF_A_GROUP = 4


def require_multi_neuron(count: int) -> None:
    """Raise ValueError for an option `multi_neuron` that has no rows."""
    if not 1 <= count <= MOST_NEURONS:
        raise ValueError(f"1 to {MOST_NEURONS} neurons share a row, not {count}")


class Pool:
    """Rows `terms x <= limits` that hold at every point of the network, group after group."""

    def __init__(self) -> None:
        none = np.zeros(0, dtype=np.int64)
        self._terms = SparseTerms(none, none, np.zeros(0))
        self._limits = np.zeros(0)
        self._groups = none

    def add(self, terms: SparseTerms, limits: FloatArray) -> None:
        """Further rows, of one group; positions of `terms` count from 0."""
        group = self._groups[-1] + 1 if self.size else 0
        before = self._terms
        self._terms = SparseTerms(
            np.concatenate([before.rows, terms.rows + self.size]),
            np.concatenate([before.columns, terms.columns]),
            np.concatenate([before.coefficients, terms.coefficients]),
        )
        self._limits = np.concatenate([self._limits, limits])
        self._groups = np.concatenate([self._groups, np.full(limits.size, group)])

    @property
    def size(self) -> int:
        """How many rows."""
        return self._limits.size

    def broken(self, point: FloatArray) -> tuple[SparseTerms, FloatArray] | None:
        """Of each group the rows that a point of all columns is farthest beyond; None where it
        keeps to all.
        """
        beyond = self._terms.times(point, self.size) - self._limits
        beyond /= 1e-12 + self._terms.magnitude().times(np.ones(point.size), self.size)
        rows = np.flatnonzero(beyond > BROKEN)
        if not rows.size:
            return None
        rows = rows[np.lexsort((-beyond[rows], self._groups[rows]))]
        first = np.searchsorted(self._groups[rows], self._groups[rows])
        rows = np.sort(rows[np.arange(rows.size) - first < ROWS_OF_A_GROUP])
        return self._terms.at(rows), self._limits[rows]


def group_rows(encoded: EncodedGraph, k: int, deadline: Deadline) -> Pool:
    """The rows of groups of 2 to k neurons, layer by layer.

    Each layer's groups stand on the rows of the layers before. What there is no time for is left
    out, which costs tightness only.
    """
    until = Deadline.after(GROUPS_PART * deadline.remaining)
    session = HighsSession(encoded.model("groups").relaxed())
    pool = Pool()
    for kinks in encoded.encoder.quadratics.kinks:
        sums = _Sums(session, kinks, pool)
        for count in range(2, k + 1):
            for group in _groups(encoded, kinks, count):
                if until.passed:
                    return pool
                facets = sums.facets(group, until)
                if len(facets.limits):
                    pool.add(*_rows(kinks, group, facets))
    return pool


class _Sums:
    """Bounds on sums of arguments, each asked for once."""

    def __init__(self, session: HighsSession, kinks: Kinks, pool: Pool) -> None:
        self._session = session
        self._kinks = kinks
        self._pool = pool
        self._known: dict[tuple[tuple[int, float], ...], float] = {}

    def facets(self, group: IndexArray, until: Deadline) -> Facets:
        """Of the group's hull."""
        rows = directions(group.size)
        rows = rows[np.abs(rows).sum(1) > 1]
        limits = np.array([self._greatest(group, row, until) for row in rows])
        kept = np.isfinite(limits)
        lower, upper = self._kinks.bounds.lower[group], self._kinks.bounds.upper[group]
        return hull_facets(self._kinks, lower, upper, rows[kept], limits[kept])

    def _greatest(self, group: IndexArray, row: FloatArray, until: Deadline) -> float:
        """At least the greatest value of a sum of arguments."""
        weights = [(int(n), float(w)) for n, w in zip(group, row, strict=True) if w]
        key = tuple(sorted(weights))
        if key not in self._known:
            self._known[key] = self._solved(key, until)
        return self._known[key]

    def _solved(self, weights: Sequence[tuple[int, float]], until: Deadline) -> float:
        x, cost = self._kinks.x, np.zeros(self._session.model.columns)
        offset = 0.0
        for neuron, weight in weights:
            cost[x.columns[neuron]] -= weight * x.slopes[neuron]
            offset += weight * x.offsets[neuron]
        self._session.minimise(cost)
        deadline = Deadline.after(min(SUM_SECONDS, until.remaining))
        bound = -np.inf
        for _ in range(SUM_ROUNDS):
            solution = self._session.solve(deadline)
            if solution.status in INFEASIBLE:
                return np.inf
            bound = max(bound, solution.bound)
            rows = None if solution.point is None else self._pool.broken(solution.point)
            if rows is None or deadline.passed:
                break
            add_broken(self._session, rows)
        sizes = sum(abs(x.offsets[neuron]) for neuron, _ in weights)
        return -bound + offset + ROUNDING_PART * (abs(bound) + sizes)


def add_broken(session: Session, rows: tuple[SparseTerms, FloatArray]) -> None:
    """Add rows of a pool."""
    terms, limits = rows
    indices = np.arange(limits.size, dtype=np.int64)
    session.add_rows("multi_neuron", indices, terms, -np.inf, limits)


def _groups(encoded: EncodedGraph, kinks: Kinks, k: int) -> Iterator[IndexArray]:
    """Neurons whose arguments have much in common, each group once.

    In common: what their rows weigh alike, by the widths of the columns these add up.
    """
    size = kinks.values.size
    if size < k:
        return
    weights = _weights(encoded, kinks)
    common = np.abs(weights @ weights.T)
    np.fill_diagonal(common, -1.0)
    seen: set[tuple[int, ...]] = set()
    for neuron in range(size):
        near = np.argsort(-common[neuron], kind="stable")[: GROUPS_OF_A_NEURON + k - 2]
        for others in list(combinations(near.tolist(), k - 1))[:GROUPS_OF_A_NEURON]:
            group = tuple(sorted((neuron, *others)))
            if group not in seen and neuron not in others:
                seen.add(group)
                yield np.array(group, dtype=np.int64)


def _weights(encoded: EncodedGraph, kinks: Kinks) -> FloatArray:
    """Rows of the neurons' arguments over all columns, times these columns' widths."""
    lower, upper = encoded.encoder.builder.bounds()
    weights = np.zeros((kinks.values.size, lower.size))
    place = {int(column): i for i, column in enumerate(kinks.x.columns)}
    for sums in encoded.encoder.quadratics.sums:
        rows = np.array([place.get(int(column), -1) for column in sums.columns])
        own = rows[sums.forms.terms.rows]
        terms = sums.forms.terms
        weights[own[own >= 0], terms.columns[own >= 0]] = terms.coefficients[own >= 0]
    return weights * (upper - lower)


def _rows(kinks: Kinks, group: IndexArray, facets: Facets) -> tuple[SparseTerms, FloatArray]:
    """Facets over columns."""
    x = kinks.x.at(group)
    count = facets.limits.size
    rows = np.repeat(np.arange(count), 2 * group.size)
    columns = np.tile(np.concatenate([x.columns, kinks.values[group]]), count)
    coefficients = np.concatenate([facets.arguments * x.slopes, facets.values], 1).reshape(-1)
    size = np.abs(facets.arguments) @ np.abs(x.offsets)
    limits = facets.limits - facets.arguments @ x.offsets + ROUNDING_PART * size
    return SparseTerms.of(rows, columns, coefficients), limits
