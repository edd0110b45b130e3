"""Rows through convolutions: the transpose by phases.

A transposed convolution of stride s writes its results in turns: places that leave the same rest
when divided by s form a phase, and each phase is an ordinary convolution with a part of the kernel.
All phases together are one convolution with s^2 times the channels, after which places are put in
order. On a CPU in float32 ordinary convolutions are so much faster that it takes a third of the
time, though it multiplies by some zeros.

Source: Shi et al. 2016, arXiv:1609.05158 (sub-pixel convolution).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from specdsl.bounds.affine import ConvKernel


def spread_rows(kernel: ConvKernel, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows on the result of a convolution as rows on its operand, and what the bias adds.

    Shapes: (batch, rows, *result) to (batch, rows, *operand) and (batch, rows).
    """
    stacked = rows.flatten(0, 1)
    if _has_phases(kernel, rows):
        bias = None if kernel.offset is None else kernel.offset.flatten()
        flat = stacked.reshape(-1, *kernel.result[1:])
        passed, gained = _Spread.apply(flat, kernel.weight, bias, kernel)
    else:
        passed = kernel.transpose(0, stacked)
        gained = stacked.new_zeros(len(stacked))
        if kernel.offset is not None:
            gained = stacked.flatten(3).sum(3).flatten(1) @ kernel.offset.flatten()
    return (
        passed.reshape(*rows.shape[:2], *kernel.operand),
        gained.reshape(rows.shape[:2]),
    )


def _has_phases(kernel: ConvKernel, rows: Tensor) -> bool:
    """On a CPU in float32, plain kernels over two axes whose pads do not exceed them."""
    op = kernel.op
    if rows.dtype != torch.float32 or rows.device.type != "cpu":
        return False
    plain = len(op.strides) == 2 and op.groups == 1 and max(op.dilations) == 1
    sizes = kernel.weight.shape[2:]
    return (
        plain
        and kernel.operand[0] == 1
        and all(first == last < size for (first, last), size in zip(op.pads, sizes, strict=True))
    )


@dataclass(frozen=True, slots=True)
class _Phases:
    """Along one axis: result place `stride * q + a` reads operand places `q + first ... q + last`.

    `pad`: zeros to put in front and behind; `count`: how many q there are. `taps`: of each phase a
    and each place read, which kernel entry multiplies it, the kernel's size where none does.
    """

    stride: int
    pad: int
    skip: int
    count: int
    taps: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, stride: int, pad: int, size: int, given: int, wanted: int) -> _Phases:
        """`given` places of the convolution's result, `wanted` ones of its operand."""
        # Entry k of the kernel joins result place p and operand place stride * p + k - pad.
        first, last = -((size - 1 - pad) // stride), (stride - 1 + pad) // stride
        taps = tuple(
            tuple(_tap(a + pad - stride * d, size) for d in range(first, last + 1))
            for a in range(stride)
        )
        count = -(-wanted // stride)
        behind = max(0, count + last - given)
        return cls(stride, max(-first, behind), max(-first, behind) + first, count, taps)


def _tap(place: int, size: int) -> int:
    return place if 0 <= place < size else size


def _phases(kernel: ConvKernel) -> tuple[_Phases, _Phases]:
    op = kernel.op
    along = (
        _Phases.of(op.strides[i], op.pads[i][0], kernel.weight.shape[2 + i], given, wanted)
        for i, (given, wanted) in enumerate(zip(kernel.result[2:], kernel.operand[2:], strict=True))
    )
    high, wide = along
    return high, wide


def _phase_kernel(weight: Tensor, high: _Phases, wide: _Phases) -> Tensor:
    """(out, in, *kernel) to (in * phases, out, *taps)."""
    padded = F.pad(weight, (0, 1, 0, 1))
    taps = [torch.tensor(p.taps, device=weight.device) for p in (high, wide)]
    picked = padded[:, :, taps[0][:, None, :, None], taps[1][None, :, None, :]]
    # (out, in, phase, phase, tap, tap); channels count the phases fastest.
    return picked.permute(1, 2, 3, 0, 4, 5).flatten(0, 2)


def _spread(y: Tensor, weight: Tensor, kernel: ConvKernel) -> Tensor:
    high, wide = _phases(kernel)
    found = F.conv2d(y, _phase_kernel(weight, high, wide), padding=(high.pad, wide.pad))
    found = found[..., high.skip : high.skip + high.count, wide.skip : wide.skip + wide.count]
    if high.stride == wide.stride:
        found = F.pixel_shuffle(found, high.stride)
    else:
        found = found.unflatten(1, (-1, high.stride, wide.stride))
        found = found.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)
    rows, columns = kernel.operand[2:]
    return found[..., :rows, :columns]


class _Spread(torch.autograd.Function):
    """y (n, channels, *places) to (n, *operand) and what a bias adds, (n,)."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, weight: Tensor, bias: Tensor | None, kernel: ConvKernel
    ) -> tuple[Tensor, Tensor]:
        ctx.kernel = kernel
        ctx.save_for_backward(y, weight, bias)
        gained = y.new_zeros(len(y)) if bias is None else y.flatten(2).sum(2) @ bias
        return _spread(y, weight, kernel), gained

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, at_passed: Tensor, at_gained: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        y, weight, bias = ctx.saved_tensors
        op = ctx.kernel.op
        pads = [first for first, _ in op.pads]
        at_y = at_weight = at_bias = None
        if ctx.needs_input_grad[0]:
            at_y = F.conv2d(at_passed, weight, None, op.strides, pads)
            if bias is not None:
                at_y += (at_gained[:, None] * bias)[:, :, None, None]
        if ctx.needs_input_grad[1]:
            # The weight's part is that of the convolution from `at_passed` to y.
            at_weight = torch.ops.aten.convolution_backward(
                *(y, at_passed, weight, None, op.strides, pads, op.dilations),
                *(False, [0, 0], 1, (False, True, False)),
            )[1]
        if ctx.needs_input_grad[2]:
            at_bias = at_gained @ y.flatten(2).sum(2)
        return at_y, at_weight, at_bias, None
