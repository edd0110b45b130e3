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
    """The transpose of `convolve`: y (n, channels, *extents) to every place that kernels reach."""
    if op.groups == 1 and max(op.dilations) == 1:
        if prod(y.shape[2:]) == 1:
            # One place: its coefficients times the kernel itself.
            return (y.flatten(1) @ weight.flatten(1)).unflatten(1, weight.shape[1:])
        if prod(weight.shape[2:]) == 1:
            return _spread_apart(op, y, weight)
        if y.device.type == "cpu" and y.dtype == torch.float32 and _suits_phases(op, weight):
            return _spread_in_phases(op, y, weight)
        if y.device.type == "cpu" and y.dtype == torch.float64 and _suits_one_product(y):
            columns = prod(y.shape[2:]) * weight[0].numel()
            parts = y.split(max(1, MOST_COLUMNS // columns))
            return torch.cat([_spread_together(op, part, weight) for part in parts])
    return _spread_as_gradient(op, y, weight)


def _spread_as_gradient(op: ops.Conv | ops.ConvTranspose, y: Tensor, weight: Tensor) -> Tensor:
    """As the gradient of a convolution: in float64 on a CPU that takes half the time of torch's own
    transposed convolution, elsewhere the same.
    """
    axes = len(op.strides)
    # Of the convolution's operand only the shape counts: nothing is written there.
    shape = (y.shape[0], weight.shape[1] * op.groups, *_reached(op, y, weight))
    none = [0] * axes
    return torch.ops.aten.convolution_backward(
        *(y, y.new_empty(shape), weight, None, op.strides, none, op.dilations),
        *(False, none, op.groups, (True, False, False)),
    )[0]


# Measured; see `_suits_one_product`.
FEW_PLACES = 16
MANY_CHANNELS = 16
# Products kept at a time: 2 MiB, so that they are added up in the cache.
MOST_COLUMNS = 2**18
# Measured; see `_suits_phases`.
FEW_CHANNELS = 8


def _suits_one_product(y: Tensor) -> bool:
    """Whether one large product is faster in float64, where torch multiplies one small matrix for
    each of the n otherwise.
    """
    return prod(y.shape[2:]) <= FEW_PLACES and y.shape[1] >= MANY_CHANNELS


def _suits_phases(op: ops.Conv | ops.ConvTranspose, weight: Tensor) -> bool:
    """Whether a plain convolution is faster in float32.

    It is up to six times as fast where it makes few channels, which the gradient pads to a whole
    block, and half as fast again where phases fill it without a remainder. With many channels and
    a remainder it multiplies by zeros, which takes up to three times as long.
    """
    sizes = zip(weight.shape[2:], op.strides, strict=True)
    whole = max(op.strides) > 1 and all(kernel % stride == 0 for kernel, stride in sizes)
    return whole or weight.shape[1] <= FEW_CHANNELS


def _spread_apart(op: ops.Conv | ops.ConvTranspose, y: Tensor, weight: Tensor) -> Tensor:
    """With kernels of one place: these never meet, so what they give is only moved apart."""
    moved = (weight.flatten(1).T @ y.flatten(2)).unflatten(2, y.shape[2:])
    if max(op.strides) == 1:
        return moved
    apart = y.new_zeros(*moved.shape[:2], *_reached(op, y, weight))
    apart[:, :, *(slice(None, None, stride) for stride in op.strides)] = moved
    return apart


def _spread_in_phases(op: ops.Conv | ops.ConvTranspose, y: Tensor, weight: Tensor) -> Tensor:
    """As one convolution of stride 1 that makes every phase of the stride as channels of its own.

    Along an axis, entry `i stride + phase` is the sum over t of `y[i - t]` times the kernel at
    `t stride + phase`. Source: Shi et al. 2016, arXiv:1609.05158 and arXiv:1609.07009.
    """
    axes = len(op.strides)
    taps = [-(-k // s) for k, s in zip(weight.shape[2:], op.strides, strict=True)]
    split = list(zip(taps, op.strides, strict=True))
    missing = [t * s - k for (t, s), k in zip(split, weight.shape[2:], strict=True)]
    # (y's channels, channels, taps, phases, taps, phases, ...)
    whole = F.pad(weight, [e for m in reversed(missing) for e in (0, m)])
    whole = whole.reshape(*weight.shape[:2], *(e for pair in split for e in pair))
    at_taps, at_phases = (range(first, 2 + 2 * axes, 2) for first in (2, 3))
    kernels = whole.flip(*at_taps).permute(1, *at_phases, 0, *at_taps)
    kernels = kernels.reshape(-1, y.shape[1], *taps)
    found = _CONV[axes](y, kernels, padding=[t - 1 for t in taps])
    found = found.unflatten(1, (weight.shape[1], *op.strides))
    # Each phase beside the place it is of.
    order = [a for axis in range(axes) for a in (2 + axes + axis, 2 + axis)]
    found = found.permute(0, 1, *order)
    extents = [e * s for e, s in zip(found.shape[2::2], op.strides, strict=True)]
    found = found.reshape(*found.shape[:2], *extents)
    return found[:, :, *(slice(extent) for extent in _reached(op, y, weight))]


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
