"""Affine ops as sparse matrices with their exact coefficients: one statement for lp, milp and smt.

Coefficients keep the numbers of the op: float arrays are exact dyadic rationals, arrays of
`Fraction` are exact too. Each encoder converts them to what it computes with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from math import prod

import numpy as np
import numpy.typing as npt

from specdsl.backend import Unsupported
from specdsl.graph import ops
from specdsl.graph.evaluate import rearrange
from specdsl.graph.ops import Array, Shape

IndexArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SparseAffine:
    """`y[rows[i]] += coefficients[i] * x_(operands[i])[positions[i]]`, and `y += offset`.

    All values flat in row-major order. Shapes: rows, operands, positions, coefficients: (entries,),
    offset: (results,). A place may occur twice; the terms add up.
    """

    rows: IndexArray
    operands: IndexArray
    positions: IndexArray
    coefficients: Array
    offset: Array


@singledispatch
def sparse_affine(op: ops.Op, operands: Sequence[Shape]) -> SparseAffine:
    """The matrix and offset of an affine op. Raises Unsupported for an op without a rule."""
    raise Unsupported("linear encoding", f"the op {type(op).__name__}")


@sparse_affine.register
def _dense(op: ops.Dense, operands: Sequence[Shape]) -> SparseAffine:
    outputs, inputs = op.weight.shape
    samples = prod(operands[0][:-1])
    sample, row, column = (
        a.reshape(-1) for a in np.indices((samples, outputs, inputs), dtype=np.int64)
    )
    return SparseAffine(
        rows=sample * outputs + row,
        operands=np.zeros_like(row),
        positions=sample * inputs + column,
        coefficients=np.broadcast_to(op.weight, (samples, outputs, inputs)).reshape(-1),
        offset=np.broadcast_to(op.bias, (samples, outputs)).reshape(-1),
    )


@sparse_affine.register
def _conv(op: ops.Conv, operands: Sequence[Shape]) -> SparseAffine:
    """Every result entry with the positions its kernel covers; padding contributes nothing."""
    (shape,) = operands
    rank, groups, outputs = len(op.strides), op.groups, op.weight.shape[0]
    positions = np.arange(prod(shape), dtype=np.int64).reshape(shape)
    padded = np.pad(positions, [(0, 0), (0, 0), *op.pads], constant_values=-1)
    kernel = op.weight.shape[2:]
    spans = tuple(d * (k - 1) + 1 for d, k in zip(op.dilations, kernel, strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(
        padded, spans, axis=tuple(range(2, 2 + rank))
    )
    windows = windows[:, :, *(slice(None, None, s) for s in (*op.strides, *op.dilations))]
    samples, extent = shape[0], windows.shape[2 : 2 + rank]
    # (samples, groups, 1, in / groups, *extent, *kernel), then the kernel's own axes last
    grouped = windows.reshape(samples, groups, 1, -1, *extent, *kernel)
    spatial, inner = range(4, 4 + rank), range(4 + rank, 4 + 2 * rank)
    patches = grouped.transpose(0, 1, 2, *spatial, 3, *inner)
    weight = op.weight.reshape(1, groups, outputs // groups, *(1 for _ in extent), -1, *kernel)
    full = (samples, groups, outputs // groups, *extent, *op.weight.shape[1:])
    covered = np.broadcast_to(patches, full).reshape(samples * outputs * prod(extent), -1)
    coefficients = np.broadcast_to(weight, full).reshape(covered.shape)
    rows, inside = np.broadcast_to(np.arange(len(covered))[:, None], covered.shape), covered >= 0
    bias = op.bias.reshape(1, outputs, *(1 for _ in extent))
    return SparseAffine(
        rows=rows[inside],
        operands=np.zeros(int(inside.sum()), dtype=np.int64),
        positions=covered[inside],
        coefficients=coefficients[inside],
        offset=np.broadcast_to(bias, (samples, outputs, *extent)).reshape(-1),
    )


@sparse_affine.register
def _conv_transpose(op: ops.ConvTranspose, operands: Sequence[Shape]) -> SparseAffine:
    """Every operand entry spreads its kernel, shifted by stride times its place; what falls into
    the pads is cut off.
    """
    (shape,) = operands
    rank, groups, kernel = len(op.strides), op.groups, op.weight.shape[2:]
    result = op.shape(shape)
    inputs, share = op.weight.shape[0] // groups, op.weight.shape[1]
    # Axes: samples, groups, inputs and outputs of a group, places of the operand, of the kernel.
    sample, group, inner, outer, *places = np.ogrid[
        tuple(slice(n) for n in (shape[0], groups, inputs, share, *shape[2:], *kernel))
    ]
    channel, position, row = group * inputs + inner, sample, sample
    position = position * shape[1] + channel
    row = row * result[1] + group * share + outer
    covered = np.ones((1,) * (4 + 2 * rank), dtype=bool)
    axes = zip(shape[2:], result[2:], op.strides, op.dilations, op.pads, strict=True)
    for axis, (extent, reach, stride, dilation, (cut, _)) in enumerate(axes):
        place = stride * places[axis] + dilation * places[rank + axis] - cut
        covered = covered & (place >= 0) & (place < reach)
        position, row = position * extent + places[axis], row * reach + place
    weight = op.weight[(channel, outer, *places[rank:])]
    inside, positions, rows, coefficients = np.broadcast_arrays(covered, position, row, weight)
    bias = op.bias.reshape(1, -1, *(1 for _ in kernel))
    return SparseAffine(
        rows=rows[inside],
        operands=np.zeros(int(inside.sum()), dtype=np.int64),
        positions=positions[inside],
        coefficients=coefficients[inside],
        offset=np.broadcast_to(bias, result).reshape(-1),
    )


@sparse_affine.register
def _scale(op: ops.Scale, operands: Sequence[Shape]) -> SparseAffine:
    return _elementwise(operands[0], op.scale, op.shift)


@sparse_affine.register
def _batch_norm(op: ops.BatchNorm, operands: Sequence[Shape]) -> SparseAffine:
    channels = (-1, *(1 for _ in operands[0][2:]))
    return _elementwise(operands[0], op.factor.reshape(channels), op.offset.reshape(channels))


def _elementwise(shape: Shape, scale: Array, shift: Array) -> SparseAffine:
    positions = np.arange(prod(shape), dtype=np.int64)
    return SparseAffine(
        rows=positions,
        operands=np.zeros_like(positions),
        positions=positions,
        coefficients=np.broadcast_to(scale, shape).reshape(-1),
        offset=np.broadcast_to(shift, shape).reshape(-1),
    )


@sparse_affine.register
def _sum(op: ops.Sum, operands: Sequence[Shape]) -> SparseAffine:
    size, count = prod(operands[0]), len(operands)
    return SparseAffine(
        rows=np.tile(np.arange(size, dtype=np.int64), count),
        operands=np.repeat(np.arange(count, dtype=np.int64), size),
        positions=np.tile(np.arange(size, dtype=np.int64), count),
        coefficients=np.repeat(np.array(op.coefficients, dtype=np.float64), size),
        offset=np.zeros(size),
    )


@sparse_affine.register
def _rearrange(op: ops.Rearrange, operands: Sequence[Shape]) -> SparseAffine:
    """Move each entry's position and operand number as the op moves the entry itself."""
    positions = [np.arange(prod(s), dtype=np.int64).reshape(1, *s) for s in operands]
    sources = [np.full((1, *s), i, dtype=np.int64) for i, s in enumerate(operands)]
    moved, source = (rearrange(op, a).reshape(-1).astype(np.int64) for a in (positions, sources))
    return SparseAffine(
        rows=np.arange(moved.size, dtype=np.int64),
        operands=source,
        positions=moved,
        coefficients=np.ones(moved.size),
        offset=np.zeros(moved.size),
    )
