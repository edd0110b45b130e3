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
from specdsl.bounds.regions.region import ROUNDING_PART, InputRegion
from specdsl.graph.graph import NodeId

Bounds = Mapping[NodeId, Interval]


@dataclass(frozen=True, slots=True, eq=False)
class MergedRows:
    """`rows . output = sum over nodes of coefficients . value(node) + constant`.

    The nodes are the input and results of nonlinear ops. In a delicate graph the constant is less
    than that by what rounding may have added on the way to them. Shapes: coefficients (batch or 1,
    rows, *shape of the node), constant (batch or 1, rows).
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
            continue
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
    """What a step backward from the node adds up."""
    if node in compiled.constants:
        return compiled.constants[node].abs()
    sizes = [outward.magnitude(bounds[o]) for o in compiled.graph.operands(node)]
    return outward.affine_size(compiled.kernels[node], sizes)


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
            lower = lower + _at_input(compiled, coefficients.flatten(2), region)
        else:
            lower = lower + _at_interval(compiled, coefficients, bounds[node])
    return known_or_unbounded(compiled, lower)


def _at_input(compiled: CompiledGraph, coefficients: Tensor, region: InputRegion) -> Tensor:
    lower = region.minimum(coefficients)
    if compiled.outward is None:
        return lower
    # The dual of a ball errs by more than sums over a box do.
    part = compiled.outward.part if region.balls is None else ROUNDING_PART
    return lower - part * dot(coefficients.abs(), region.farthest)


def _at_interval(compiled: CompiledGraph, coefficients: Tensor, interval: Interval) -> Tensor:
    positive = coefficients.clamp(min=0)
    negative = coefficients - positive
    lower = dot(positive, interval.lower) + dot(negative, interval.upper)
    if compiled.outward is None:
        return lower
    # Only the ends that are read count: the other one may be infinite.
    size = dot(positive, interval.lower.abs()) - dot(negative, interval.upper.abs())
    return lower - compiled.outward.part * size


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
