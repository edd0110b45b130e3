"""Backward linear bounds (CROWN), batched over input regions and over rows.

A row is a linear function of some node's value. Walking the graph backwards, every nonlinear op on
the way is replaced by the linear function below or above it that fits the sign of the coefficient,
until the row is a linear function of the input that lies below it on the whole region.

Source: Zhang et al. 2018, arXiv:1811.00866; for general graphs Xu et al. 2020, arXiv:2002.12920.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from specdsl.bounds import piecewise, polynomial
from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.forward import interval_step
from specdsl.bounds.interval import Interval
from specdsl.bounds.piecewise import LinearRelaxation
from specdsl.bounds.polynomial import PlaneRelaxation
from specdsl.bounds.region import InputRegion
from specdsl.graph import ops
from specdsl.graph.graph import NodeId


@dataclass(frozen=True, slots=True, eq=False)
class LinearLower:
    """`coefficients . x + constant <= row(x)` on the region; `lower` is its least value there.

    Shapes: coefficients (batch, rows, inputs), constant and lower (batch, rows).
    """

    coefficients: Tensor
    constant: Tensor
    lower: Tensor


# Rows are bounded in chunks so that the coefficients at the widest node stay below this many
# entries (128 MiB of float64).
MAX_COEFFICIENTS = 2**24

Relaxations = Mapping[NodeId, LinearRelaxation | PlaneRelaxation]


def lower_rows(
    compiled: CompiledGraph,
    node: NodeId,
    rows: Tensor,
    region: InputRegion,
    relaxations: Relaxations,
) -> LinearLower:
    """Linear lower bounds of `rows . value(node)`.

    Shapes: rows (batch or 1, rows, *shape of node). `relaxations` holds every nonlinear op between
    the input and `node`.
    """
    pending: dict[NodeId, Tensor] = {node: rows}
    constant = rows.new_zeros(1, rows.shape[1])
    graph = compiled.graph
    for current in reversed(graph.order):
        coefficients = pending.get(current)
        if coefficients is None or current == graph.input:
            continue
        del pending[current]
        op, operands = graph.op(current), graph.operands(current)
        if isinstance(op, ops.Constant):
            constant = constant + _dot(coefficients, compiled.constants[current])
        elif current in relaxations:
            through = _through(coefficients, relaxations[current])
            constant = constant + through.constant
            for operand, passed in zip(operands, through.coefficients, strict=True):
                _accumulate(pending, operand, passed)
        else:
            constant = constant + _through_affine(compiled, current, coefficients, pending)
    return _concretise(pending.get(graph.input), constant, region)


def _through_affine(
    compiled: CompiledGraph, node: NodeId, coefficients: Tensor, pending: dict[NodeId, Tensor]
) -> Tensor:
    """Pass coefficients on to the operands; the constant gained."""
    kernel, graph = compiled.kernels[node], compiled.graph
    stacked = coefficients.flatten(0, 1)
    for i, operand in enumerate(graph.operands(node)):
        passed = kernel.transpose(i, stacked).unflatten(0, coefficients.shape[:2])
        _accumulate(pending, operand, passed)
    if kernel.offset is None:
        return coefficients.new_zeros(1, 1)
    return _dot(coefficients, kernel.offset.expand(graph.shapes[node])[None])


@dataclass(frozen=True, slots=True, eq=False)
class AffineRows:
    """Which rows are linear functions of the input, and those functions (of the others, a part).

    Shapes: coefficients (rows, inputs), constant and is_affine (rows,).
    """

    coefficients: Tensor
    constant: Tensor
    is_affine: Tensor


def affine_rows(compiled: CompiledGraph, node: NodeId, rows: Tensor) -> AffineRows:
    """The rows (1, rows, *shape of node) of `node` that no nonlinear op takes part in."""
    graph = compiled.graph
    pending: dict[NodeId, Tensor] = {node: rows}
    constant = rows.new_zeros(1, rows.shape[1])
    is_affine = torch.ones(rows.shape[1], dtype=torch.bool, device=rows.device)
    for current in reversed(graph.order):
        if current == graph.input or current not in pending:
            continue
        coefficients = pending.pop(current)
        if current in compiled.constants:
            constant = constant + _dot(coefficients, compiled.constants[current])
        elif current in compiled.kernels:
            constant = constant + _through_affine(compiled, current, coefficients, pending)
        else:
            is_affine &= (coefficients == 0).flatten(2).all(2)[0]
    at_input = pending.get(graph.input, rows.new_zeros(1, rows.shape[1], graph.size(graph.input)))
    return AffineRows(at_input.flatten(2)[0], constant[0], is_affine)


def _concretise(at_input: Tensor | None, constant: Tensor, region: InputRegion) -> LinearLower:
    batch, count = region.batch, constant.shape[1]
    if at_input is None:
        at_input = constant.new_zeros(1, count, region.box.lower.shape[1])
    flat = at_input.flatten(2)
    lower = region.minimum(flat) + constant
    return LinearLower(flat.expand(batch, -1, -1), constant.expand(batch, -1), lower)


def _accumulate(pending: dict[NodeId, Tensor], node: NodeId, coefficients: Tensor) -> None:
    pending[node] = pending[node] + coefficients if node in pending else coefficients


def _dot(coefficients: Tensor, value: Tensor) -> Tensor:
    """(batch or 1, rows, *shape) with (batch or 1, *shape) to (batch or 1, rows)."""
    return (coefficients.flatten(2) @ value.flatten(1)[:, :, None])[..., 0]


@dataclass(frozen=True, slots=True, eq=False)
class _Through:
    """Coefficients on every operand of a nonlinear op, and the constant gained."""

    coefficients: tuple[Tensor, ...]
    constant: Tensor


def _through(coefficients: Tensor, relaxation: LinearRelaxation | PlaneRelaxation) -> _Through:
    """Positive coefficients take the line below, negative ones the line above."""
    positive = coefficients.clamp(min=0)
    negative = coefficients - positive
    below, above = relaxation.lower_intercept, relaxation.upper_intercept
    constant = _dot(negative, above)
    if below is not None:
        constant = constant + _dot(positive, below)
    slopes = (
        ((relaxation.lower_slope, relaxation.upper_slope),)
        if isinstance(relaxation, LinearRelaxation)
        else (
            (relaxation.lower_x, relaxation.upper_x),
            (relaxation.lower_y, relaxation.upper_y),
        )
    )
    passed = (
        torch.addcmul(positive * lower[:, None], negative, upper[:, None])
        for lower, upper in slopes
    )
    return _Through(tuple(passed), constant)


@dataclass(frozen=True, slots=True, eq=False)
class Propagated:
    """Interval bounds of every node of a graph on a region, and relaxations of nonlinear nodes."""

    bounds: Mapping[NodeId, Interval]
    relaxations: Relaxations


def propagate(
    compiled: CompiledGraph,
    region: InputRegion,
    *,
    tighten: bool = True,
    known: Mapping[NodeId, Interval] | None = None,
) -> Propagated:
    """Bounds on every node, inputs first.

    Intervals come first; with `tighten`, pre-activations that intervals leave unstable somewhere in
    the batch are bounded backward as well, and both are intersected. `known` holds bounds that are
    valid already (from an enclosing region) and are intersected too.

    Raises EmptyInterval where something is NaN.
    """
    graph = compiled.graph
    bounds: dict[NodeId, Interval] = {}
    relaxations: dict[NodeId, LinearRelaxation | PlaneRelaxation] = {}
    exact: set[NodeId] = set()
    for node, op, operands in graph:
        if isinstance(op, ops.Input):
            bounds[node] = region.interval(op.extent)
            exact.add(node)
            continue
        bounds[node] = interval_step(compiled, node, bounds, region.batch)
        if isinstance(op, ops.PiecewiseLinear):
            relaxations[node] = piecewise.relax(op, bounds[operands[0]])
            continue
        if isinstance(op, ops.Polynomial):
            relaxations[node] = _relax_polynomial(op, [bounds[o] for o in operands])
        elif _intervals_are_exact(op, operands, exact):
            exact.add(node)
        if node not in compiled.pre_activations:
            continue
        if known is not None and node in known:
            bounds[node] = bounds[node].intersect(known[node])
        # One op on the input box is bounded exactly by intervals; a ball is not.
        settled = region.balls is None and len(operands) == 1 and operands[0] in exact
        if tighten and not settled:
            bounds[node] = _tighten(compiled, node, bounds[node], region, relaxations)
    return Propagated(bounds, relaxations)


def _relax_polynomial(
    op: ops.Polynomial, operands: list[Interval]
) -> LinearRelaxation | PlaneRelaxation:
    if isinstance(op, ops.Square):
        return polynomial.relax_square(operands[0])
    return polynomial.relax_product(operands[0], operands[1])


def _intervals_are_exact(op: ops.Op, operands: tuple[NodeId, ...], exact: set[NodeId]) -> bool:
    """Whether the entries are the input's, each once, moved or scaled: together a plain box."""
    moves = isinstance(op, ops.Reshape | ops.Transpose | ops.Scale | ops.BatchNorm)
    return moves and operands[0] in exact


def _tighten(
    compiled: CompiledGraph,
    node: NodeId,
    bounds: Interval,
    region: InputRegion,
    relaxations: Relaxations,
) -> Interval:
    """Backward bounds for the entries of `node` that are unstable somewhere in the batch."""
    unstable = _unstable_entries(compiled, node, bounds)
    if unstable.numel() == 0:
        return bounds
    lower, upper = bounds.lower.flatten(1).clone(), bounds.upper.flatten(1).clone()
    for part in unstable.split(_rows_per_chunk(compiled, region.batch)):
        count = part.numel()
        rows = lower.new_zeros(2 * count, lower.shape[1])
        rows[torch.arange(count), part] = 1.0
        rows[torch.arange(count, 2 * count), part] = -1.0
        shaped = rows.reshape(1, 2 * count, *compiled.graph.shapes[node])
        found = lower_rows(compiled, node, shaped, region, relaxations).lower
        lower[:, part], upper[:, part] = found[:, :count], -found[:, count:]
    shape = bounds.lower.shape
    lower, upper = lower.reshape(shape), upper.reshape(shape)
    crossed_by_rounding = Interval(torch.minimum(lower, upper), torch.maximum(lower, upper))
    return bounds.intersect(crossed_by_rounding)


def _unstable_entries(compiled: CompiledGraph, node: NodeId, bounds: Interval) -> Tensor:
    stable = torch.ones_like(bounds.lower, dtype=torch.bool)
    for reader in compiled.graph.readers(node):
        op = compiled.graph.op(reader)
        if isinstance(op, ops.PiecewiseLinear):
            stable &= piecewise.is_stable(op, bounds)
        elif isinstance(op, ops.Polynomial):
            stable &= bounds.lower == bounds.upper
    return (~stable).flatten(1).any(0).nonzero()[:, 0]


def _rows_per_chunk(compiled: CompiledGraph, batch: int) -> int:
    widest = max(prod(shape) for shape in compiled.graph.shapes.values())
    return max(1, MAX_COEFFICIENTS // (2 * batch * widest))
