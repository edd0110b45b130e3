"""How far float64 rounding can carry a margin: the classical forward error bound.

Every method here adds up the same products in some order. Whatever the order, the error of a sum of
products is at most a small multiple of the unit roundoff times the sum of their magnitudes; pushed
through the whole graph, that sum is what the graph computes with all weights, offsets and inputs
replaced by their absolute values. Ops that magnify errors without limit are another matter: see
`bounds.outward`.

Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, chapter 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from specdsl.backend import FOREVER, Deadline, Unsupported
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.outward import affine_size, magnitude
from specdsl.bounds.passes.crown import propagate
from specdsl.bounds.passes.forward import interval_step
from specdsl.bounds.regions.region import InputRegion, input_region, outward_box
from specdsl.bounds.vanishing import require_numbers
from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId
from specdsl.query.sets import InputSet

# 1.1e-16 for each of some thousand roundings on the longest path.
ROUNDINGS = 1e-13
# What underflow takes, in a sum or from a row on its way back, is less than ROUNDINGS of FLOOR
# where all values are below LARGEST; more than that counts as endless. Of float64, and of float32,
# whose part of rounding is larger.
FLOOR, LARGEST = 2.0**-600, 2.0**300
SINGLE_FLOOR, SINGLE_LARGEST = 2.0**-80, 2.0**30
# Of all nodes of a graph together, on all boxes of a batch: 128 MiB of float64.
MAX_VALUES = 2**24


def rounding_slack(graph: Graph, inputs: InputSet, deadline: Deadline = FOREVER) -> float:
    """The most that rounding may have added to any margin over the inputs; may be infinite.

    `graph` is the semantic reference of a query, before any rewriting: merged weights hide the
    magnitudes they were computed from. 0 for delicate graphs, whose bounds are rounded outward
    where they are computed. Raises Unsupported for an op without a rule, or that may have no value;
    OutOfTime where telling takes longer than until the deadline.
    """
    compiled = compile_graph(graph)
    return float(rounding_slacks(compiled, input_region(inputs, compiled.like), deadline).amax())


def rounding_slacks(
    compiled: CompiledGraph, region: InputRegion, deadline: Deadline = FOREVER
) -> Tensor:
    """`rounding_slack` of every region of a batch, for the graph that was compiled: (batch,)."""
    if compiled.outward is not None:
        _require_values(compiled, region, deadline)
        return compiled.like.new_zeros(region.batch)
    sizes = _magnitudes(compiled, region)
    most = sizes[compiled.graph.output].flatten(1).amax(1)
    return (ROUNDINGS * most).expand(region.batch)


def common_slack(graph: Graph, sets: Sequence[InputSet]) -> float:
    """At least `rounding_slack` of every one of some sets, at about the cost of one.

    Magnitudes rise with those of the inputs, so the largest of each input serve all. Where graphs
    are delicate, values are asked for on batches of boxes. Raises as `rounding_slack`.
    """
    compiled = compile_graph(graph)
    if compiled.outward is not None:
        for region in _stacked(compiled, sets):
            _require_values(compiled, region, FOREVER)
        return 0.0
    regions = (input_region(inputs, compiled.like) for inputs in sets)
    farthest = reduce(torch.maximum, (region.farthest for region in regions))
    return float(rounding_slacks(compiled, InputRegion(Interval(-farthest, farthest))).amax())


def _stacked(compiled: CompiledGraph, sets: Sequence[InputSet]) -> Iterator[InputRegion]:
    """Batches of the boxes, and each of the other sets."""
    boxes = [inputs.box.float_bounds() for inputs in sets if not inputs.balls]
    count = max(1, MAX_VALUES // sum(compiled.graph.size(node) for node in compiled.graph.order))
    for start in range(0, len(boxes), count):
        lower, upper = zip(*boxes[start : start + count], strict=True)
        yield InputRegion(outward_box(np.stack(lower), np.stack(upper), compiled.like))
    for inputs in sets:
        if inputs.balls:
            yield input_region(inputs, compiled.like)


def _require_values(compiled: CompiledGraph, region: InputRegion, deadline: Deadline) -> None:
    """Raise Unsupported where an op may have no value, which intervals often tell already, and
    where numbers vanish.
    """
    with torch.no_grad():
        try:
            found = propagate(compiled, region, tighten=False)
        except Unsupported:
            found = propagate(compiled, region, deadline=deadline)
        require_numbers(compiled, found.bounds)


def region_slack(compiled: CompiledGraph, region: InputRegion) -> dict[NodeId, Tensor]:
    """The same for every entry of every node of a graph, in the dtype that it is compiled for.

    Shapes: (batch or 1, *node). 0 for delicate graphs. `compiled`: of the graph as it is, before
    anything was merged.
    """
    if compiled.outward is not None:
        return {n: compiled.like.new_zeros(1, *s) for n, s in compiled.graph.shapes.items()}
    part = ROUNDINGS * torch.finfo(compiled.like.dtype).eps / torch.finfo(torch.float64).eps
    return {node: part * size for node, size in _magnitudes(compiled, region).items()}


def largest_slack(graph: Graph, inputs: InputSet) -> float:
    """The most that rounding may have added to any value of any node over the inputs."""
    compiled = compile_graph(graph)
    slack = region_slack(compiled, input_region(inputs, compiled.like))
    return max(float(own.amax()) for own in slack.values())


def _magnitudes(compiled: CompiledGraph, region: InputRegion) -> dict[NodeId, Tensor]:
    """What every node's value is added up from, in magnitudes: (batch or 1, *node).

    Where factors are sums that cancel, their values are far smaller than what they are added up
    from. An error in one is multiplied by the value of the other: intervals say how large that is.
    """
    sizes: dict[NodeId, Tensor] = {}
    double = compiled.like.dtype == torch.float64
    floor, largest = (FLOOR, LARGEST) if double else (SINGLE_FLOOR, SINGLE_LARGEST)
    values = _intervals(compiled, region)
    for node, op, operands in compiled.graph:
        if isinstance(op, ops.Input):
            sizes[node] = region.farthest.reshape(-1, *op.extent)
        elif isinstance(op, ops.Constant):
            sizes[node] = compiled.constants[node].abs()
        elif node in compiled.rules:
            own = [sizes[o] for o in operands]
            reached = [magnitude(values[o]) if o in values else sizes[o] for o in operands]
            least = [r.minimum(s) for r, s in zip(reached, own, strict=True)]
            sizes[node] = compiled.rules[node].error(own, least)
        else:
            sizes[node] = affine_size(compiled.kernels[node], [sizes[o] for o in operands])
        # What underflow takes from a value is multiplied by what comes after.
        sizes[node] = sizes[node] + floor
        sizes[node] = sizes[node].masked_fill(~(sizes[node] < largest), torch.inf)
    return sizes


def _intervals(compiled: CompiledGraph, region: InputRegion) -> dict[NodeId, Interval]:
    """Intervals of all nodes where there are products or curves, else none: no other op asks."""
    found: dict[NodeId, Interval] = {}
    if not any(isinstance(op, ops.Polynomial | ops.Smooth) for _, op, _ in compiled.graph):
        return found
    for node, op, _ in compiled.graph:
        if isinstance(op, ops.Input):
            found[node] = region.interval(op.extent)
        else:
            found[node] = interval_step(compiled, node, found, region.batch)
    return found
