"""Convolutions and their transposes over any number of axes, by what is fastest in torch."""

from __future__ import annotations

from itertools import product
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from specdsl.graph import ops

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
AXES = frozenset(_CONV)


def convolve(op: ops.Conv | ops.ConvTranspose, x: Tensor, weight: Tensor) -> Tensor:
    """x (n, channels, *extents) at every place where the kernel fits, without padding."""
    function = _CONV[len(op.strides)]
    return function(x, weight, stride=op.strides, dilation=op.dilations, groups=op.groups)


def spread(op: ops.Conv | ops.ConvTranspose, y: Tensor, weight: Tensor) -> Tensor:
    """The transpose of `convolve`: y (n, channels, *extents) to every place that kernels reach.

    As the gradient of a convolution: in float64 on a CPU that takes half the time of torch's own
    transposed convolution, and in float32 the same. There float64 still multiplies one small matrix
    for each of the n; where these are very small, all of them are multiplied together.
    """
    places, channels = prod(y.shape[2:]), y.shape[1]
    if op.groups == 1 and places == 1 and max(op.dilations) == 1:
        # One place: its coefficients times the kernel itself.
        return (y.flatten(1) @ weight.flatten(1)).unflatten(1, weight.shape[1:])
    slow = y.dtype == torch.float64 and y.device.type == "cpu"
    if slow and op.groups == 1 and places <= FEW_PLACES and channels >= MANY_CHANNELS:
        columns = places * weight[0].numel()
        parts = y.split(max(1, MOST_COLUMNS // columns))
        return torch.cat([_spread_together(op, part, weight) for part in parts])
    axes = len(op.strides)
    # Of the convolution's operand only the shape counts.
    shape = (y.shape[0], weight.shape[1] * op.groups, *_reached(op, y, weight))
    none = [0] * axes
    return torch.ops.aten.convolution_backward(
        *(y, y.new_empty(()).expand(shape), weight, None, op.strides, none, op.dilations),
        *(False, none, op.groups, (True, False, False)),
    )[0]


# Measured; see `spread`.
FEW_PLACES = 16
MANY_CHANNELS = 16
# Products kept at a time: 2 MiB, so that they are added up in the cache.
MOST_COLUMNS = 2**18


def _reached(op: ops.Conv | ops.ConvTranspose, y: Tensor, weight: Tensor) -> list[int]:
    sizes = zip(y.shape[2:], op.strides, op.dilations, weight.shape[2:], strict=True)
    return [(e - 1) * s + d * (k - 1) + 1 for e, s, d, k in sizes]


def _spread_together(op: ops.Conv | ops.ConvTranspose, y: Tensor, weight: Tensor) -> Tensor:
    """One product of matrices for every place of the kernel and of all y; then moved and added."""
    kernel, count = weight.shape[2:], y.shape[0]
    # Flat, or torch multiplies many small matrices after all.
    products = y.movedim(1, -1).reshape(-1, y.shape[1]) @ weight.movedim(1, -1).flatten(1)
    products = products.reshape(count, *y.shape[2:], prod(kernel), weight.shape[1])
    spread_out = y.new_zeros(count, *_reached(op, y, weight), weight.shape[1])
    for i, place in enumerate(product(*(range(k) for k in kernel))):
        where = [slice(None)]
        for at, extent, stride, dilation in zip(
            place, y.shape[2:], op.strides, op.dilations, strict=True
        ):
            first = at * dilation
            where.append(slice(first, first + (extent - 1) * stride + 1, stride))
        spread_out[tuple(where)] += products[..., i, :]
    return spread_out.movedim(-1, 1).contiguous()
