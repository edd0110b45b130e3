"""CROWN that stays affordable on networks of any size.

Where few inputs vary, forward linear bounds come first, so that fewer rows walk back: they cost as
much as a row for each input that varies, whatever the number of neurons. A generator with five
inputs has tens of thousands of neurons that intervals leave unstable, and a few hundred that
forward bounds do. Where a layer has more unstable entries than can be walked back in minutes, it
keeps the bounds it has.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from specdsl.backend import FOREVER, Deadline
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes.crown import (
    Propagated,
    Relaxations,
    entry_ends,
    propagate,
    unstable_in,
)
from specdsl.bounds.passes.forward_linear import forward_bounds, varying_inputs
from specdsl.bounds.regions.region import InputRegion
from specdsl.bounds.rows.rows import entries
from specdsl.graph.graph import NodeId

# Unstable entries for each input that varies, from which on a forward pass pays: it is a row above
# and one below for each of them, through the whole graph.
WORTHWHILE = 8
# Coefficients of a forward pass on one value: 128 MiB of float64.
MAX_COEFFICIENTS = 2**24
# Unstable entries of one layer that rows are walked back for. A row takes a millisecond behind ten
# convolutions.
MAX_UNSTABLE = 2**15


def crown_pass(
    compiled: CompiledGraph, region: InputRegion, deadline: Deadline = FOREVER
) -> Propagated:
    """Bounds as `propagate` gives them, intersected with forward ones where these are cheap, and
    without backward ones for layers where these are not.

    Raises as `propagate` does.
    """

    def ends(
        node: NodeId,
        wanted: Tensor,
        bounds: Mapping[NodeId, Interval],
        relaxations: Relaxations,
    ) -> Interval:
        if wanted.numel() > MAX_UNSTABLE:
            found = bounds[node]
            return Interval(entries(found.lower, 1)[:, wanted], entries(found.upper, 1)[:, wanted])
        return entry_ends(compiled, node, wanted, region, relaxations, deadline)

    known = _forward(compiled, region)
    return propagate(compiled, region, known=known, ends=ends, deadline=deadline)


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
