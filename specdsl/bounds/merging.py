"""Rows of the output walked back through affine ops alone, to where the first nonlinear ops stand.

A margin is a difference of outputs. Bounded through the outputs' own intervals it loses what they
have in common; merged with the affine layers before it (the last layer "elided"), it does not.

Source: Gowal et al. 2018, arXiv:1810.12715, section 3 (elision of the last layer).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from specdsl.bounds import outward
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.interval import Interval
from specdsl.bounds.region import ROUNDING_PART, InputRegion
from specdsl.graph.graph import NodeId

Bounds = Mapping[NodeId, Interval]


@dataclass(frozen=True, slots=True, eq=False)
class MergedRows:
    """`rows . output = sum over nodes of coefficients . value(node) + constant`.

    The nodes are the input and results of nonlinear ops. In a delicate graph the constant is less
    than that by what rounding may have added. Shapes: coefficients (batch or 1, rows, *shape of the
    node), constant (batch or 1, rows).
    """

    coefficients: Mapping[NodeId, Tensor]
    constant: Tensor


def merge_rows(compiled: CompiledGraph, rows: Tensor, bounds: Bounds) -> MergedRows:
    """Merge rows (batch or 1, rows, *output) with the affine ops that lead to the output.

    `bounds` of every node; only their magnitudes count, and only in delicate graphs.
    """
    graph = compiled.graph
    pending: dict[NodeId, Tensor] = {graph.output: rows}
    ends: dict[NodeId, Tensor] = {}
    constant = rows.new_zeros(1, rows.shape[1])
    for node in reversed(graph.order):
        if node not in pending:
            continue
        coefficients = pending.pop(node)
        if node in compiled.constants:
            constant = constant + dot(coefficients, compiled.constants[node])
        elif node in compiled.kernels:
            constant = constant + _passed_on(compiled, node, coefficients, pending)
        else:
            ends[node] = coefficients
        if compiled.outward is not None:
            size = _magnitudes(compiled, node, bounds)
            constant = constant - compiled.outward.part * dot(coefficients.abs(), size)
    return MergedRows(ends, constant)


def row_ends(compiled: CompiledGraph) -> frozenset[NodeId]:
    """The nodes that merged rows of the output may end at."""
    graph = compiled.graph
    reached, ends = {graph.output}, set[NodeId]()
    for node in reversed(graph.order):
        if node not in reached:
            continue
        if node in compiled.kernels:
            reached.update(graph.operands(node))
        elif node not in compiled.constants:
            ends.add(node)
    return frozenset(ends)


def _passed_on(
    compiled: CompiledGraph, node: NodeId, coefficients: Tensor, pending: dict[NodeId, Tensor]
) -> Tensor:
    """Pass coefficients on to the operands; the constant gained."""
    kernel = compiled.kernels[node]
    stacked = coefficients.flatten(0, 1)
    for i, operand in enumerate(compiled.graph.operands(node)):
        passed = kernel.transpose(i, stacked).unflatten(0, coefficients.shape[:2])
        pending[operand] = pending[operand] + passed if operand in pending else passed
    if kernel.offset is None:
        return coefficients.new_zeros(1, 1)
    return dot(coefficients, kernel.offset.expand(coefficients.shape[2:])[None])


def _magnitudes(compiled: CompiledGraph, node: NodeId, bounds: Bounds) -> Tensor:
    """What a step backward from the node adds up, or what its own bounds are added up from."""
    if node in compiled.kernels:
        sizes = [outward.magnitude(bounds[o]) for o in compiled.graph.operands(node)]
        return outward.affine_size(compiled.kernels[node], sizes)
    return outward.magnitude(bounds[node])


def interval_rows(
    compiled: CompiledGraph, rows: Tensor, region: InputRegion, bounds: Bounds
) -> Tensor:
    """Lower bounds of `rows . output` from intervals, rows merged with the last affine ops.

    What reaches the input is bounded over the region itself, balls included. -inf where nothing is
    known. Shapes: rows (batch or 1, rows, *output) to (batch, rows).
    """
    merged = merge_rows(compiled, rows, bounds)
    lower = merged.constant.expand(region.batch, -1)
    for node, coefficients in merged.coefficients.items():
        if node == compiled.graph.input:
            flat = coefficients.flatten(2)
            lower = lower + region.minimum(flat) - _ball_rounding(compiled, flat, region)
            continue
        positive = coefficients.clamp(min=0)
        lower = lower + dot(positive, bounds[node].lower)
        lower = lower + dot(coefficients - positive, bounds[node].upper)
    return known_or_unbounded(compiled, lower)


def _ball_rounding(compiled: CompiledGraph, flat: Tensor, region: InputRegion) -> Tensor:
    """In delicate graphs, what the dual of a ball may be off by, which is more than a sum is."""
    if compiled.outward is None or region.balls is None:
        return flat.new_zeros(1, 1)
    return ROUNDING_PART * dot(flat.abs(), region.farthest)


def known_or_unbounded(compiled: CompiledGraph, lower: Tensor) -> Tensor:
    """Lower bounds, in delicate graphs -inf where some step had no bound."""
    if compiled.outward is None:
        return lower
    return lower.masked_fill(~lower.isfinite(), -torch.inf)


def dot(coefficients: Tensor, value: Tensor) -> Tensor:
    """(batch or 1, rows, *shape) with (batch or 1, *shape) to (batch or 1, rows).

    A coefficient of 0 does not read an infinite value.
    """
    if bool(value.isfinite().all()):
        return (coefficients.flatten(2) @ value.flatten(1)[:, :, None])[..., 0]
    products = coefficients * value[:, None]
    return products.masked_fill(coefficients == 0, 0.0).flatten(2).sum(2)
