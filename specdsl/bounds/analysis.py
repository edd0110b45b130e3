"""Bounds of a whole graph on one input set, as numpy arrays for those who do not speak torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.interval import Interval, NumpyInterval
from specdsl.bounds.passes.affordable import crown_pass
from specdsl.bounds.passes.alpha_crown import alpha_propagate
from specdsl.bounds.passes.crown import Propagated, entry_ends, propagate, unstable_in
from specdsl.bounds.passes.fast_lin import with_parallel_lines
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.graph.graph import Graph, NodeId
from specdsl.query.sets import InputSet

Method = Literal["interval", "fast_lin", "crown", "alpha_crown"]


@dataclass(frozen=True, slots=True, eq=False)
class GraphBounds:
    """Bounds of the nodes asked for. `coarse`: as `Propagated` has it."""

    bounds: Mapping[NodeId, NumpyInterval]
    coarse: Mapping[NodeId, int]


def graph_bounds(
    graph: Graph,
    inputs: InputSet,
    method: Method = "crown",
    known: Mapping[NodeId, NumpyInterval] | None = None,
) -> GraphBounds:
    """Sound bounds for the input, for every node that a nonlinear op reads, and for the output.

    `crown` and `fast_lin` are intersected with intervals, so they are never looser; `alpha_crown`
    raises what `crown` leaves unstable, in graphs where no layer is coarse. `known`: bounds of some
    nodes that hold already; others follow from them, by CROWN. Arrays are float64 in the node's
    shape.
    Raises Unsupported for an op without a rule, EmptyInterval where something is NaN.
    """
    compiled = compile_graph(graph)
    if method == "fast_lin":
        compiled = with_parallel_lines(compiled)
    region = input_region(inputs, compiled.like)
    with torch.no_grad():
        if known is None:
            propagated = _propagated(compiled, region, method)
        else:
            held = {node: _as_tensors(found, compiled.like) for node, found in known.items()}
            propagated = propagate(compiled, region, known=held)
        bounds = dict(propagated.bounds)
        if method != "interval":
            bounds[graph.output] = _output(compiled, region, propagated)
    wanted = {graph.input, *compiled.pre_activations, graph.output}
    found = {node: bounds[node].numpy() for node in graph.order if node in wanted}
    return GraphBounds(found, propagated.coarse)


def _propagated(compiled: CompiledGraph, region: InputRegion, method: Method) -> Propagated:
    if method == "interval":
        return propagate(compiled, region, tighten=False)
    if method == "fast_lin":
        return propagate(compiled, region)
    crown = crown_pass(compiled, region, everywhere=True)
    if method == "crown" or crown.coarse:
        return crown
    return alpha_propagate(compiled, region, known=crown.bounds)


def _as_tensors(found: NumpyInterval, like: Tensor) -> Interval:
    lower, upper = (torch.as_tensor(ends)[None].to(like) for ends in (found.lower, found.upper))
    return Interval(lower, upper)


def unstable_entries(graph: Graph, node: NodeId, bounds: NumpyInterval) -> npt.NDArray[np.bool_]:
    """Which entries of a node some nonlinear op reads with more than one linear piece, by these
    bounds; in the node's shape.
    """
    compiled = compile_graph(graph)
    return unstable_in(compiled, node, _as_tensors(bounds, compiled.like))[0].numpy()


def pre_activation_bounds(
    graph: Graph, inputs: InputSet, method: Method = "crown"
) -> dict[NodeId, NumpyInterval]:
    """The bounds of `graph_bounds`, for callers whom looser ones on some layers only cost time."""
    return dict(graph_bounds(graph, inputs, method).bounds)


def _output(compiled: CompiledGraph, region: InputRegion, propagated: Propagated) -> Interval:
    graph = compiled.graph
    everything = torch.arange(graph.size(graph.output), device=compiled.like.device)
    found = entry_ends(compiled, graph.output, everything, region, propagated.relaxations)
    shape = (region.batch, *graph.shapes[graph.output])
    return propagated.bounds[graph.output].intersect(
        Interval(found.lower.reshape(shape), found.upper.reshape(shape))
    )


def unstable_count(compiled: CompiledGraph, bounds: Mapping[NodeId, Interval]) -> int:
    """How many entries that nonlinear ops read some bounds leave with more than one linear piece.

    An entry counts for every op that reads it. Layers that kept looser bounds count as they are,
    and have more such entries than any use of this number allows.
    """
    return sum(
        int(rule.unstable(bounds[operand]).sum())
        for node, rule in compiled.rules.items()
        for operand in compiled.graph.operands(node)
    )
