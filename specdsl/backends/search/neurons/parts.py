"""Open parts of an input set: where some inner values lie in given intervals.

A part is stored with what bounded it, as numbers of its own splits alone, so that many thousands of
them fit into memory; a batch of parts lies side by side in tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from specdsl.backends.search.neurons.slopes import as_array, slope_records
from specdsl.bounds.interval import Interval
from specdsl.bounds.kinds.choice import Places
from specdsl.bounds.parts.known import Known, Parts
from specdsl.certificates.part_records import PartRecord, RowRecord
from specdsl.graph.graph import NodeId


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part, open for one case.

    `bound`: of the margin that decides the case. `numbers`, `lower`, `upper`, `below`, `above`:
    (splits,), as in `Parts`. `multipliers`: (rows, splits). `places`: (rows, columns) by node.
    `candidates`: entries to split next, the most promising first, by each order of `branching`.
    `record`: of what becomes of it.
    """

    case: int
    bound: float
    numbers: Tensor
    lower: Tensor
    upper: Tensor
    below: Tensor
    above: Tensor
    multipliers: Tensor
    places: Mapping[NodeId, Tensor]
    candidates: tuple[Tensor, ...]
    record: PartRecord


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Parts side by side. `cases`: (batch,); `bounds`: (batch,), those of the parts they come from.

    `multipliers`: (batch, rows, split); `places` (batch, rows, columns) by node.
    """

    cases: Tensor
    bounds: Tensor
    parts: Parts
    multipliers: Tensor
    places: Mapping[NodeId, Tensor]

    def __len__(self) -> int:
        return len(self.cases)

    def take(self, index: Tensor) -> Batch:
        """Those at `index` (positions, which may repeat, or a mask)."""
        return Batch(
            self.cases[index],
            self.bounds[index],
            self.parts.take(index),
            self.multipliers[index],
            {node: values[index] for node, values in self.places.items()},
        )

    def split(self, numbers: Tensor, points: Tensor, upper_half: Tensor) -> Batch:
        """Every part cut at entry `numbers` (batch,), at `points`: what lies above where
        `upper_half` says so, else below. The entries must be among those of the batch.
        """
        parts = self.parts
        at = torch.searchsorted(parts.numbers, numbers)
        row = torch.arange(len(self), device=at.device)
        lower, upper = parts.lower.clone(), parts.upper.clone()
        below, above = parts.below.clone(), parts.above.clone()
        lower[row, at] = torch.where(upper_half, points, lower[row, at])
        upper[row, at] = torch.where(upper_half, upper[row, at], points)
        below[row, at] |= upper_half
        above[row, at] |= ~upper_half
        cut = Parts(parts.numbers, lower, upper, below, above)
        return Batch(self.cases, self.bounds, cut, self.multipliers, self.places)

    def begun_anew(self) -> Batch:
        """The same parts without multipliers or places."""
        return replace(self, multipliers=torch.zeros_like(self.multipliers), places={})

    @property
    def is_split(self) -> Tensor:
        """Which entries each part splits: (batch, split)."""
        return self.parts.below | self.parts.above

    def compact(self) -> Batch:
        """Without entries that no part splits."""
        parts = self.parts
        used = self.is_split.any(0).nonzero()[:, 0]
        narrowed = Parts(
            parts.numbers[used],
            parts.lower[:, used],
            parts.upper[:, used],
            parts.below[:, used],
            parts.above[:, used],
        )
        return Batch(self.cases, self.bounds, narrowed, self.multipliers[..., used], self.places)

    def start(self, columns: Mapping[NodeId, Tensor | None]) -> dict[NodeId, Places]:
        """Where ascent begins."""
        return {node: Places(values, columns[node]) for node, values in self.places.items()}

    def stored(
        self, index: int, bound: float, candidates: tuple[Tensor, ...], record: PartRecord
    ) -> Part:
        """One part of the batch by itself."""
        parts = self.parts
        own = self.is_split[index].nonzero()[:, 0]
        return Part(
            int(self.cases[index]),
            bound,
            parts.numbers[own],
            parts.lower[index, own],
            parts.upper[index, own],
            parts.below[index, own],
            parts.above[index, own],
            self.multipliers[index][:, own].clone(),
            {node: values[index].clone() for node, values in self.places.items()},
            candidates,
            record,
        )

    def row_record(
        self, index: int, row: int, known: Known, places: Mapping[NodeId, Places]
    ) -> RowRecord:
        """How one row of one part goes back, given where those of all stand."""
        own = self.is_split[index].nonzero()[:, 0]
        multipliers = self.multipliers[index][row, own][None].double()
        alone = {n: p.take(own.new_tensor([index])) for n, p in places.items()}
        slopes = {n: s.only(row) for n, s in slope_records(known, alone).items()}
        return RowRecord(slopes, as_array(self.parts.numbers[own]), as_array(multipliers))


def whole(cases: int, rows: int, like: Tensor) -> Batch:
    """The whole set, once for every case, with so many rows each."""
    none = like.new_zeros(cases, 0)
    nothing = torch.zeros(0, dtype=torch.long, device=like.device)
    return Batch(
        torch.arange(cases, device=like.device),
        like.new_full((cases,), -torch.inf),
        Parts(nothing, none, none, none.bool(), none.bool()),
        torch.zeros(cases, rows, 0, device=like.device),
        {},
    )


def gathered(chosen: Sequence[Part], entries: Interval) -> Batch:
    """Parts side by side, with room for all their candidates.

    `entries`: what is known of every entry on the whole set, (1, entries).
    """
    wanted = torch.cat([t for part in chosen for t in (part.numbers, *part.candidates)])
    numbers = wanted.unique()
    batch, split = len(chosen), len(numbers)
    lower, upper = (e[:, numbers].repeat(batch, 1) for e in (entries.lower, entries.upper))
    below, above = (torch.zeros_like(lower, dtype=torch.bool) for _ in range(2))
    rows = chosen[0].multipliers.shape[0]
    multipliers = chosen[0].multipliers.new_zeros(batch, rows, split)
    for i, part in enumerate(chosen):
        at = torch.searchsorted(numbers, part.numbers)
        lower[i, at], upper[i, at] = part.lower, part.upper
        below[i, at], above[i, at] = part.below, part.above
        multipliers[i][:, at] = part.multipliers
    nodes = chosen[0].places
    return Batch(
        numbers.new_tensor([part.case for part in chosen]),
        lower.new_tensor([part.bound for part in chosen]),
        Parts(numbers, lower, upper, below, above),
        multipliers,
        {node: torch.stack([part.places[node] for part in chosen]) for node in nodes},
    )
