"""How far float64 rounding can carry a margin: the classical forward error bound.

Every method here adds up the same products in some order. Whatever the order, the error of a sum of
products is at most a small multiple of the unit roundoff times the sum of their magnitudes; pushed
through the whole graph, that sum is what the graph computes with all weights, offsets and inputs
replaced by their absolute values.

Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, chapter 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.region import input_region
from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId
from specdsl.query.sets import InputSet

# 1.1e-16 for each of some thousand roundings on the longest path.
ROUNDINGS = 1e-13
# The error of a product is that of one factor times the other, twice; a plane below it adds up
# three products of that size.
PRODUCT_TERMS = 3.0


def rounding_slack(graph: Graph, inputs: InputSet) -> float:
    """The most that rounding may have added to any margin over the inputs; may be infinite.

    `graph` is the semantic reference of a query, before any rewriting: merged weights hide the
    magnitudes they were computed from. Raises Unsupported for an op without a rule.
    """
    compiled = compile_graph(graph)
    region = input_region(inputs, compiled.like)
    sizes: dict[NodeId, Tensor] = {}
    for node, op, operands in graph:
        if isinstance(op, ops.Input):
            sizes[node] = region.farthest.reshape(1, *op.extent)
        elif isinstance(op, ops.Constant):
            sizes[node] = compiled.constants[node].abs()
        elif isinstance(op, ops.PiecewiseLinear):
            steepest = max(1.0, *(abs(s) for s in op.slopes))
            corners = max(abs(op.anchor), *(abs(p) for p in op.breakpoints))
            sizes[node] = steepest * (sizes[operands[0]] + corners)
        elif isinstance(op, ops.Polynomial):
            sizes[node] = PRODUCT_TERMS * sizes[operands[0]] * sizes[operands[-1]]
        else:
            kernel = compiled.kernels[node]
            total = torch.zeros(1, *graph.shapes[node], dtype=compiled.like.dtype)
            for i, operand in enumerate(operands):
                total = total + kernel.apply_magnitude(i, sizes[operand])
            sizes[node] = total if kernel.offset is None else total + kernel.offset.abs()
    return ROUNDINGS * float(sizes[graph.output].amax())
