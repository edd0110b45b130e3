"""Ties on plateaus: claims about steps are judged in rationals where few values are left.

What a graph of steps says is a whole number more often than not, and claims say just that: `= 1`.
Then the margin is exactly 0 wherever the claim holds, and no bound in floats gets above that. But
where every way from the input to the margins leads through steps, margins are a function of the
values of these steps alone: a box on which they have few is settled by trying all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import ceil, floor, prod

import numpy as np
import torch
from torch import Tensor

from specdsl.bounds.interval import Interval
from specdsl.graph import ops
from specdsl.graph.exact import evaluate_exact, is_exact
from specdsl.graph.graph import Graph, NodeId
from specdsl.query.groups import CaseGroup
from specdsl.query.query import Atom
from specdsl.query.sets import ExactArray

# A bound below 0 by less than this part of the margin's size, or of 1, may belong to a tie.
TIE_PART = 1e-9
# Values of all steps together that are tried on a box, and boxes judged in a batch: each takes an
# exact evaluation of what is behind the steps, of a millisecond or some.
MAX_TRIED, MAX_JUDGED = 16, 32


@dataclass(frozen=True, slots=True, eq=False)
class Plateaus:
    """A graph whose margins depend on the input through `steps` alone, exactly."""

    graph: Graph
    steps: tuple[NodeId, ...]

    @classmethod
    def of(cls, graph: Graph) -> Plateaus | None:
        """The last steps before the margins; None where something passes them by, or is not exact
        behind them.
        """
        found: list[NodeId] = []
        seen: set[NodeId] = set()
        waiting = [graph.output]
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            if node == graph.input:
                return None
            if isinstance(graph.op(node), ops.Step):
                found.append(node)
            else:
                waiting.extend(graph.operands(node))
        if not found or not is_exact(graph, [graph.output], given=found):
            return None
        return cls(graph, tuple(n for n in graph.order if n in found))

    def refuted(self, group: CaseGroup, bounds: Mapping[NodeId, Interval], at: int) -> Tensor:
        """Which cases of a group hold for no values of the steps on one box: (cases,).

        `bounds` of the steps on a batch of boxes, `at`: the box. None are where values are many.
        """
        refuted = torch.ones(len(group.atoms), dtype=torch.bool)
        choices = [
            self._choices(node, bounds[node].lower[at], bounds[node].upper[at])
            for node in self.steps
        ]
        # Sound bounds leave some value: none left would be a mistake, and proves nothing.
        if not 0 < prod(len(c) for part in choices for c in part) <= MAX_TRIED:
            return ~refuted
        for margins in self._margins(choices):
            read = margins[group.rows]
            for case, atoms in enumerate(group.atoms):
                refuted[case] &= not all(_holds(read, atom) for atom in atoms)
        return refuted

    def _choices(self, node: NodeId, lower: Tensor, upper: Tensor) -> list[list[float]]:
        """The values that every entry may have, more than may be tried where they are many."""
        op = self.graph.op(node)
        ends = zip(lower.flatten().tolist(), upper.flatten().tolist(), strict=True)
        if isinstance(op, ops.Threshold):
            own = sorted({op.below, op.at, op.above})
            return [[v for v in own if low <= v <= high] for low, high in ends]
        return [_whole(low, high) for low, high in ends]

    def _margins(self, choices: list[list[list[float]]]) -> Iterator[ExactArray]:
        """The margins for every choice of values."""
        flat = [c for part in choices for c in part]
        sizes = np.cumsum([len(part) for part in choices])[:-1]
        for values in product(*flat):
            exact = np.array([Fraction(v) for v in values], dtype=object)
            given = {
                node: part.reshape(self.graph.shapes[node])
                for node, part in zip(self.steps, np.split(exact, sizes), strict=True)
            }
            output = self.graph.output
            yield evaluate_exact(self.graph, {}, given, [output])[output].reshape(-1)


def _whole(low: float, high: float) -> list[float]:
    """The whole numbers between two bounds, or more than may be tried."""
    if not high - low <= MAX_TRIED:
        return [0.0] * (MAX_TRIED + 1)
    return [float(n) for n in range(ceil(low), floor(high) + 1)]


def _holds(margins: ExactArray, atom: Atom) -> bool:
    return bool(margins[atom.index] < 0 if atom.strict else margins[atom.index] <= 0)
