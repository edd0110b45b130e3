"""CROWN where few inputs vary: forward linear bounds first, so that fewer rows walk back.

A forward pass costs as much as a row for each input that varies, whatever the number of neurons. A
generator with five inputs has tens of thousands of neurons that intervals leave unstable, and a few
hundred that forward bounds do.
"""

from __future__ import annotations

from collections.abc import Mapping

from specdsl.backend import FOREVER, Deadline
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes.crown import Propagated, propagate, unstable_in
from specdsl.bounds.passes.forward_linear import forward_bounds, varying_inputs
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph.graph import NodeId

# Unstable entries for each input that varies, from which on a forward pass pays: it is a row above
# and one below for each of them, through the whole graph.
WORTHWHILE = 8
# Coefficients of a forward pass on one value: 128 MiB of float64.
MAX_COEFFICIENTS = 2**24


def crown_pass(
    compiled: CompiledGraph, region: InputRegion, deadline: Deadline = FOREVER
) -> Propagated:
    """Bounds as `propagate` gives them, intersected with forward ones where these are cheap.

    Raises as `propagate` does.
    """
    return propagate(compiled, region, known=_forward(compiled, region), deadline=deadline)


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
