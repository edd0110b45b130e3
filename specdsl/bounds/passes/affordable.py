"""CROWN that stays affordable on networks of any size.

Where few inputs vary, forward linear bounds come first, so that fewer rows walk back: they cost as
much as a row for each input that varies, whatever the number of neurons. A generator with five
inputs has tens of thousands of neurons that intervals leave unstable, and a few thousand that
forward bounds do. Entries that the output does not depend on keep the bounds they have. So does a
layer with more unstable entries than can be walked back in minutes, and the result names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from specdsl.backend import FOREVER, Deadline
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes.alpha_crown import InnerAscent
from specdsl.bounds.passes.combined import combination_of, combined_ends, is_worthwhile
from specdsl.bounds.passes.crown import (
    EntryEnds,
    Propagated,
    Relaxations,
    entry_ends,
    propagate,
    unstable_in,
)
from specdsl.bounds.passes.forward_linear import forward_bounds, varying_inputs
from specdsl.bounds.passes.reached import reached_entries
from specdsl.bounds.regions.region import InputRegion
from specdsl.bounds.rows.rows import entries
from specdsl.graph import ops
from specdsl.graph.graph import NodeId

# Unstable entries for each input that varies, from which on a forward pass pays: it is a row above
# and one below for each of them, through the whole graph.
WORTHWHILE = 8
# Coefficients of a forward pass on one value: 128 MiB of float64.
MAX_COEFFICIENTS = 2**24
# Unstable entries of one layer that rows are walked back for. Measured on a busy core: 44,000 rows
# of a second convolution (carvana) took 26 s, and rows of deeper layers walk further.
MAX_UNSTABLE = 2**15
# So many layers are named one by one.
NAMED_LAYERS = 3


def crown_pass(
    compiled: CompiledGraph,
    region: InputRegion,
    deadline: Deadline = FOREVER,
    *,
    everywhere: bool = False,
) -> Propagated:
    """Bounds as `propagate` gives them, intersected with forward ones where these are cheap, and
    without backward ones for layers where these are not: those are `coarse` in the result.

    `everywhere`: backward bounds also for entries that the output does not depend on. Raises as
    `propagate` does.
    """

    def ends(
        node: NodeId,
        wanted: Tensor,
        bounds: Mapping[NodeId, Interval],
        relaxations: Relaxations,
    ) -> Interval:
        return entry_ends(compiled, node, wanted, region, relaxations, deadline)

    return _affordable(compiled, region, ends, deadline, everywhere=everywhere)


def alpha_pass(
    compiled: CompiledGraph,
    region: InputRegion,
    until: Deadline = FOREVER,
    deadline: Deadline = FOREVER,
    known: Mapping[NodeId, Interval] | None = None,
) -> Propagated:
    """The same with rows raised as alpha-CROWN raises them, as long as `until` has not passed; the
    layers that were left with CROWN's bounds are `unraised` in the result. `known`: what holds on
    the region already, in place of forward bounds.
    """
    inner = InnerAscent(compiled, region, until=until, deadline=deadline)
    found = _affordable(compiled, region, inner.ends, deadline, known)
    return replace(found, unraised=inner.unraised, raised=tuple(inner.raised))


def _affordable(
    compiled: CompiledGraph,
    region: InputRegion,
    ends: EntryEnds,
    deadline: Deadline,
    known: Mapping[NodeId, Interval] | None = None,
    *,
    everywhere: bool = False,
) -> Propagated:
    coarse: dict[NodeId, int] = {}

    def if_few(
        node: NodeId,
        wanted: Tensor,
        bounds: Mapping[NodeId, Interval],
        relaxations: Relaxations,
    ) -> Interval:
        if wanted.numel() > MAX_UNSTABLE:
            coarse[node] = wanted.numel()
            return _known_ends(bounds[node], wanted)
        sums = combination_of(compiled, node)
        if sums is not None and is_worthwhile(compiled, sums, wanted, region.batch):
            return combined_ends(compiled, sums, wanted, region, relaxations, deadline)
        return ends(node, wanted, bounds, relaxations)

    known = _forward(compiled, region) if known is None else known
    wanted_ends = _unless_settled(compiled, if_few)
    if not everywhere:
        wanted_ends = _if_reached(compiled, wanted_ends)
    found = propagate(compiled, region, known=known, ends=wanted_ends, deadline=deadline)
    return replace(found, coarse=coarse)


def _if_reached(compiled: CompiledGraph, other_ends: EntryEnds) -> EntryEnds:
    """The ends that are known where the output does not depend on an entry, the others for the
    rest.
    """
    # Tighter bounds may tell that a logarithm has a value, even one that nothing reads.
    if compiled.outward is not None:
        return other_ends
    reached = reached_entries(compiled)

    def if_reached(
        node: NodeId,
        wanted: Tensor,
        bounds: Mapping[NodeId, Interval],
        relaxations: Relaxations,
    ) -> Interval:
        left = reached[node].flatten()[wanted] if node in reached else wanted < 0
        return _ends_of_some(other_ends, node, wanted, left, bounds, relaxations)

    return if_reached


def _unless_settled(compiled: CompiledGraph, other_ends: EntryEnds) -> EntryEnds:
    """The ends that intervals give where rows gain nothing, the others for the rest."""

    def unless_settled(
        node: NodeId,
        wanted: Tensor,
        bounds: Mapping[NodeId, Interval],
        relaxations: Relaxations,
    ) -> Interval:
        left = ~_settled(compiled, node, bounds)[wanted]
        return _ends_of_some(other_ends, node, wanted, left, bounds, relaxations)

    return unless_settled


def _ends_of_some(
    other_ends: EntryEnds,
    node: NodeId,
    wanted: Tensor,
    left: Tensor,
    bounds: Mapping[NodeId, Interval],
    relaxations: Relaxations,
) -> Interval:
    """Ends of the entries `left` (a mask of those wanted) by `other_ends`, the known ones else."""
    if bool(left.all()):
        return other_ends(node, wanted, bounds, relaxations)
    ends = _known_ends(bounds[node], wanted)
    if not bool(left.any()):
        return ends
    other = left.nonzero()[:, 0]
    found = other_ends(node, wanted[other], bounds, relaxations)
    lower = ends.lower.index_copy(1, other, found.lower)
    return Interval(lower, ends.upper.index_copy(1, other, found.upper))


def _known_ends(found: Interval, wanted: Tensor) -> Interval:
    return Interval(entries(found.lower, 1)[:, wanted], entries(found.upper, 1)[:, wanted])


def _settled(compiled: CompiledGraph, node: NodeId, bounds: Mapping[NodeId, Interval]) -> Tensor:
    """Which entries of a value rows cannot bound any better than intervals do: (entries,).

    Those of a smooth op whose operand was bounded by rows itself. A line below the op is nowhere
    above it, and rows put the operand at an end of its interval at best.
    """
    op = compiled.graph.op(node)
    none = compiled.like.new_zeros(compiled.graph.size(node), dtype=torch.bool)
    if not isinstance(op, ops.Smooth):
        return none
    (operand,) = compiled.graph.operands(node)
    if operand not in compiled.sources:
        return none
    return entries(compiled.rules[node].unstable(bounds[operand]), 1).all(0)


def describe_coarse(coarse: Mapping[NodeId, int]) -> str:
    """A sentence part that names the layers which kept looser bounds; there is at least one."""
    largest = sorted(coarse.items(), key=lambda item: -item[1])
    named = ", ".join(f"`{node}` ({count:,})" for node, count in largest[:NAMED_LAYERS])
    if len(largest) > NAMED_LAYERS:
        named += f" and {len(largest) - NAMED_LAYERS} more"
    have = "1 layer has" if len(largest) == 1 else f"{len(largest)} layers have"
    return f"{have} too many unstable neurons for backward bounds: {named}"


def count_coarse(coarse: Mapping[NodeId, int]) -> dict[str, float]:
    """The same as statistics of an answer; nothing where no layer kept looser bounds."""
    if not coarse:
        return {}
    return {"coarse_layers": float(len(coarse)), "coarse_neurons": float(sum(coarse.values()))}


def _forward(compiled: CompiledGraph, region: InputRegion) -> Mapping[NodeId, Interval] | None:
    # Whether ops have values is asked with the tightest bounds, those of `propagate`.
    if compiled.outward is not None:
        return None
    varying = varying_inputs(region).numel()
    widest = max(compiled.graph.size(node) for node in compiled.graph.order)
    if varying * widest * region.batch > MAX_COEFFICIENTS:
        return None
    intervals = propagate(compiled, region, tighten=False).bounds
    unstable = sum(
        int(unstable_in(compiled, node, intervals[node]).sum()) for node in compiled.sources
    )
    if unstable <= WORTHWHILE * varying * region.batch:
        return None
    return forward_bounds(compiled, region).bounds
