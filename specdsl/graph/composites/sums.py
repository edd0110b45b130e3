"""Sums over axes, and what is made of them: means, norms, matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from specdsl.graph import ops
from specdsl.graph.composites.base import (
    Builder,
    affine,
    guard,
    multiply,
    ones,
    positions,
    reshape,
    select,
    share,
    transpose,
    zeros,
)
from specdsl.graph.graph import NodeId


def to_last(builder: Builder, x: NodeId, axes: Sequence[int]) -> NodeId:
    """The listed axes flattened into a last one: (*others, entries)."""
    shape = builder.shape(x)
    folded = {a % len(shape) for a in axes}
    rest = tuple(a for a in range(len(shape)) if a not in folded)
    moved = transpose(builder, x, (*rest, *sorted(folded)))
    extent = prod(shape[a] for a in folded)
    return reshape(builder, moved, (*(shape[a] for a in rest), extent))


def reduced_shape(shape: ops.Shape, axes: Sequence[int], keepdims: bool) -> ops.Shape:
    """What is left of a shape: the listed axes have extent 1, or are gone."""
    gone = {a % len(shape) for a in axes}
    if keepdims:
        return tuple(1 if a in gone else n for a, n in enumerate(shape))
    return tuple(n for a, n in enumerate(shape) if a not in gone)


def reduce_sum(
    builder: Builder, x: NodeId, axes: Sequence[int], *, keepdims: bool = True
) -> NodeId:
    """The sum over the listed axes."""
    return _weighted(builder, x, axes, keepdims, ones(1))


def reduce_mean(
    builder: Builder, x: NodeId, axes: Sequence[int], *, keepdims: bool = True
) -> NodeId:
    """The mean over the listed axes."""
    shape = builder.shape(x)
    count = prod(shape[a] for a in {a % len(shape) for a in axes})
    return _weighted(builder, x, axes, keepdims, share(count).reshape(1))


def _weighted(
    builder: Builder, x: NodeId, axes: Sequence[int], keepdims: bool, weight: ops.Array
) -> NodeId:
    """The sum over the listed axes times one weight."""
    shape = builder.shape(x)
    rows = to_last(builder, x, axes)
    count = builder.shape(rows)[-1]
    total = builder.add(ops.Dense(np.full((1, count), weight[0]), zeros(1)), rows)
    return reshape(builder, total, reduced_shape(shape, axes, keepdims))


def reduce_sum_square(
    builder: Builder, x: NodeId, axes: Sequence[int], *, keepdims: bool = True
) -> NodeId:
    """The sum of squares over the listed axes."""
    return reduce_sum(builder, builder.add(ops.Square(), x), axes, keepdims=keepdims)


def reduce_l1(builder: Builder, x: NodeId, axes: Sequence[int], *, keepdims: bool = True) -> NodeId:
    """The sum of magnitudes over the listed axes."""
    return reduce_sum(builder, builder.add(ops.Abs(), x), axes, keepdims=keepdims)


def reduce_l2(builder: Builder, x: NodeId, axes: Sequence[int], *, keepdims: bool = True) -> NodeId:
    """The Euclidean norm over the listed axes."""
    return builder.add(ops.Sqrt(), reduce_sum_square(builder, x, axes, keepdims=keepdims))


def reduce_log_sum_exp(
    builder: Builder, x: NodeId, axes: Sequence[int], *, keepdims: bool = True
) -> NodeId:
    """`log(sum e^x)` over the listed axes."""
    total = reduce_sum(builder, builder.add(ops.Exp(), x), axes, keepdims=keepdims)
    return builder.add(ops.Log(), total)


def cumulative_sum(
    builder: Builder, x: NodeId, axis: int, *, exclusive: bool = False, reverse: bool = False
) -> NodeId:
    """Sums of the entries up to each, itself left out if `exclusive`, from the end if `reverse`."""
    shape = builder.shape(x)
    axis %= len(shape)
    extent = shape[axis]
    guard((extent, extent), "a cumulative sum")
    weight = np.tril(np.ones((extent, extent), dtype=np.float32), -1 if exclusive else 0)
    weight = weight.T if reverse else weight
    order = (*(a for a in range(len(shape)) if a != axis), axis)
    summed = builder.add(
        ops.Dense(np.ascontiguousarray(weight), zeros(extent)), transpose(builder, x, order)
    )
    return transpose(builder, summed, tuple(int(a) for a in np.argsort(order)))


def matmul(builder: Builder, x: NodeId, y: NodeId) -> NodeId:
    """`x @ y` of two nodes, as numpy does: vectors, matrices, batches of matrices."""
    left, right = positions(builder.shape(x)), positions(builder.shape(y))
    if not left.ndim or not right.ndim:
        raise ops.ShapeMismatch("a matrix product of a single number")
    rows = left if left.ndim > 1 else left[np.newaxis, :]
    columns = right if right.ndim > 1 else right[:, np.newaxis]
    if rows.shape[-1] != columns.shape[-2]:
        raise ops.ShapeMismatch(f"a matrix product of {left.shape} and {right.shape}")
    columns = np.swapaxes(columns, -1, -2)
    try:
        batch = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    except ValueError:
        text = f"batches of matrices {left.shape} and {right.shape}"
        raise ops.ShapeMismatch(text) from None
    full = (*batch, rows.shape[-2], columns.shape[-2], rows.shape[-1])
    guard(full, "a matrix product")
    a = np.broadcast_to(rows[..., :, np.newaxis, :], full).copy()
    b = np.broadcast_to(columns[..., np.newaxis, :, :], full).copy()
    products = multiply(builder, select(builder, x, a), select(builder, y, b))
    total = builder.add(ops.Dense(ones(1, full[-1]), zeros(1)), products)
    kept = (
        *batch,
        *(full[-3:-2] if left.ndim > 1 else ()),
        *(full[-2:-1] if right.ndim > 1 else ()),
    )
    return reshape(builder, total, kept)


def mean_of(builder: Builder, nodes: Sequence[NodeId]) -> NodeId:
    """The mean of several nodes of one shape."""
    total = builder.add(ops.Sum((1.0,) * len(nodes)), *nodes)
    return affine(builder, total, share(len(nodes)))
