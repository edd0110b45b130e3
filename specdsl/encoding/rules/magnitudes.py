"""What numbers a model's entries are computed from: how far off rounding may have put them.

An entry that is a column of its own is what its rows make it; one that is another column scaled and
shifted carries the rounding of all scaling and shifting on the way. These sizes, times a part that
covers the steps, bound that error.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

import numpy as np

from specdsl.encoding.model.linear_model import FloatArray
from specdsl.encoding.rules.affine import sparse_affine
from specdsl.graph import ops
from specdsl.graph.ops import Shape, as_float


@singledispatch
def magnitudes(
    op: ops.Op, shapes: Sequence[Shape], operands: Sequence[FloatArray], farthest: FloatArray
) -> FloatArray:
    """Sizes of an op's entries, flat, from those of its operands, of shapes `shapes`.

    `farthest`: the largest magnitude of each entry. An op whose entries are all columns of their
    own passes nothing on.
    """
    return farthest


@magnitudes.register
def _affine(
    op: ops.Affine, shapes: Sequence[Shape], operands: Sequence[FloatArray], farthest: FloatArray
) -> FloatArray:
    matrix = sparse_affine(op, shapes)
    starts = np.cumsum([0, *(o.size for o in operands[:-1])])
    sizes = np.concatenate(operands)[starts[matrix.operands] + matrix.positions]
    terms = np.abs(as_float(matrix.coefficients)) * sizes
    offsets = np.abs(as_float(matrix.offset))
    return offsets + np.bincount(matrix.rows, terms, minlength=offsets.size).astype(np.float64)


@magnitudes.register
def _piecewise(
    op: ops.PiecewiseLinear,
    shapes: Sequence[Shape],
    operands: Sequence[FloatArray],
    farthest: FloatArray,
) -> FloatArray:
    steepest = max(abs(slope) for slope in op.slopes)
    corners = max(abs(op.anchor), *(abs(point) for point in op.breakpoints))
    return farthest + max(1.0, steepest) * (operands[0] + corners)


@magnitudes.register
def _smooth(
    op: ops.Smooth, shapes: Sequence[Shape], operands: Sequence[FloatArray], farthest: FloatArray
) -> FloatArray:
    """Straight pieces are passed on, and all ops that have some know their steepest slope."""
    return farthest + (op.steepest * operands[0] if np.isfinite(op.steepest) else 0.0)


@magnitudes.register
def _maximum(
    op: ops.GroupMax, shapes: Sequence[Shape], operands: Sequence[FloatArray], farthest: FloatArray
) -> FloatArray:
    members = op.groups.reshape(-1, op.groups.shape[-1])
    return farthest + operands[0][members].max(axis=1)
