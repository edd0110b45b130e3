"""Parts of a region, on which entries of inner values lie in given intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph.graph import NodeId


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Entries of inner values that may be split, numbered through.

    Those of `nodes[i]` at `columns[i]` (row-major) have the numbers from `offsets[i]` on.
    """

    nodes: tuple[NodeId, ...]
    columns: tuple[Tensor, ...]
    offsets: tuple[int, ...]
    count: int

    @classmethod
    def of(cls, columns: Mapping[NodeId, Tensor]) -> Entries:
        """Numbered in the order given."""
        offsets: list[int] = []
        count = 0
        for part in columns.values():
            offsets.append(count)
            count += part.numel()
        return cls(tuple(columns), tuple(columns.values()), tuple(offsets), count)

    def pick(self, bounds: Mapping[NodeId, Interval]) -> Interval:
        """The bounds of all entries: (batch or 1, entries)."""
        lower = [bounds[n].lower.flatten(1)[:, c] for n, c in self._parts()]
        upper = [bounds[n].upper.flatten(1)[:, c] for n, c in self._parts()]
        return Interval(torch.cat(lower, 1), torch.cat(upper, 1))

    def _parts(self) -> Sequence[tuple[NodeId, Tensor]]:
        return list(zip(self.nodes, self.columns, strict=True))

    def here(self, numbers: Tensor, index: int) -> Tensor:
        """Which of some numbers belong to node `index`: a mask."""
        start = self.offsets[index]
        return (numbers >= start) & (numbers < start + self.columns[index].numel())

    def positions(self, numbers: Tensor, index: int) -> Tensor:
        """Where entries of node `index` with these numbers lie in its value, row-major."""
        return self.columns[index][numbers - self.offsets[index]]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """A batch of parts of a region: the entries `numbers` (split,) lie between `lower` and `upper`,
    (batch, split). `below`, `above`: where these are constraints, and not what is known anyway.
    """

    numbers: Tensor
    lower: Tensor
    upper: Tensor
    below: Tensor
    above: Tensor

    def take(self, index: Tensor) -> Parts:
        """Those at `index` (positions or a mask)."""
        return Parts(
            self.numbers,
            self.lower[index],
            self.upper[index],
            self.below[index],
            self.above[index],
        )

    def narrow(self, multipliers: Tensor) -> Tensor:
        """Multipliers (batch, rows, split) made sound: 0 or more where `z >= lower` alone is known,
        0 or less where `z <= upper` is, 0 where neither.
        """
        least = torch.where(self.above, -torch.inf, 0.0)[:, None]
        most = torch.where(self.below, torch.inf, 0.0)[:, None]
        return multipliers.nan_to_num(nan=0.0).clamp(least.to(multipliers), most.to(multipliers))


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of the whole region: bounds of every node, for a region of batch 1, and which
    entries may be split."""

    compiled: CompiledGraph
    region: InputRegion
    bounds: Mapping[NodeId, Interval]
    entries: Entries

    def nearly(self, compiled: CompiledGraph, region: InputRegion) -> Known:
        """The same for a graph and a region in another dtype, for climbing alone: bounds are
        rounded to the nearest, and what rests on them proves nothing.
        """
        like = compiled.like
        bounds = {n: Interval(b.lower.to(like), b.upper.to(like)) for n, b in self.bounds.items()}
        return Known(compiled, region, bounds, self.entries)


@dataclass(frozen=True, slots=True, eq=False)
class Constraints:
    """`coefficients . x + constant <= most` all over a part: (constraints, inputs), and twice
    (constraints,).
    """

    coefficients: Tensor
    constant: Tensor
    most: Tensor
