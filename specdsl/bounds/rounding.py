"""How far float64 rounding can carry a margin: the classical forward error bound.

Every method here adds up the same products in some order. Whatever the order, the error of a sum of
products is at most a small multiple of the unit roundoff times the sum of their magnitudes; pushed
through the whole graph, that sum is what the graph computes with all weights, offsets and inputs
replaced by their absolute values. Ops that magnify errors without limit are another matter: see
`bounds.outward`.

Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, chapter 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from specdsl.backend import FOREVER, Deadline, Unsupported
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.outward import affine_size
from specdsl.bounds.passes.crown import propagate
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId
from specdsl.query.sets import InputSet

# 1.1e-16 for each of some thousand roundings on the longest path.
ROUNDINGS = 1e-13


def rounding_slack(graph: Graph, inputs: InputSet, deadline: Deadline = FOREVER) -> float:
    """The most that rounding may have added to any margin over the inputs; may be infinite.

    `graph` is the semantic reference of a query, before any rewriting: merged weights hide the
    magnitudes they were computed from. 0 for delicate graphs, whose bounds are rounded outward
    where they are computed. Raises Unsupported for an op without a rule, or that may have no value;
    OutOfTime where telling takes longer than until the deadline.
    """
    compiled = compile_graph(graph)
    region = input_region(inputs, compiled.like)
    if compiled.outward is not None:
        _require_values(compiled, region, deadline)
        return 0.0
    return ROUNDINGS * float(_magnitudes(compiled, region)[graph.output].amax())


def _require_values(compiled: CompiledGraph, region: InputRegion, deadline: Deadline) -> None:
    """Raise Unsupported where an op may have no value, which intervals often tell already."""
    with torch.no_grad():
        try:
            propagate(compiled, region, tighten=False)
        except Unsupported:
            propagate(compiled, region, deadline=deadline)


def region_slack(compiled: CompiledGraph, region: InputRegion) -> dict[NodeId, Tensor]:
    """The same for every entry of every node of a graph, in the dtype that it is compiled for.

    Shapes: (batch or 1, *node). 0 for delicate graphs. `compiled`: of the graph as it is, before
    anything was merged.
    """
    if compiled.outward is not None:
        return {n: compiled.like.new_zeros(1, *s) for n, s in compiled.graph.shapes.items()}
    part = ROUNDINGS * torch.finfo(compiled.like.dtype).eps / torch.finfo(torch.float64).eps
    return {node: part * size for node, size in _magnitudes(compiled, region).items()}


def _magnitudes(compiled: CompiledGraph, region: InputRegion) -> dict[NodeId, Tensor]:
    """What every node's value is added up from, in magnitudes: (batch or 1, *node)."""
    sizes: dict[NodeId, Tensor] = {}
    for node, op, operands in compiled.graph:
        if isinstance(op, ops.Input):
            sizes[node] = region.farthest.reshape(-1, *op.extent)
        elif isinstance(op, ops.Constant):
            sizes[node] = compiled.constants[node].abs()
        elif node in compiled.rules:
            sizes[node] = compiled.rules[node].size([sizes[o] for o in operands])
        else:
            sizes[node] = affine_size(compiled.kernels[node], [sizes[o] for o in operands])
    return sizes
