"""Convolutions and their transposes over any number of axes, by what is fastest in torch."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from specdsl.graph import ops

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
AXES = frozenset(_CONV)


def convolve(op: ops.Conv | ops.ConvTranspose, x: Tensor, weight: Tensor) -> Tensor:
    """x (n, channels, *extents) at every place where the kernel fits, without padding."""
    if _moves_alone(x, weight):
        return cast("Tensor", _Convolve.apply(x, weight, op))
    return _convolve(op, x, weight)


def spread(op: ops.Conv | ops.ConvTranspose, y: Tensor, weight: Tensor) -> Tensor:
    """The transpose of `convolve`: y (n, channels, *extents) to every place that kernels reach."""
    if _moves_alone(y, weight):
        return cast("Tensor", _Spread.apply(y, weight, op))
    return _spread(op, y, weight)


# --- derivatives ----------------------------------------------------------------------------------


def _moves_alone(x: Tensor, weight: Tensor) -> bool:
    """Whether a derivative is asked for, and by nothing but x."""
    return torch.is_grad_enabled() and x.requires_grad and not weight.requires_grad


class _Convolve(torch.autograd.Function):
    """`convolve`, whose derivative in x is the transpose."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, x: Tensor, weight: Tensor, op: ops.Conv | ops.ConvTranspose
    ) -> Tensor:
        ctx.weight, ctx.op, ctx.extents = weight, op, x.shape[2:]
        return _convolve(op, x, weight)

    @staticmethod
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        reached = spread(ctx.op, change, ctx.weight)
        # No kernel reads the entries past its last place.
        missing = [e - r for e, r in zip(ctx.extents, reached.shape[2:], strict=True)]
        return F.pad(reached, [e for m in reversed(missing) for e in (0, m)]), None, None


class _Spread(torch.autograd.Function):
    """`spread`, whose derivative in y is the convolution: torch's own derivative of a gradient of a
    convolution takes two to twenty times as long.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, y: Tensor, weight: Tensor, op: ops.Conv | ops.ConvTranspose
    ) -> Tensor:
        ctx.weight, ctx.op = weight, op
        return _spread(op, y, weight)

    @staticmethod
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return convolve(ctx.op, change, ctx.weight), None, None


# --- convolution ----------------------------------------------------------------------------------


def _convolve(op: ops.Conv | ops.ConvTranspose, x: Tensor, weight: Tensor) -> Tensor:
    if x.device.type != "cpu" or x.dtype != torch.float64:
        return _convolve_at_once(op, x, weight)
    # Torch lays out in memory what the kernels see, for all x.
    places = prod(_places(op, x, weight))
    few = op.groups == 1 and places <= FEW_PLACES and weight.shape[1] >= MANY_CHANNELS
    way = _convolve_together if few else _convolve_at_once
    at_a_time = max(1, MOST_COLUMNS // (places * weight[0].numel() * op.groups))
    if len(x) <= at_a_time:
        return way(op, x, weight)
    return torch.cat([way(op, part, weight) for part in x.split(at_a_time)])


def _convolve_at_once(op: ops.Conv | ops.ConvTranspose, x: Tensor, weight: Tensor) -> Tensor:
    function = _CONV[len(op.strides)]
    return function(x, weight, stride=op.strides, dilation=op.dilations, groups=op.groups)


def _places(op: ops.Conv | ops.ConvTranspose, x: Tensor, weight: Tensor) -> list[int]:
    sizes = zip(x.shape[2:], op.strides, op.dilations, weight.shape[2:], strict=True)
    return [(e - d * (k - 1) - 1) // s + 1 for e, s, d, k in sizes]


def _convolve_together(op: ops.Conv | ops.ConvTranspose, x: Tensor, weight: Tensor) -> Tensor:
    """One product of matrices for every place of all x, where torch multiplies one small matrix for
    each of the n otherwise.
    """
    axes = len(op.strides)
    # (n, *places, channels, *kernel), channels next to one another in memory where kernels are
    # larger than one place.
    seen = x if prod(weight.shape[2:]) == 1 else x.movedim(1, -1).contiguous().movedim(-1, 1)
    sizes = zip(weight.shape[2:], op.strides, op.dilations, strict=True)
    for axis, (kernel, stride, dilation) in enumerate(sizes, 2):
        reach = dilation * (kernel - 1) + 1
        seen = seen.unfold(axis, reach, stride)[..., ::dilation]
    places = seen.shape[2 : 2 + axes]
    order = (0, *range(2, 2 + axes), *range(2 + axes, 2 + 2 * axes), 1)
    columns = seen.permute(order).reshape(-1, weight[0].numel())
    found = columns @ weight.movedim(1, -1).flatten(1).T
    return found.reshape(x.shape[0], *places, weight.shape[0]).movedim(-1, 1).contiguous()


# --- its transpose --------------------------------------------------------------------------------


def _spread(op: ops.Conv | ops.ConvTranspose, y: Tensor, weight: Tensor) -> Tensor:
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
