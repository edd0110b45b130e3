"""Proofs by a tree of boxes: each leaf's bounds refute all cases, and the leaves cover the set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from specdsl.proof.arithmetic import Arithmetic, Array
from specdsl.proof.refusal import require
from specdsl.proof.relaxations import Interval

LEAF, SPLIT = 0, 1
# Leaves that lie beside one another are bounded together: what is linear in all of them is so in
# every one.
LEAVES_TOGETHER = 128


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """In preorder. kinds: (nodes,) of LEAF or SPLIT; inputs, points: (splits,): the lower child has
    what lies at or below the point in that input, the upper one what lies at or above. weights:
    (leaves, named), of margins, by which a leaf refutes cases with several.
    """

    kinds: Array
    inputs: Array
    points: Array
    weights: Array

    @property
    def leaves(self) -> int:
        """How many."""
        return len(self.kinds) - len(self.points)


def read_tree(data: bytes, inputs: int, named: int) -> Tree:
    """A byte for every node, then four for each split's input, a float64 for its point, and float32
    weights for each leaf. Raises Refused.
    """
    count = int.from_bytes(data[:8], "little")
    kinds = np.frombuffer(data[8 : 8 + count], np.uint8)
    splits = int((kinds == SPLIT).sum())
    leaves, start = splits + 1, 8 + count + 12 * splits
    whole = len(data) == start + 4 * named * leaves and count == leaves + splits
    require(whole and kinds.max() <= SPLIT, "a tree is cut off, or its nodes do not add up")
    own = np.frombuffer(data, "<u4", splits, 8 + count)
    points = np.frombuffer(data, "<f8", splits, 8 + count + 4 * splits)
    weights = np.frombuffer(data, "<f4", named * leaves, start).reshape(leaves, named)
    fits = not splits or (own.max() < inputs and np.isfinite(points).all())
    require(bool(fits), "a tree splits an input that there is not, or nowhere")
    return Tree(kinds, own, points, weights)


def leaf_boxes(tree: Tree, root: Interval, integers: frozenset[int], how: Arithmetic) -> Interval:
    """The boxes of the leaves in their order: (leaves, inputs). `root`: ends (inputs,).

    Between whole numbers there is nothing to cover. Raises Refused where the tree does not end with
    its last node.
    """
    waiting, found = [root], list[Interval]()
    splits = zip(tree.inputs.tolist(), how.array(tree.points).tolist(), strict=True)
    for kind in tree.kinds.tolist():
        require(bool(waiting), "a tree goes on behind its end")
        box = waiting.pop()
        if kind == LEAF:
            found.append(box)
            continue
        at, point = next(splits)
        below, above = (floor(point), ceil(point)) if at in integers else (point, point)
        low, high = box.lower.copy(), box.upper.copy()
        low[at], high[at] = max(low[at], above), min(high[at], below)
        waiting += [Interval(low, box.upper), Interval(box.lower, high)]
    require(not waiting, "a tree has nodes without children")
    return Interval(*(np.array(ends) for ends in zip(*found, strict=True)))


def together(boxes: Interval) -> Iterator[tuple[slice, Interval]]:
    """Which leaves are bounded together, and their boxes."""
    for start in range(0, len(boxes.lower), LEAVES_TOGETHER):
        own = slice(start, start + LEAVES_TOGETHER)
        yield own, Interval(*(end[own] for end in boxes))
