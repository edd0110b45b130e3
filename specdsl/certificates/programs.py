"""Proofs by parts that linear programs find: each part's dual solution says how its rows go back.

A case is refuted on a part where the program is positive: the least t such that some point of the
part has every margin at most t. Its columns are the inputs, and of all entries that are open on the
whole set what a nonlinear node reads and what it gives; the checker's own lines relate the two. Of
a dual solution, the margins' rows give the weights of the margins, those of lines give slopes, and
reduced costs of what nodes read give multipliers. Where the program is not positive, the part is
split at the entry whose lines cost most, or at an input that should be a whole number.

Sources: Salman et al. 2019, arXiv:1902.08722 (duals of the program are slopes of rows); Wang et al.
2021, arXiv:2103.06624 (and multipliers those of splits).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import NamedTuple

import numpy as np

from specdsl.backend import Deadline
from specdsl.certificates.linear_program import LinearProgram, Solved, Terms, dense_terms, joined
from specdsl.certificates.nodes import NoMargin, NotCertified
from specdsl.certificates.part_records import FloatArray, IntArray
from specdsl.certificates.parts import Fork, Leaf, PartNode, PartsProof, Rows, Split
from specdsl.certificates.relaxation import LineRows, Relaxation
from specdsl.proof.arithmetic import FLOAT
from specdsl.proof.passes import Rules, unit_rows
from specdsl.proof.question import Question
from specdsl.proof.relaxations import Interval, Nonlinear, Piecewise
from specdsl.verdict import CaseProof

# Parts of a case: beyond, a search is the better way.
MAX_PARTS = 20_000
# What the objective must be above, in parts of the margins' spread and of what rounding may cost.
# Where nothing is left to split, once what rounding may cost has to do.
LEAST_PART, ROUNDINGS = 1e-7, 8.0
# How far from a whole number an input, and from its value an entry, is taken to be there.
WHOLE_TOLERANCE, VALUE_TOLERANCE = 1e-6, 1e-8
# Curves are split no nearer to an end than this part of their interval.
INSIDE = 0.1
# Entries of a node that are looked at for where to split.
CANDIDATES = 8
# What it costs in a program where an entry is off by as much as its interval is wide; the largest
# margin counts by half of its own.
OFF_COST = 1e3


@dataclass(frozen=True, slots=True, eq=False)
class ProgramProof(CaseProof):
    """To be found by linear programs."""


def program_proof(
    question: Question,
    rules: Rules,
    numbers: Sequence[int],
    deadline: Deadline,
    *,
    exact: bool = False,
) -> PartsProof:
    """Of cases with the same set, by positions in a question. `exact`: margins of 0 will do, where
    an atom is strict. Raises NotCertified, OutOfTime.
    """
    relaxation = Relaxation.of(question, rules, numbers)
    parts: list[PartNode] = []
    for number in numbers:
        tree = _Tree(relaxation, number, deadline)
        tree.least = -LEAST_PART if exact else tree.least
        parts.append(tree.grown())
    root = parts[0] if len(parts) == 1 else Fork(tuple(parts))
    return PartsProof(tuple(numbers), relaxation.choices, relaxation.entries, root)


@dataclass(slots=True, eq=False)
class _Part:
    """`ends`: of columns that were split. `below`: a leaf; or a column, a point, and what lies at
    or below it and at or above; None while it is open.
    """

    ends: Mapping[int, tuple[float, float]]
    below: Leaf | tuple[int, float, _Part, _Part] | None = None


class ProgramRows(NamedTuple):
    """Some rows of a program: what lies between which ends."""

    terms: Terms
    ends: Interval


class _Tree:
    """Parts of one case, and its program. `lower`, `upper`: of the columns, as they are now."""

    def __init__(self, relaxation: Relaxation, number: int, deadline: Deadline) -> None:
        self.relaxation, self.deadline = relaxation, deadline
        self.case = relaxation.question.cases[number]
        self.network = relaxation.question.network
        self.ops = relaxation.bounds.rules.ops
        self.lower, self.upper = self._column_ends()
        self.root = self.lower.copy(), self.upper.copy()
        self.split: Mapping[int, tuple[float, float]] = {}
        self.places = {
            at + i: (node, entry)
            for node, at in relaxation.reads.items()
            for i, entry in enumerate(relaxation.read[node].tolist())
        }
        own = self.network.input
        self.places |= {i: (own, i) for i in sorted(relaxation.question.integers)}
        self.lines = LineRows.of(relaxation, self.lower, self.upper)
        self.first_line = sum(len(own) for own in relaxation.read.values())
        self.first_margin = self.first_line + self.lines.count
        self.rounding, self.program = self._program()
        self.least = LEAST_PART + ROUNDINGS * self.rounding

    def grown(self) -> PartNode:
        """Every part refuted. Raises NotCertified, OutOfTime."""
        parts = [_Part({})]
        waiting = [parts[0]]
        while waiting:
            part = waiting.pop()
            self._go_to(part)
            solved = self.program.solve(self.deadline)
            if solved.objective > self.least:
                part.below = self._leaf(solved)
                continue
            if len(parts) >= MAX_PARTS:
                raise NotCertified(f"linear programs leave a case open in {MAX_PARTS} parts")
            cut = self._cut(solved)
            if cut is None:
                self._refuse_within_rounding(solved)
                part.below = self._leaf(solved)
                continue
            column, point, below, above = cut
            lower, upper = self.lower[column], self.upper[column]
            halves = tuple(
                _Part({**part.ends, column: ends}) for ends in ((lower, below), (above, upper))
            )
            part.below = column, point, halves[0], halves[1]
            parts += halves
            waiting += halves
        return self._written(parts)

    def _column_ends(self) -> tuple[FloatArray, FloatArray]:
        relaxation = self.relaxation
        box = relaxation.bounds.found
        lower, upper = (np.full(relaxation.columns, end) for end in (-np.inf, np.inf))
        for at, node, own in [
            (0, self.network.input, np.arange(self.network.size(self.network.input))),
            *((at, node, relaxation.read[node]) for node, at in relaxation.reads.items()),
        ]:
            here = slice(at, at + len(own))
            lower[here], upper[here] = (end.reshape(-1)[own] for end in box[node])
        return lower, upper

    def _program(self) -> tuple[float, LinearProgram]:
        """What rounding may cost of its objective, and itself, for the whole set."""
        reads, lines = self._read_rows(), ProgramRows(*self.lines.rows(self.first_line))
        margins, rounding = self._margin_rows()
        cost, columns = self._columns()
        ends = tuple(
            np.concatenate([own.ends[i] for own in (reads, lines, margins)]) for i in (0, 1)
        )
        terms = joined([own.terms for own in (reads, lines, margins)])
        return rounding, LinearProgram(cost, columns, (ends[0], ends[1]), terms)

    def _columns(self) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
        """Cost and ends of all: those of the relaxation, the largest margin, and how far what a
        node reads is below and above what it should be. The last cost, so that there always is a
        solution, and the dual one is bounded.
        """
        start, reads = self.network.size(self.network.input), self.first_line
        width = (self.upper - self.lower)[start : start + reads]
        cost = [np.zeros(len(self.lower)), [1.0], *[OFF_COST / np.maximum(width, 1e-9)] * 2]
        none = np.zeros(2 * reads)
        lower = np.concatenate([self.lower, [-np.inf], none])
        upper = np.concatenate([self.upper, [np.inf], none + np.inf])
        return np.concatenate(cost), (lower, upper)

    def _read_rows(self) -> ProgramRows:
        """That what nonlinear nodes read is what the columns before give."""
        relaxation, reads = self.relaxation, np.arange(self.first_line)
        off = relaxation.columns + 1 + reads
        terms = [Terms(reads, off, np.ones(len(off)))]
        terms.append(Terms(reads, off + len(off), -np.ones(len(off))))
        constants, first = [np.zeros(0)], 0
        for node, at in relaxation.reads.items():
            own = relaxation.read[node]
            rows = unit_rows(FLOAT, own, self.network.size(node))
            forms, constant = relaxation.forms(node, rows)
            forms[np.arange(len(own)), at + np.arange(len(own))] -= 1.0
            terms.append(dense_terms(forms, first))
            constants.append(-constant)
            first += len(own)
        ends = np.concatenate(constants)
        return ProgramRows(joined(terms), Interval(ends, ends))

    def _margin_rows(self) -> tuple[ProgramRows, float]:
        """That no margin is above the largest, each in parts of its spread; and what rounding may
        cost of the largest.
        """
        relaxation, bounds, output = self.relaxation, self.relaxation.bounds, self.network.output
        picked = np.array([index for index, _ in self.case.atoms], np.int64)
        rows = unit_rows(FLOAT, picked, self.network.size(output))
        forms, constant = relaxation.forms(output, rows)
        low, high = (end.reshape(-1)[picked] for end in bounds.found[output])
        spread = np.maximum((high - low) / 2, np.finfo(np.float32).tiny)
        at = self.first_margin + np.arange(len(picked))
        largest = Terms(at, np.full(len(at), relaxation.columns), -spread)
        terms = joined([dense_terms(forms, self.first_margin), largest])
        slack = bounds.back({output: rows[None]}).slack[0]
        rounding = float((slack / spread).max(initial=0.0))
        return ProgramRows(terms, Interval(np.full(len(at), -np.inf), -constant)), rounding

    def _go_to(self, part: _Part) -> None:
        """Bounds and lines of a part."""
        changed = [c for c in {*self.split, *part.ends} if self.split.get(c) != part.ends.get(c)]
        for column in changed:
            ends = part.ends.get(column, (self.root[0][column], self.root[1][column]))
            self.lower[column], self.upper[column] = ends
            self.program.bound_column(column, *ends)
        for row, own, ends in self.lines.again(changed, self.lower, self.upper):
            for column, slope in own.items():
                self.program.change(self.first_line + row, column, slope)
            self.program.bound_row(self.first_line + row, *ends)
        self.split = part.ends

    def _cut(self, solved: Solved) -> tuple[int, float, float, float] | None:
        """A column and a point in it, the largest number below and the least above; None where
        nothing is left to split.
        """
        best, chosen = 0.0, None
        for node, gap in self.lines.gaps(solved).items():
            duals = np.abs(self.lines.of_node(node, solved.duals[self.first_line :])).sum(0)
            score = gap * (duals + LEAST_PART * max(1.0, float(duals.max())))
            for i in np.argsort(-score)[:CANDIDATES].tolist():
                cut = self._cut_in(node, i, solved.values) if score[i] > best else None
                if cut is not None and gap[i] > VALUE_TOLERANCE:
                    best, chosen = float(score[i]), cut
        if chosen is not None:
            column, point = chosen
            node, entry = self.places[column]
            if node == self.network.input and entry in self.relaxation.question.integers:
                return column, point, floor(point), ceil(point)
            return column, point, point, point
        for column in self.relaxation.question.integers:
            value = solved.values[column]
            if abs(value - round(value)) > WHOLE_TOLERANCE:
                return column, floor(value) + 0.5, floor(value), ceil(value)
        return None

    def _refuse_within_rounding(self, solved: Solved) -> None:
        """Raises NotCertified where the checker would not accept a part that cannot be split."""
        if solved.objective < -LEAST_PART:
            raise NotCertified("a linear program finds what looks like a counterexample")
        if solved.objective <= LEAST_PART:
            raise NoMargin("at some point the margin is 0, but for rounding")
        if solved.objective <= LEAST_PART + self.rounding:
            raise NotCertified("the margin at some point is within rounding")

    def _cut_in(self, node: int, index: int, values: FloatArray) -> tuple[int, float] | None:
        """Where to split what an entry of a nonlinear node reads, and at which point."""
        op = self.ops[node]
        assert isinstance(op, Nonlinear)
        columns = [own[index] for own in self.lines.columns[node]]
        column = int(max(columns, key=lambda c: self.upper[c] - self.lower[c]))
        low, high = float(self.lower[column]), float(self.upper[column])
        if isinstance(op, Piecewise):
            inside = [float(p) for p in op.breakpoints if low < p < high]
            if not inside:
                return None
            return column, min(inside, key=lambda p: abs(p - values[column]))
        margin = INSIDE * (high - low)
        point = float(np.clip(values[column], low + margin, high - margin))
        return (column, point) if low < point < high else None

    def _leaf(self, solved: Solved) -> Leaf:
        """By a dual solution that is positive."""
        count = len(self.case.atoms)
        margins = np.maximum(-solved.duals[self.first_margin :][:count], 0.0)
        scale = 1.0 / margins.max()
        weights = margins * scale if count > 1 else np.zeros(0)
        slopes = {
            node: self.lines.chosen(node, solved.duals[self.first_line :]).astype(np.float32)
            for node in self.relaxation.open
        }
        entries, multipliers = self.relaxation.entries, dict[int, tuple[IntArray, FloatArray]]()
        for node, at in self.relaxation.reads.items():
            own = solved.reduced[at : at + len(self.relaxation.read[node])] * scale
            some = np.flatnonzero(own)
            positions = np.searchsorted(entries[node], self.relaxation.read[node][some])
            multipliers[node] = positions, own[some][None]
        return Leaf(weights[None].astype(np.float32), Rows(slopes, multipliers))

    def _written(self, parts: Sequence[_Part]) -> PartNode:
        """Children before parents, without recursion: trees are deep."""
        entries, made = self.relaxation.entries, dict[int, PartNode]()
        for part in reversed(parts):
            match part.below:
                case Leaf() as leaf:
                    made[id(part)] = leaf
                case (column, point, lower, upper):
                    node, entry = self.places[column]
                    position = int(np.searchsorted(entries[node], entry))
                    halves = made[id(lower)], made[id(upper)]
                    made[id(part)] = Split(node, position, point, *halves)
                case None:
                    raise AssertionError("a part was left open")
        return made[id(parts[0])]
