"""Parts of a region, on which entries of inner values lie in given intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph, picks_entries
from specdsl.bounds.interval import Interval
from specdsl.bounds.outward import Outward, affine_size, magnitude
from specdsl.bounds.passes.crown import unstable_in
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
        """The bounds of all entries, of which there is at least one: (batch or 1, entries)."""
        lower = [bounds[n].lower.flatten(1)[:, c] for n, c in self._parts()]
        upper = [bounds[n].upper.flatten(1)[:, c] for n, c in self._parts()]
        batch = max(len(ends) for ends in lower)
        low, high = (torch.cat([e.expand(batch, -1) for e in ends], 1) for ends in (lower, upper))
        return Interval(low, high)

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
class Reading:
    """Which entries a nonlinear op reads through operand `operand`, itself or picked by other ops.

    `numbers`: those of the entries, (operand size,), -1 where none can be split.
    """

    operand: int
    numbers: Tensor


Readings = Mapping[NodeId, tuple[Reading, ...]]


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
    """What is known of the whole region: bounds of every node, for a region of batch 1, which
    entries may be split, and which nonlinear ops read them.

    `rounding`: how the graph is rounded outward, None where it is not; `sizes`: then, of every node
    but the input and those that magnify rounding without limit, the magnitudes that a backward
    step through it adds up, on the whole region.
    """

    compiled: CompiledGraph
    region: InputRegion
    bounds: Mapping[NodeId, Interval]
    entries: Entries
    readings: Readings
    rounding: Outward | None
    sizes: Mapping[NodeId, Tensor]

    @classmethod
    def of(
        cls, compiled: CompiledGraph, region: InputRegion, bounds: Mapping[NodeId, Interval]
    ) -> Known:
        """With all entries that may be split."""
        entries = Entries.of(splittable(compiled, bounds))
        rounding = compiled.outward
        sizes = {} if rounding is None else _sizes(compiled, bounds)
        read = readings(compiled, entries)
        return cls(compiled, region, bounds, entries, read, rounding, sizes)

    def nearly(self, compiled: CompiledGraph, region: InputRegion) -> Known:
        """The same for a graph and a region in another dtype, for climbing alone: bounds are
        rounded to the nearest, nothing is rounded outward, and what rests on them proves nothing.
        """
        like = compiled.like
        bounds = {n: Interval(b.lower.to(like), b.upper.to(like)) for n, b in self.bounds.items()}
        compiled = replace(compiled, outward=None)
        return replace(self, compiled=compiled, region=region, bounds=bounds, sizes={})


@dataclass(frozen=True, slots=True, eq=False)
class Constraints:
    """`coefficients . x + constant <= most` all over a part: (constraints, inputs), and twice
    (constraints,).
    """

    coefficients: Tensor
    constant: Tensor
    most: Tensor


def splittable(compiled: CompiledGraph, bounds: Mapping[NodeId, Interval]) -> dict[NodeId, Tensor]:
    """Entries inside that some nonlinear op reads and could use tighter, by node (row-major).

    What an op reads through ops that only pick entries is split where it comes from, once for all
    that read it.
    """
    found: dict[NodeId, Tensor] = {}
    for node in compiled.graph.order:
        if node == compiled.graph.input or node not in compiled.sources:
            continue
        columns = unstable_in(compiled, node, bounds[node]).flatten(1)[0].nonzero()[:, 0]
        if columns.numel():
            found[node] = columns
    return found


def readings(compiled: CompiledGraph, entries: Entries) -> Readings:
    """Which of the entries every nonlinear op reads; ops that read none are left out."""
    found: dict[NodeId, tuple[Reading, ...]] = {}
    for node in compiled.rules:
        own = [
            Reading(i, numbers)
            for i, operand in enumerate(compiled.graph.operands(node))
            if (numbers := _numbers(compiled, entries, operand)) is not None
        ]
        if own:
            found[node] = tuple(own)
    return found


def _numbers(compiled: CompiledGraph, entries: Entries, node: NodeId) -> Tensor | None:
    """The numbers of the entries that a value consists of; None where none can be split."""
    graph, pickers = compiled.graph, list[NodeId]()
    while node not in entries.nodes and picks_entries(graph.op(node)):
        pickers.append(node)
        (node,) = graph.operands(node)
    if node not in entries.nodes:
        return None
    index = entries.nodes.index(node)
    columns, start = entries.columns[index], entries.offsets[index]
    # Kernels move floating-point numbers; these are whole and small enough to come through.
    numbers = compiled.like.new_full((1, graph.size(node)), -1.0, dtype=torch.float64)
    numbers[0, columns] = torch.arange(
        start, start + columns.numel(), dtype=torch.float64, device=columns.device
    )
    value = numbers.reshape(1, *graph.shapes[node])
    for picker in reversed(pickers):
        value = compiled.kernels[picker].apply(0, value)
    return value.flatten().long()


def _sizes(compiled: CompiledGraph, bounds: Mapping[NodeId, Interval]) -> dict[NodeId, Tensor]:
    """What `Known` calls `sizes`. On a part magnitudes are no larger."""
    found: dict[NodeId, Tensor] = {}
    for node in compiled.graph.order:
        if node in compiled.constants:
            found[node] = compiled.constants[node].abs()
            continue
        operands = [magnitude(bounds[o]) for o in compiled.graph.operands(node)]
        if node in compiled.kernels:
            found[node] = affine_size(compiled.kernels[node], operands)
        elif node in compiled.rules and not compiled.rules[node].is_delicate:
            found[node] = compiled.rules[node].size(operands)
    return {n: size.masked_fill(size.isnan(), torch.inf) for n, size in found.items()}
