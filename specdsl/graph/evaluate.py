"""Concrete evaluation of a graph in floating point, many points at a time.

Every array carries the points on its first axis: a node of shape `(1, 10)` has values of shape
`(points, 1, 10)`. Arithmetic runs in the dtype of the inputs (float64 unless the caller passes
something else); parameters are converted to it, so the result is a rounded one. `exact` has the
real thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import singledispatch
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId

FloatArray = npt.NDArray[np.floating]
AnyArray = npt.NDArray[Any]

# 2**23 float64 are 64 MiB: patches of one convolution beyond that are computed in several steps.
MAX_PATCH_ENTRIES = 2**23
# 2**22 float64 are 32 MiB: larger weights are converted a block of rows at a time.
MAX_WEIGHT_ENTRIES = 2**22


@dataclass(frozen=True, slots=True)
class Batch:
    """What all values of one evaluation share: number of points and element type."""

    points: int
    dtype: np.dtype[np.floating]

    def parameter(self, value: ops.Array) -> FloatArray:
        """A parameter of an op in the element type of the evaluation."""
        # Large weights are views into a file: only what needs another type is copied.
        if value.dtype == self.dtype:
            return value.astype(self.dtype, copy=False)
        return ops.as_float(value).astype(self.dtype, copy=False)


def evaluate(
    graph: Graph,
    inputs: Mapping[NodeId, FloatArray],
    nodes: Iterable[NodeId] | None = None,
) -> dict[NodeId, FloatArray]:
    """Values of `nodes` (all by default) at the points of `inputs`.

    Shapes: inputs and results are `(points, *graph.shapes[node])`. Only what `nodes` need is
    computed and kept. Raises ValueError where an input is missing or has another shape.
    """
    batch = _batch(graph, inputs)
    wanted = tuple(graph.order if nodes is None else nodes)
    remaining = reader_counts(graph, wanted, given=())
    values: dict[NodeId, FloatArray] = {}
    for node in graph.order:
        if node not in remaining:
            continue
        op, operands = graph.op(node), graph.operands(node)
        if isinstance(op, ops.Input):
            values[node] = np.asarray(inputs[node])
        else:
            values[node] = apply(op, [values[o] for o in operands], batch)
        for operand in operands:
            remaining[operand] -= 1
            if not remaining[operand]:
                del values[operand]
    return {node: values[node] for node in wanted}


def reader_counts(
    graph: Graph, wanted: Sequence[NodeId], given: Iterable[NodeId]
) -> dict[NodeId, int]:
    """The nodes needed to compute `wanted`, each with how often its value is read.

    A wanted node counts one reader more, so that it never reaches zero. Nodes in `given` need no
    operands.
    """
    known = set(given)
    counts: dict[NodeId, int] = {}
    for node in wanted:
        counts[node] = counts.get(node, 0) + 1
    for node in reversed(graph.order):
        if node in counts and node not in known:
            for operand in graph.operands(node):
                counts[operand] = counts.get(operand, 0) + 1
    return counts


def _batch(graph: Graph, inputs: Mapping[NodeId, FloatArray]) -> Batch:
    counts: set[int] = set()
    for node in graph.inputs:
        if node not in inputs:
            raise ValueError(f"no value for input {node}")
        value = np.asarray(inputs[node])
        if value.shape[1:] != graph.shapes[node]:
            raise ValueError(f"{node} takes (points, *{graph.shapes[node]}), not {value.shape}")
        counts.add(value.shape[0])
    if len(counts) > 1:
        raise ValueError(f"inputs have different numbers of points: {sorted(counts)}")
    dtype = np.result_type(*(np.asarray(inputs[n]) for n in graph.inputs)) if inputs else np.float64
    floating = dtype if np.issubdtype(dtype, np.floating) else np.float64
    return Batch(counts.pop() if counts else 1, np.dtype(floating))


# --- one rule for each kind or op ----------------------------------------------------------------


@singledispatch
def apply(op: ops.Op, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    """The value of one op. Raises NotImplementedError for an op without a rule (our bug)."""
    raise NotImplementedError(f"no evaluation rule for {type(op).__name__}")


@apply.register
def _constant(op: ops.Constant, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    value = batch.parameter(op.value)
    return np.broadcast_to(value, (batch.points, *value.shape))


@apply.register
def _dense(op: ops.Dense, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    rows = max(1, MAX_WEIGHT_ENTRIES // max(1, op.weight.shape[1]))
    blocks = (op.weight[i : i + rows] for i in range(0, op.weight.shape[0], rows))
    parts = [operands[0] @ batch.parameter(block).T for block in blocks]
    return (parts[0] if len(parts) == 1 else np.concatenate(parts, -1)) + batch.parameter(op.bias)


@apply.register
def _conv(op: ops.Conv, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    result = convolve(op, batch.parameter(op.weight), operands[0])
    bias = batch.parameter(op.bias)
    return result + bias.reshape(-1, *(1 for _ in op.strides))


@apply.register
def _scale(op: ops.Scale, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    return batch.parameter(op.scale) * operands[0] + batch.parameter(op.shift)


@apply.register
def _sum(op: ops.Sum, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    coefficients = [batch.dtype.type(c) for c in op.coefficients]
    total = coefficients[0] * operands[0]
    for coefficient, operand in zip(coefficients[1:], operands[1:], strict=True):
        total = total + coefficient * operand
    return total


@apply.register
def _batch_norm(op: ops.BatchNorm, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    (x,) = operands
    extent = (-1, *(1 for _ in x.shape[3:]))
    factor, offset = batch.parameter(op.factor), batch.parameter(op.offset)
    return x * factor.reshape(extent) + offset.reshape(extent)


@apply.register
def _rearrange(op: ops.Rearrange, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    return rearrange(op, operands)


@apply.register
def _piecewise(op: ops.PiecewiseLinear, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    (x,) = operands
    breakpoints = np.array(op.breakpoints, dtype=batch.dtype)
    knots = np.array([float(v) for v in knot_values(op)], dtype=batch.dtype)
    slopes = np.array(op.slopes, dtype=batch.dtype)
    segment = np.searchsorted(breakpoints, x, side="right")
    knot = np.maximum(segment - 1, 0)
    return knots[knot] + slopes[segment] * (x - breakpoints[knot])


@apply.register
def _leaky_relu(op: ops.LeakyRelu, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    (x,) = operands
    return np.where(x >= 0, x, batch.dtype.type(op.slope) * x)


@apply.register
def _relu(op: ops.Relu, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    return np.maximum(operands[0], 0)


@apply.register
def _abs(op: ops.Abs, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    return np.abs(operands[0])


@apply.register
def _clip(op: ops.Clip, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    return np.clip(operands[0], batch.dtype.type(op.minimum), batch.dtype.type(op.maximum))


@apply.register
def _multiply(op: ops.Multiply, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    return operands[0] * operands[1]


@apply.register
def _square(op: ops.Square, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    return operands[0] * operands[0]


@apply.register
def _conv_transpose(
    op: ops.ConvTranspose, operands: Sequence[FloatArray], batch: Batch
) -> FloatArray:
    result = convolve_transposed(op, batch.parameter(op.weight), operands[0])
    return result + batch.parameter(op.bias).reshape(-1, *(1 for _ in op.strides))


@apply.register
def _group_max(op: ops.GroupMax, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    (x,) = operands
    return x.reshape(x.shape[0], -1)[:, op.groups].max(axis=-1)


@apply.register
def _step(op: ops.Step, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    return op.value(operands[0].astype(batch.dtype, copy=False))


@apply.register
def _smooth(op: ops.Smooth, operands: Sequence[FloatArray], batch: Batch) -> FloatArray:
    """NaN or infinite where the function has no value, or one beyond the element type."""
    with np.errstate(all="ignore"):
        values = op.value(operands[0].astype(batch.dtype, copy=False))
    return np.asarray(values, dtype=batch.dtype)


# --- shared with exact evaluation ----------------------------------------------------------------


def knot_values(op: ops.PiecewiseLinear) -> list[Fraction]:
    """Exact values at the breakpoints, from the anchor and the slopes."""
    values = [Fraction(op.anchor)]
    for i in range(1, len(op.breakpoints)):
        width = Fraction(op.breakpoints[i]) - Fraction(op.breakpoints[i - 1])
        values.append(values[-1] + Fraction(op.slopes[i]) * width)
    return values


@singledispatch
def rearrange(op: ops.Rearrange, operands: Sequence[AnyArray]) -> AnyArray:
    """The entries of operands (points first, any element type) where the op puts them."""
    raise NotImplementedError(f"no rearrangement rule for {type(op).__name__}")


@rearrange.register
def _reshape(op: ops.Reshape, operands: Sequence[AnyArray]) -> AnyArray:
    return operands[0].reshape(operands[0].shape[0], *op.target)


@rearrange.register
def _transpose(op: ops.Transpose, operands: Sequence[AnyArray]) -> AnyArray:
    return operands[0].transpose(0, *(a + 1 for a in op.axes))


@rearrange.register
def _select(op: ops.Select, operands: Sequence[AnyArray]) -> AnyArray:
    points = operands[0].shape[0]
    return operands[0].reshape(points, -1)[:, op.indices]


@rearrange.register
def _concat(op: ops.Concat, operands: Sequence[AnyArray]) -> AnyArray:
    return np.concatenate(operands, axis=op.axis + 1)


def convolve(op: ops.Conv, weight: FloatArray, x: FloatArray) -> AnyArray:
    """Cross-correlation of `x` with `weight` in the geometry of `op`, without the bias.

    Shapes: x (points, n, in, *spatial), weight like `op.weight`, result
    (points, n, out, *spatial'). Computed as one matrix product over gathered patches (im2col).
    """
    samples = x.reshape(-1, *x.shape[2:])
    shape = op.shape((1, *x.shape[2:]))[1:]
    entries = prod(shape[1:]) * prod(weight.shape[1:]) * op.groups
    step = max(1, MAX_PATCH_ENTRIES // entries)
    parts = [_correlate(op, weight, samples[i : i + step]) for i in range(0, len(samples), step)]
    result = np.concatenate(parts) if len(parts) != 1 else parts[0]
    return result.reshape(*x.shape[:2], *shape)


def _correlate(op: ops.Conv, weight: FloatArray, x: FloatArray) -> FloatArray:
    rank, groups = len(op.strides), op.groups
    kernel = weight.shape[2:]
    spans = tuple(d * (k - 1) + 1 for d, k in zip(op.dilations, kernel, strict=True))
    padded = np.pad(x, [(0, 0), (0, 0), *op.pads])
    windows = np.lib.stride_tricks.sliding_window_view(
        padded, spans, axis=tuple(range(2, 2 + rank))
    )
    windows = windows[:, :, *(slice(None, None, s) for s in (*op.strides, *op.dilations))]
    samples, channels = windows.shape[:2]
    extent = windows.shape[2 : 2 + rank]
    # Rows of the image stay together: copying them is fast, and the product needs no reordering.
    spatial, inner = range(2, 2 + rank), range(2 + rank, 2 + 2 * rank)
    patches = windows.transpose(0, 1, *inner, *spatial)
    patches = patches.reshape(samples, groups, channels // groups * prod(kernel), prod(extent))
    filters = weight.reshape(groups, weight.shape[0] // groups, -1)
    return (filters @ patches).reshape(samples, -1, *extent)


def convolve_transposed(op: ops.ConvTranspose, weight: FloatArray, x: FloatArray) -> AnyArray:
    """The transpose of a convolution in the geometry of `op`, without the bias.

    Shapes: x (points, n, in, *spatial), weight like `op.weight`, result
    (points, n, out, *spatial'). Every input entry adds its multiple of the kernel to the result:
    one matrix product, then one addition for each position in the kernel.
    """
    samples = x.reshape(-1, *x.shape[2:])
    shape = op.shape((1, *x.shape[2:]))[1:]
    entries = prod(x.shape[3:]) * prod(weight.shape[1:]) * op.groups
    step = max(1, MAX_PATCH_ENTRIES // entries)
    parts = [_scatter(op, weight, samples[i : i + step]) for i in range(0, len(samples), step)]
    result = np.concatenate(parts) if len(parts) != 1 else parts[0]
    return result.reshape(*x.shape[:2], *shape)


def _scatter(op: ops.ConvTranspose, weight: FloatArray, x: FloatArray) -> FloatArray:
    groups, kernel, extent = op.groups, weight.shape[2:], x.shape[2:]
    samples, channels = x.shape[:2]
    grouped = x.reshape(samples, groups, channels // groups, prod(extent))
    filters = weight.reshape(groups, channels // groups, -1).transpose(0, 2, 1)
    # (samples, out, *kernel, *extent)
    patches = (filters @ grouped).reshape(samples, -1, *kernel, *extent)
    full = tuple(
        stride * (n - 1) + dilation * (k - 1) + 1 + extra
        for n, k, stride, dilation, extra in zip(
            extent, kernel, op.strides, op.dilations, op.output_pads, strict=True
        )
    )
    result = np.zeros((samples, patches.shape[1], *full), dtype=patches.dtype)
    for position in np.ndindex(*kernel):
        places = tuple(
            slice(p * dilation, p * dilation + stride * (n - 1) + 1, stride)
            for p, n, stride, dilation in zip(
                position, extent, op.strides, op.dilations, strict=True
            )
        )
        result[:, :, *places] += patches[:, :, *position]
    kept = tuple(slice(b, n - e) for n, (b, e) in zip(full, op.pads, strict=True))
    return result[:, :, *kept]
