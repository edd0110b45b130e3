"""Whether bounds refute cases: of each, a weighted sum of its atoms' margins is positive.

All atoms of a case hold only where every sum of their margins with weights of 0 or more is 0 or
less as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np

from specdsl.proof.arithmetic import Arithmetic, Array
from specdsl.proof.passes import Bounds, Linear, Rules, unit_rows
from specdsl.proof.question import BallSet, Case, InputSet, Question
from specdsl.proof.reduced import Reduced
from specdsl.proof.refusal import require
from specdsl.proof.regions import Region
from specdsl.proof.relaxations import Interval


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """Cases of one question that are refuted together. `root`: the box around their sets, and
    around what is whole in it, (inputs,); None where none of them has a point. `balls`: what cuts
    the sets, where they are all cut by the same. `read`: margins in their atoms, rising.
    """

    question: Question
    rules: Rules
    cases: tuple[Case, ...]
    root: Interval | None
    balls: tuple[BallSet, ...]
    read: list[int]

    @classmethod
    def of(cls, question: Question, rules: Rules, numbers: Sequence[int]) -> Cases:
        """Those at these positions."""
        cases = tuple(question.cases[n] for n in numbers)
        read = sorted({index for case in cases for index, _ in case.atoms})
        sets = [question.sets[n] for n in {case.set for case in cases}]
        boxes = [_whole(each, question.integers) for each in sets]
        ends = [rules.how.bounds(*b) for b in boxes if all(x <= y for x, y in zip(*b, strict=True))]
        if not ends:
            return cls(question, rules, cases, None, (), read)
        lower, upper = zip(*ends, strict=True)
        root = Interval(np.minimum.reduce(lower), np.maximum.reduce(upper))
        balls = sets[0].balls if len(sets) == 1 else ()
        return cls(question, rules, cases, root, balls, read)

    def region(self, box: Interval) -> Region:
        """A box, (inputs,), and what cuts the sets."""
        return Region(self.rules.how, Interval(*(end[None] for end in box)), self.balls)

    @property
    def named(self) -> int:
        """How many weights refute them: of each case with several atoms, one for each."""
        return sum(len(case.atoms) for case in self.cases if len(case.atoms) != 1)

    def rows(self, weights: Array) -> Array:
        """Of the margins in `read`, by float32 weights (batch, named): (batch, cases, read). Raises
        Refused where these say nothing.
        """
        weights = weights_of(self.rules.how, weights)
        found = self.rules.how.zeros(len(weights), len(self.cases), len(self.read))
        at, one = 0, self.rules.how.zeros(1)[0] + 1
        for number, case in enumerate(self.cases):
            for index, _ in case.atoms:
                own = one if len(case.atoms) == 1 else weights[:, at]
                found[:, number, self.read.index(index)] += own
                at += len(case.atoms) != 1
        return found

    def margins(self, rows: Array) -> Array:
        """Rows of margins in `read` as such of the output: (..., outputs)."""
        network = self.rules.network
        size = network.size(network.output)
        return rows @ unit_rows(self.rules.how, np.array(self.read, int), size)

    def refuted(self, rows: Array, least: Array) -> Array:
        """Where every case's row of margins (batch, cases, read), which is at least `least`
        (batch, cases), refutes it: (batch,). NaN does not.
        """
        if not self.rules.how.exact:
            return np.asarray((least > 0).all(1), bool)
        closed = np.ones(len(least), bool)
        for number, case in enumerate(self.cases):
            strict = [self.read.index(index) for index, is_strict in case.atoms if is_strict]
            below = (rows[:, number, strict] > 0).any(1)
            closed &= np.asarray((least[:, number] > 0) | below & (least[:, number] >= 0), bool)
        return closed

    def judge(self, boxes: Interval, weights: Array) -> Array:
        """Which boxes (batch, inputs), beside one another, hold no point of any case: (batch,)."""
        region, rows = Region(self.rules.how, boxes, self.balls), self.rows(weights)
        least = region.minimum(self.bounds(region)(rows), self.rules.part)
        return self.refuted(rows, least) | region.empty

    def bounds(self, region: Region) -> Callable[[Array], Linear]:
        """Of rows of margins in `read`, (batch or 1, rows, read), linear bounds on each box."""
        reduced = Reduced.over(self.rules, region) if region.count > 1 else None
        if reduced is not None:
            every = unit_rows(self.rules.how, np.arange(len(self.read)), len(self.read))
            return reduced.margins(self.margins(every))
        bounds = Bounds(self.rules, region)
        bounds.propagate(bounds.tighten)
        output = self.rules.network.output
        return lambda rows: bounds.back({output: self.margins(rows)})


def weights_of(how: Arithmetic, own: Array) -> Array:
    """Of margins, as a file has them: float32. Raises Refused where they are below 0, or no
    numbers.
    """
    fits = (own >= 0) & (own < np.inf)
    require(bool(fits.all()), "a weight of a margin is negative, or no number")
    return how.array(own.astype(np.float64))


def _whole(own: InputSet, integers: frozenset[int]) -> tuple[list[Fraction], list[Fraction]]:
    """Ends of a set's box around the whole numbers that lie in it."""
    lower = [Fraction(ceil(v)) if i in integers else v for i, v in enumerate(own.lower)]
    upper = [Fraction(floor(v)) if i in integers else v for i, v in enumerate(own.upper)]
    return lower, upper
