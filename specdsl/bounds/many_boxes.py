"""Bounds of groups of cases, each over a box of its own, many boxes at a time.

Thousands of small boxes with few inputs that vary, as for an index learned of a table's keys, are
bounded one by one at what it costs to call torch. Here they are rows of one batch. Bounds are
forward ones: the boxes of a batch have different neurons unstable, and rows would be walked back
for all of them on each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes.forward_linear import forward_proven, varying_inputs
from specdsl.bounds.regions.region import InputRegion, outward_box
from specdsl.bounds.rounding import rounding_slacks
from specdsl.graph.graph import Graph
from specdsl.graph.outputs import only_entries
from specdsl.graph.rewrites import simplify
from specdsl.graph.work import work
from specdsl.query.groups import CaseGroup
from specdsl.query.sets import FloatArray

# From so many sets of inputs on, those in which few inputs vary are taken together.
MANY_SETS = 8
# Forward bounds carry two functions of every input that varies: beyond so many of them, walking
# backward is cheaper.
FEW_VARYING = 16
# Multiplications and additions between two looks at the clock, a fifth of a second or so.
PART_WORK = 2**30
# Coefficients of rows on the margins, and of forward bounds on one value: 128 MiB of float64.
MAX_COEFFICIENTS = 2**24
# Boxes of a batch times margins that any of them reads: each box has bounds of all of them. Of
# 5,000 boxes with two margins each, batches of 256 take 0.6 s, of 2,048 they take 20 s.
MAX_SELECTIONS = 2**18
# Places in the table of a group's cases: these count back from two columns behind its rows.
NO_ATOM, NO_CASE = -2, -1
# What a pass computes of each value beside a function for each input: two constants, two ends.
BESIDES = 4


@dataclass(frozen=True, slots=True, eq=False)
class ManyBoxes:
    """Some groups, one beside the other, over a graph cut down to the margins that they read.

    `groups` count into the query's margins. Shapes: region (groups,); slack (groups,), what
    rounding may have added (`bounds.rounding`); rows (groups, width, margins), the margins that
    each group reads, and rows of zeros; table (groups, cases, atoms), rows of each case's atoms, -2
    after the last one, and -1 where there is no case.
    """

    groups: tuple[CaseGroup, ...]
    compiled: CompiledGraph
    region: InputRegion
    slack: Tensor
    rows: Tensor
    table: Tensor

    @classmethod
    def of(
        cls, margins: Graph, groups: Sequence[CaseGroup], box: Interval, deadline: Deadline
    ) -> ManyBoxes:
        """`margins` computes the query's margins, rewritten by nothing that rounds; `box`: of each
        group, (groups, inputs). Raises Unsupported where an op has no rule or may have no value,
        OutOfTime.
        """
        read = np.unique(np.concatenate([group.rows for group in groups]))
        needed = only_entries(margins, read)
        region = InputRegion(box)
        with torch.no_grad():
            slack = rounding_slacks(compile_graph(needed, box.lower), region, deadline)
        compiled = compile_graph(simplify(needed), box.lower)
        rows, table = _read_by(groups, read, box.lower)
        return cls(tuple(groups), compiled, region, slack, rows, table)

    def least(self, box: Interval, home: Tensor) -> Tensor:
        """Proven lower bounds of the deciding margin of every case on parts of the boxes.

        Infinite where a group has fewer cases; never NaN. Shapes: box (parts, inputs), home
        (parts,), the group of each; result (parts, cases).
        """
        with torch.no_grad():
            rows = self.rows[home]
            proven = forward_proven(self.compiled, rows, InputRegion(box))
        proven = proven - self.slack[home, None]
        # A bound that is not a number says nothing, and must never close a case.
        return self.deciding(proven.where(~proven.isnan(), -torch.inf), home)

    def deciding(self, margins: Tensor, home: Tensor) -> Tensor:
        """The largest margin among the atoms of each case: (parts, width) to (parts, cases)."""
        ends = margins.new_tensor([-torch.inf, torch.inf]).expand(len(margins), 2)
        filled = torch.cat([margins, ends], dim=1)
        table = self.table[home] % filled.shape[1]
        return filled.gather(1, table.flatten(1)).reshape(table.shape).amax(2)

    @property
    def at_once(self) -> int:
        """How many parts may be bounded between two looks at the clock."""
        graph, columns = self.compiled.graph, varying_inputs(self.region).numel()
        return parts_at_once(graph, columns, self.rows[0].numel())


def parts_at_once(graph: Graph, columns: int, coefficients: int = 1) -> int:
    """How many boxes with so many varying inputs, and so many coefficients of rows each."""
    widest = max(graph.size(node) for node in graph.order)
    by_work = PART_WORK // (work(graph) * (2 * columns + BESIDES))
    by_memory = MAX_COEFFICIENTS // max(2 * columns * widest, coefficients)
    return max(1, min(by_work, by_memory))


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Groups that are bounded together and their boxes, (groups, inputs)."""

    groups: tuple[CaseGroup, ...]
    box: Interval


def batches(margins: Graph, groups: Sequence[CaseGroup], like: Tensor) -> tuple[Batch, ...]:
    """The groups that are boxes with few varying inputs, those where the same inputs vary together.

    `margins` as in `ManyBoxes.of`; groups that are cut by balls, or vary in more, are in none. The
    memory that a batch takes is bounded.
    """
    alike: dict[bytes, list[tuple[CaseGroup, FloatArray, FloatArray]]] = {}
    for group in groups:
        if group.inputs.balls:
            continue
        lower, upper = group.inputs.box.float_bounds()
        varies = lower < upper
        if varies.sum() <= FEW_VARYING:
            alike.setdefault(varies.tobytes(), []).append((group, lower, upper))
    values = sum(margins.size(node) for node in margins.order[:-1])
    found: list[Batch] = []
    members = [each for same in alike.values() for each in same]
    start = 0
    while start < len(members):
        end = _end_of_batch(members, start, values)
        chosen, lower, upper = zip(*members[start:end], strict=True)
        box = outward_box(np.stack(lower), np.stack(upper), like)
        found.append(Batch(chosen, box))
        start = end
    return tuple(found)


def _end_of_batch(
    members: Sequence[tuple[CaseGroup, FloatArray, FloatArray]], start: int, values: int
) -> int:
    """Where the batch ends that begins at `start`: by memory, and where too many inputs vary."""
    varies = members[start][1] < members[start][2]
    width, end = 1, start
    while end < len(members):
        group, lower, upper = members[end]
        width, varies = max(width, len(group.rows)), varies | (lower < upper)
        count = end - start + 1
        too_large = (count * width) ** 2 > MAX_SELECTIONS or count * values > MAX_COEFFICIENTS
        if count > 1 and (too_large or varies.sum() > FEW_VARYING):
            break
        end += 1
    return end


def _read_by(
    groups: Sequence[CaseGroup], read: npt.NDArray[np.int64], like: Tensor
) -> tuple[Tensor, Tensor]:
    """Rows and table of the groups over the margins `read`: see ManyBoxes."""
    width = max(1, *(len(group.rows) for group in groups))
    cases = max(len(group.members) for group in groups)
    longest = max(1, *(len(atoms) for group in groups for atoms in group.atoms))
    rows = np.zeros((len(groups), width, len(read)))
    table = np.full((len(groups), cases, longest), NO_CASE)
    for i, group in enumerate(groups):
        rows[i, np.arange(len(group.rows)), np.searchsorted(read, group.rows)] = 1.0
        for k, atoms in enumerate(group.atoms):
            table[i, k] = NO_ATOM
            table[i, k, : len(atoms)] = [atom.index for atom in atoms]
    return torch.as_tensor(rows).to(like), torch.as_tensor(table, device=like.device)
