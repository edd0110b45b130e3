"""The dual of Wong and Kolter for chains of affine layers and ReLUs: one backward pass a bound.

What the literature also calls LP-Greedy or the convex outer polytope: the dual of the triangle
relaxation at one feasible point, for all intermediate layers and the rows alike. It gives what
Fast-Lin gives.

Source: Wong and Kolter 2018, arXiv:1711.00851, theorem 1 and algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds.affine import AffineKernel
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.regions.region import InputRegion
from specdsl.graph import ops
from specdsl.graph.graph import NodeId


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One node of a chain: an affine kernel, or a ReLU (None)."""

    node: NodeId
    kernel: AffineKernel | None


def chain_of(compiled: CompiledGraph) -> tuple[Layer, ...]:
    """The nodes behind the input in order. Raises Unsupported where they are no such chain."""
    graph = compiled.graph
    layers: list[Layer] = []
    before = graph.input
    for node, op, operands in graph:
        if node == graph.input:
            continue
        relu = type(op) is ops.Relu
        if operands != (before,) or not (relu or node in compiled.kernels):
            what = f"`{node}` ({type(op).__name__}): chains of affine layers and ReLUs only"
            raise Unsupported("the Wong-Kolter dual", what)
        layers.append(Layer(node, None if relu else compiled.kernels[node]))
        before = node
    return tuple(layers)


def dual_bounds(compiled: CompiledGraph, region: InputRegion) -> Mapping[NodeId, Interval]:
    """Bounds of every pre-activation and of the output, layer by layer.

    Shapes: (batch, *shape of the node). Raises Unsupported where the graph is no chain.
    """
    graph, layers = compiled.graph, chain_of(compiled)
    bounds: dict[NodeId, Interval] = {}
    before = graph.input
    for position, layer in enumerate(layers):
        reads_before = layer.kernel is None
        if reads_before and before not in bounds:
            bounds[before] = _all_entries(compiled, layers[:position], before, region, bounds)
        before = layer.node
    if graph.output not in bounds:
        bounds[graph.output] = _all_entries(compiled, layers, graph.output, region, bounds)
    return bounds


def dual_lower(
    compiled: CompiledGraph, rows: Tensor, region: InputRegion, bounds: Mapping[NodeId, Interval]
) -> Tensor:
    """Lower bounds of `rows . output` from bounds of all pre-activations; differentiable.

    Shapes: rows (batch or 1, rows, *shape of output) to (batch, rows).
    """
    return _lower(chain_of(compiled), rows, region, bounds, compiled.graph.input)


def _all_entries(
    compiled: CompiledGraph,
    layers: tuple[Layer, ...],
    node: NodeId,
    region: InputRegion,
    bounds: Mapping[NodeId, Interval],
) -> Interval:
    graph = compiled.graph
    shape = graph.shapes[node]
    identity = torch.eye(graph.size(node), dtype=compiled.like.dtype, device=compiled.like.device)
    rows = torch.cat([identity, -identity]).reshape(1, -1, *shape)
    lower, upper = _lower(layers, rows, region, bounds, graph.input).chunk(2, dim=1)
    ends = lower.reshape(-1, *shape), -upper.reshape(-1, *shape)
    return Interval(torch.minimum(*ends), torch.maximum(*ends))


def _lower(
    layers: tuple[Layer, ...],
    rows: Tensor,
    region: InputRegion,
    bounds: Mapping[NodeId, Interval],
    source: NodeId,
) -> Tensor:
    """The dual objective J. `nu` follows the paper: minus the rows to begin with."""
    nu = -rows
    objective = rows.new_zeros(1, rows.shape[1])
    for position in reversed(range(len(layers))):
        kernel = layers[position].kernel
        if kernel is not None:
            if kernel.offset is not None:
                offset = kernel.offset.expand(nu.shape[2:])
                objective = objective - (nu * offset).flatten(2).sum(2)
            nu = kernel.transpose(0, nu.flatten(0, 1)).unflatten(0, nu.shape[:2])
            continue
        z = bounds[layers[position - 1].node if position else source]
        nu = nu * relu_slopes(z)[:, None]
        crossing = (z.lower < 0) & (z.upper > 0)
        charged = z.lower.where(crossing, torch.zeros_like(z.lower))[:, None]
        objective = objective + (charged * nu.clamp(min=0)).flatten(2).sum(2)
    return objective + region.minimum(-nu.flatten(2))


def relu_slopes(z: Interval) -> Tensor:
    """Of each neuron: 1 where it is on, 0 where it is off, u / (u - l) between."""
    on, off = z.upper.clamp(min=0), z.lower.clamp(max=0)
    # Both are 0 only where the pre-activation is 0 throughout: any slope is right.
    return on / (on - off).clamp(min=torch.finfo(on.dtype).tiny)
