"""Bounds of every node on a batch of regions, and rows walked back to linear bounds of the input.

A row is a linear function of one node's value. Walking back replaces it, node by node, by one of
earlier values that lies below; what every step rounds, and what float32 would have computed
otherwise, is taken off at the end. Source: Zhang et al. 2018, arXiv:1811.00866 (CROWN); rounding
after Higham 2002, chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from math import prod
from typing import Any, NamedTuple

import numpy as np

from specdsl.proof.arithmetic import SINGLE_TINY, Arithmetic, Array
from specdsl.proof.network import Network
from specdsl.proof.operators import Affine
from specdsl.proof.opposites import Pairs, find_pairs
from specdsl.proof.refusal import NotCovered, require
from specdsl.proof.regions import Region
from specdsl.proof.relaxations import Chosen, Interval, Line, Lines, Nonlinear

# Numbers of one array of rows, at most: a few of them stay in a cache, which decides the speed.
MAX_NUMBERS = 2**16
# Rows lose by underflow what they are multiplied with: of values below LARGEST, all nodes together
# less than LOST.
LARGEST, LOST = 2.0**300, 2.0**-600
# Half of the largest float32: beyond, a sum may overflow.
SINGLE_LARGEST = 2**127
# Roundings of a step beside those of its sums: additions of several readers, of offsets, of slack.
BESIDES = 64


class Linear(NamedTuple):
    """`coefficients . x + constant` less `slack` lies below: (batch, rows, inputs), twice
    (batch, rows).
    """

    coefficients: Array
    constant: Array
    slack: Array


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """A network under an arithmetic. `single`: whether float32 nodes are taken as such. `part`:
    what part of its magnitudes any step may be off by. `exact`: nodes whose intervals nothing
    tightens. `pairs`: of nonlinear nodes, what they read twice.
    """

    network: Network
    how: Arithmetic
    single: bool
    ops: Mapping[int, Affine | Nonlinear]
    part: Any
    exact: frozenset[int]
    pairs: Mapping[int, Pairs]

    @classmethod
    def of(cls, network: Network, how: Arithmetic, *, single: bool) -> Rules:
        """Raises Refused where a node's parameters do not fit."""
        ops = network.rules(how)
        terms = [op.terms for op in ops.values() if isinstance(op, Affine)]
        longest = max([*terms, *(prod(n.shape) for n in network.nodes)])
        # A step adds up a value's entries; constants and readers are added up over the nodes.
        part = how.rounding(longest + 2 * len(network.nodes) + BESIDES)
        bent = [node for node, op in ops.items() if isinstance(op, Nonlinear)]
        pairs = {n: own for n in bent if (own := find_pairs(network, ops, n)) is not None}
        return cls(network, how, single, ops, part, _exact(network, ops), pairs)

    @property
    def trusted(self) -> tuple[str, ...]:
        """What is believed of the ops that there are."""
        names = {t for op in self.ops.values() if isinstance(op, Nonlinear) for t in op.trusted}
        return tuple(sorted(names))

    def noise(self, node: int, roundings: int, size: Array, flushed: Array | None = None) -> Array:
        """What float32 may make of a node's value, which it computes by so many roundings of what
        has these magnitudes, in any order; any of it may be flushed to zero, and so may operands
        and constants, which changes it by 2**-126 of `flushed`; None of what only moves.
        """
        evaluated = self.network.nodes[node].evaluated
        roundings = 1 if evaluated == "rounded" else roundings
        if not self.single or evaluated == "exact" or (roundings == 0 and flushed is None):
            return size * 0
        # Every partial sum, in any order, is at most as large as the magnitudes together.
        sizes = size if flushed is None else size + flushed
        if not bool(np.all(sizes < SINGLE_LARGEST)):
            raise NotCovered("numbers that may lie beyond the range of float32")
        tiny = self.how.number(SINGLE_TINY * (2 * roundings + BESIDES)) * (1 + sizes)
        return self.how.single_rounding(roundings + 1) * size + tiny if roundings else tiny


class Way(NamedTuple):
    """What rows may choose on their way back. `slopes`: below and above, (1, rows, entries) for
    each operand, by nonlinear node; `multipliers`: some entries of a node, and (rows, entries).
    """

    slopes: Mapping[int, Chosen]
    multipliers: Mapping[int, tuple[Array, Array]]


@dataclass(slots=True, eq=False)
class Bounds:
    """Intervals of nodes on a batch of regions, made in order: (batch, *shape). `known`: intervals
    that hold as well. `off`: how far a node's value may be from what its op says, in float32 and by
    the rounding of one step, (batch, entries), and `noise` the first of the two. `lines`: of
    nonlinear nodes, (batch, 1, entries). `pairs`: of those that are not linear, and what putting
    their rows together takes off, (batch, pairs). `failed`: whether somewhere float32 may have made
    no number, which intervals do not show.
    """

    rules: Rules
    region: Region
    known: Mapping[int, Interval] = field(default_factory=dict[int, Interval])
    found: dict[int, Interval] = field(default_factory=dict[int, Interval])
    off: dict[int, Array] = field(default_factory=dict[int, Array])
    noise: dict[int, Array] = field(default_factory=dict[int, Array])
    lines: dict[int, Lines] = field(default_factory=dict[int, Lines])
    pairs: dict[int, tuple[Pairs, Array]] = field(default_factory=dict[int, tuple[Pairs, Array]])
    failed: bool = False

    def propagate(self, before: Callable[[int, Nonlinear], None] | None) -> None:
        """All nodes in order; `before` is called with each nonlinear one."""
        for node in range(self.rules.network.output + 1):
            op = self.rules.ops.get(node)
            if before is not None and isinstance(op, Nonlinear):
                before(node, op)
            self.enter(node)

    def enter(self, node: int) -> None:
        """Bounds of a node by those of what it reads."""
        op = self.rules.ops.get(node)
        if isinstance(op, Nonlinear):
            self._relax(node, op)
        else:
            operands = self.rules.network.nodes[node].operands
            self._affine(node, op, [self.found[o] for o in operands])

    def tighten(self, node: int, op: Nonlinear) -> None:
        """Bounds of what an op reads and leaves open on some region, by rows walked back."""
        operands = self.rules.network.nodes[node].operands
        entries = np.flatnonzero(op.is_open([self.found[o] for o in operands]).any(0))
        pairs = self.open_pairs(node, op)
        if pairs is not None:
            entries = np.setdiff1d(entries, pairs.without_rows)
        for operand in sorted(set(operands) - self.rules.exact):
            self.tighten_entries(operand, entries)
            if pairs is not None:
                self.mirror(operand, pairs)

    def open_pairs(self, node: int, op: Nonlinear) -> Pairs | None:
        """Those of a nonlinear node of which neither entry is linear on all regions."""
        if node not in self.rules.pairs:
            return None
        is_open = np.array(op.is_open(self.operands(node)), bool)
        some = np.logical_or.reduce(is_open.reshape(-1, is_open.shape[-1]))
        found = self.rules.pairs[node].where(np.asarray(some))
        return found if len(found.first) else None

    def mirror(self, node: int, pairs: Pairs) -> None:
        """Bounds of what is read by second entries, by those of the first."""
        apart = pairs.apart(self.rules.ops, self.off)
        self.found[node] = pairs.mirrored(self.found[node], apart, self.rules.part)

    def _affine(self, node: int, op: Affine | None, x: list[Interval]) -> None:
        """Of the input, op is None."""
        rules, shape = self.rules, self.rules.network.nodes[node].shape
        if op is None:
            own = Interval(*(end.reshape(-1, *shape) for end in self.region.box))
        elif op.moves:
            pairs = list(zip(op.maps, x, strict=True))
            own = Interval(*(reduce(np.add, [m.apply(i[k]) for m, i in pairs]) for k in (0, 1)))
        else:
            parts = [m.apply(i.middle) for m, i in zip(op.maps, x, strict=True)]
            center = reduce(np.add, parts if op.offset is None else [*parts, op.offset[None]])
            size = op.size([i.size for i in x])
            radius = sum(m.size(i.half) for m, i in zip(op.maps, x, strict=True))
            radius = radius + rules.part * size
            own = Interval(center - radius, center + radius)
            noise = rules.noise(node, op.terms, size, self._flushed(op, x))
            noise = noise + (rules.how.underflow if op.slack is None else op.slack)
            self._enter(node, own, size, rules.part * size, noise)
            return
        size = own.size
        self._enter(node, own, size, rules.part * size, rules.noise(node, 0, size))

    def _flushed(self, op: Affine, x: list[Interval]) -> Array | None:
        """Magnitudes of all constants of an entry, and at most those of its operands."""
        if op.held is None or not self.rules.single:
            return None
        largest = [i.size.reshape(len(i.size), -1).max(1) for i in x]
        most = op.terms * sum(largest, start=self.rules.how.zeros(1))
        return op.held + most.reshape(-1, *(1 for _ in op.held.shape[1:]))

    def _enter(self, node: int, own: Interval, size: Array, off: Array, noise: Array) -> None:
        more = noise + noise * self.rules.part
        how, inf = self.rules.how, float("inf")
        if not how.exact and not bool(np.all(size < LARGEST)):
            # No row goes back through what is so large, for what it loses there.
            noise = np.where(size < LARGEST, noise, inf)
        ends = how.shorter(own.lower - more, -inf), how.shorter(own.upper + more, inf)
        own = Interval(*ends)
        self.found[node] = own.met(self.known[node]) if node in self.known else own
        self.noise[node] = noise.reshape(len(noise), -1)
        self.off[node] = off.reshape(len(off), -1) + self.noise[node]

    def line(self, node: int, chosen: Chosen = (None, None)) -> tuple[Lines, Array]:
        """Of a nonlinear node, and what its value may be off by besides: (batch, entries)."""
        rules, op = self.rules, self.rules.ops[node]
        assert isinstance(op, Nonlinear)
        x = self.operands(node)
        below, above = op.lines(rules.how, x, chosen)
        size = np.maximum(line_size(below, x), line_size(above, x))
        # Where it is linear but for rounding, one line has to do, so that it is the same for all.
        bent = op.is_open(x)
        tilt = [abs(a - b) * i.size for a, b, i in zip(above.slopes, below.slopes, x, strict=True)]
        apart = 2 * (reduce(np.add, tilt) + np.abs(above.constant - below.constant))
        slopes = [np.where(bent, a, b) for a, b in zip(above.slopes, below.slopes, strict=True)]
        above = Line(tuple(slopes), np.where(bent, above.constant, below.constant))
        off = rules.part * size + np.where(bent, apart * 0, apart)
        return Lines(below, above), np.where(self._fails(node, op, x), np.nan, off.max(1))

    def _fails(self, node: int, op: Nonlinear, x: list[Interval]) -> Array:
        """Where float32 may make no number of it, so that nothing is known: (batch, entries).
        Raises Refused in rationals.
        """
        rules, none = self.rules, np.zeros(x[0].lower[:, 0].shape, bool)
        if (
            op.fails is None
            or rules.network.nodes[node].evaluated != "computed"
            or not rules.single
        ):
            return none
        start, end = op.fails
        fails = none | np.asarray(x[0].lower < rules.how.number(end), bool)[:, 0]
        if start is not None:
            fails &= np.asarray(x[0].upper > rules.how.number(start), bool)[:, 0]
        require(not (fails.any() and rules.how.exact), "a function of what it has no value of")
        self.failed |= bool(fails.any())
        return fails

    def operands(self, node: int) -> list[Interval]:
        """Of what a node reads, with an axis for rows: (batch, 1, entries)."""
        operands = self.rules.network.nodes[node].operands
        return [Interval(*(e.reshape(len(e), 1, -1) for e in self.found[o])) for o in operands]

    def _relax(self, node: int, op: Nonlinear) -> None:
        rules, shape = self.rules, self.rules.network.nodes[node].shape
        self.lines[node], off = self.line(node)
        x = self.operands(node)
        image = op.image(rules.how, x)
        own = Interval(*(end.reshape(-1, *shape) for end in image))
        size = op.size(rules.how, x, image).reshape(-1, *shape)
        flushed = op.flushed(rules.how, x).reshape(-1, *shape)
        noise = rules.noise(node, op.roundings, size, flushed) + rules.how.underflow
        self._enter(node, own, own.size, off, noise)
        pairs = self.open_pairs(node, op)
        if pairs is not None:
            size = x[0].size[:, 0, pairs.first]
            apart = pairs.apart(rules.ops, self.off)
            self.pairs[node] = pairs, pairs.price(self.noise[node], apart, rules.part * size)

    def tighten_entries(self, node: int, entries: Array) -> None:
        """Bounds of some entries of a node, by rows walked back."""
        network, how, count = self.rules.network, self.rules.how, self.region.count
        shape, size = network.nodes[node].shape, network.size(node)
        widest = max(network.size(i) for i in range(node + 1))
        low, high = (
            np.array(np.broadcast_to(e, (count, *shape))).reshape(count, -1)
            for e in self.found[node]
        )
        step = max(1, MAX_NUMBERS // (2 * widest * count))
        for part in (entries[i : i + step] for i in range(0, len(entries), step)):
            rows = unit_rows(how, part, size)
            least = self.least(self.back({node: np.concatenate([rows, -rows])[None]}))
            least = how.shorter(least, -float("inf"))
            low[:, part] = np.fmax(low[:, part], least[:, : len(part)])
            high[:, part] = np.fmin(high[:, part], -least[:, len(part) :])
        self.found[node] = Interval(low.reshape(-1, *shape), high.reshape(-1, *shape))

    def least(self, linear: Linear) -> Array:
        """What rows are at least on each region: (batch, rows)."""
        return self.region.minimum(linear, self.rules.part)

    def back(
        self,
        start: Mapping[int, Array],
        kept: Mapping[int, Array] | None = None,
        met: dict[int, Array] | None = None,
        way: Way | None = None,
    ) -> Linear:
        """Linear lower bounds of sums of rows (batch or 1, rows, entries) of some nodes. Entries
        `kept` of nonlinear nodes are not walked through: what rows have there goes to `met`.
        """
        slopes, multipliers = way or Way({}, {})
        network, waiting, zero = self.rules.network, dict(start), self.rules.how.zeros(1)
        count = next(iter(start.values())).shape[1]
        constant = self.rules.how.zeros(1, count)
        slack = constant + self.rules.how.number(0.0 if self.rules.how.exact else LOST)
        coefficients = self.rules.how.zeros(1, count, network.size(network.input))
        while waiting:
            node = max(waiting)
            rows, op = waiting.pop(node), self.rules.ops.get(node)
            aside = None
            if node in self.pairs:
                pairs, price = self.pairs[node]
                slack = slack + dots(np.abs(rows[..., pairs.second]), price[:, None])
                rows, aside = pairs.folded(rows)
            if met is not None and kept is not None and node in kept:
                rows, met[node] = rows.copy(), rows[..., kept[node]]
                rows[..., kept[node]] = zero
            if node in multipliers:
                rows, paid = self._cut(node, rows, *multipliers[node])
                constant = constant + paid.sum(-1)
                slack = slack + self.rules.part * np.abs(paid).sum(-1)
            off = self.off[node]
            if node in slopes:
                lines, off = self.line(node, slopes[node])
                off = off + self.noise[node]
            else:
                lines = self.lines.get(node)
            slack = slack + dots(np.abs(rows), off[:, None])
            if op is None:
                coefficients = rows
                continue
            if isinstance(op, Affine):
                if op.offset is not None:
                    constant = constant + rows @ op.offset.reshape(-1)
                shape = network.nodes[node].shape
                passed = [_passed(m.transpose, rows, shape) for m in op.maps]
            else:
                assert lines is not None
                passed, more = through(lines, rows, zero)
                constant = constant + more
                if aside is not None:
                    passed = [passed[0] + aside]
            for o, own in zip(network.nodes[node].operands, passed, strict=True):
                waiting[o] = waiting[o] + own if o in waiting else own
        return Linear(coefficients, constant, slack)

    def _cut(self, node: int, rows: Array, columns: Array, own: Array) -> tuple[Array, Array]:
        """Rows less multiples of entries, and what these are at least, or at most where they are
        negative, by their intervals.
        """
        rows = rows.copy()
        rows[..., columns] = rows[..., columns] - own
        low, high = (end.reshape(len(end), 1, -1)[..., columns] for end in self.found[node])
        return rows, own * np.where(own > 0, low, high)


def unit_rows(how: Arithmetic, entries: Array, size: int) -> Array:
    """A row for each of some entries of a value: (rows, size)."""
    rows = how.zeros(len(entries), size)
    rows[np.arange(len(entries)), entries] = how.zeros(1)[0] + 1
    return rows


def line_size(line: Line, x: list[Interval]) -> Array:
    """Magnitudes that a line is added up from."""
    parts = [np.abs(s) * i.size for s, i in zip(line.slopes, x, strict=True)]
    return reduce(np.add, parts) + np.abs(line.constant)


def _exact(network: Network, ops: Mapping[int, Affine | Nonlinear]) -> frozenset[int]:
    """Nodes that one matrix at most leads to from the input, but for entries moved or scaled."""
    apart, exact = {network.input}, {network.input}
    for i, node in enumerate(network.nodes):
        op = ops.get(i)
        if isinstance(op, Affine) and apart.issuperset(node.operands):
            exact.add(i)
            if len(op.maps) == 1 and op.maps[0].terms == 1:
                apart.add(i)
    return frozenset(exact)


def _passed(transpose: Callable[[Array], Array], rows: Array, shape: tuple[int, ...]) -> Array:
    batch, count = rows.shape[:2]
    return transpose(rows.reshape(batch * count, *shape)).reshape(batch, count, -1)


def through(lines: Lines, rows: Array, zero: Array) -> tuple[list[Array], Array]:
    """Rows of the operands, and what goes to the constants.

    Positive parts take the line below, negative ones that above: `rows low + negative (high - low)`
    takes fewer passes over the numbers than either alone, and three roundings.
    """
    negative = np.minimum(rows, zero)
    (lows, below), (highs, above) = lines
    constant = dots(negative, above - below)
    constant = constant + dots(rows, below) if below.any() else constant
    passed: list[Array] = []
    for a, b in zip(lows, highs, strict=True):
        own = negative * (b - a)
        own += rows * a
        passed.append(own)
    return passed, constant


def dots(rows: Array, values: Array) -> Array:
    """Of rows (batch, rows, entries) with values of each, or the same for all: (batch, rows)."""
    if values.shape[1] == 1:
        return (rows @ values.swapaxes(1, 2))[..., 0]
    return (rows * values).sum(2)
