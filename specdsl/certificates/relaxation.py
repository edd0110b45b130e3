"""A network on a set as linear programs see it: open entries, and the checker's lines for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from specdsl.certificates.linear_program import Solved, Terms, joined
from specdsl.certificates.nodes import NotCertified
from specdsl.certificates.part_records import FloatArray, IntArray
from specdsl.certificates.parts import Choice
from specdsl.proof.arithmetic import FLOAT, Array
from specdsl.proof.cases import Cases
from specdsl.proof.passes import Bounds, Rules
from specdsl.proof.question import Question
from specdsl.proof.relaxations import Interval, Nonlinear


@dataclass(frozen=True, slots=True, eq=False)
class Relaxation:
    """Of a network on a set. `open`: by nonlinear node its open entries, and `read` by the nodes
    that these read those that some of them do. Columns: the inputs, entries read and entries given
    come one after another, from `reads[node]` and `gives[node]` on.
    """

    question: Question
    bounds: Bounds
    open: Mapping[int, IntArray]
    read: Mapping[int, IntArray]
    reads: Mapping[int, int]
    gives: Mapping[int, int]
    columns: int

    @classmethod
    def of(cls, question: Question, rules: Rules, numbers: Sequence[int]) -> Relaxation:
        """By the checker's bounds on the set of some cases. Raises NotCertified without a point."""
        cases, network = Cases.of(question, rules, numbers), rules.network
        if cases.root is None:
            raise NotCertified("no case has a point, which takes no linear program")
        if cases.balls:
            raise NotCertified("linear programs know nothing of balls")
        bounds = Bounds(rules, cases.region(cases.root))
        bounds.propagate(bounds.tighten)
        found, read = dict[int, IntArray](), dict[int, IntArray]()
        for node, op in rules.ops.items():
            if node > network.output or not isinstance(op, Nonlinear):
                continue
            own = np.flatnonzero(op.is_open(bounds.operands(node))[0, 0])
            if len(own):
                found[node] = own
                for operand in network.nodes[node].operands:
                    read[operand] = np.union1d(read.get(operand, own), own)
        count = network.size(network.input)
        reads, gives = dict[int, int](), dict[int, int]()
        for places, entries in ((reads, read), (gives, found)):
            for node, own in entries.items():
                places[node] = count
                count += len(own)
        return cls(question, bounds, found, read, reads, gives, count)

    @property
    def choices(self) -> dict[int, Choice]:
        """Slopes below and above of everything that is open."""
        return {node: Choice(own, 2, 0.0, 0.0) for node, own in self.open.items()}

    @property
    def entries(self) -> dict[int, IntArray]:
        """What may be split, or have multipliers: also inputs that are whole numbers."""
        own = self.question.network.input
        whole = np.array(sorted(self.question.integers), np.int64)
        inputs = {own: np.union1d(self.read.get(own, whole), whole)} if len(whole) else {}
        return {**self.read, **inputs}

    def forms(self, node: int, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Rows (rows, entries) of a node over all columns, and constants."""
        met = dict[int, Array]()
        linear = self.bounds.back({node: rows[None]}, self.open, met)
        found = np.zeros((len(rows), self.columns))
        found[:, : linear.coefficients.shape[2]] = linear.coefficients[0]
        for other, weights in met.items():
            at = self.gives[other]
            found[:, at : at + weights.shape[2]] += weights[0]
        return found, linear.constant[0]


@dataclass(slots=True, eq=False)
class LineRows:
    """The checker's candidates for lines of open entries: a row for each, `give - slopes . read`
    between its ends. `columns`: by node what entries read, for each operand; `slopes`: (candidates,
    operands, entries), as they are now; `first`: a node's first row, candidate by candidate.
    """

    relaxation: Relaxation
    columns: dict[int, list[IntArray]]
    slopes: dict[int, FloatArray]
    ends: dict[int, Interval]
    first: dict[int, int]
    count: int = 0

    @classmethod
    def of(cls, relaxation: Relaxation, lower: FloatArray, upper: FloatArray) -> LineRows:
        """Where columns lie between these ends."""
        network, found = relaxation.question.network, cls(relaxation, {}, {}, {}, {})
        for node, own in relaxation.open.items():
            found.columns[node] = [
                relaxation.reads[o] + np.searchsorted(relaxation.read[o], own)
                for o in network.nodes[node].operands
            ]
            every = np.arange(len(own))
            found.slopes[node], found.ends[node] = found._lines(node, every, lower, upper)
            found.first[node] = found.count
            found.count += found.slopes[node].shape[0] * len(own)
        return found

    def rows(self, start: int) -> tuple[Terms, Interval]:
        """All of them, from row `start` on."""
        parts, lower, upper = list[Terms](), [np.zeros(0)], [np.zeros(0)]
        for node, first in self.first.items():
            slopes, ends = self.slopes[node], self.ends[node]
            kinds, _, width = slopes.shape
            rows = start + first + np.arange(kinds * width).reshape(kinds, width)
            gives = self.relaxation.gives[node] + np.arange(width)
            columns = [np.broadcast_to(c, rows.shape) for c in (gives, *self.columns[node])]
            values = [np.ones(rows.shape), *(-slopes[:, k] for k in range(slopes.shape[1]))]
            parts += [
                Terms(rows.reshape(-1), c.reshape(-1), v.reshape(-1))
                for c, v in zip(columns, values, strict=True)
            ]
            lower.append(ends.lower.reshape(-1))
            upper.append(ends.upper.reshape(-1))
        return joined(parts), Interval(np.concatenate(lower), np.concatenate(upper))

    def again(
        self, changed: Sequence[int], lower: FloatArray, upper: FloatArray
    ) -> Iterator[tuple[int, dict[int, float], tuple[float, float]]]:
        """Rows of entries that read some columns: their coefficients of what is read, and ends."""
        for node, columns in self.columns.items():
            reads = np.logical_or.reduce([np.isin(c, list(changed)) for c in columns])
            at = np.flatnonzero(reads)
            if not len(at):
                continue
            slopes, ends = self._lines(node, at, lower, upper)
            self.slopes[node][:, :, at] = slopes
            width = self.slopes[node].shape[2]
            for k, i in product(range(len(slopes)), range(len(at))):
                own: dict[int, float] = {}
                for j, column in enumerate(columns):
                    number = int(column[at[i]])
                    own[number] = own.get(number, 0.0) - float(slopes[k, j, i])
                row = self.first[node] + k * width + int(at[i])
                yield row, own, (float(ends.lower[k, i]), float(ends.upper[k, i]))

    def gaps(self, solved: Solved) -> dict[int, FloatArray]:
        """How far what a node gives is from what it should, by node: (entries,)."""
        found: dict[int, FloatArray] = {}
        for node, columns in self.columns.items():
            op = self.relaxation.bounds.rules.ops[node]
            assert isinstance(op, Nonlinear)
            points = [Interval(solved.values[c], solved.values[c]) for c in columns]
            start = self.relaxation.gives[node]
            given = solved.values[start : start + len(columns[0])]
            image = op.image(FLOAT, points)
            found[node] = np.fmax(np.fmax(image.lower - given, given - image.upper), 0.0)
        return found

    def of_node(self, node: int, values: FloatArray) -> FloatArray:
        """What rows have, (candidates, entries), of values from the first line on."""
        shape = self.slopes[node].shape[0], self.slopes[node].shape[2]
        return values[self.first[node] :][: shape[0] * shape[1]].reshape(shape)

    def chosen(self, node: int, duals: FloatArray) -> FloatArray:
        """Slopes below and above by a dual solution: (2, operands, 1, entries)."""
        own, slopes = self.of_node(node, duals), self.slopes[node]
        found: list[FloatArray] = []
        for taken in (np.maximum(own, 0.0), np.maximum(-own, 0.0)):
            # Where no line is taken, any slope will do.
            some = np.where(taken.sum(0) > 0, taken, np.arange(len(taken))[:, None] == 0)
            found.append((some[:, None] * slopes).sum(0) / some.sum(0))
        return np.stack(found)[:, :, None]

    def _lines(
        self, node: int, at: IntArray, lower: FloatArray, upper: FloatArray
    ) -> tuple[FloatArray, Interval]:
        """Of some entries: slopes (candidates, operands, entries), ends (candidates, entries)."""
        op = self.relaxation.bounds.rules.ops[node]
        assert isinstance(op, Nonlinear)
        x = [Interval(lower[c[at]], upper[c[at]]) for c in self.columns[node]]
        tried = op.candidates(FLOAT, x)
        slopes = np.array([[np.broadcast_to(s, len(at)) for s in own] for own in tried])
        found = [op.extremes(FLOAT, x, own) for own in tried]
        low, high = (np.array([each[k] for each in found]) for k in (0, 1))
        # A tangent may be vertical.
        told = np.isfinite(slopes).all(1) & np.isfinite(low) & np.isfinite(high)
        ends = Interval(np.where(told, low, -np.inf), np.where(told, high, np.inf))
        return np.where(told[:, None], slopes, 0.0), ends
