"""Activations that are more than one op of the graph."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from specdsl.graph import ops
from specdsl.graph.composites.base import (
    Builder,
    IntegerArray,
    Number,
    add,
    affine,
    guard,
    multiply,
    ones,
    opposite,
    positions,
    reshape,
    select,
    transpose,
    zeros,
)
from specdsl.graph.graph import NodeId

# Beyond this, powers of anything but numbers near 1 leave float32.
LARGEST_EXPONENT = 32

# --- piecewise linear ----------------------------------------------------------------------------


def clip(
    builder: Builder, x: NodeId, lower: float | None = None, upper: float | None = None
) -> NodeId:
    """`min(max(x, lower), upper)`: the upper bound wins where they cross. None is no bound."""
    if lower is not None and upper is not None:
        if lower >= upper:
            return builder.add(ops.Constant(np.full(builder.shape(x), upper)))
        return builder.add(ops.Clip(lower, upper), x)
    if lower is not None:
        above = builder.add(ops.Relu(), affine(builder, x, shift=-lower))
        return affine(builder, above, shift=lower)
    if upper is not None:
        below = builder.add(ops.Relu(), affine(builder, x, -1.0, upper))
        return affine(builder, below, -1.0, upper)
    return x


def hard_sigmoid(builder: Builder, x: NodeId, alpha: Number, beta: Number) -> NodeId:
    """`min(max(alpha x + beta, 0), 1)`."""
    return clip(builder, affine(builder, x, alpha, beta), 0.0, 1.0)


def leaky_relu(builder: Builder, x: NodeId, slope: float) -> NodeId:
    """x for x >= 0, else `slope * x`, with any slope."""
    if slope == 0.0:
        return builder.add(ops.Relu(), x)
    if slope == 1.0:
        return x
    if 0 < slope < 1:
        return builder.add(ops.LeakyRelu(slope), x)
    return prelu(builder, x, np.asarray(slope))


def prelu(builder: Builder, x: NodeId, slope: npt.NDArray[Any]) -> NodeId:
    """`relu(x) - slope * relu(-x)`, with slopes that broadcast to x."""
    if slope.size and (slope == slope.flat[0]).all() and 0 <= slope.flat[0] <= 1:
        return leaky_relu(builder, x, float(slope.flat[0]))
    right = builder.add(ops.Relu(), x)
    left = builder.add(ops.Relu(), opposite(builder, x))
    return add(builder, right, affine(builder, left, -slope))


# --- exponential ---------------------------------------------------------------------------------


def elu(builder: Builder, x: NodeId, alpha: float = 1.0) -> NodeId:
    """x for x >= 0, else `alpha (e^x - 1)`, with any alpha."""
    if alpha > 0:
        return builder.add(ops.Elu(alpha), x)
    right = builder.add(ops.Relu(), x)
    if alpha == 0:
        return right
    left = opposite(builder, builder.add(ops.Relu(), opposite(builder, x)))
    bend = affine(builder, builder.add(ops.Exp(), left), alpha, -alpha)
    return add(builder, right, bend)


def selu(builder: Builder, x: NodeId, alpha: float, gamma: float) -> NodeId:
    """`gamma * elu(x)`. Klambauer et al. 2017, arXiv:1706.02515."""
    return affine(builder, elu(builder, x, alpha), gamma)


def celu(builder: Builder, x: NodeId, alpha: float = 1.0) -> NodeId:
    """`max(x, 0) + min(0, alpha (e^(x / alpha) - 1))`. Barron 2017, arXiv:1704.07483.

    Raises ValueError for an alpha that is not positive.
    """
    if not alpha > 0:
        raise ValueError(f"alpha is {alpha}, not positive")
    bent = builder.add(ops.Elu(1.0), affine(builder, x, 1 / Fraction(alpha)))
    return affine(builder, bent, alpha)


def swish(builder: Builder, x: NodeId, alpha: float = 1.0) -> NodeId:
    """`x sigmoid(alpha x)`."""
    if alpha == 0:
        return affine(builder, x, 0.5)
    gated = builder.add(ops.Silu(), affine(builder, x, alpha))
    return affine(builder, gated, 1 / Fraction(alpha))


def thresholded_relu(builder: Builder, x: NodeId, alpha: float = 1.0) -> NodeId:
    """x where `x > alpha`, else 0."""
    passes = builder.add(ops.Positive(), affine(builder, x, shift=-alpha))
    return multiply(builder, x, passes)


# --- powers --------------------------------------------------------------------------------------


def power(builder: Builder, x: NodeId, exponent: float) -> NodeId:
    """`x ** exponent`: products for whole exponents (0 ** 0 is 1), else of positive numbers."""
    if exponent == 0.5:
        return builder.add(ops.Sqrt(), x)
    if not float(exponent).is_integer() or abs(exponent) > LARGEST_EXPONENT:
        return builder.add(ops.Power(float(exponent)), x)
    if exponent == 0:
        return builder.add(ops.Constant(ones(*builder.shape(x))))
    whole = _whole_power(builder, x, int(abs(exponent)))
    return whole if exponent > 0 else builder.add(ops.Reciprocal(), whole)


def _whole_power(builder: Builder, x: NodeId, exponent: int) -> NodeId:
    """By squaring; exponents from 1 on."""
    if exponent == 1:
        return x
    even = builder.add(ops.Square(), _whole_power(builder, x, exponent // 2))
    return multiply(builder, even, x) if exponent % 2 else even


# --- softmax -------------------------------------------------------------------------------------


def softmax(builder: Builder, x: NodeId, axis: int) -> NodeId:
    """`e^x_i / sum_j e^x_j` along an axis, as `1 / (1 + sum over j != i of e^(x_j - x_i))`.

    In this form nothing overflows, and bounds know of the differences alone. Of two entries it is
    a sigmoid.
    """
    extent = builder.shape(x)[axis]
    if extent == 1:
        return builder.add(ops.Constant(ones(*builder.shape(x))))
    gaps = _gaps_to_others(builder, x, axis)
    if extent == 2:
        result = builder.add(ops.Sigmoid(), opposite(builder, gaps))
    else:
        result = builder.add(ops.Reciprocal(), _one_plus_exponentials(builder, gaps))
    return _from_last(builder, result, builder.shape(x), axis)


def log_softmax(builder: Builder, x: NodeId, axis: int) -> NodeId:
    """The logarithm of `softmax`: `-log(1 + sum over j != i of e^(x_j - x_i))`."""
    extent = builder.shape(x)[axis]
    if extent == 1:
        return builder.add(ops.Constant(zeros(*builder.shape(x))))
    gaps = _gaps_to_others(builder, x, axis)
    if extent == 2:
        result = builder.add(ops.Softplus(), gaps)
    else:
        result = builder.add(ops.Log(), _one_plus_exponentials(builder, gaps))
    return _from_last(builder, opposite(builder, result), builder.shape(x), axis)


def _gaps_to_others(builder: Builder, x: NodeId, axis: int) -> NodeId:
    """`x_j - x_i` for all j != i, as (*other axes, i, j)."""
    own, others = pairs(builder.shape(x), axis)
    operands = select(builder, x, others), select(builder, x, own)
    return builder.add(ops.Sum((1.0, -1.0)), *operands)


def pairs(shape: ops.Shape, axis: int) -> tuple[IntegerArray, IntegerArray]:
    """Positions of i and of j for all pairs j != i along an axis: two (*other axes, n, n - 1).

    The j rise.
    """
    rows = np.moveaxis(positions(shape), axis, -1)
    n = rows.shape[-1]
    guard((*rows.shape, n), "a comparison of all pairs")
    first, second = np.arange(n)[:, np.newaxis], np.arange(n - 1)[np.newaxis]
    others = second + (second >= first)
    return np.broadcast_to(rows[..., :, np.newaxis], (*rows.shape, n - 1)).copy(), rows[..., others]


def _one_plus_exponentials(builder: Builder, gaps: NodeId) -> NodeId:
    """`1 + sum_j e^gap_j` over the last axis, as (..., 1)."""
    exponentials = builder.add(ops.Exp(), gaps)
    count = builder.shape(gaps)[-1]
    return builder.add(ops.Dense(ones(1, count), ones(1)), exponentials)


def _from_last(builder: Builder, x: NodeId, shape: ops.Shape, axis: int) -> NodeId:
    """Entries that stand in the order (*other axes, axis), back in `shape`."""
    axis %= len(shape)
    rest = tuple(a for a in range(len(shape)) if a != axis)
    moved = reshape(builder, x, (*(shape[a] for a in rest), shape[axis]))
    order = (*range(axis), len(shape) - 1, *range(axis, len(shape) - 1))
    return transpose(builder, moved, order)
