"""Entries that a piecewise linear op reads twice, once with the other sign.

Of an op with one kink, in 0, `f(-z) = f(z) - (left + right) z` with its slopes there: relu(-z) is
relu(z) - z, abs(-z) is abs(z). So rows of the second entry go to the first and to what it reads,
and a network that writes a linear function as relu(z) - relu(-z) is linear in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from specdsl.proof.arithmetic import Array
from specdsl.proof.network import Network
from specdsl.proof.operators import Affine
from specdsl.proof.relaxations import Interval, Nonlinear, Piecewise

# Rows of a matrix that are looked at together.
ROWS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """`first`, `second`: entries of a piecewise op, each in one pair. `sum`: of its slopes, `steep`
    the larger magnitude. `chain`: the nodes that compute what it reads, a matrix and then factors
    of each entry; how far entries of a pair are from opposite is what these may be off by. `idle`:
    whether all that reads both takes as much of one as less of the other, so that rows cancel.
    """

    first: Array
    second: Array
    sum: Any
    steep: Any
    chain: tuple[int, ...]
    idle: Array

    def where(self, which: Array) -> Pairs:
        """Those of which both entries are some of these: (entries,)."""
        some = np.flatnonzero(which[self.first] & which[self.second])
        own = self.first[some], self.second[some], self.idle[some]
        return replace(self, first=own[0], second=own[1], idle=own[2])

    @property
    def without_rows(self) -> Array:
        """Entries that no row comes to, but for rounding."""
        return np.concatenate([self.second, self.first[self.idle]])

    def apart(self, ops: Mapping[int, Affine | Nonlinear], off: Mapping[int, Array]) -> Array:
        """How far what is read may be from opposite, where nodes are `off`: (batch, pairs)."""
        found = off[self.chain[0]]
        for node in self.chain[1:]:
            op = ops[node]
            assert isinstance(op, Affine)
            found = op.maps[0].size(found).reshape(len(found), -1) + off[node]
        return found[:, self.first] + found[:, self.second]

    def mirrored(self, x: Interval, apart: Array, part: Any) -> Interval:
        """Of what is read, second entries within what the first are, negated. `part`: of magnitudes
        that this may be off by.
        """
        lower, upper = (end.copy() for end in x)
        low, high = (end.reshape(len(end), -1) for end in (lower, upper))
        least, most = low[:, self.first], high[:, self.first]
        apart = apart + part * (apart + np.maximum(np.abs(least), np.abs(most)))
        low[:, self.second] = np.fmax(low[:, self.second], -most - apart)
        high[:, self.second] = np.fmin(high[:, self.second], apart - least)
        return Interval(lower, upper)

    def price(self, noise: Array, apart: Array, rounding: Array) -> Array:
        """What a row of a second entry is off by, times its magnitude, once it is elsewhere: what
        float32 makes of its value and of the first, which rows that cancel pay nothing for, how far
        the pair is from opposite, and what a multiple of the first operand is rounded by.
        """
        noise = noise[:, self.first] + noise[:, self.second]
        return noise + self.steep * apart + abs(self.sum) * rounding

    def folded(self, rows: Array) -> tuple[Array, Array]:
        """Rows (batch, rows, entries) without second entries, and what goes to the operand."""
        own = rows[..., self.second]
        rows, aside = rows.copy(), rows * 0
        rows[..., self.first] += own
        rows[..., self.second] = own * 0
        aside[..., self.first] = own * -self.sum
        return rows, aside


def find_pairs(network: Network, ops: Mapping[int, Affine | Nonlinear], node: int) -> Pairs | None:
    """Of a nonlinear node; None where it has none, or is none that they are looked for in."""
    op = ops[node]
    if not isinstance(op, Piecewise) or op.breakpoints != (0,) or op.values != (0,):
        return None
    chain = _chain(network, ops, network.nodes[node].operands[0])
    if chain is None:
        return None
    steps = [own for n in chain if isinstance(own := ops[n], Affine)]
    readers = _readers(network, ops, node)
    found: list[tuple[Array, Array, Array]] = []
    first, second = _candidates(steps)
    for start in range(0, len(first), ROWS):
        one, other = (each[start : start + ROWS] for each in (first, second))
        good = _opposite(steps, one, other)
        one, other = one[good], other[good]
        idle = np.ones(len(one), bool)
        for matrix in readers:
            idle &= matrix is not None and np.array(matrix[:, one] == -matrix[:, other]).all(0)
        found.append((one, other, idle))
    if not any(len(each[0]) for each in found):
        return None
    first, second, idle = (np.concatenate(each) for each in zip(*found, strict=True))
    left, right = op.steps
    return Pairs(first, second, left + right, max(abs(left), abs(right)), chain, idle)


def _readers(
    network: Network, ops: Mapping[int, Affine | Nonlinear], node: int
) -> list[Array | None]:
    """The matrices that read a node; None for what is no matrix, and for the question itself."""
    found: list[Array | None] = [None] if node == network.output else []
    for number, each in enumerate(network.nodes):
        for place in (i for i, operand in enumerate(each.operands) if operand == node):
            op = ops[number]
            found.append(op.maps[place].matrix if isinstance(op, Affine) else None)
    return found


def _chain(
    network: Network, ops: Mapping[int, Affine | Nonlinear], node: int
) -> tuple[int, ...] | None:
    """From the matrix on; None where there is something else before it."""
    found = [node]
    while isinstance(op := ops.get(found[0]), Affine):
        if op.maps and all(m.matrix is not None for m in op.maps):
            return tuple(found)
        if len(op.maps) != 1 or op.maps[0].factor is None:
            return None
        found.insert(0, *network.nodes[found[0]].operands)
    return None


def _candidates(steps: Iterable[Affine]) -> tuple[Array, Array]:
    """Entries whose values are opposite at some operands, each in one pair."""
    first, *others = steps
    rng = np.random.default_rng(0)
    offset = 0 if first.offset is None else first.offset.reshape(-1)
    # Added up in the same order for every entry: what is opposite comes out so, to the last bit.
    parts = [_at(m.matrix, rng) for m in first.maps if m.matrix is not None]
    values = reduce(np.add, parts) + offset
    for step in others:
        factor = step.maps[0].factor
        values = values if factor is None else values * factor
        values = values if step.offset is None else values + step.offset.reshape(-1)
    waiting: dict[Any, list[int]] = {}
    pairs: list[tuple[int, int]] = []
    for entry, value in enumerate(values.tolist()):
        if waiting.get(-value):
            pairs.append((waiting[-value].pop(), entry))
        else:
            waiting.setdefault(value, []).append(entry)
    found = np.array(pairs, int).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _at(matrix: Array, rng: np.random.Generator) -> Array:
    point = rng.integers(1, 2**20, matrix.shape[1])
    starts = range(0, len(matrix), ROWS)
    return np.concatenate([(matrix[i : i + ROWS] * point).sum(1) for i in starts])


def _opposite(steps: Iterable[Affine], first: Array, second: Array) -> Array:
    """Whether what is computed of the second entries is what is of the first, negated."""
    good = np.ones(len(first), bool)
    for step in steps:
        for map_ in step.maps:
            if map_.matrix is not None:
                good &= np.asarray(map_.matrix[first] == -map_.matrix[second], bool).all(1)
            if map_.factor is not None:
                good &= np.asarray(map_.factor[first] == map_.factor[second], bool)
        if step.offset is not None:
            offset = step.offset.reshape(-1)
            good &= np.asarray(offset[first] == -offset[second], bool)
    return good
