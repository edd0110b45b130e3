"""Intervals of the first layer over balls, each by the dual norm of its row.

The box around an l2 or l1 ball is much larger than the ball. What is a linear function of the input
alone is bounded over the ball itself, `w . x0 +- radius * |w|` in the dual norm, and intervals go
on from there.

Source: Zhu et al. 2020, arXiv:2002.09766, appendix F.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.outward import affine_size, magnitude
from specdsl.bounds.passes.crown import Propagated, Relaxations, entry_ends, propagate
from specdsl.bounds.passes.forward import interval_step
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from specdsl.graph.graph import NodeId


def interval_pass(compiled: CompiledGraph, region: InputRegion) -> Propagated:
    """Intervals of every node, the first layer's over balls as they are; relaxations on these.

    Raises as `propagate`.
    """
    return propagate(compiled, region, tighten=False, known=first_layer(compiled, region))


def first_layer(compiled: CompiledGraph, region: InputRegion) -> Mapping[NodeId, Interval]:
    """Bounds over the balls of the nodes where what is linear in the input ends.

    Empty for boxes, over which intervals of a layer are exact.
    """
    if region.balls is None:
        return {}
    linear = _linear_nodes(compiled)
    bounds: dict[NodeId, Interval] = {}
    # What a step of a delicate graph adds up.
    relaxations = Relaxations()
    for node, op, operands in compiled.graph:
        if node not in linear:
            continue
        if isinstance(op, ops.Input):
            bounds[node] = region.interval(op.extent)
            continue
        bounds[node] = interval_step(compiled, node, bounds, region.batch)
        if node in compiled.constants:
            relaxations.sizes[node] = compiled.constants[node].abs()
        else:
            sizes = [magnitude(bounds[o]) for o in operands]
            relaxations.sizes[node] = affine_size(compiled.kernels[node], sizes)
    graph = compiled.graph
    ends = [n for n in bounds if n == graph.output or not linear.issuperset(graph.readers(n))]
    return {node: _over_balls(compiled, node, region, relaxations) for node in ends}


def _linear_nodes(compiled: CompiledGraph) -> frozenset[NodeId]:
    found: set[NodeId] = set()
    for node, _, operands in compiled.graph:
        if node not in compiled.rules and found.issuperset(operands):
            found.add(node)
    return frozenset(found)


def _over_balls(
    compiled: CompiledGraph, node: NodeId, region: InputRegion, relaxations: Relaxations
) -> Interval:
    places = torch.arange(compiled.graph.size(node), device=compiled.like.device)
    ends = entry_ends(compiled, node, places, region, relaxations)
    shape = compiled.graph.shapes[node]
    return Interval(ends.lower.reshape(-1, *shape), ends.upper.reshape(-1, *shape))
