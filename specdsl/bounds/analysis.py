"""Bounds of a whole graph on one input set, as numpy arrays for those who do not speak torch."""

from __future__ import annotations

from typing import Literal

import torch

from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.crown import Propagated, lower_rows, propagate, rows_per_chunk
from specdsl.bounds.interval import Interval, NumpyInterval
from specdsl.bounds.region import InputRegion, input_region
from specdsl.graph.graph import Graph, NodeId
from specdsl.query.sets import InputSet

Method = Literal["interval", "crown"]


def pre_activation_bounds(
    graph: Graph, inputs: InputSet, method: Method = "crown"
) -> dict[NodeId, NumpyInterval]:
    """Sound bounds for the input, for every node that a nonlinear op reads, and for the output.

    `crown` is intersected with intervals, so it is never looser. Arrays are float64 in the node's
    shape. Raises Unsupported for an op without a rule, EmptyInterval where something is NaN.
    """
    compiled = compile_graph(graph)
    region = input_region(inputs, compiled.like)
    with torch.no_grad():
        propagated = propagate(compiled, region, tighten=method == "crown")
        bounds = dict(propagated.bounds)
        if method == "crown":
            bounds[graph.output] = _output(compiled, region, propagated)
    wanted = {graph.input, *compiled.pre_activations, graph.output}
    return {node: bounds[node].numpy() for node in graph.order if node in wanted}


def _output(compiled: CompiledGraph, region: InputRegion, propagated: Propagated) -> Interval:
    graph = compiled.graph
    shape = graph.shapes[graph.output]
    count = graph.size(graph.output)
    one, other = (compiled.like.new_zeros(1, count) for _ in range(2))
    for part in torch.arange(count).split(rows_per_chunk(compiled, region.batch)):
        identity = compiled.like.new_zeros(len(part), count)
        identity[torch.arange(len(part)), part] = 1.0
        rows = torch.cat([identity, -identity]).reshape(1, 2 * len(part), *shape)
        found = lower_rows(compiled, graph.output, rows, region, propagated.relaxations).lower
        one[:, part], other[:, part] = found[:, : len(part)], -found[:, len(part) :]
    lower, upper = torch.minimum(one, other), torch.maximum(one, other)
    return propagated.bounds[graph.output].intersect(
        Interval(lower.reshape(1, *shape), upper.reshape(1, *shape))
    )


def unstable_entries(graph: Graph, inputs: InputSet) -> int:
    """How many entries that nonlinear ops read CROWN bounds leave with more than one linear piece.

    An entry counts for every op that reads it.
    """
    compiled = compile_graph(graph)
    with torch.no_grad():
        bounds = propagate(compiled, input_region(inputs, compiled.like)).bounds
    return sum(
        int(rule.unstable(bounds[operand]).sum())
        for node, rule in compiled.rules.items()
        for operand in compiled.graph.operands(node)
    )
