"""Proofs by a tree of boxes: each leaf's bounds refute all cases, and the leaves cover the set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

import numpy as np

from specdsl.proof.arithmetic import Arithmetic, Array
from specdsl.proof.conjunctions import joint_bounds
from specdsl.proof.passes import Bounds, Linear, Rules
from specdsl.proof.question import BallSet, Case, Question
from specdsl.proof.reduced import Reduced
from specdsl.proof.refusal import Refused
from specdsl.proof.regions import Region
from specdsl.proof.relaxations import Interval

# Leaves that lie beside one another are bounded together: what is linear in all of them is so in
# every one.
LEAVES_TOGETHER = 64
LEAF, SPLIT = 0, 1
# Below, a float could have come from underflow.
LEAST_FLOAT = 2.0**-600


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """In preorder. kinds: (nodes,) of LEAF or SPLIT; inputs, points: (splits,): the lower child has
    what lies at or below the point in that input, the upper one what lies at or above.
    """

    kinds: Array
    inputs: Array
    points: Array

    @property
    def leaves(self) -> int:
        """How many."""
        return len(self.kinds) - len(self.points)


def read_tree(data: bytes, inputs: int) -> Tree:
    """A byte for every node, then four for each split's input, and a float64 for its point. Raises
    Refused.
    """
    count = int.from_bytes(data[:8], "little")
    kinds = np.frombuffer(data[8 : 8 + count], np.uint8)
    splits = int((kinds == SPLIT).sum())
    whole = len(data) == 8 + count + 12 * splits and count == 2 * splits + 1
    if not whole or kinds.max(initial=0) > SPLIT:
        raise Refused("a tree is cut off, or its nodes do not add up")
    own = np.frombuffer(data, "<u4", splits, 8 + count)
    points = np.frombuffer(data, "<f8", splits, 8 + count + 4 * splits)
    if splits and (own.max() >= inputs or not np.isfinite(points).all()):
        raise Refused("a tree splits an input that there is not, or nowhere")
    return Tree(kinds, own, points)


def write_tree(tree: Tree) -> bytes:
    """What `read_tree` reads."""
    return b"".join(
        [
            len(tree.kinds).to_bytes(8, "little"),
            tree.kinds.astype(np.uint8).tobytes(),
            tree.inputs.astype("<u4").tobytes(),
            tree.points.astype("<f8").tobytes(),
        ]
    )


def leaf_boxes(tree: Tree, root: Interval, integers: frozenset[int], how: Arithmetic) -> Interval:
    """The boxes of the leaves in their order: (leaves, inputs). `root`: ends (inputs,).

    Between whole numbers there is nothing to cover. Raises Refused where the tree does not end with
    its last node.
    """
    waiting = [(root.lower, root.upper)]
    found: list[tuple[Array, Array]] = []
    inputs, points = tree.inputs.tolist(), how.array(tree.points).tolist()
    split = 0
    for kind in tree.kinds.tolist():
        if not waiting:
            raise Refused("a tree goes on behind its end")
        lower, upper = waiting.pop()
        if kind == LEAF:
            found.append((lower, upper))
            continue
        at, point = inputs[split], points[split]
        split += 1
        below, above = (floor(point), ceil(point)) if at in integers else (point, point)
        low, high = lower.copy(), upper.copy()
        low[at], high[at] = max(lower[at], above), min(upper[at], below)
        waiting += [(low, upper), (lower, high)]
    if waiting:
        raise Refused("a tree has nodes without children")
    return Interval(np.array([b[0] for b in found]), np.array([b[1] for b in found]))


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
    the sets, where they are all cut by the same.
    """

    question: Question
    rules: Rules
    cases: tuple[Case, ...]
    root: Interval | None
    balls: tuple[BallSet, ...] = ()

    @classmethod
    def of(cls, question: Question, rules: Rules, numbers: Sequence[int]) -> Cases:
        """Those at these positions."""
        cases = tuple(question.cases[n] for n in numbers)
        sets = {case.set for case in cases}
        lower, upper = [], []
        for each in sets:
            own = question.sets[each]
            low = [
                Fraction(ceil(v)) if i in question.integers else v for i, v in enumerate(own.lower)
            ]
            high = [
                Fraction(floor(v)) if i in question.integers else v for i, v in enumerate(own.upper)
            ]
            if any(a > b for a, b in zip(low, high, strict=True)):
                continue
            ends = rules.how.bounds(low, high)
            lower.append(ends[0])
            upper.append(ends[1])
        if not lower:
            return cls(question, rules, cases, None)
        root = Interval(np.minimum.reduce(lower), np.maximum.reduce(upper))
        balls = question.sets[cases[0].set].balls if len(sets) == 1 else ()
        return cls(question, rules, cases, root, balls)

    def judge(self, boxes: Interval) -> Judged:
        """Which boxes hold no point of any case, by their bounds."""
        parts = [self._together(part) for part in _parts(boxes)]
        return Judged(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _together(self, boxes: Interval) -> Judged:
        """Of boxes that lie beside one another."""
        region = Region(self.rules.how, boxes, self.balls)
        reduced = Reduced.over(self.rules, region) if region.count > 1 else None
        if reduced is not None:
            return self._judged(reduced.margins(self._rows()[0]), region)
        bounds = Bounds(self.rules, region)
        bounds.propagate()
        return self._judged(bounds.back(self.rules.network.output, self._rows()), region)

    def _judged(self, linear: Linear, region: Region) -> Judged:
        lower, upper = region.box
        steepness = np.abs(linear.coefficients).sum(1) * (upper - lower)
        return Judged(self._closed(linear, region) | (lower > upper).any(1), steepness)

    def _margins(self) -> list[int]:
        return sorted({index for case in self.cases for index, _ in case.atoms})

    def _rows(self) -> Array:
        """Of the margins that some atom reads: (1, rows, outputs)."""
        read = self._margins()
        rows = self.rules.how.zeros(
            1, len(read), self.rules.network.size(self.rules.network.output)
        )
        if read:
            rows[0, np.arange(len(read)), read] = rows[0, 0, 0] + 1
        return rows

    def _closed(self, linear: Linear, region: Region) -> Array:
        """By linear bounds of the margins that are read: (boxes,)."""
        read, part = self._margins(), self.rules.part
        least = region.minimum(linear, part)
        closed = np.ones(region.count, bool)
        for case in self.cases:
            own = np.zeros(region.count, bool)
            for index, strict in case.atoms:
                own |= self._positive(least[:, read.index(index)], strict=strict)
            left = np.flatnonzero(~own & closed)
            columns = sorted({read.index(index) for index, _ in case.atoms})
            if len(columns) > 1 and len(left):
                boxes = Interval(region.box.lower[left], region.box.upper[left])
                some = Linear(*(_taken(a, left)[:, columns] for a in linear))
                joint = joint_bounds(some, region.within(boxes), part)
                own[left] = self._positive(joint, strict=False)
            closed &= own
        return closed

    def _positive(self, bound: Array, *, strict: bool) -> Array:
        """Whether a margin is above what its atom says. NaN is not."""
        if not self.rules.how.exact:
            return bound > LEAST_FLOAT
        return np.asarray(bound >= 0 if strict else bound > 0, bool)


def _parts(boxes: Interval) -> Iterator[Interval]:
    for start in range(0, len(boxes.lower), LEAVES_TOGETHER):
        part = slice(start, start + LEAVES_TOGETHER)
        yield Interval(boxes.lower[part], boxes.upper[part])


def _taken(values: Array, at: Array) -> Array:
    """Of a batch, or of what holds for all of it, so many times."""
    return values[at] if len(values) > 1 else np.broadcast_to(values, (len(at), *values.shape[1:]))
