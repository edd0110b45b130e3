"""Rows in windows behind an affine op: in windows on its operands, where the op leaves any.

One rule for each kind of kernel that keeps neighbours together. An op without a rule takes dense
rows.
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch

from specdsl.bounds.affine import (
    AffineKernel,
    ConcatKernel,
    ConvKernel,
    ConvTransposeKernel,
    ReshapeKernel,
    ScaleKernel,
    SumKernel,
    TransposeKernel,
)
from specdsl.bounds.rows.convolve import convolve
from specdsl.bounds.rows.windows import WindowRows, Windows, aligned
from specdsl.graph.ops import Shape


@singledispatch
def windowed(
    kernel: AffineKernel, index: int, rows: WindowRows, operand: Shape
) -> WindowRows | None:
    """`A_index^T` of every row, on an operand of this shape; None where it fits no window."""
    return None


@windowed.register
def _(kernel: ConvKernel, index: int, rows: WindowRows, operand: Shape) -> WindowRows | None:
    if not rows.windows.fits(kernel.result):
        return None
    return rows.through(kernel.op, kernel.weight, operand)


@windowed.register
def _(
    kernel: ConvTransposeKernel, index: int, rows: WindowRows, operand: Shape
) -> WindowRows | None:
    if not rows.windows.fits(kernel.result):
        return None
    origins, coefficients = aligned(rows, kernel.op)
    found = convolve(kernel.op, coefficients.flatten(0, 1), kernel.weight)
    found = found.unflatten(0, coefficients.shape[:2])
    windows = Windows(origins, rows.windows.patch_of, tuple(found.shape[3:]), operand)
    return WindowRows.padded(found, windows)


@windowed.register
def _(kernel: ScaleKernel, index: int, rows: WindowRows, operand: Shape) -> WindowRows:
    scale = kernel.scale.expand(operand)[None]
    return rows.having(rows.coefficients * rows.read(scale))


@windowed.register
def _(kernel: SumKernel, index: int, rows: WindowRows, operand: Shape) -> WindowRows:
    return rows.having(rows.coefficients * kernel.coefficients[index])


@windowed.register
def _(kernel: ReshapeKernel, index: int, rows: WindowRows, operand: Shape) -> WindowRows | None:
    # Windows count entries in row-major order, whatever the shape they lie in.
    return rows if rows.windows.axes is None else None


@windowed.register
def _(kernel: TransposeKernel, index: int, rows: WindowRows, operand: Shape) -> WindowRows | None:
    # Result axis i is operand axis axes[i]; the kernel counts the stacking axis.
    axes = tuple(a - 1 for a in kernel.axes[1:])
    result = tuple(operand[a] for a in axes)
    if rows.windows.axes is None and not rows.windows.fits(result):
        return None
    return WindowRows(rows.coefficients, rows.windows.transposed(axes))


@windowed.register
def _(kernel: ConcatKernel, index: int, rows: WindowRows, operand: Shape) -> WindowRows | None:
    axis, first, extent = kernel.axis, kernel.starts[index], kernel.extents[index]
    result = (*operand[: axis - 1], sum(kernel.extents), *operand[axis:])
    if not rows.windows.fits(result) or axis == 1:
        return None
    if axis == 2:  # The channels: the stacking axis counts.
        windows = replace(rows.windows, shape=operand)
        return WindowRows(rows.coefficients.narrow(2, first, extent), windows)
    origins = rows.windows.origins.clone()
    origins[:, axis - 3] -= first
    windows = replace(rows.windows, origins=origins, shape=operand)
    return WindowRows.padded(rows.coefficients, windows)
