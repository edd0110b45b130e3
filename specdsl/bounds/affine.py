"""Affine ops as torch kernels: the linear map of each operand, its transpose, and the offset.

`affine_kernel` turns an op (numpy facts) into a kernel (tensors of one dtype on one device).
Kernels act on stacked values: axis 0 counts points or rows, the rest is the value's own shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import singledispatch
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds.rows.convolve import AXES, convolve, spread
from specdsl.graph import ops
from specdsl.graph.ops import Shape, as_float


class AffineKernel(ABC):
    """`y = sum_i A_i x_i + offset`. Shapes: x_i (n, *operand i), y (n, *result)."""

    offset: Tensor | None
    """(*result,) or broadcastable to it; None where it is zero."""

    @abstractmethod
    def apply(self, index: int, x: Tensor) -> Tensor:
        """`A_index x`, without the offset."""

    @abstractmethod
    def apply_magnitude(self, index: int, x: Tensor) -> Tensor:
        """`|A_index| x`: how far radii spread."""

    @abstractmethod
    def transpose(self, index: int, y: Tensor) -> Tensor:
        """`A_index^T y`."""

    @abstractmethod
    def transpose_magnitude(self, index: int, y: Tensor) -> Tensor:
        """`|A_index|^T y`."""


@singledispatch
def affine_kernel(op: ops.Op, operands: tuple[Shape, ...], like: Tensor) -> AffineKernel:
    """The kernel of an affine op, with the dtype and device of `like`.

    Raises Unsupported where an op has no rule here.
    """
    raise Unsupported("bound propagation", f"the op {type(op).__name__}")


def _tensor(array: ops.Array, like: Tensor) -> Tensor:
    return torch.as_tensor(as_float(array), dtype=like.dtype, device=like.device)


@dataclass(frozen=True, slots=True, eq=False)
class DenseKernel(AffineKernel):
    """weight: (out, in); acts on the last axis."""

    weight: Tensor
    magnitude: Tensor
    offset: Tensor | None

    def apply(self, index: int, x: Tensor) -> Tensor:
        return x @ self.weight.T

    def apply_magnitude(self, index: int, x: Tensor) -> Tensor:
        return x @ self.magnitude.T

    def transpose(self, index: int, y: Tensor) -> Tensor:
        return y @ self.weight

    def transpose_magnitude(self, index: int, y: Tensor) -> Tensor:
        return y @ self.magnitude


@affine_kernel.register
def _(op: ops.Dense, operands: tuple[Shape, ...], like: Tensor) -> AffineKernel:
    weight = _tensor(op.weight, like)
    return DenseKernel(weight, weight.abs(), _tensor(op.bias, like))


@dataclass(frozen=True, slots=True, eq=False)
class ConvolutionKernel(AffineKernel):
    """Structured, never a dense matrix. The model's own batch axis is folded into n."""

    op: ops.Conv | ops.ConvTranspose
    weight: Tensor
    magnitude: Tensor
    offset: Tensor | None
    operand: Shape
    result: Shape

    def apply(self, index: int, x: Tensor) -> Tensor:
        return self._weighted(x, self.weight)

    def apply_magnitude(self, index: int, x: Tensor) -> Tensor:
        return self._weighted(x, self.magnitude)

    def transpose(self, index: int, y: Tensor) -> Tensor:
        return self._transposed(y, self.weight)

    def transpose_magnitude(self, index: int, y: Tensor) -> Tensor:
        return self._transposed(y, self.magnitude)

    @abstractmethod
    def _weighted(self, x: Tensor, weight: Tensor) -> Tensor:
        """The op with this weight and no bias."""

    @abstractmethod
    def _transposed(self, y: Tensor, weight: Tensor) -> Tensor:
        """The transpose of that."""


@dataclass(frozen=True, slots=True, eq=False)
class ConvKernel(ConvolutionKernel):
    """A convolution."""

    op: ops.Conv

    def _weighted(self, x: Tensor, weight: Tensor) -> Tensor:
        padding = [extent for pad in reversed(self.op.pads) for extent in pad]
        padded = F.pad(x.reshape(-1, *self.operand[1:]), padding)
        return convolve(self.op, padded, weight).reshape(x.shape[0], *self.result)

    def _transposed(self, y: Tensor, weight: Tensor) -> Tensor:
        op = self.op
        reached = spread(op, y.reshape(-1, *self.result[1:]), weight)
        # Entries past the last kernel position were never read: their coefficients are zero.
        ends = zip(self.operand[2:], reached.shape[2:], op.pads, strict=True)
        crop = [(-first, extent + first - place) for extent, place, (first, _) in ends]
        x = F.pad(reached, [e for ends in reversed(crop) for e in ends])
        return x.reshape(y.shape[0], *self.operand)


@dataclass(frozen=True, slots=True, eq=False)
class ConvTransposeKernel(ConvolutionKernel):
    """A transposed convolution.

    The full result runs over every place that a kernel reaches, `output_pads` zeros follow, and
    `pads` are cut off both ends.
    """

    op: ops.ConvTranspose

    def _weighted(self, x: Tensor, weight: Tensor) -> Tensor:
        op = self.op
        y = spread(op, x.reshape(-1, *self.operand[1:]), weight)
        y = F.pad(y, [e for extra in reversed(op.output_pads) for e in (0, extra)])
        for axis, (extent, pad) in enumerate(zip(self.result[2:], op.pads, strict=True), 2):
            y = y.narrow(axis, pad[0], extent)
        return y.reshape(x.shape[0], *self.result)

    def _transposed(self, y: Tensor, weight: Tensor) -> Tensor:
        op = self.op
        # What was cut off has coefficient zero; what output_pads added depends on nothing.
        full = F.pad(y.reshape(-1, *self.result[1:]), [e for pad in reversed(op.pads) for e in pad])
        for axis, extra in enumerate(op.output_pads, 2):
            full = full.narrow(axis, 0, full.shape[axis] - extra)
        x = convolve(op, full, weight)
        return x.reshape(y.shape[0], *self.operand)


@affine_kernel.register
def _(op: ops.Conv | ops.ConvTranspose, operands: tuple[Shape, ...], like: Tensor) -> AffineKernel:
    if len(op.strides) not in AXES:
        what = f"the op {type(op).__name__} over {len(op.strides)} axes"
        raise Unsupported("bound propagation", what)
    weight = _tensor(op.weight, like)
    bias = _tensor(op.bias, like).reshape(-1, *(1 for _ in op.strides))
    facts = weight, weight.abs(), bias, operands[0], op.shape(*operands)
    return ConvKernel(op, *facts) if isinstance(op, ops.Conv) else ConvTransposeKernel(op, *facts)


@dataclass(frozen=True, slots=True, eq=False)
class ScaleKernel(AffineKernel):
    """Elementwise product with `scale`, broadcast."""

    scale: Tensor
    magnitude: Tensor
    offset: Tensor | None

    def apply(self, index: int, x: Tensor) -> Tensor:
        return x * self.scale

    def apply_magnitude(self, index: int, x: Tensor) -> Tensor:
        return x * self.magnitude

    def transpose(self, index: int, y: Tensor) -> Tensor:
        return y * self.scale

    def transpose_magnitude(self, index: int, y: Tensor) -> Tensor:
        return y * self.magnitude


@affine_kernel.register
def _(op: ops.Scale, operands: tuple[Shape, ...], like: Tensor) -> AffineKernel:
    scale = _tensor(op.scale, like)
    return ScaleKernel(scale, scale.abs(), _tensor(op.shift, like))


@affine_kernel.register
def _(op: ops.BatchNorm, operands: tuple[Shape, ...], like: Tensor) -> AffineKernel:
    channels = (-1, *(1 for _ in operands[0][2:]))
    factor = _tensor(op.factor, like).reshape(channels)
    return ScaleKernel(factor, factor.abs(), _tensor(op.offset, like).reshape(channels))


@dataclass(frozen=True, slots=True, eq=False)
class SumKernel(AffineKernel):
    """A fixed multiple of each operand."""

    coefficients: tuple[float, ...]
    offset: Tensor | None = None

    def apply(self, index: int, x: Tensor) -> Tensor:
        return x * self.coefficients[index]

    def apply_magnitude(self, index: int, x: Tensor) -> Tensor:
        return x * abs(self.coefficients[index])

    def transpose(self, index: int, y: Tensor) -> Tensor:
        return y * self.coefficients[index]

    def transpose_magnitude(self, index: int, y: Tensor) -> Tensor:
        return y * abs(self.coefficients[index])


@affine_kernel.register
def _(op: ops.Sum, operands: tuple[Shape, ...], like: Tensor) -> AffineKernel:
    return SumKernel(tuple(float(c) for c in op.coefficients))


class RearrangeKernel(AffineKernel):
    """Entries only move: magnitudes move alike and nothing is added."""

    offset: Tensor | None = None

    def apply_magnitude(self, index: int, x: Tensor) -> Tensor:
        return self.apply(index, x)

    def transpose_magnitude(self, index: int, y: Tensor) -> Tensor:
        return self.transpose(index, y)


@dataclass(frozen=True, slots=True, eq=False)
class ReshapeKernel(RearrangeKernel):
    """Row-major entries under another shape."""

    operand: Shape
    result: Shape

    def apply(self, index: int, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], *self.result)

    def transpose(self, index: int, y: Tensor) -> Tensor:
        return y.reshape(y.shape[0], *self.operand)


@affine_kernel.register
def _(op: ops.Reshape, operands: tuple[Shape, ...], like: Tensor) -> AffineKernel:
    return ReshapeKernel(operands[0], op.target)


@dataclass(frozen=True, slots=True, eq=False)
class TransposeKernel(RearrangeKernel):
    """Axes permuted; `axes` and `inverse` count the stacking axis as 0."""

    axes: tuple[int, ...]
    inverse: tuple[int, ...]

    def apply(self, index: int, x: Tensor) -> Tensor:
        return x.permute(self.axes)

    def transpose(self, index: int, y: Tensor) -> Tensor:
        return y.permute(self.inverse)


@affine_kernel.register
def _(op: ops.Transpose, operands: tuple[Shape, ...], like: Tensor) -> AffineKernel:
    axes = (0, *(a + 1 for a in op.axes))
    inverse = tuple(axes.index(i) for i in range(len(axes)))
    return TransposeKernel(axes, inverse)


@dataclass(frozen=True, slots=True, eq=False)
class SelectKernel(RearrangeKernel):
    """Entries by position; the transpose adds up where a position is taken twice."""

    indices: Tensor
    operand: Shape
    result: Shape

    def apply(self, index: int, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], -1)[:, self.indices].reshape(x.shape[0], *self.result)

    def transpose(self, index: int, y: Tensor) -> Tensor:
        spread = y.new_zeros(y.shape[0], prod(self.operand))
        spread.index_add_(1, self.indices, y.reshape(y.shape[0], -1))
        return spread.reshape(y.shape[0], *self.operand)


@affine_kernel.register
def _(op: ops.Select, operands: tuple[Shape, ...], like: Tensor) -> AffineKernel:
    indices = torch.as_tensor(op.indices.reshape(-1), device=like.device)
    return SelectKernel(indices, operands[0], op.indices.shape)


@dataclass(frozen=True, slots=True, eq=False)
class ConcatKernel(RearrangeKernel):
    """Operand `index` fills `starts[index]` onwards along `axis` (the stacking axis counted)."""

    axis: int
    starts: tuple[int, ...]
    extents: tuple[int, ...]

    def apply(self, index: int, x: Tensor) -> Tensor:
        before = self.starts[index]
        after = sum(self.extents) - before - self.extents[index]
        tail = [0, 0] * (x.ndim - 1 - self.axis)
        return F.pad(x, [*tail, before, after])

    def transpose(self, index: int, y: Tensor) -> Tensor:
        return y.narrow(self.axis, self.starts[index], self.extents[index])


@affine_kernel.register
def _(op: ops.Concat, operands: tuple[Shape, ...], like: Tensor) -> AffineKernel:
    extents = tuple(shape[op.axis] for shape in operands)
    starts = tuple(sum(extents[:i]) for i in range(len(extents)))
    return ConcatKernel(op.axis + 1, starts, extents)
