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
from specdsl.bounds.kinds.choice import Places
from specdsl.bounds.margins import MarginBounds, margin_rows
from specdsl.bounds.parts.ascent import Assumption, PartRows
from specdsl.bounds.parts.assumed import Stand, Steps, Wanted, sharpened
from specdsl.bounds.parts.beta_crown import PartBounds
from specdsl.bounds.parts.cutting import Cuts
from specdsl.bounds.parts.gaps import Gaps
from specdsl.bounds.parts.known import Known, Parts
from specdsl.bounds.parts.narrowed import narrowed, split_entries
from specdsl.bounds.passes.affordable import alpha_pass
from specdsl.bounds.passes.crown import LinearLower, RaisedEntries, unstable_in
from specdsl.bounds.regions.joint import case_bounds
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.graph.graph import NodeId
from specdsl.graph.work import work
from specdsl.query.groups import CaseGroup
from specdsl.query.query import Atom

# Numbers that all values of a batch have together, at most: beyond, every step waits for memory.
MAX_VALUES = 2**22
MAX_BATCH = 256
# Undecided entries that are looked at together.
UNDECIDED = 4
# Seconds for tight bounds inside, as a part of what is left: the tree needs the rest.
ROOT_PART = 0.25
# Multiplications and additions that one forward pass of all rows takes whose entries are sharpened;
# with ascent it is some sixty times as many, about two seconds.
SHARPENING_WORK = 2**30


@dataclass(frozen=True, slots=True, eq=False)
class Proven:
    """Bounds of a batch, less what rounding may have added. `least`: of the deciding margin or of
    several together, (batch,); `alone`: of the best margin, that of atom `atoms`; `linear`: of its
    row, (batch, inputs) and (batch,); `gaps`: what each entry matters, (batch, entries).
    """

    least: Tensor
    alone: Tensor
    atoms: Tensor
    linear: LinearLower
    gaps: Gaps
    places: Mapping[NodeId, Places]


@dataclass(slots=True, eq=False)
class Bounder:
    """`rows`: the margins of every case, (cases, atoms, *output), the last atom repeated up to the
    longest case. `columns`: which entries have places, by node; known after the first climb.
    `stands`: where bounds inside hold only where margins are 0 or less, how far they were raised;
    `begun`: how bounds inside were on the whole set.
    """

    problem: Problem
    known: Known
    near: Known
    cuts: Cuts
    rows: Tensor
    columns: dict[NodeId, Tensor | None] = field(default_factory=dict[NodeId, Tensor | None])
    stands: Mapping[NodeId, Stand] | None = None
    begun: tuple[RaisedEntries, ...] = ()

    @classmethod
    def of(cls, problem: Problem, deadline: Deadline, progress: Progress) -> Bounder:
        """Bounds inside on the whole set; which of them are loose is noted in `progress`.

        Raises OutOfTime where even these take too long.
        """
        compiled, group = problem.compiled, problem.group
        region = input_region(group.inputs, compiled.like)
        found = problem.prepared.crown(group, deadline)
        if problem.options.tighten:
            until = Deadline.after(ROOT_PART * deadline.remaining)
            found = alpha_pass(compiled, region, until, deadline, found.bounds)
        progress.coarse, progress.unraised = found.coarse, found.unraised
        known = Known.of(compiled, region, found.bounds)
        single = compile_graph(compiled.graph, compiled.like.float())
        near = known.nearly(single, input_region(group.inputs, single.like))
        rows = _case_rows(compiled, group)
        return cls(problem, known, near, Cuts.of(known), rows, begun=found.raised)

    def of_case(self, position: int) -> Bounder:
        """For one case of the group alone, by the same bounds inside."""
        group = self.problem.group
        own = replace(group, members=(group.members[position],), atoms=(group.atoms[position],))
        problem = replace(self.problem, group=own)
        rows = self.rows[position : position + 1]
        return Bounder(problem, self.known, self.near, self.cuts, rows, dict(self.columns))

    def sharpened(
        self, parts: Parts, gaps: Tensor, count: int, deadline: Deadline
    ) -> tuple[Bounder, Steps]:
        """By bounds inside that hold on one part where all margins of the only case are 0 or less,
        and how they were come by.

        `gaps`: of the entries, (entries,); the `count` with the largest are sharpened. Raises
        Contradiction where nothing is left of the part; OutOfTime.
        """
        assumption = Assumption(self.rows[0], self.problem.slack)
        chosen = gaps.topk(min(count, gaps.numel())).indices
        wanted = Wanted(chosen, self.stands or {})
        found = sharpened(self.known, self.near, parts, assumption, wanted, deadline)
        known = replace(self.known, bounds=found.bounds)
        near = known.nearly(self.near.compiled, self.near.region)
        columns = dict(self.columns)
        cuts = Cuts.of(known)
        own = Bounder(self.problem, known, near, cuts, self.rows, columns, stands=found.stands)
        return own, found.steps

    def constrained(self, parts: Parts) -> Parts:
        """Parts with the bounds of all entries as constraints, on top of their own."""
        numbers = torch.arange(self.known.entries.count, device=parts.numbers.device)
        ends = self.known.entries.pick(self.known.bounds)
        lower, upper = (e.repeat(len(parts.lower), 1) for e in (ends.lower, ends.upper))
        at = parts.numbers
        lower[:, at] = torch.maximum(lower[:, at], parts.lower)
        upper[:, at] = torch.maximum(torch.minimum(upper[:, at], parts.upper), lower[:, at])
        given = torch.ones_like(lower, dtype=torch.bool)
        return Parts(numbers, lower, upper, given, given)

    def undecided(self, part: Parts) -> Tensor:
        """Entries that some op could use tighter on the only part, the widest first: their numbers.

        Among them are those that no gap tells of, because the margins do without them: bounds
        inside that hold only for witnesses may still depend on them.
        """
        narrower = narrowed(self.known, part, split_entries(self.known, part))
        bounds = {**self.known.bounds, **narrower}
        entries, found = self.known.entries, list[Tensor]()
        for index, node in enumerate(entries.nodes):
            is_open = unstable_in(self.known.compiled, node, bounds[node]).flatten(1)[0]
            own = is_open[entries.columns[index]].nonzero()[:, 0]
            found.append(own + entries.offsets[index])
        numbers = torch.cat(found)
        ends = self.constrained(part)
        width = (ends.upper - ends.lower)[0, numbers]
        return numbers[width.argsort(descending=True)[:UNDECIDED]]

    @property
    def is_sharpened(self) -> bool:
        """Whether bounds inside hold only where margins are 0 or less."""
        return self.stands is not None

    @property
    def affordable(self) -> int:
        """How many entries are sharpened at once, at most."""
        return max(1, SHARPENING_WORK // (2 * work(self.known.compiled.graph)))

    @property
    def batch_size(self) -> int:
        """Parts that are bounded at once."""
        graph = self.known.compiled.graph
        values = sum(graph.size(node) for node in graph.order) * self.rows.shape[1]
        return max(2, min(MAX_BATCH, MAX_VALUES // values))

    def glance(self, batch: Batch) -> Tensor:
        """About the best margin's bound on parts, without ascent: (batch,)."""
        found: list[Tensor] = []
        for index in torch.arange(len(batch), device=batch.cases.device).split(self.batch_size):
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
        row = torch.arange(multipliers.shape[1], device=index.device)
        at = torch.meshgrid(index, row, split, indexing="ij")
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
        found = bounds.rows(self.rows[batch.cases], start, batch.multipliers, with_gaps=True)
        assert found.gaps is not None
        margins = MarginBounds(found.linear, found.proven)
        atoms = tuple(Atom(i, strict=False) for i in range(self.rows.shape[1]))
        case = CaseGroup(group.inputs, (0,), group.rows[:0], (atoms,))
        least = case_bounds(case, margins, bounds.region, self.problem.slack).least[:, 0]
        alone, row = (found.proven - self.problem.slack).max(1)
        at = torch.arange(len(batch), device=row.device)
        linear = LinearLower(
            found.linear.coefficients[at, row],
            found.linear.constant[at, row],
            found.linear.lower[at, row],
        )
        return Proven(least, alone, row, linear, found.gaps.of_parts, found.places)

    def _climbed(self, batch: Batch, steps: int) -> PartRows:
        bounds = PartBounds(self.near, batch.parts)
        start = batch.start(self.columns)
        slack = self.problem.slack
        return bounds.rows(self.rows[batch.cases], start, batch.multipliers, steps, slack)

    def _all_places(self, batch: Batch, found: Mapping[NodeId, Places]) -> dict[NodeId, Tensor]:
        """Places of all entries that had any on the whole set; those that moved where they are."""
        places = dict(batch.places)
        for node, own in found.items():
            values = own.rounded.values
            if node not in self.columns:
                self.columns[node] = own.columns
            columns = self.columns[node]
            if columns is None or own.columns is None or torch.equal(columns, own.columns):
                places[node] = values
            else:
                # On a part whose bounds meet at the corner of a ReLU, or cross since it is empty,
                # what is closed on the whole set may have a choice: it keeps where it starts.
                kept = torch.isin(own.columns, columns)
                at = torch.searchsorted(columns, own.columns[kept])
                places[node] = places[node].index_copy(2, at, values[..., kept])
        return places


def _case_rows(compiled: CompiledGraph, group: CaseGroup) -> Tensor:
    longest = max(len(atoms) for atoms in group.atoms)
    picked = [[a.index for a in atoms] for atoms in group.atoms]
    rows = [p + p[-1:] * (longest - len(p)) for p in picked]
    padded = torch.tensor(rows, device=compiled.like.device)
    shape = compiled.graph.shapes[compiled.graph.output]
    return margin_rows(compiled, group)[0][padded].reshape(*padded.shape, *shape)


def region_of(bounder: Bounder, count: int) -> InputRegion:
    """The whole set, once for each of so many parts."""
    return bounder.known.region.take(bounder.rows.new_zeros(count, dtype=torch.long))
