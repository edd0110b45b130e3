"""Bounds of every node on a batch of regions, and linear bounds of rows walked back to the input.

A row is a linear function of one node's value. Walking back replaces it, node by node, by one of
earlier values that lies below; what every step rounds, and what float32 would have computed
otherwise, is taken off at the end. Source: Zhang et al. 2018, arXiv:1811.00866 (CROWN); rounding
after Higham 2002, chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np

from specdsl.proof.arithmetic import SINGLE_TINY, Arithmetic, Array
from specdsl.proof.network import Network
from specdsl.proof.operators import Affine, Factor
from specdsl.proof.refusal import NotCovered
from specdsl.proof.regions import Region
from specdsl.proof.relaxations import Interval, Line, Lines, Nonlinear

# Numbers of one array of rows, at most: a few of them stay in a cache, which decides the speed.
MAX_NUMBERS = 2**18
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
    what part of its magnitudes any step may be off by. `readers`: how many operands each node is.
    `exact`: nodes whose intervals nothing tightens.
    """

    network: Network
    how: Arithmetic
    single: bool
    rules: Mapping[int, Affine | Nonlinear]
    part: Any
    readers: tuple[int, ...]
    exact: frozenset[int]

    @classmethod
    def of(cls, network: Network, how: Arithmetic, *, single: bool) -> Rules:
        rules = {i: n.build(how) for i, n in enumerate(network.nodes) if n.build is not None}
        terms = [r.terms for r in rules.values() if isinstance(r, Affine)]
        longest = max([*terms, *(prod(n.shape) for n in network.nodes)])
        # A step adds up a value's entries; constants and readers are added up over the nodes.
        part = how.rounding(longest + 2 * len(network.nodes) + BESIDES)
        read = [o for n in network.nodes for o in n.operands]
        readers = tuple(read.count(i) for i in range(len(network.nodes)))
        return cls(network, how, single, rules, part, readers, _exact(network, rules))

    @property
    def trusted(self) -> tuple[str, ...]:
        """What is believed of the ops that there are."""
        names = {t for r in self.rules.values() if not isinstance(r, Affine) for t in r.trusted}
        return tuple(sorted(names))


@dataclass(slots=True, eq=False)
class Bounds:
    """Intervals of nodes on a batch of regions, made in order. `off`: how far the value of a node
    may be from what its op says, in float32 and by the rounding of one step; `paid`: where rows
    that come from a reader have paid for that already. `lines`: of nonlinear nodes. `known`:
    intervals that hold as well, of nodes that nonlinear ones read.
    """

    rules: Rules
    region: Region
    known: Mapping[int, Interval] = field(default_factory=dict[int, Interval])
    found: dict[int, Interval] = field(default_factory=dict[int, Interval])
    off: dict[int, Array | None] = field(default_factory=dict[int, "Array | None"])
    paid: set[int] = field(default_factory=set[int])
    lines: dict[int, Lines] = field(default_factory=dict[int, Lines])

    def propagate(self, before: Callable[[int, Any], None] | None = None) -> None:
        """All nodes in order; what a nonlinear op reads is tightened before it is passed, by
        `before` where it is given.
        """
        network = self.rules.network
        for node, rule in enumerate(network.nodes):
            if node > network.output:
                break
            op = self.rules.rules.get(node)
            if op is None:
                self._enter(node, rule.shape)
            elif isinstance(op, Affine):
                self._affine(node, op)
            else:
                operands = network.nodes[node].operands
                if before is not None:
                    before(node, op)
                else:
                    for o in dict.fromkeys(operands):
                        self._tighten(o, op.is_open([self.found[each] for each in operands]))
                self._relax(node, op, [self.found[o] for o in operands])
                if before is not None:
                    self.straighten(node)

    def _enter(self, node: int, shape: tuple[int, ...]) -> None:
        box = Interval(*(end.reshape(-1, *shape) for end in self.region.box))
        self.found[node], self.off[node] = box, None
        self._loosen(node, rounded_off(self.rules, node, self.found[node].size))

    def _affine(self, node: int, op: Affine) -> None:
        operands = self.rules.network.nodes[node].operands
        x = [self.found[o] for o in operands]
        if op.moves:
            parts = [
                Interval(*(m.apply(e) for e in i)) for m, i in zip(op.matrices, x, strict=True)
            ]
            found = parts[0]
            for own in parts[1:]:
                found = Interval(found.lower + own.lower, found.upper + own.upper)
            self.found[node] = found
            # Where rows of several readers meet, or of several entries, they are added up.
            self.off[node] = self.rules.part * self.found[node].size
        else:
            shape = self.rules.network.nodes[node].shape
            center = radius = self.rules.how.zeros(1, *shape)
            for matrix, own in zip(op.matrices, x, strict=True):
                center = center + matrix.apply((own.lower + own.upper) / 2)
                radius = radius + matrix.magnitudes().apply((own.upper - own.lower) / 2)
            center = center if op.offset is None else center + op.offset
            size = op.size([i.size for i in x]) + self.rules.how.zeros(1, *shape)
            off = self.rules.part * size
            self.found[node] = Interval(center - radius - off, center + radius + off)
            self.off[node] = off
            self._loosen(node, computed_off(self.rules, node, op.terms, size))
        self._loosen(node, rounded_off(self.rules, node, self.found[node].size))
        if node in self.known:
            self.found[node] = _met(self.found[node], self.known[node])

    def _loosen(self, node: int, more: Array | float) -> None:
        if not np.any(more):
            return
        self._loosen_rows(node, more)
        x = self.found[node]
        more = more + more * self.rules.part
        self.found[node] = Interval(x.lower - more, x.upper + more)

    def _relax(self, node: int, op: Nonlinear, x: list[Interval]) -> None:
        how = self.rules.how
        lines, image = op.lines(how, x, None), op.image(how, x)
        self.lines[node], self.found[node] = lines, image
        sizes = [
            sum(np.abs(s) * i.size for s, i in zip(line.slopes, x, strict=True))
            + np.abs(line.constant)
            for line in lines
        ]
        self.off[node] = self.rules.part * np.maximum(*sizes)
        self._pay(node)
        self._loosen(node, self.noise_of(node, op, image.size))

    def noise_of(self, node: int, op: Nonlinear, size: Array) -> Array:
        """What float32 makes of a nonlinear node whose values are of this size."""
        noise = computed_off(self.rules, node, op.roundings, size, moves=not op.roundings)
        return noise + rounded_off(self.rules, node, size)

    def _pay(self, node: int) -> None:
        """Take on what the operands that nothing else reads are off by: one product less a step."""
        for i, o in enumerate(self.rules.network.nodes[node].operands):
            off = self.off[o]
            if off is not None and self.rules.readers[o] == 1:
                steepest = np.maximum(*(np.abs(line.slopes[i]) for line in self.lines[node]))
                self.off[node] = self.off[node] + steepest * off
                self.paid.add(o)

    def _tighten(self, node: int, is_open: Array) -> None:
        """Bounds of the entries of a node that are open on some region, by rows walked back."""
        if node in self.rules.exact:
            return
        entries = np.flatnonzero(is_open.reshape(len(is_open), -1).any(0))
        shape = self.rules.network.nodes[node].shape
        size = self.rules.network.size(node)
        widest = max(self.rules.network.size(i) for i in range(node + 1))
        count = max(1, MAX_NUMBERS // (2 * widest * self.region.count))
        x = self.found[node]
        low, high = (np.array(np.broadcast_to(e, (self.region.count, *shape))) for e in x)
        low, high = low.reshape(-1, size), high.reshape(-1, size)
        for start in range(0, len(entries), count):
            part = entries[start : start + count]
            rows = self.rules.how.zeros(1, 2 * len(part), size)
            at = np.arange(len(part))
            rows[0, at, part], rows[0, len(part) + at, part] = rows[0, 0, 0] + 1, rows[0, 0, 0] - 1
            least = self.least(self.back(node, rows))
            low[:, part] = np.fmax(low[:, part], least[:, : len(part)])
            high[:, part] = np.fmin(high[:, part], -least[:, len(part) :])
        self.found[node] = Interval(low.reshape(-1, *shape), high.reshape(-1, *shape))

    def least(self, linear: Linear) -> Array:
        """What rows are at least on each region: (batch, rows)."""
        return self.region.minimum(linear, self.rules.part)

    def back(
        self,
        node: int,
        rows: Array,
        *,
        kept: Mapping[int, Array] | None = None,
        found: dict[int, Array] | None = None,
    ) -> Linear:
        """Linear lower bounds of rows (batch or 1, rows, entries) of a node.

        Entries `kept` of nonlinear nodes are not walked through: what rows have there is `found`.
        """
        nodes = self.rules.network.nodes
        waiting, start = {node: rows}, node
        constant = slack = self.rules.how.zeros(1, rows.shape[1])
        while True:
            node = max(waiting)
            rows = waiting.pop(node)
            if kept is not None and found is not None and node in kept:
                rows = rows.copy()
                found[node] = rows[..., kept[node]]
                rows[..., kept[node]] = self.rules.how.zeros(1)[0]
            if node == start or node not in self.paid:
                slack = self._with_slack(slack, node, rows)
            if node == self.rules.network.input:
                if waiting:
                    raise AssertionError("the input is the first node of all")
                return Linear(rows, constant, slack)
            op = self.rules.rules[node]
            if isinstance(op, Affine):
                if op.offset is not None:
                    offset = op.offset.reshape(-1)
                    constant = constant + rows @ offset
                passed = [_passed(m.transpose, rows, nodes[node].shape) for m in op.matrices]
            else:
                passed, more = _through(self._lines(node), rows, self.rules.how.zeros(1))
                constant = constant + more
            for o, own in zip(nodes[node].operands, passed, strict=True):
                waiting[o] = waiting[o] + own if o in waiting else own
            if not waiting:
                empty = self.rules.how.zeros(
                    1, 1, self.rules.network.size(self.rules.network.input)
                )
                return Linear(empty, constant, slack)

    def _lines(self, node: int) -> Lines:
        """With an axis for rows."""
        return Lines(*(_flat(line) for line in self.lines[node]))

    def straighten(self, node: int) -> None:
        """Take one line below and above where a nonlinear node is linear but for rounding, and hold
        what that may make of it to be off.
        """
        below, above = self.lines[node]
        x = [self.found[o] for o in self.rules.network.nodes[node].operands]
        op = self.rules.rules[node]
        assert isinstance(op, Nonlinear)
        bent = op.is_open(x)
        tilt = np.abs(above.slopes[0] - below.slopes[0]) * x[0].size
        more = np.abs(above.constant - below.constant) + tilt
        slopes = np.where(bent, above.slopes[0], below.slopes[0])
        constant = np.where(bent, above.constant, below.constant)
        self.lines[node] = Lines(below, Line((slopes,), constant))
        self._loosen_rows(node, np.where(bent, more * 0, 2 * more))

    def _loosen_rows(self, node: int, more: Any) -> None:
        own = self.off[node]
        self.off[node] = more if own is None else own + more

    def _with_slack(self, slack: Array, node: int, rows: Array) -> Array:
        off = self.off[node]
        if off is None:
            return slack
        return slack + (np.abs(rows) @ off.reshape(len(off), -1, 1))[..., 0]


def computed_off(
    rules: Rules, node: int, terms: int, size: Array, *, moves: bool = False
) -> Array | float:
    """What float32 may be off by, of sums of so many products in any order with these magnitudes;
    any of them may be flushed to zero. 0 where a node is exact, or only moves entries.
    """
    if moves or not rules.single or rules.network.nodes[node].evaluated != "computed":
        return 0.0
    return _single_off(rules, terms, size)


def rounded_off(rules: Rules, node: int, size: Array) -> Array:
    """What rounding to float32 before a network takes a value may make of it."""
    if not rules.single or rules.network.nodes[node].evaluated != "rounded":
        return size * 0
    return _single_off(rules, 1, size)


def _single_off(rules: Rules, terms: int, size: Array) -> Array:
    # Every partial sum, in any order, is at most as large as the magnitudes together.
    if not bool(np.all(size < SINGLE_LARGEST)):
        raise NotCovered("numbers that may lie beyond the range of float32")
    tiny = rules.how.number(SINGLE_TINY * (2 * terms + BESIDES))
    return rules.how.single_rounding(terms + 1) * size + tiny * (1 + size)


def _exact(network: Network, rules: Mapping[int, Affine | Nonlinear]) -> frozenset[int]:
    """Nodes that one matrix at most leads to from the input, but for entries moved or scaled."""
    apart, exact = {network.input}, {network.input}
    for i, node in enumerate(network.nodes):
        op = rules.get(i)
        if isinstance(op, Affine) and apart.issuperset(node.operands):
            exact.add(i)
            if len(node.operands) == 1 and (op.moves or isinstance(op.matrices[0], Factor)):
                apart.add(i)
    return frozenset(exact)


def _met(x: Interval, y: Interval) -> Interval:
    return Interval(np.maximum(x.lower, y.lower), np.minimum(x.upper, y.upper))


def _flat(line: Line) -> Line:
    slopes = tuple(s.reshape(len(s), 1, -1) for s in line.slopes)
    return Line(slopes, line.constant.reshape(len(line.constant), 1, -1))


def _passed(transpose: object, rows: Array, shape: tuple[int, ...]) -> Array:
    batch, count = rows.shape[:2]
    passed = transpose(rows.reshape(batch * count, *shape))  # pyright: ignore
    return passed.reshape(batch, count, prod(passed.shape[1:]))


def _through(lines: Lines, rows: Array, zero: Array) -> tuple[list[Array], Array]:
    """Rows of the operands, and what goes to the constants.

    Positive parts take the line below, negative ones that above: `rows low + negative (high - low)`
    takes fewer passes over the numbers than either alone, and three roundings.
    """
    negative = np.minimum(rows, zero)
    passed = [
        rows * low + negative * (high - low)
        for low, high in zip(lines.below.slopes, lines.above.slopes, strict=True)
    ]
    below, above = lines.below.constant, lines.above.constant
    constant = (negative @ (above - below).swapaxes(1, 2))[..., 0]
    if below.any():
        constant = constant + (rows @ below.swapaxes(1, 2))[..., 0]
    return passed, constant
