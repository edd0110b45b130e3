"""The walk of rows from a node back to the input, which all backward methods share.

A method says how rows pass a nonlinear op (`Through`): CROWN by the line that fits the sign of the
coefficient, others by a line they choose or by any coefficient at all and what that costs. Affine
ops are passed exactly, convolutions in windows as long as these are small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from specdsl.bounds.compiled import CompiledGraph
from specdsl.bounds.kinds.relaxation import Passed
from specdsl.bounds.regions.region import InputRegion
from specdsl.bounds.rows.affine_windows import windowed
from specdsl.bounds.rows.rows import DenseRows, Rows
from specdsl.bounds.rows.windows import WindowRows, one_hot
from specdsl.graph import ops
from specdsl.graph.graph import NodeId
from specdsl.graph.ops import Shape

# Windows beyond this part of the whole value cost more than they save.
WORTHWHILE_PART = 0.5

Through = Callable[[NodeId, Rows], Passed]

Meet = Callable[[NodeId, Rows], tuple[Rows, Tensor] | None]
"""What is done to rows when they reach a node, before they pass it, and what that adds to their
constants, (batch or 1, rows); None where nothing is.
"""


@dataclass(frozen=True, slots=True, eq=False)
class AtInput:
    """`rows . input + constant`; `rows` is None where the input does not matter.

    `constant`: (batch or 1, rows). `size`: the most coefficients that a row had anywhere on the way
    on one value, in one region.
    """

    rows: Rows | None
    constant: Tensor
    size: int


def walk(
    compiled: CompiledGraph,
    node: NodeId,
    rows: Rows,
    through: Through,
    toll: Callable[[NodeId, Rows], Tensor] | None = None,
    meet: Meet | None = None,
) -> AtInput:
    """Rows on the value of `node` as functions of the input, as `through` passes nonlinear ops.

    `toll`: what is taken off the constants at every node but the input, before it is passed:
    (batch or 1, rows). `meet`: what else is known of the nodes on the way.
    """
    graph = compiled.graph
    pending: dict[NodeId, Rows] = {node: rows}
    constant = rows.coefficients.new_zeros(1, rows.count)
    size = rows.size
    for current in reversed(graph.order):
        if current not in pending or current == graph.input:
            continue
        found = pending.pop(current)
        size = max(size, found.size)
        met = None if meet is None else meet(current, found)
        if met is not None:
            found, gained = met
            constant = constant + gained
        if toll is not None:
            constant = constant - toll(current, found)
        if current in compiled.constants:
            constant = constant + found.at(compiled.constants[current])
            continue
        affine = current in compiled.kernels
        passed = through_affine(compiled, current, found) if affine else through(current, found)
        constant = constant + passed.constant
        if passed.rows:
            for operand, part in zip(graph.operands(current), passed.rows, strict=True):
                together = added(pending[operand], part) if operand in pending else part
                pending[operand] = _worthwhile(together, graph.shapes[operand])
    at_input = pending.get(graph.input)
    return AtInput(at_input, constant, size if at_input is None else max(size, at_input.size))


def through_affine(compiled: CompiledGraph, node: NodeId, rows: Rows) -> Passed:
    """Rows on the operands of an affine op, exactly."""
    kernel, graph = compiled.kernels[node], compiled.graph
    if kernel.offset is None:
        constant = rows.coefficients.new_zeros(1, 1)
    else:
        constant = rows.at(kernel.offset.expand(graph.shapes[node])[None])
    passed: list[Rows] = []
    whole: Tensor | None = None
    for i, operand in enumerate(graph.operands(node)):
        if isinstance(rows, WindowRows):
            found = windowed(kernel, i, rows, graph.shapes[operand])
            if found is not None:
                passed.append(found)
                continue
        if whole is None:
            whole = dense_on(rows, graph.shapes[node])
        dense = kernel.transpose(i, whole.flatten(0, 1)).unflatten(0, whole.shape[:2])
        passed.append(DenseRows(dense))
    return Passed(tuple(passed), constant)


def _worthwhile(rows: Rows, shape: Shape) -> Rows:
    """The rows on a value of this shape, in full where their windows are large."""
    if isinstance(rows, WindowRows) and rows.windows.part >= WORTHWHILE_PART:
        return DenseRows(dense_on(rows, shape))
    return rows


def dense_on(rows: Rows, shape: Shape) -> Tensor:
    """The coefficients of rows on a whole value of this shape: (batch or 1, rows, *shape)."""
    whole = rows.dense().coefficients
    return whole if whole.shape[2:] == shape else whole.reshape(*whole.shape[:2], *shape)


def added(first: Rows, second: Rows) -> Rows:
    """The sum of rows on one value, in windows where both are in windows that lie alike."""
    if isinstance(first, WindowRows) and isinstance(second, WindowRows):
        together = first.plus(second)
        if together is not None:
            return together
    one, other = first.dense().coefficients, second.dense().coefficients
    if isinstance(first, WindowRows):
        # Windows may lie in another shape than the value's own, in which dense rows are.
        return DenseRows(one.reshape(*one.shape[:2], *other.shape[2:]) + other)
    return DenseRows(one + other.reshape(*other.shape[:2], *one.shape[2:]))


def unit_rows(
    compiled: CompiledGraph, node: NodeId, entries: Tensor, signs: Tensor
) -> tuple[NodeId, Rows]:
    """Row r is `signs[r]` times entry `entries[r]` (row-major) of `node`; and the node to start at:
    `node` or what it only reshapes.
    """
    graph = compiled.graph
    while isinstance(graph.op(node), ops.Reshape):
        (node,) = graph.operands(node)
    shape = graph.shapes[node]
    if _starts_small(compiled, node):
        hot = one_hot(entries, shape, compiled.like)
        factors = signs.reshape(1, -1, *(1 for _ in shape[1:]))
        return node, hot.having(hot.coefficients * factors)
    rows = compiled.like.new_zeros(entries.numel(), graph.size(node))
    rows[torch.arange(entries.numel(), device=rows.device), entries] = signs
    return node, DenseRows(rows.reshape(1, -1, *shape))


def _starts_small(compiled: CompiledGraph, node: NodeId) -> bool:
    """Whether rows of single entries stay in windows for a step at least."""
    shape = compiled.graph.shapes[node]
    if len(shape) <= 2 or shape[0] != 1 or prod(shape[2:]) * WORTHWHILE_PART <= 1:
        return False
    return not isinstance(compiled.graph.op(node), ops.Dense | ops.Transpose | ops.Select)


def entry_bounds(
    compiled: CompiledGraph,
    node: NodeId,
    entries: Tensor,
    bound: Callable[[NodeId, Rows], tuple[Tensor, int]],
    batch: int,
    limit: int,
) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds of entries (row-major) of a node: (batch, entries) each.

    `bound` gives lower bounds of rows, and the size of `AtInput`. Rows are taken in chunks that
    have at most `limit` coefficients on one value at a time.
    """
    lower, upper = (compiled.like.new_empty(batch, entries.numel()) for _ in range(2))
    # What rows take is known once some of them have walked.
    size = max(prod(shape) for shape in compiled.graph.shapes.values())
    start = 0
    while start < entries.numel():
        part = entries[start : start + max(1, limit // (2 * batch * size))]
        count = part.numel()
        signs = compiled.like.new_ones(2 * count)
        signs[count:] = -1.0
        found, size = bound(*unit_rows(compiled, node, part.repeat(2), signs))
        lower[:, start : start + count], upper[:, start : start + count] = (
            found[:, :count],
            -found[:, count:],
        )
        start += count
    return lower, upper


def least(found: AtInput, region: InputRegion) -> Tensor:
    """The least value of every row on each region: (batch, rows)."""
    if found.rows is None:
        return found.constant.expand(region.batch, -1)
    rows = found.rows
    if isinstance(rows, WindowRows) and region.balls is None:
        size = rows.having(rows.coefficients.abs())
        return rows.at(region.box.center) - size.at(region.box.radius) + found.constant
    return region.minimum(rows.dense().flat) + found.constant
