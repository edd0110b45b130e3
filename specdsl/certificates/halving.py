"""Trees of boxes, grown until the checker accepts every leaf: those that it does not are halved.

The checker takes leaves together that lie beside one another, so how it bounds one may change with
its neighbours. A leaf that is halved stays with them as a split that is tried, so that what is
accepted of a tree stays so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from specdsl.backend import Deadline
from specdsl.certificates.judging import Judged, judge
from specdsl.certificates.nodes import NotCertified
from specdsl.proof.arithmetic import FLOAT, Array
from specdsl.proof.boxes import LEAF, SPLIT, TRIED, Tree, boxes_of
from specdsl.proof.cases import Cases
from specdsl.proof.relaxations import Interval

# A margin within the rounding of float32 closes nowhere, however often it is halved.
MAX_ROUNDS = 24
# Of more inputs that vary than this, halving some decides nothing.
MAX_VARYING = 64


def accepted_tree(tree: Tree, cases: Cases, most: int, deadline: Deadline) -> Tree:
    """The tree, which has no split that is tried, with at most so many leaves halved until the
    checker accepts every one, by weights that are found on the way.

    Raises NotCertified, OutOfTime.
    """
    if cases.root is None:
        return replace(tree, weights=np.zeros((tree.leaves, cases.named), np.float32))
    boxes = boxes_of(tree, cases.root, cases.question.integers, FLOAT).ends
    growth = _Growth(cases, tree.leaves)
    numbers = still = np.arange(tree.leaves)
    for _ in range(MAX_ROUNDS):
        deadline.check()
        judged = judge(cases, boxes)
        growth.weights |= dict(zip(numbers.tolist(), judged.weights, strict=True))
        still = np.flatnonzero(~judged.refuted)
        if not len(still):
            return growth.grown(tree)
        varying = (cases.root.lower < cases.root.upper).sum()
        if varying > MAX_VARYING or len(growth.cuts) + len(still) > most:
            break
        numbers, boxes = growth.halved(numbers[still], boxes, judged, still)
    raise NotCertified(f"the checker's bounds do not refute {len(still)} parts of the set")


@dataclass(slots=True, eq=False)
class _Growth:
    """Leaves of a tree have numbers from 0 on, halves the next ones: `count` of both. `cuts`: the
    input, the point, and the number of the lower half, before that of the upper one, by number.
    """

    cases: Cases
    count: int
    cuts: dict[int, tuple[int, float, int]] = field(
        default_factory=dict[int, tuple[int, float, int]]
    )
    weights: dict[int, Array] = field(default_factory=dict[int, Array])

    def halved(
        self, numbers: Array, boxes: Interval, judged: Judged, still: Array
    ) -> tuple[Array, Interval]:
        """Halves of the boxes `still`, which have these numbers, in the order in which the checker
        comes to them. Raises NotCertified.
        """
        lower, upper = (end[still] for end in boxes)
        # Bounds that are flat or no numbers tell nothing: then the longest edge is cut.
        told = np.nan_to_num(judged.steepness[still], posinf=0.0)
        score = np.where(told.max(1, keepdims=True) > 0, told, upper - lower)
        at, row = score.argmax(1), np.arange(len(still))
        middle = (lower[row, at] + upper[row, at]) / 2
        whole = np.isin(at, list(self.cases.question.integers))
        middle = np.where(whole, np.floor(middle) + 0.5, middle)
        if not ((lower[row, at] < middle) & (middle < upper[row, at])).all():
            raise NotCertified("a part that the checker does not refute cannot be split")
        low, high = (np.repeat(end, 2, axis=0) for end in (lower, upper))
        high[2 * row, at] = np.where(whole, np.floor(middle), middle)
        low[2 * row + 1, at] = np.where(whole, np.ceil(middle), middle)
        found = self.count + np.arange(2 * len(still))
        self.count += len(found)
        cuts = zip(at.tolist(), middle.tolist(), found[::2].tolist(), strict=True)
        self.cuts |= dict(zip(numbers.tolist(), cuts, strict=True))
        return found, Interval(low, high)

    def grown(self, tree: Tree) -> Tree:
        """The tree with what its leaves were halved into."""
        kinds: list[int] = []
        splits: list[tuple[int, float]] = []
        weights: list[Array] = []
        old = zip(tree.inputs.tolist(), tree.points.tolist(), strict=True)
        leaf = 0
        for kind in tree.kinds.tolist():
            if kind == SPLIT:
                kinds.append(SPLIT)
                splits.append(next(old))
                continue
            waiting = [leaf]
            leaf += 1
            while waiting:
                number = waiting.pop()
                if number not in self.cuts:
                    kinds.append(LEAF)
                    weights.append(self.weights[number])
                    continue
                at, point, first = self.cuts[number]
                kinds.append(TRIED)
                splits.append((at, point))
                waiting += [first + 1, first]
        inputs, points = zip(*splits, strict=True) if splits else ((), ())
        return Tree(
            np.array(kinds, np.uint8),
            np.array(inputs, np.uint32),
            np.array(points, np.float64),
            np.array(weights, np.float32),
        )
