"""Extremes, comparisons and truth values.

A truth value is a number of the graph: 1 for true, 0 for false.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from specdsl.graph import ops
from specdsl.graph.composites.activations import pairs
from specdsl.graph.composites.base import (
    Builder,
    add,
    affine,
    exact_array,
    guard,
    multiply,
    ones,
    opposite,
    positions,
    reshape,
    select,
    subtract,
    together,
    zeros,
)
from specdsl.graph.composites.sums import reduced_shape
from specdsl.graph.graph import NodeId

# --- extremes ------------------------------------------------------------------------------------


def maximum(builder: Builder, x: NodeId, y: NodeId) -> NodeId:
    """The larger, entry by entry: `y + relu(x - y)`."""
    return _beyond(builder, x, y, 1.0)


def minimum(builder: Builder, x: NodeId, y: NodeId) -> NodeId:
    """The smaller, entry by entry: `y - relu(y - x)`."""
    return _beyond(builder, x, y, -1.0)


def _beyond(builder: Builder, x: NodeId, y: NodeId, sign: float) -> NodeId:
    x, y = together(builder, x, y)
    if x == y:
        return x
    gap = builder.add(ops.Relu(), builder.add(ops.Sum((sign, -sign)), x, y))
    return builder.add(ops.Sum((1.0, sign)), y, gap)


def reduce_max(
    builder: Builder, x: NodeId, axes: Sequence[int], *, keepdims: bool = True
) -> NodeId:
    """The largest entry over the listed axes."""
    shape = builder.shape(x)
    folded = sorted({a % len(shape) for a in axes})
    rest = tuple(a for a in range(len(shape)) if a not in folded)
    count = prod(shape[a] for a in folded)
    result = reduced_shape(shape, axes, keepdims)
    if count == 1:
        return reshape(builder, x, result)
    groups = positions(shape).transpose(*rest, *folded).reshape(*result, count)
    return builder.add(ops.GroupMax(groups), x)


def reduce_min(
    builder: Builder, x: NodeId, axes: Sequence[int], *, keepdims: bool = True
) -> NodeId:
    """The smallest entry over the listed axes."""
    return opposite(builder, reduce_max(builder, opposite(builder, x), axes, keepdims=keepdims))


def argmax(
    builder: Builder, x: NodeId, axis: int, *, keepdims: bool = True, last: bool = False
) -> NodeId:
    """Where the largest entry stands along an axis: the first of equal ones, or the last.

    `sum_i i * relu(sum_j [x_i beats x_j] - (n - 2))`: entry i wins where it beats all n - 1 others.
    Two entries are compared once: either i beats j, or j beats i.
    """
    shape = builder.shape(x)
    extent = shape[axis]
    result = reduced_shape(shape, (axis,), keepdims)
    if extent == 1:
        return builder.add(ops.Constant(zeros(*result)))
    wins = builder.add(ops.Relu(), _wins(builder, x, axis, last))
    places = np.arange(extent, dtype=np.float32)
    where_ = builder.add(ops.Dense(places[np.newaxis], zeros(1)), wins)
    return reshape(builder, where_, result)


def argmin(
    builder: Builder, x: NodeId, axis: int, *, keepdims: bool = True, last: bool = False
) -> NodeId:
    """Where the smallest entry stands along an axis."""
    return argmax(builder, opposite(builder, x), axis, keepdims=keepdims, last=last)


def _wins(builder: Builder, x: NodeId, axis: int, last: bool) -> NodeId:
    """How many others entry i beats, less n - 2, as (*other axes, n): 1 or less."""
    own, _ = pairs(builder.shape(x), axis)
    rest, extent = own.shape[:-2], own.shape[-2]
    upper = np.triu_indices(extent, 1)
    low, high = own[..., upper[0], 0], own[..., upper[1], 0]
    difference = builder.add(
        ops.Sum((1.0, -1.0)), select(builder, x, low), select(builder, x, high)
    )
    beats = builder.add(ops.Positive() if last else ops.NotNegative(), difference)
    # Of the pair {i, j} with i < j: j beats i where i does not beat j.
    number = np.zeros((extent, extent), dtype=np.int64)
    number[upper] = number.T[upper] = np.arange(len(upper[0]))
    row, column = np.arange(extent)[:, np.newaxis], np.arange(extent - 1)[np.newaxis]
    other = column + (column >= row)
    count = len(upper[0])
    starts = positions(rest)[..., np.newaxis, np.newaxis] * count
    told = select(builder, beats, starts + number[row, other])
    smaller = (other < row).astype(np.float32)
    beaten = builder.add(ops.Scale(1 - 2 * smaller, smaller), told)
    shift = np.full(1, 2.0 - extent, dtype=np.float32)
    total = builder.add(ops.Dense(ones(1, extent - 1), shift), beaten)
    return reshape(builder, total, (*rest, extent))


# --- comparisons ---------------------------------------------------------------------------------


def greater(builder: Builder, x: NodeId, y: NodeId) -> NodeId:
    """Whether `x > y`."""
    return builder.add(ops.Positive(), subtract(builder, x, y))


def greater_or_equal(builder: Builder, x: NodeId, y: NodeId) -> NodeId:
    """Whether `x >= y`."""
    return builder.add(ops.NotNegative(), subtract(builder, x, y))


def equal(builder: Builder, x: NodeId, y: NodeId) -> NodeId:
    """Whether `x = y`."""
    return builder.add(ops.IsZero(), subtract(builder, x, y))


# --- truth values --------------------------------------------------------------------------------


def truth(builder: Builder, x: NodeId) -> NodeId:
    """Whether a number is not 0."""
    return negation(builder, builder.add(ops.IsZero(), x))


def negation(builder: Builder, x: NodeId) -> NodeId:
    """Not x."""
    return affine(builder, x, -1.0, 1.0)


def both(builder: Builder, x: NodeId, y: NodeId) -> NodeId:
    """x and y: `relu(x + y - 1)`."""
    return builder.add(ops.Relu(), affine(builder, add(builder, x, y), shift=-1.0))


def either(builder: Builder, x: NodeId, y: NodeId) -> NodeId:
    """x or y: `1 - relu(1 - x - y)`."""
    neither = builder.add(ops.Relu(), affine(builder, add(builder, x, y), -1.0, 1.0))
    return negation(builder, neither)


def exactly_one(builder: Builder, x: NodeId, y: NodeId) -> NodeId:
    """Either x or y: `|x - y|`."""
    return builder.add(ops.Abs(), subtract(builder, x, y))


def where(builder: Builder, condition: NodeId, x: NodeId, y: NodeId) -> NodeId:
    """x where the truth value holds, else y: `y + condition * (x - y)`."""
    chosen = multiply(builder, condition, subtract(builder, x, y))
    return add(builder, chosen, y)


def one_hot(builder: Builder, places: NodeId, depth: int, axis: int = -1) -> NodeId:
    """1 at the place that each whole number names along a new axis, else 0; -1 is the last place.

    A number outside `-depth` to `depth - 1` names no place.
    """
    shape = builder.shape(places)
    axis %= len(shape) + 1
    spread = (*shape[:axis], depth, *shape[axis:])
    guard(spread, "a one-hot encoding")
    at = np.broadcast_to(np.expand_dims(positions(shape), axis), spread).copy()
    wanted = np.arange(depth, dtype=np.float64).reshape(depth, *(1 for _ in shape[axis:]))
    x = builder.add(ops.Select(at), places)
    front = builder.add(ops.IsZero(), affine(builder, x, shift=exact_array(-wanted)))
    back = builder.add(ops.IsZero(), affine(builder, x, shift=exact_array(depth - wanted)))
    return add(builder, front, back)
