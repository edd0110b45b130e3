"""Bounds of parts: climbed in float32, which is twice as fast, and proven in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.backends.search.neurons.parts import Batch
from specdsl.backends.search.problem import Problem, Progress
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.choice import Places
from specdsl.bounds.margins import MarginBounds, margin_rows
from specdsl.bounds.passes.affordable import alpha_pass
from specdsl.bounds.passes.beta_crown import PartBounds, PartRows
from specdsl.bounds.passes.crown import LinearLower
from specdsl.bounds.passes.parts import Entries, Known
from specdsl.bounds.regions.joint import case_bounds
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.graph import ops
from specdsl.graph.graph import NodeId
from specdsl.query.groups import CaseGroup
from specdsl.query.query import Atom

# Numbers that all values of a batch have together, at most: beyond, every step waits for memory.
MAX_VALUES = 2**22
MAX_BATCH = 256
# Seconds for tight bounds inside, as a part of what is left: the tree needs the rest.
ROOT_PART = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Proven:
    """Bounds of a batch. `least`: of the deciding margin, (batch,), less what rounding may have
    added; `linear`: of the row that decides, (batch, inputs) and (batch,); `gaps`: what each
    entry's relaxation takes off at most, (batch, entries).
    """

    least: Tensor
    linear: LinearLower
    gaps: Tensor


@dataclass(slots=True, eq=False)
class Bounder:
    """`rows`: the margins of every case, (cases, atoms, *output), the last atom repeated up to the
    longest case. `columns`: which entries have places, by node; known after the first climb.
    """

    problem: Problem
    known: Known
    near: Known
    rows: Tensor
    columns: dict[NodeId, Tensor | None] = field(default_factory=dict[NodeId, Tensor | None])

    @classmethod
    def of(cls, problem: Problem, deadline: Deadline, progress: Progress) -> Bounder:
        """Bounds inside on the whole set; which of them are loose is noted in `progress`.

        Raises OutOfTime where even these take too long.
        """
        compiled, group = problem.compiled, problem.group
        region = input_region(group.inputs, compiled.like)
        until = Deadline.after(ROOT_PART * deadline.remaining)
        found = alpha_pass(compiled, region, until, deadline)
        progress.coarse, progress.unraised = found.coarse, found.unraised
        known = Known(
            compiled, region, found.bounds, Entries.of(splittable(compiled, found.bounds))
        )
        single = compile_graph(compiled.graph, torch.empty(0, dtype=torch.float32))
        near = known.nearly(single, input_region(group.inputs, single.like))
        return cls(problem, known, near, _case_rows(compiled, group))

    @property
    def batch_size(self) -> int:
        """Parts that are bounded at once."""
        graph = self.known.compiled.graph
        values = sum(graph.size(node) for node in graph.order) * self.rows.shape[1]
        return max(2, min(MAX_BATCH, MAX_VALUES // values))

    def glance(self, batch: Batch) -> Tensor:
        """About the best margin's bound on parts, without ascent: (batch,)."""
        found: list[Tensor] = []
        for index in torch.arange(len(batch)).split(self.batch_size):
            rows = self._climbed(batch.take(index).compact(), 0)
            found.append(rows.linear.lower.amax(1))
        return torch.cat(found)

    def raised(self, batch: Batch, climbing: Tensor, steps: int) -> Batch:
        """The batch with multipliers and places raised where `climbing` says so."""
        index = climbing.nonzero()[:, 0]
        if not len(index):
            return batch
        own = batch.take(index)
        split = own.is_split.any(0).nonzero()[:, 0]
        found = self._climbed(own.compact(), steps)
        multipliers = batch.multipliers.clone()
        at = torch.meshgrid(index, torch.arange(multipliers.shape[1]), split, indexing="ij")
        multipliers[at] = found.multipliers
        moved = self._all_places(own, found.places)
        if len(index) == len(batch):
            places = moved
        else:
            places = {n: v.index_copy(0, index, moved[n]) for n, v in batch.places.items()}
        return replace(batch, multipliers=multipliers, places=places)

    def proven(self, batch: Batch) -> Proven:
        """Bounds by the multipliers and places at hand, in float64."""
        group = self.problem.group
        bounds = PartBounds(self.known, batch.parts)
        start = batch.start(self.columns)
        found = bounds.rows(self.rows[batch.cases], start, batch.multipliers)
        margins = MarginBounds(found.linear, found.proven)
        atoms = tuple(Atom(i, strict=False) for i in range(self.rows.shape[1]))
        case = CaseGroup(group.inputs, (0,), group.rows[:0], (atoms,))
        least = case_bounds(case, margins, bounds.region, self.problem.slack).least[:, 0]
        row = found.proven.argmax(1)
        at = torch.arange(len(batch))
        linear = LinearLower(
            found.linear.coefficients[at, row],
            found.linear.constant[at, row],
            found.linear.lower[at, row],
        )
        return Proven(least, linear, found.gaps.amax(1))

    def _climbed(self, batch: Batch, steps: int) -> PartRows:
        bounds = PartBounds(self.near, batch.parts)
        start = batch.start(self.columns)
        slack = self.problem.slack
        return bounds.rows(self.rows[batch.cases], start, batch.multipliers, steps, slack)

    def _all_places(self, batch: Batch, found: Mapping[NodeId, Places]) -> dict[NodeId, Tensor]:
        """Places of all entries that had any on the whole set; those that moved where they are."""
        places = dict(batch.places)
        for node, own in found.items():
            values = own.values.detach()
            if node not in self.columns:
                self.columns[node] = own.columns
            columns = self.columns[node]
            if columns is None or own.columns is None or torch.equal(columns, own.columns):
                places[node] = values
            else:
                at = torch.searchsorted(columns, own.columns)
                places[node] = places[node].index_copy(2, at, values)
        return places


def _case_rows(compiled: CompiledGraph, group: CaseGroup) -> Tensor:
    longest = max(len(atoms) for atoms in group.atoms)
    picked = [[a.index for a in atoms] for atoms in group.atoms]
    padded = torch.tensor([p + p[-1:] * (longest - len(p)) for p in picked])
    shape = compiled.graph.shapes[compiled.graph.output]
    return margin_rows(compiled, group)[0][padded].reshape(*padded.shape, *shape)


def splittable(compiled: CompiledGraph, bounds: Mapping[NodeId, Interval]) -> dict[NodeId, Tensor]:
    """Entries inside that a piecewise linear or smooth op reads and could use tighter, by node."""
    found: dict[NodeId, Tensor] = {}
    for node, rule in compiled.rules.items():
        if not isinstance(compiled.graph.op(node), ops.PiecewiseLinear | ops.Smooth):
            continue
        (operand,) = compiled.graph.operands(node)
        if operand == compiled.graph.input:
            continue
        unstable = rule.unstable(bounds[operand]).flatten(1)[0]
        if operand in found:
            unstable = unstable.index_fill(0, found[operand], value=True)
        found[operand] = unstable.nonzero()[:, 0]
    return {node: columns for node, columns in found.items() if columns.numel()}


def region_of(bounder: Bounder, count: int) -> InputRegion:
    """The whole set, once for each of so many parts."""
    return bounder.known.region.take(torch.zeros(count, dtype=torch.long))
