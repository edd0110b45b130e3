"""How a search over boxes went, for a proof of it: which box was cut where, into which two."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from specdsl.proof.boxes import LEAF, SPLIT, Tree
from specdsl.verdict import CaseProof

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
ROOT = 0
# They are found when the checker has bounded the leaves.
NO_WEIGHTS = np.zeros((0, 0), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class BoxProof(CaseProof):
    """By a tree of boxes."""

    tree: Tree


@dataclass(slots=True)
class TreeRecord:
    """Boxes by number, the root's first. Every box is cut once at most; what was not is a leaf.

    A cut: the box, the input, the point, and the number of the lower part; the upper one has the
    next.
    """

    count: int = 1
    boxes: list[IntArray] = field(default_factory=list[IntArray])
    inputs: list[IntArray] = field(default_factory=list[IntArray])
    points: list[FloatArray] = field(default_factory=list[FloatArray])
    parts: list[IntArray] = field(default_factory=list[IntArray])

    def cut(self, boxes: IntArray, inputs: IntArray, points: FloatArray) -> IntArray:
        """Cut boxes in two; the numbers of their lower parts."""
        lower = self.count + 2 * np.arange(len(boxes), dtype=np.int64)
        self.count += 2 * len(boxes)
        self.boxes.append(boxes)
        self.inputs.append(inputs)
        self.points.append(points)
        self.parts.append(lower)
        return lower

    def tree(self) -> Tree:
        """In preorder."""
        cut_at = np.full(self.count, -1, np.int64)
        none = np.zeros(0, np.int64)
        boxes, inputs, parts = (
            np.concatenate([none, *own]) for own in (self.boxes, self.inputs, self.parts)
        )
        points = np.concatenate([np.zeros(0), *self.points])
        cut_at[boxes] = np.arange(len(boxes))
        kinds: list[int] = []
        cuts: list[int] = []
        waiting = [ROOT]
        at, lower = cut_at.tolist(), parts.tolist()
        while waiting:
            box = waiting.pop()
            own = at[box]
            if own < 0:
                kinds.append(LEAF)
            else:
                kinds.append(SPLIT)
                cuts.append(own)
                waiting += [lower[own] + 1, lower[own]]
        order = np.array(cuts, np.int64)
        return Tree(
            np.array(kinds, np.uint8),
            inputs[order].astype(np.uint32),
            points[order].astype(np.float64),
            NO_WEIGHTS,
        )
