"""Whether bounds refute cases: on every box, some atom of each case, or a sum of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

import numpy as np

from specdsl.proof.arithmetic import Array
from specdsl.proof.conjunctions import joint_bounds
from specdsl.proof.passes import Bounds, Linear, Rules, unit_rows
from specdsl.proof.question import BallSet, Case, InputSet, Question
from specdsl.proof.reduced import Reduced
from specdsl.proof.regions import Region
from specdsl.proof.relaxations import Interval

# Leaves that lie beside one another are bounded together: what is linear in all of them is so in
# every one.
LEAVES_TOGETHER = 128
# Below, a float could have come from underflow.
LEAST_FLOAT = 2.0**-600


class Judged(NamedTuple):
    """`refuted`: which boxes hold no point of any case, (boxes,). `steepness`: how much linear
    bounds of the margins change along each input, (boxes, inputs): where to split.
    """

    refuted: Array
    steepness: Array


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

    def judge(self, boxes: Interval) -> Judged:
        """Which boxes hold no point of any case, by their bounds."""
        starts = range(0, len(boxes.lower), LEAVES_TOGETHER)
        parts = [Interval(*(e[i : i + LEAVES_TOGETHER] for e in boxes)) for i in starts]
        found = [self._together(part) for part in parts]
        return Judged(*(np.concatenate(each) for each in zip(*found, strict=True)))

    @property
    def rows(self) -> Array:
        """Of the margins that some atom reads: (rows, outputs)."""
        network = self.rules.network
        return unit_rows(self.rules.how, np.array(self.read, int), network.size(network.output))

    def closed(self, linear: Linear, region: Region) -> Array:
        """Where linear bounds of the margins in `read` refute every case: (boxes,)."""
        least = region.minimum(linear, self.rules.part)
        closed = np.ones(region.count, bool)
        for case in self.cases:
            own = np.zeros(region.count, bool)
            for index, strict in case.atoms:
                own |= self._positive(least[:, self.read.index(index)], strict=strict)
            left = np.flatnonzero(~own & closed)
            columns = sorted({self.read.index(index) for index, _ in case.atoms})
            if len(columns) > 1 and len(left):
                within = region.within(Interval(*(end[left] for end in region.box)))
                some = Linear(*(_taken(a, left)[:, columns] for a in linear))
                joint = joint_bounds(some, within, self.rules.part)
                own[left] = self._positive(joint, strict=False)
            closed &= own
        return closed

    def _together(self, boxes: Interval) -> Judged:
        """Of boxes that lie beside one another."""
        region = Region(self.rules.how, boxes, self.balls)
        reduced = Reduced.over(self.rules, region) if region.count > 1 else None
        if reduced is not None:
            linear = reduced.margins(self.rows)
        else:
            bounds = Bounds(self.rules, region)
            bounds.propagate(bounds.tighten)
            linear = bounds.back({self.rules.network.output: self.rows[None]})
        lower, upper = region.box
        steepness = np.abs(linear.coefficients).sum(1) * (upper - lower)
        return Judged(self.closed(linear, region) | (lower > upper).any(1), steepness)

    def _positive(self, bound: Array, *, strict: bool) -> Array:
        """Whether a margin is above what its atom says. NaN is not."""
        if not self.rules.how.exact:
            return bound > LEAST_FLOAT
        return np.asarray(bound >= 0 if strict else bound > 0, bool)


def _whole(own: InputSet, integers: frozenset[int]) -> tuple[list[Fraction], list[Fraction]]:
    """Ends of a set's box around the whole numbers that lie in it."""
    lower = [Fraction(ceil(v)) if i in integers else v for i, v in enumerate(own.lower)]
    upper = [Fraction(floor(v)) if i in integers else v for i, v in enumerate(own.upper)]
    return lower, upper


def _taken(values: Array, at: Array) -> Array:
    """Of a batch, or of what holds for all of it, so many times."""
    return values[at] if len(values) > 1 else np.broadcast_to(values, (len(at), *values.shape[1:]))
