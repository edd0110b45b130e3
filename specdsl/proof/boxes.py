"""Proofs by a tree of boxes: each leaf's bounds refute all cases, and the leaves cover the set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from specdsl.proof.arithmetic import Arithmetic, Array
from specdsl.proof.refusal import require
from specdsl.proof.relaxations import Interval

# A split that is tried is bounded as a leaf is, together with others, and proves nothing.
LEAF, SPLIT, TRIED = 0, 1, 2
# Leaves that lie beside one another are bounded together: what is linear in all of them is so in
# every one.
LEAVES_TOGETHER = 128


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """In preorder. kinds: (nodes,) of LEAF, SPLIT or TRIED; inputs, points: (splits,): the lower
    child has what lies at or below the point in that input, the upper one what lies at or above.
    weights: (leaves, named), of margins, by which a leaf refutes cases with several.
    """

    kinds: Array
    inputs: Array
    points: Array
    weights: Array

    @property
    def leaves(self) -> int:
        """How many."""
        return len(self.kinds) - len(self.points)


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """What is bounded, in preorder: leaves, and splits that are tried. ends: (boxes, inputs) each.
    closes: (boxes,), of which are leaves. rounds: (boxes,), how many tried splits lie above: boxes
    of one round are bounded together.
    """

    ends: Interval
    closes: Array
    rounds: Array

    def together(self) -> Iterator[tuple[Array, Interval]]:
        """Which are bounded together, and their ends."""
        order = np.argsort(self.rounds, kind="stable")
        for own in np.split(order, np.flatnonzero(np.diff(self.rounds[order])) + 1):
            for start in range(0, len(own), LEAVES_TOGETHER):
                at = own[start : start + LEAVES_TOGETHER]
                yield at, Interval(*(end[at] for end in self.ends))


def read_tree(data: bytes, inputs: int, named: int) -> Tree:
    """A byte for every node, then four for each split's input, a float64 for its point, and float32
    weights for each leaf. Raises Refused.
    """
    count = int.from_bytes(data[:8], "little")
    kinds = np.frombuffer(data[8 : 8 + count], np.uint8)
    splits = int((kinds != LEAF).sum())
    leaves, start = splits + 1, 8 + count + 12 * splits
    whole = len(data) == start + 4 * named * leaves and count == leaves + splits
    require(whole and kinds.max() <= TRIED, "a tree is cut off, or its nodes do not add up")
    own = np.frombuffer(data, "<u4", splits, 8 + count)
    points = np.frombuffer(data, "<f8", splits, 8 + count + 4 * splits)
    weights = np.frombuffer(data, "<f4", named * leaves, start).reshape(leaves, named)
    fits = not splits or (own.max() < inputs and np.isfinite(points).all())
    require(bool(fits), "a tree splits an input that there is not, or nowhere")
    return Tree(kinds, own, points, weights)


def boxes_of(tree: Tree, root: Interval, integers: frozenset[int], how: Arithmetic) -> Boxes:
    """`root`: ends (inputs,).

    Between whole numbers there is nothing to cover. Raises Refused where the tree does not end with
    its last node.
    """
    waiting, found = [(root, 0)], list[tuple[Interval, bool, int]]()
    splits = zip(tree.inputs.tolist(), how.array(tree.points).tolist(), strict=True)
    for kind in tree.kinds.tolist():
        require(bool(waiting), "a tree goes on behind its end")
        box, number = waiting.pop()
        if kind != SPLIT:
            found.append((box, kind == LEAF, number))
        if kind == LEAF:
            continue
        at, point = next(splits)
        below, above = (floor(point), ceil(point)) if at in integers else (point, point)
        low, high = box.lower.copy(), box.upper.copy()
        low[at], high[at] = max(low[at], above), min(high[at], below)
        number += kind == TRIED
        waiting += [(Interval(low, box.upper), number), (Interval(box.lower, high), number)]
    require(not waiting, "a tree has nodes without children")
    boxes, closes, rounds = zip(*found, strict=True)
    ends = Interval(*(np.array(each) for each in zip(*boxes, strict=True)))
    return Boxes(ends, np.array(closes), np.array(rounds))
