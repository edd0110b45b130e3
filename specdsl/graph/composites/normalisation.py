"""Normalisations that compute their statistics from the value itself."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from specdsl.graph import ops
from specdsl.graph.composites.base import (
    Builder,
    affine,
    exact_array,
    multiply,
    reshape,
    subtract,
)
from specdsl.graph.composites.sums import reduce_l1, reduce_mean, reduce_sum_square
from specdsl.graph.graph import NodeId


def standardised(builder: Builder, x: NodeId, axes: Sequence[int], epsilon: float) -> NodeId:
    """`(x - mean) / sqrt(variance + epsilon)`, the statistics taken over the listed axes."""
    centred = subtract(builder, x, reduce_mean(builder, x, axes))
    return multiply(builder, centred, inverse_deviation(builder, centred, axes, epsilon))


def inverse_deviation(
    builder: Builder, centred: NodeId, axes: Sequence[int], epsilon: float
) -> NodeId:
    """`(variance + epsilon)^(-1/2)` of a value of mean 0, the listed axes kept with extent 1."""
    variance = reduce_mean(builder, builder.add(ops.Square(), centred), axes)
    return builder.add(ops.Power(-0.5), affine(builder, variance, shift=epsilon))


def layer_norm(
    builder: Builder,
    x: NodeId,
    axis: int,
    epsilon: float,
    scale: ops.Array | None = None,
    bias: ops.Array | None = None,
) -> NodeId:
    """Over all axes from `axis` on, then `scale * y + bias` (both broadcast to these axes).

    Ba, Kiros and Hinton 2016, arXiv:1607.06450.
    """
    rank = len(builder.shape(x))
    result = standardised(builder, x, tuple(range(axis % rank, rank)), epsilon)
    return _rescaled(builder, result, scale, bias)


def instance_norm(
    builder: Builder,
    x: NodeId,
    epsilon: float,
    scale: ops.Array | None = None,
    bias: ops.Array | None = None,
) -> NodeId:
    """Every channel of every sample over its spatial axes; scale and bias: (channels,).

    Ulyanov, Vedaldi and Lempitsky 2016, arXiv:1607.08022.
    """
    shape = builder.shape(x)
    result = standardised(builder, x, tuple(range(2, len(shape))), epsilon)
    return _rescaled(builder, result, _channels(scale, shape), _channels(bias, shape))


def group_norm(
    builder: Builder,
    x: NodeId,
    groups: int,
    epsilon: float,
    scale: ops.Array | None = None,
    bias: ops.Array | None = None,
) -> NodeId:
    """Groups of channels together with their spatial axes; scale and bias: (channels,).

    Wu and He 2018, arXiv:1803.08494. Raises ShapeMismatch where the groups do not divide.
    """
    shape = builder.shape(x)
    if len(shape) < 2 or groups < 1 or shape[1] % groups:
        raise ops.ShapeMismatch(f"{groups} groups of channels in {shape}")
    grouped = reshape(builder, x, (shape[0], groups, prod(shape[1:]) // groups))
    result = reshape(builder, standardised(builder, grouped, (2,), epsilon), shape)
    return _rescaled(builder, result, _channels(scale, shape), _channels(bias, shape))


def lp_normalised(builder: Builder, x: NodeId, axis: int, p: int) -> NodeId:
    """`x / |x|_p` along an axis, p being 1 or 2; undefined where the norm is 0."""
    if p == 1:
        inverse = builder.add(ops.Reciprocal(), reduce_l1(builder, x, (axis,)))
    elif p == 2:
        inverse = builder.add(ops.Power(-0.5), reduce_sum_square(builder, x, (axis,)))
    else:
        raise ValueError(f"the norm of order {p}")
    return multiply(builder, x, inverse)


def _channels(parameter: ops.Array | None, shape: ops.Shape) -> ops.Array | None:
    """A parameter of axis 1, made to broadcast."""
    return None if parameter is None else parameter.reshape(-1, *(1 for _ in shape[2:]))


def _rescaled(
    builder: Builder, x: NodeId, scale: ops.Array | None, bias: ops.Array | None
) -> NodeId:
    """`scale * x + bias`."""
    if scale is None and bias is None:
        return x
    factor = np.ones((), np.float32) if scale is None else scale
    offset = np.zeros((), np.float32) if bias is None else bias
    return affine(builder, x, exact_array(factor), exact_array(offset))
