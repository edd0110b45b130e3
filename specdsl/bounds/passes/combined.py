"""Bounds of many sums of few entries: from linear functions of those entries.

A softmax compares every score with every other one: of n scores that is n - 1 differences each, all
of which matter, and walking a row back for each of them takes n times what the scores take. Linear
functions below and above the scores, at the input, are added up instead. What scores have in common
at the input still cancels; what they have in common at nonlinear ops on the way does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.backend import Deadline
from specdsl.bounds.compiled import CompiledGraph, picks_entries
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes.crown import (
    MAX_COEFFICIENTS,
    LinearLower,
    Relaxations,
    linear_lower,
    walk_below,
)
from specdsl.bounds.regions.region import InputRegion
from specdsl.bounds.rows.backward import unit_rows
from specdsl.graph import ops
from specdsl.graph.graph import NodeId

# Rows that walk back for entries of a sum, for each row that its terms would take, from which on
# these are taken; and how many rows that must save. Below, bounds may as well be tight: of the
# five tokens of vit's smaller networks 300 differences take a second.
WORTHWHILE, MANY = 4, 2**11
# Coefficients at the input that are kept: 256 MiB of float64.
MAX_KEPT = 2**25


@dataclass(frozen=True, slots=True, eq=False)
class Combination:
    """A value whose entry e is the sum of `coefficients[k]` times entry `positions[k][e]` of
    `base` (row-major)."""

    base: NodeId
    coefficients: tuple[float, ...]
    positions: tuple[Tensor, ...]


def combination_of(compiled: CompiledGraph, node: NodeId) -> Combination | None:
    """How a value adds up entries that are picked from one node; None where it does not."""
    graph = compiled.graph
    op = graph.op(node)
    if not isinstance(op, ops.Sum):
        return None
    found = [_picked(compiled, operand) for operand in graph.operands(node)]
    if len({base for base, _ in found}) != 1:
        return None
    return Combination(found[0][0], tuple(op.coefficients), tuple(at for _, at in found))


def _picked(compiled: CompiledGraph, node: NodeId) -> tuple[NodeId, Tensor]:
    """Where the entries of a node come from, and their positions there."""
    graph, pickers = compiled.graph, list[NodeId]()
    while picks_entries(graph.op(node)):
        pickers.append(node)
        (node,) = graph.operands(node)
    # Kernels move floating-point numbers; these are whole and small enough to come through.
    device = compiled.like.device
    at = torch.arange(graph.size(node), dtype=torch.float64, device=device)
    at = at.reshape(1, *graph.shapes[node])
    for picker in reversed(pickers):
        at = compiled.kernels[picker].apply(0, at)
    return node, at.flatten().long()


def is_worthwhile(compiled: CompiledGraph, found: Combination, wanted: Tensor, batch: int) -> bool:
    """Whether bounding entries at `wanted` this way saves many rows and fits into memory."""
    terms = compiled.graph.size(found.base)
    inputs = compiled.graph.size(compiled.graph.input)
    saved = wanted.numel() - terms
    fits = 2 * batch * terms * inputs <= MAX_KEPT
    return fits and saved >= MANY and wanted.numel() >= WORTHWHILE * terms


def combined_ends(
    compiled: CompiledGraph,
    found: Combination,
    wanted: Tensor,
    region: InputRegion,
    relaxations: Relaxations,
    deadline: Deadline,
) -> Interval:
    """Bounds of the entries at `wanted` (row-major) of a combination: (batch, entries)."""
    positions = torch.stack([at[wanted] for at in found.positions])
    used, places = positions.unique(return_inverse=True)
    below = _functions(compiled, found.base, used, 1.0, region, relaxations, deadline)
    above = _functions(compiled, found.base, used, -1.0, region, relaxations, deadline)
    rounding = _rounding(compiled, region, below), _rounding(compiled, region, above)
    inputs = below.coefficients.shape[2]
    ends: list[list[Tensor]] = [[], []]
    for part in places.split(max(1, MAX_COEFFICIENTS // (region.batch * inputs)), dim=1):
        deadline.check()
        for side, sign in enumerate((1.0, -1.0)):
            rows, constant = 0.0, 0.0
            for factor, at in zip(found.coefficients, part, strict=True):
                upward = sign * factor > 0
                taken = below if upward else above
                rows = rows + abs(factor) * taken.coefficients[:, at]
                paid = rounding[0 if upward else 1][:, at]
                constant = constant + abs(factor) * (taken.constant[:, at] - paid)
            assert isinstance(rows, Tensor)
            ends[side].append(sign * (region.minimum(rows) + constant))
    lower, upper = (torch.cat(side, 1) for side in ends)
    # Ends that cross by rounding alone are swapped.
    return Interval(torch.minimum(lower, upper), torch.maximum(lower, upper))


def _functions(  # noqa: PLR0913, PLR0917 - what a walk is, for which entries, until when
    compiled: CompiledGraph,
    node: NodeId,
    entries: Tensor,
    sign: float,
    region: InputRegion,
    relaxations: Relaxations,
    deadline: Deadline,
) -> LinearLower:
    """Linear functions below `sign` times some entries of a node, a few rows at a time."""
    size = max(compiled.graph.size(n) for n in compiled.graph.order)
    found: list[LinearLower] = []
    for part in entries.split(max(1, MAX_COEFFICIENTS // (region.batch * size))):
        deadline.check()
        signs = compiled.like.new_full((part.numel(),), sign)
        start, rows = unit_rows(compiled, node, part, signs)
        found.append(linear_lower(walk_below(compiled, start, rows, region, relaxations), region))
    return _joined(found)


def _joined(found: Sequence[LinearLower]) -> LinearLower:
    return LinearLower(
        torch.cat([f.coefficients for f in found], 1),
        torch.cat([f.constant for f in found], 1),
        torch.cat([f.lower for f in found], 1),
    )


def _rounding(compiled: CompiledGraph, region: InputRegion, found: LinearLower) -> Tensor:
    """What adding rows up may be off by, for each of them: (batch, rows). 0 where rounding is
    covered at the end.
    """
    if compiled.outward is None:
        return torch.zeros_like(found.constant)
    size = (found.coefficients.abs() @ region.farthest[:, :, None])[..., 0]
    size = size + found.constant.abs()
    return (compiled.outward.part * size).masked_fill(~size.isfinite(), 0.0)
